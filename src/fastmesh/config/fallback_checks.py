"""What must hold between the steps of a fallback, and between them and what stands around them.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from fastmesh.config.chains import check_quarantine
from fastmesh.config.checks import Clusters, Finder, check_edits, check_reference, map_of, maps_of, measure_of, text_of
from fastmesh.config.fallback import CONDITIONS, KINDS, LAST_STATUS, REASONS, FallbackStep, statuses_of
from fastmesh.config.fields import closest, shown
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.units import format_size, parse_size

_TARGETS = ("response", "redirect")
_OF_CLUSTER = ("subset", "rewrite", "request_headers", "non_idempotent")
_KEYS = tuple(FallbackStep.model_fields)
_KEPT = ("GET", "HEAD")
_BODILESS = ("204", "205", "304")
# Further reasons than these are named by nobody who writes gateway-error.
_GATEWAY = frozenset(REASONS[:7]) | {"502", "503", "504"}


def check_fallbacks(tree: Tree) -> list[Problem]:
    """Every contradiction in the fallbacks of the file."""
    find = Finder(tree)
    root = map_of(tree.value)
    # Names are looked for where the list of them can be read.
    items = root.get("clusters", [])
    clusters: Clusters = None
    if isinstance(items, list) and all(isinstance(item, dict) and text_of(item, "name") for item in items):
        clusters = {str(item["name"]): None for item in items if isinstance(item, dict)}
    for i, listener in maps_of(root, "listeners"):
        path: Path = ("listeners", i)
        shared = listener.get("fallback")
        if shared is not None and listener.get("protocol") == "tcp":
            find.add((*path, "fallback"), "a tcp listener has no requests that could be answered otherwise", key=True,
                     hint="remove fallback, or write protocol: http")
            continue
        _chain(find, (*path, "fallback"), shared, clusters)
        for j, route in maps_of(listener, "routes"):
            _route(find, (*path, "routes", j), route, clusters)
    return find.problems


def _route(find: Finder, path: Path, route: dict[str, Value], clusters: Clusters) -> None:
    own = route.get("fallback")
    if own is None:
        return
    at = (*path, "fallback")
    leads = next((key for key in _TARGETS if route.get(key) is not None), None)
    if leads is not None and own != []:
        find.add(at, f"the route has a {leads}, so nothing fails", key=True, hint="remove fallback")
        return
    _chain(find, at, own, clusters)
    for i, step in maps_of(route, "fallback"):
        _step_of_route(find, (*at, i), step, route)


def _step_of_route(find: Finder, path: Path, step: dict[str, Value], route: dict[str, Value]) -> None:
    name = text_of(step, "cluster")
    split = map_of(route.get("clusters"))
    if name is not None and (name == route.get("cluster") or [*split] == [name]):
        if step.get("subset") is None:
            find.add((*path, "cluster"), f"{shown(name)} is the route's own cluster, which has just failed",
                     hint="name another one, or a subset of it; retry says how often the same is tried")
        elif _texts(step["subset"]) == _texts(route.get("subset")):
            find.add((*path, "subset"), "this is the route's own subset, which has just failed",
                     hint="name another one; retry says how often the same is tried")
    methods = map_of(route.get("match")).get("methods")
    if step.get("stale") is not None and isinstance(methods, list) and methods and not {
            str(method) for method in methods} & set(_KEPT):
        find.add((*path, "stale"), "the route takes no GET or HEAD, so there is never a copy", key=True,
                 hint="remove the step, or add GET to the methods of the match")
    if map_of(step.get("rewrite")).get("prefix") is not None:
        rewrite, match = map_of(route.get("rewrite")), map_of(route.get("match"))
        if not (rewrite.get("prefix") is not None or match.get("prefix") is not None) or (
                rewrite.get("path") is not None or rewrite.get("template") is not None):
            find.add((*path, "rewrite", "prefix"), "there is no prefix that this could take the place of", key=True,
                     allowed="a route with a prefix in its match, or in its rewrite", hint="write path here")


def _texts(subset: Value) -> dict[str, str] | None:
    """Names and values; None for one that a header of the request has a part in."""
    values = {name: value.get("value") if isinstance(value, dict) else value for name, value in map_of(subset).items()}
    return {name: str(value) for name, value in values.items()} if None not in values.values() else None


def _chain(find: Finder, path: Path, value: Value, clusters: Clusters) -> None:
    steps = value if isinstance(value, list) else []
    stale: int | None = None
    done: dict[str, int] = {}       # what steps that always answer are for
    for i, step in enumerate(steps):
        at = (*path, i)
        if not isinstance(step, dict):
            continue
        given = [key for key in KINDS if key in step]
        for key in given[1:]:
            find.add((*at, key), f"the step has both a {given[0]} and a {key}", key=True,
                     hint="make two steps of it, in the order in which they are to be tried")
        if not given and not any(find.is_broken((*at, key)) for key in KINDS) and not any(
                closest(key, KINDS) for key in step if key not in _KEYS):
            find.add(at, "the step does nothing", allowed="one of cluster, stale, response and use",
                     hint="add response: {status: 503}, or remove the step")
        if "stale" in step:
            if stale is not None:
                find.add((*at, "stale"), f"the copies are asked already by the step on line "
                         f"{find.line((*path, stale))}", key=True, hint="remove one of them")
            stale = i
        _step(find, at, step, given, clusters)
        names = _named(step.get("on"))
        if names is not None and names and all(name in done for name in names):
            before = done[next(iter(names))]
            find.add(at, f"the step is never reached: the one on line {find.line((*path, before))} answers always",
                     hint="put it before that one, or give it other failures in on")
        if given == ["response"] and names is not None:
            for name in names:
                done.setdefault(name, i)


def _named(on: Value) -> set[str] | None:
    """All that a step is for, one by one; None when it cannot be read."""
    found: set[str] = set()
    for condition in on if isinstance(on, list) else ["gateway-error"]:
        text = str(condition)
        statuses = statuses_of(text)
        if statuses is not None:
            found |= {str(status) for status in statuses}
        elif text == "5xx":
            found |= _GATEWAY | {str(status) for status in range(500, LAST_STATUS + 1)}
        elif text == "gateway-error":
            found |= _GATEWAY
        elif text in CONDITIONS:
            found.add(text)
        else:
            return None
    return found


def _step(find: Finder, path: Path, step: dict[str, Value], given: list[str], clusters: Clusters) -> None:
    check_reference(find, (*path, "cluster"), step.get("cluster"), clusters)
    if "cluster" not in given:
        for key in _OF_CLUSTER:
            if step.get(key) is not None:
                find.add((*path, key), f"{key} is of a step with a cluster", key=True, hint=f"remove {key}")
    _of_use(find, path, step, given)
    rewrite = map_of(step.get("rewrite"))
    if rewrite.get("prefix") is not None and rewrite.get("path") is not None:
        find.add((*path, "rewrite", "path"), "the rewrite has both a prefix and a path", key=True,
                 hint="remove one of them")
    check_edits(find, (*path, "request_headers"), map_of(step.get("request_headers")))
    response = map_of(step.get("response"))
    status = text_of(response, "status")
    if status in _BODILESS and response.get("body"):
        find.add((*path, "response", "body"), f"an answer with status {status} has no body", key=True,
                 hint="remove the body, or choose another status")
    stale = map_of(step.get("stale"))
    body = measure_of(stale, "max_body", parse_size, "1MiB")
    whole = measure_of(stale, "max_bytes", parse_size, "16MiB")
    if body is not None and whole is not None and body > whole:
        at = (*path, "stale", "max_body" if "max_body" in stale else "max_bytes")
        find.add(at, f"one body may have {format_size(body)}, all copies together only {format_size(whole)}",
                 hint="make max_bytes the larger one")


def _of_use(find: Finder, path: Path, step: dict[str, Value], given: list[str]) -> None:
    """Keys that only a policy has, its settings among them."""
    if "use" in given or find.is_broken((*path, "use")):
        check_quarantine(find, (*path, "quarantine"), map_of(step.get("quarantine")))
        return
    if "cluster" not in given and step.get("timeout") is not None:
        find.add((*path, "timeout"), "timeout is of a step with a cluster, or with use", key=True,
                 hint="remove timeout")
    for key in FallbackStep.OF_USE:
        if step.get(key) is not None:
            find.add((*path, key), f"{key} is of a step with use", key=True, hint=f"remove {key}")
    for key in step:
        if key not in _KEYS:
            find.add((*path, key), f"unknown key {shown(key)}", allowed=", ".join(_KEYS), key=True,
                     hint=closest(key, _KEYS) or "remove it; settings of one's own stand beside use")
