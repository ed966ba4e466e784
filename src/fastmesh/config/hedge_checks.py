"""What must hold between a rule for attempts beside the first and what stands around it."""

from fastmesh.config.checks import Finder, map_of, maps_of, measure_of
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.units import format_duration, parse_duration

_TARGETS = ("response", "redirect")


def check_hedges(tree: Tree) -> list[Problem]:
    """Every contradiction in the rules of the file."""
    find = Finder(tree)
    for i, listener in maps_of(map_of(tree.value), "listeners"):
        path: Path = ("listeners", i)
        shared = listener.get("hedge")
        if shared is not None and listener.get("protocol") == "tcp":
            find.add((*path, "hedge"), "a tcp listener has no requests that could be sent twice", key=True,
                     hint="remove hedge, or write protocol: http")
            continue
        retry = map_of(listener.get("retry"))
        _rule(find, (*path, "hedge"), map_of(shared))
        timeout = measure_of(map_of(listener.get("timeouts")), "request", parse_duration, "0")
        for j, route in maps_of(listener, "routes"):
            _route(find, (*path, "routes", j), route, map_of(shared), retry, timeout)
    return find.problems


def _route(find: Finder, path: Path, route: dict[str, Value], shared: dict[str, Value], retry: dict[str, Value],
           timeout: int | None) -> None:
    own = route.get("hedge")
    leads = next((key for key in _TARGETS if route.get(key) is not None), None)
    if leads is not None:
        if own is not None:
            find.add((*path, "hedge"), f"the route has a {leads}, so nothing is sent anywhere", key=True,
                     hint="remove hedge")
        return
    _rule(find, (*path, "hedge"), map_of(own))
    rule = map_of(shared if own is None else own)
    if route.get("retry") is not None:
        retry = map_of(route["retry"])
    at = (*path, "hedge") if own is not None else (*path[:2], "hedge")
    if rule.get("on") == "per_try_timeout" and retry.get("per_try_timeout") is None:
        if own is not None or not find.is_broken((*at, "on")):
            find.add((*at, "on"), "no attempt is ever too slow, as the retry of the route has no per_try_timeout",
                     hint="add retry: {per_try_timeout: 500ms}, or remove on")
        return
    if "timeout" in route:
        timeout = measure_of(route, "timeout", parse_duration, "0")
    delay = _fixed(rule)
    if timeout and delay is not None and delay >= timeout and own is not None:
        find.add((*at, "delay"), f"it is {format_duration(delay)}, and the whole request may take only "
                 f"{format_duration(timeout)}: there is never another attempt", hint="make delay the smaller one")


def _fixed(rule: dict[str, Value]) -> int | None:
    delay = rule.get("delay")
    if not isinstance(delay, str) or delay.startswith("p"):
        return None
    return measure_of(rule, "delay", parse_duration, "0")


def _rule(find: Finder, path: Path, rule: dict[str, Value]) -> None:
    if rule.get("on") == "per_try_timeout":
        for key in ("delay", "min_delay"):
            if rule.get(key) is not None:
                find.add((*path, key), f"on is per_try_timeout, so {key} says nothing", key=True,
                         hint=f"remove {key}, or remove on")
    elif rule.get("min_delay") is not None and _fixed(rule) is not None:
        find.add((*path, "min_delay"), "delay is no percentile, so min_delay says nothing", key=True,
                 hint="remove min_delay, or write delay: p95")
