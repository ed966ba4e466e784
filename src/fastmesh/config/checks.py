"""What must hold between the parts of a configuration: names, references, combinations.

The checks for errors work on what the file says, not on the models, so that they still run when
another part of the file is wrong: all errors come in one go. Each looks only at what it can read;
a value that does not parse has been reported by its field.
"""

import difflib
from collections.abc import Iterator
from typing import Any

from fastmesh.config.address import Address, parse_address
from fastmesh.config.fields import shown
from fastmesh.config.log_format import MAX_OWN_TEXT, compile_json, own_text
from fastmesh.config.report import Path, anchor, path_text
from fastmesh.config.yaml_tree import MapMark, Tree, Value
from fastmesh.errors import Problem, WrongValue
from fastmesh.units import format_duration, format_size, parse_duration, parse_size

_MAX_PROBLEMS = 1_000       # more are not recorded
_MAX_SUGGESTIONS = 20       # each compares a name with all others
_BODILESS = ("204", "205", "304")

Clusters = dict[str, None] | None   # the names of a file's clusters, in order; None when they cannot be read


class Finder:
    """Collects problems at places of one file."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self.suggestions = _MAX_SUGGESTIONS

    def add(self, path: Path, reason: str, *, allowed: str = "", hint: str = "", severity: str = "error",
            key: bool = False) -> None:
        """`key` points at the key itself, not at its value."""
        if len(self.problems) >= _MAX_PROBLEMS:
            return
        mark, _ = self.tree.find(path)
        start, end = mark.start, mark.end
        if key and path:
            parent, _ = self.tree.find(path[:-1])
            if isinstance(parent, MapMark) and path[-1] in parent.keys:
                start, end = parent.keys[path[-1]]
        self.problems.append(self.tree.source.problem(
            reason, start, end, path=path_text(path), allowed=allowed, hint=hint, severity=severity,
            anchor=anchor(path)))

    def line(self, path: Path) -> int:
        mark, _ = self.tree.find(path)
        return self.tree.source.position(mark.start)[0]

    def is_broken(self, path: Path) -> bool:
        """The value could not be read, or its key is misspelled. That is reported; nothing follows from its absence."""
        mark, taken = self.tree.find(path)
        return path in self.tree.meant or (taken == len(path) and self.tree.is_broken(mark))


def check(tree: Tree) -> list[Problem]:
    """Every error between the parts of the file."""
    find = Finder(tree)
    root = map_of(tree.value)
    _names(find, root, "listeners")
    _names(find, root, "clusters")
    clusters: Clusters = dict.fromkeys(
        name for _, item in maps_of(root, "clusters") if (name := text_of(item, "name")) is not None)
    if isinstance(root.get("clusters"), dict):
        # Written as a mapping instead of a list: that is reported, and each reference would be a second report of it.
        clusters = None
    _addresses(find, root)
    for i, listener in maps_of(root, "listeners"):
        _listener(find, ("listeners", i), listener, clusters)
    for i, cluster in maps_of(root, "clusters"):
        _cluster(find, ("clusters", i), cluster)
    _access_log(find, map_of(root.get("access_log")))
    return find.problems


# --- reading what may be anything --------------------------------------------

def map_of(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def maps_of(value: dict[str, Value], key: str) -> Iterator[tuple[int, dict[str, Value]]]:
    items = value.get(key)
    if isinstance(items, list):
        for i, item in enumerate(items):
            if isinstance(item, dict):
                yield i, item


def text_of(value: dict[str, Value], key: str) -> str | None:
    item = value.get(key)
    return item if isinstance(item, str) else None


def measure_of(value: dict[str, Value], key: str, parse: Any, default: str) -> int | None:
    item = value.get(key, default)
    try:
        return int(parse(item)) if isinstance(item, str) else None
    except WrongValue:
        return None


def _address(value: Value) -> Address | None:
    if isinstance(value, dict):
        value = value.get("address")
    try:
        return parse_address(value) if isinstance(value, str) else None
    except WrongValue:
        return None


# --- names and addresses ------------------------------------------------------

def _names(find: Finder, root: dict[str, Value], key: str) -> None:
    seen: dict[str, int] = {}
    for i, item in maps_of(root, key):
        name = text_of(item, "name")
        if name is None:
            continue
        if name in seen:
            first: Path = (key, seen[name], "name")
            find.add((key, i, "name"), f"the name {shown(name)} is taken by {path_text(first[:2])} on line "
                                       f"{find.line(first)}", hint=f"give each of the {key} a name of its own")
        else:
            seen[name] = i


def _addresses(find: Finder, root: dict[str, Value]) -> None:
    """Two that listen on one address."""
    seen: dict[tuple[int, bytes, int], Path] = {}
    places: list[tuple[Path, Value]] = [(("admin", "address"), map_of(root.get("admin")).get(
        "address", "127.0.0.1:15000"))]
    places += [(("listeners", i, "address"), item.get("address")) for i, item in maps_of(root, "listeners")]
    for path, value in places:
        address = _address(value)
        if address is None:
            continue
        key = (address.family, address.packed, address.port)
        if key in seen:
            first = seen[key]
            where = path_text(first[:-1])
            line = f" on line {find.line(first)}" if find.tree.find(first)[1] == len(first) else " (by default)"
            find.add(path, f"the address {address} is taken by {where}{line}", hint="choose another port")
        else:
            seen[key] = path
    admin = _address(places[0][1])
    if admin is None or admin.family == 1:
        return
    for path, value in places[1:]:
        address = _address(value)
        # The admin socket is not shared, so a wildcard of the same port collides with it.
        if (address is not None and address.family == admin.family and address.port == admin.port
                and address.is_any != admin.is_any):
            find.add(path, f"the address {address} overlaps with that of the admin API, {admin}",
                     hint="choose another port")


# --- listeners and routes -------------------------------------------------------

def _listener(find: Finder, path: Path, listener: dict[str, Value], clusters: Clusters) -> None:
    protocol = text_of(listener, "protocol") if "protocol" in listener else "http"
    cluster, routes = listener.get("cluster"), listener.get("routes")
    name = f" {shown(listener['name'])}" if text_of(listener, "name") else ""
    if protocol == "tcp":
        if routes is not None:
            find.add((*path, "routes"), "a tcp listener has no routes", key=True,
                     hint="name a cluster instead, or write protocol: http")
        if cluster is None and not find.is_broken((*path, "cluster")):
            find.add(path, f"the tcp listener{name} has no cluster", hint="add cluster: and the name of a cluster")
    elif protocol == "http":
        if cluster is not None:
            find.add((*path, "cluster"), "an http listener has routes, not a cluster", key=True,
                     hint=f"write routes: [{{match: {{prefix: /}}, cluster: {cluster}}}], or protocol: tcp"
                     if isinstance(cluster, str) else "write routes, or protocol: tcp")
        elif ("routes" not in listener or routes == []) and not find.is_broken((*path, "routes")):
            find.add(path, f"the http listener{name} has no routes",
                     hint="add routes: [{match: {prefix: /}, cluster: NAME}], or write protocol: tcp and a cluster")
    _reference(find, (*path, "cluster"), cluster, clusters)
    for i, route in maps_of(listener, "routes"):
        _route(find, (*path, "routes", i), route, clusters)
    limits = map_of(listener.get("limits"))
    head = measure_of(limits, "head", parse_size, "60KiB")
    line = measure_of(limits, "request_line", parse_size, "16KiB")
    if head is not None and line is not None and line > head:
        at = (*path, "limits", "request_line" if "request_line" in limits else "head")
        find.add(at, f"the request line may be {format_size(line)}, the whole head only {format_size(head)}",
                 hint="make limits.head the larger one")


def _route(find: Finder, path: Path, route: dict[str, Value], clusters: Clusters) -> None:
    cluster, response = route.get("cluster"), route.get("response")
    if cluster is not None and response is not None:
        find.add((*path, "response"), "the route has both a cluster and a response", key=True,
                 hint="remove one of them")
    elif cluster is None and response is None and not (
            find.is_broken((*path, "cluster")) or find.is_broken((*path, "response"))):
        find.add(path, "the route leads nowhere", hint="add cluster: and the name of a cluster, or "
                                                       "response: {status: 403}")
    _reference(find, (*path, "cluster"), cluster, clusters)
    check_match(find, (*path, "match"), map_of(route.get("match")))
    answer = map_of(response)
    status = text_of(answer, "status")
    if status in _BODILESS and answer.get("body"):
        find.add((*path, "response", "body"), f"an answer with status {status} has no body", key=True,
                 hint="remove the body, or choose another status")


def check_match(find: Finder, path: Path, match: dict[str, Value]) -> None:
    """What the keys of a match must not say together."""
    if match.get("prefix") is not None and match.get("path") is not None:
        find.add((*path, "path"), "the match has both a prefix and a path", key=True,
                 hint="remove one of them: prefix is the beginning, path the whole")
    seen: dict[str, str] = {}
    for name in map_of(match.get("headers")):
        if name.lower() in seen:
            find.add((*path, "headers", name), f"the header {shown(name)} is there twice, as "
                     f"{shown(seen[name.lower()])} too", key=True,
                     hint="names are compared without case; remove one of them")
        seen[name.lower()] = name


def _reference(find: Finder, path: Path, name: Value, clusters: Clusters) -> None:
    if clusters is None or not isinstance(name, str) or name in clusters:
        return
    if not clusters:
        find.add(path, f"there is no cluster {shown(name)}", hint="add it to clusters, where there is none yet")
        return
    close: list[str] = []
    if find.suggestions:
        find.suggestions -= 1
        close = difflib.get_close_matches(name[:127], clusters, 1, 0.5)
    some = ", ".join(list(clusters)[:8]) + (f" and {len(clusters) - 8:,} more" if len(clusters) > 8 else "")
    find.add(path, f"there is no cluster {shown(name)}", allowed=some, hint=f"write {close[0]}" if close else "")


# --- clusters ---------------------------------------------------------------------

def _cluster(find: Finder, path: Path, cluster: dict[str, Value]) -> None:
    endpoints = cluster.get("endpoints")
    if isinstance(endpoints, list):
        seen: dict[tuple[int, bytes, int], int] = {}
        for i, endpoint in enumerate(endpoints):
            address = _address(endpoint)
            if address is None:
                continue
            first = seen.setdefault((address.family, address.packed, address.port), i)
            if first != i:
                find.add((*path, "endpoints", i), f"the endpoint {address} is there twice, first on line "
                         f"{find.line((*path, 'endpoints', first))}",
                         hint="remove one of them; to give it more requests, give it a weight")
    avoid = map_of(cluster.get("avoid"))
    base = measure_of(avoid, "base", parse_duration, "1s")
    longest = measure_of(avoid, "max", parse_duration, "30s")
    if base is not None and longest is not None and base > longest:
        at = (*path, "avoid", "base" if "base" in avoid else "max")
        find.add(at, f"avoid.base is {format_duration(base)}, more than avoid.max, {format_duration(longest)}",
                 hint="make avoid.max the larger one")


def _access_log(find: Finder, log: dict[str, Value]) -> None:
    form = text_of(log, "format") if "format" in log else "json"
    for key, wanted in (("template", "text"), ("fields", "json")):
        if log.get(key) is not None and form != wanted and form in ("json", "text"):
            find.add(("access_log", key), f"{key} is for format: {wanted}, and the format is {form}", key=True,
                     hint=f"write format: {wanted}, or remove {key}")
    fields = {key: value for key, value in map_of(log.get("fields")).items() if isinstance(value, str)}
    try:
        size = own_text(compile_json(fields))
    except WrongValue:
        return
    if size > MAX_OWN_TEXT:
        find.add(("access_log", "fields"), f"found {size:,} bytes of keys and constant text", key=True,
                 allowed=f"at most {MAX_OWN_TEXT:,}", hint="shorten the constant texts")
