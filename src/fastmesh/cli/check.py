"""`fastmesh check`: everything that is wrong with a configuration, or a summary of it."""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from fastmesh.config.load import MAX_PROBLEMS, Loaded, load
from fastmesh.config.render import print_problems
from fastmesh.errors import ConfigError, OutOfTime
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import lists_of

TIME_LIMIT = 60     # seconds, as in a run


def run(args: argparse.Namespace) -> int:
    """0 when the file can be used, else 1; with `--strict` also 1 for warnings."""
    # A short run with many small objects that all stay alive: collecting finds nothing.
    gc.disable()
    file = "<stdin>" if args.file == "-" else args.file.encode("utf-8", "backslashreplace").decode()
    before = signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(TIME_LIMIT)
    try:
        loaded = load(args.file, look=look_at_filters)
    except OutOfTime as late:
        print(f"config error: {file}: the configuration took longer than {TIME_LIMIT} s to check{late}",
              file=sys.stderr)
        return _leave(1)
    except ConfigError as error:
        if args.format == "json":
            _print_json({"ok": False, "errors": [problem.to_dict() for problem in error.problems], "warnings": []})
        else:
            print_problems(error.problems)
            many = len(error.problems) > MAX_PROBLEMS
            count = f"more than {MAX_PROBLEMS} errors" if many else _count(len(error.problems), "error")
            print(f"{file}: {count}", file=sys.stderr)
        return _leave(1)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    failed = args.strict and bool(loaded.warnings)
    if args.format == "json":
        _print_json({"ok": not failed, "errors": [], "warnings": [item.to_dict() for item in loaded.warnings],
                     "summary": _summary(loaded), "chains": list(_chains(loaded)),
                     **({"load_balancers": balancers} if (balancers := list(_balancers(loaded))) else {})})
    else:
        print_problems(loaded.warnings)
        words = [_count(count, noun) for noun, count in _summary(loaded).items()]
        print(f"{file}: {'refused for its warnings' if failed else 'ok'}: {', '.join(words)}")
        for chain in _chains(loaded):
            print(f"  {chain['of']}: {' → '.join(_filter(one) for one in chain['filters'])}")
        for one in _balancers(loaded):
            print(f"  {one['of']}: balanced by {_filter(one)}, {one['pick_by']}")
    return _leave(1 if failed else 0)


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTime


def _leave(code: int) -> int:
    """Ends the process here if a filter's module has begun a thread: Python would wait for it, perhaps for ever."""
    threads = sys.modules.get("threading")
    if threads is not None and any(not thread.daemon and thread is not threads.main_thread()
                                   for thread in threads.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _summary(loaded: Loaded) -> dict[str, int]:
    config = loaded.config
    found = loaded.filters
    balancers = sum(1 for cluster in config.clusters if cluster.load_balancer.is_policy)
    classes = {} if found is None else {noun: count for noun, count in (
        ("filter", len(found.by_place) - balancers), ("load balancer", balancers),
        ("discovery policy", len(found.discoveries)), ("healing policy", len(found.healers))) if count}
    return {"listener": len(config.listeners),
            "route": sum(len(listener.routes) for listener in config.listeners),
            "cluster": len(config.clusters),
            "endpoint": sum(len(cluster.listed) for cluster in config.clusters),
            **classes,
            "warning": len(loaded.warnings)}


def _chains(loaded: Loaded) -> Iterator[dict[str, Any]]:
    """What is asked where, in order, with the phases of each."""
    if loaded.filters is None:
        return
    places = {use.name: ("filters", i) for i, use in enumerate(loaded.config.filters)}
    for path, owner, uses in lists_of(loaded.config):
        chain = []
        for i, use in enumerate(uses):
            found = loaded.filters.by_place[places[use.name] if use.is_reference else (*path, i)]
            chain.append({"name": use.name, "class": found.loaded.cls.__name__, "phases": list(found.phases)})
        if chain:
            kind = "route" if "routes" in path else str(path[0]).removesuffix("s")
            yield {"of": f"{kind} {owner}", "filters": chain}


def _balancers(loaded: Loaded) -> Iterator[dict[str, Any]]:
    """Which cluster is balanced by a policy, and what that is asked."""
    for i, cluster in enumerate(loaded.config.clusters):
        policy = cluster.load_balancer
        if policy.is_policy:
            found = loaded.filters.by_place["clusters", i, "load_balancer"]
            yield {"of": f"cluster {cluster.name}", "name": policy.name, "class": found.loaded.cls.__name__,
                   "phases": list(found.phases), "pick_by": policy.pick_by}


def _filter(one: dict[str, Any]) -> str:
    phases = ", ".join(one["phases"])
    return f"{one['class']} ({phases})" if one["name"] is None else f"{one['name']} ({one['class']}: {phases})"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else noun.removesuffix('y') + 'ies' if noun.endswith('y') else noun + 's'}"


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
