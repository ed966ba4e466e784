"""`fastmesh check`: everything that is wrong with a configuration, or a summary of it."""

import argparse
import gc
import json
import sys

from fastmesh.config.load import MAX_PROBLEMS, Loaded, load
from fastmesh.config.render import print_problems
from fastmesh.errors import ConfigError


def run(args: argparse.Namespace) -> int:
    """0 when the file can be used, else 1; with `--strict` also 1 for warnings."""
    # A short run with many small objects that all stay alive: collecting finds nothing.
    gc.disable()
    file = "<stdin>" if args.file == "-" else args.file.encode("utf-8", "backslashreplace").decode()
    try:
        loaded = load(args.file)
    except ConfigError as error:
        if args.format == "json":
            _print_json({"ok": False, "errors": [problem.to_dict() for problem in error.problems], "warnings": []})
        else:
            print_problems(error.problems)
            many = len(error.problems) > MAX_PROBLEMS
            count = f"more than {MAX_PROBLEMS} errors" if many else _count(len(error.problems), "error")
            print(f"{file}: {count}", file=sys.stderr)
        return 1
    failed = args.strict and bool(loaded.warnings)
    if args.format == "json":
        _print_json({"ok": not failed, "errors": [], "warnings": [item.to_dict() for item in loaded.warnings],
                     "summary": _summary(loaded)})
    else:
        print_problems(loaded.warnings)
        words = [_count(count, noun) for noun, count in _summary(loaded).items()]
        print(f"{file}: {'refused for its warnings' if failed else 'ok'}: {', '.join(words)}")
    return 1 if failed else 0


def _summary(loaded: Loaded) -> dict[str, int]:
    config = loaded.config
    return {"listener": len(config.listeners),
            "route": sum(len(listener.routes) for listener in config.listeners),
            "cluster": len(config.clusters),
            "endpoint": sum(len(cluster.endpoints) for cluster in config.clusters),
            "warning": len(loaded.warnings)}


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
