"""What must hold between a rule for further attempts and what stands around it.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from fastmesh.config.checks import Finder, map_of, maps_of, measure_of, text_of
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.units import format_duration, parse_duration

_TARGETS = ("response", "redirect")
# What says something only when there are further attempts.
_OF_FURTHER = ("on", "headers", "backoff", "retry_after_max", "non_idempotent", "of_retries")


def check_retries(tree: Tree) -> list[Problem]:
    """Every contradiction in the rules of the file."""
    find = Finder(tree)
    for i, listener in maps_of(map_of(tree.value), "listeners"):
        path: Path = ("listeners", i)
        shared = listener.get("retry")
        if shared is not None and listener.get("protocol") == "tcp":
            find.add((*path, "retry"), "a tcp listener has no requests to try again", key=True,
                     hint="remove retry, or write protocol: http; connect_attempts of the cluster holds for tcp, too")
            continue
        _rule(find, (*path, "retry"), map_of(shared))
        timeout = measure_of(map_of(listener.get("timeouts")), "request", parse_duration, "0")
        for j, route in maps_of(listener, "routes"):
            _route(find, (*path, "routes", j), route, map_of(shared), timeout)
    return find.problems


def _route(find: Finder, path: Path, route: dict[str, Value], shared: dict[str, Value], timeout: int | None) -> None:
    own = route.get("retry")
    leads = next((key for key in _TARGETS if route.get(key) is not None), None)
    if own is not None and leads is not None:
        find.add((*path, "retry"), f"the route has a {leads}, so nothing is tried", key=True, hint="remove retry")
        return
    rule = map_of(own)
    _rule(find, (*path, "retry"), rule)
    if "timeout" in route:
        timeout = measure_of(route, "timeout", parse_duration, "0")
    each = _limit(shared if own is None else rule)
    if not timeout or each is None or each < timeout or leads is not None:
        return
    # Where the rule is another one's, the route's timeout is what stands out.
    at = (*path, "retry", "per_try_timeout") if own is not None else (*path, "timeout") if "timeout" in route else None
    if at is not None:
        find.add(at, f"one attempt may take {format_duration(each)}, and the whole request only "
                 f"{format_duration(timeout)}: there is never another attempt",
                 hint="make per_try_timeout the smaller one, small enough for two attempts")
    elif not any(problem.reason.startswith("one attempt may take") for problem in find.problems):
        find.add((*path[:2], "retry", "per_try_timeout"), f"one attempt may take {format_duration(each)}, and a whole "
                 f"request only {format_duration(timeout)}: there is never another attempt",
                 hint="make per_try_timeout the smaller one, small enough for two attempts")


def _limit(rule: dict[str, Value]) -> int | None:
    return measure_of(rule, "per_try_timeout", parse_duration, "0") or None


def _rule(find: Finder, path: Path, rule: dict[str, Value]) -> None:
    if text_of(rule, "attempts") == "1":
        for key in _OF_FURTHER:
            if rule.get(key) is not None:
                find.add((*path, key), f"attempts is 1, so there is no further one that {key} could be about",
                         key=True, hint=f"remove {key}, or make attempts larger")
        return
    on = rule.get("on")
    if isinstance(on, list) and "timeout" in on and rule.get("per_try_timeout") is None and (
            not find.is_broken((*path, "per_try_timeout"))):
        find.add((*path, "on", on.index("timeout")), "no attempt is ever too slow, as there is no per_try_timeout",
                 hint="add per_try_timeout, or remove timeout")
    if on == [] and not rule.get("headers") and rule.get("per_try_timeout") is None and (
            not find.is_broken((*path, "headers")) and not find.is_broken((*path, "per_try_timeout"))):
        find.add((*path, "on"), "the list is empty: nothing is tried again", key=True,
                 hint="name what is, as on: [reset, 503], or write attempts: 1")
    backoff = map_of(rule.get("backoff"))
    base = measure_of(backoff, "base", parse_duration, "25ms")
    longest = measure_of(backoff, "max", parse_duration, "250ms")
    if base is not None and longest is not None and base > longest:
        at = (*path, "backoff", "base" if "base" in backoff else "max")
        find.add(at, f"backoff.base is {format_duration(base)}, more than backoff.max, {format_duration(longest)}",
                 hint="make backoff.max the larger one")
