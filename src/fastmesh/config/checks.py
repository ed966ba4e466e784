"""What must hold between the parts of a configuration: names, references, combinations.

The checks for errors work on what the file says, not on the models, so that they still run when
another part of the file is wrong: all errors come in one go. Each looks only at what it can read;
a value that does not parse has been reported by its field.
"""

import contextlib
import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from fastmesh.config.address import Address, parse_address
from fastmesh.config.capture import captures_of, pieces_of
from fastmesh.config.fields import shown
from fastmesh.config.log_format import MAX_OWN_TEXT, compile_json, own_text
from fastmesh.config.match import PATHS
from fastmesh.config.regex import Regex, compile_regex
from fastmesh.config.report import Path, anchor, path_text
from fastmesh.config.template import compile_template
from fastmesh.config.value_match import KINDS
from fastmesh.config.yaml_tree import MapMark, Tree, Value
from fastmesh.errors import Problem, WrongValue
from fastmesh.units import format_duration, format_size, parse_duration, parse_size

_MAX_PROBLEMS = 1_000       # more are not recorded
MAX_ALL_CELLS = 8 << 20     # steps in the tables of all patterns, two bytes each
_MAX_SUGGESTIONS = 20       # each compares a name with all others
FAULTS = ("delay", "abort", "grpc_status", "bandwidth", "request_bandwidth")
TARGETS = ("cluster", "clusters", "response", "redirect")       # where a route leads
_BODILESS = ("204", "205", "304")

READERS: tuple[tuple[str, Callable[[str], Regex]], ...] = (("regex", compile_regex), ("template", compile_template))

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

    def unknown(self, path: Path, noun: str, name: str, known: Collection[str], hint: str, *,
                key: bool = False) -> None:
        """There is nothing of that name among those that are known; `hint` says what to do when none is like it."""
        close: list[str] = []
        if known and self.suggestions:
            self.suggestions -= 1
            close = difflib.get_close_matches(name[:127], known, 1, 0.5)
        some = ", ".join(list(known)[:8]) + (f" and {len(known) - 8:,} more" if len(known) > 8 else "")
        self.add(path, f"there is no {noun} {shown(name)}", allowed=some, hint=f"write {close[0]}" if close else hint,
                 key=key)

    def place(self, path: Path) -> str:
        """`file:line:column: listeners[0].filters[1].use`."""
        mark, _ = self.tree.find(path)
        line, column = self.tree.source.position(mark.start)
        return f"{self.tree.source.name}:{line}:{column}: {path_text(path)}"

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
    for key in ("listeners", "clusters"):
        check_names(find, (((key, i), item) for i, item in maps_of(root, key)),
                    f"give each of the {key} a name of its own")
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
    _tables(find, root)
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
    check_reference(find, (*path, "cluster"), cluster, clusters)
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
    given = [key for key in TARGETS if route.get(key) is not None]
    for key in given[1:]:
        find.add((*path, key), f"the route has both a {given[0]} and a {key}", key=True, hint="remove one of them")
    if not given and not any(find.is_broken((*path, key)) for key in TARGETS):
        find.add(path, "the route leads nowhere", hint="add cluster: and the name of a cluster, or "
                                                       "response: {status: 403}")
    check_reference(find, (*path, "cluster"), cluster, clusters)
    match = map_of(route.get("match"))
    check_match(find, (*path, "match"), match)
    for key in ("rewrite", "request_headers", "faults", "mirrors"):
        if route.get(key) not in (None, []) and given and not {"cluster", "clusters"} & set(given):
            find.add((*path, key), f"the route has a {given[0]}, so nobody gets the request", key=True,
                     hint=f"remove {key}")
    for key in ("rewrite", "redirect"):
        _change(find, (*path, key), map_of(route.get(key)), (*path, "match"), match)
    _split(find, path, route, clusters)
    for i, mirror in maps_of(route, "mirrors"):
        check_reference(find, (*path, "mirrors", i, "cluster"), mirror.get("cluster"), clusters)
        check_match(find, (*path, "mirrors", i, "match"), map_of(mirror.get("match")))
    for i, fault in maps_of(route, "faults"):
        check_match(find, (*path, "faults", i, "match"), map_of(fault.get("match")))
        _fault(find, (*path, "faults", i), fault)
    for key in ("request_headers", "response_headers"):
        check_edits(find, (*path, key), map_of(route.get(key)))
    answer = map_of(response)
    status = text_of(answer, "status")
    if status in _BODILESS and answer.get("body"):
        find.add((*path, "response", "body"), f"an answer with status {status} has no body", key=True,
                 hint="remove the body, or choose another status")


def _fault(find: Finder, path: Path, fault: dict[str, Value]) -> None:
    given = [key for key in FAULTS if fault.get(key) is not None]
    if fault.get("from_headers") == "true":
        for key in given:
            find.add((*path, key), f"the fault does what the request asks for, and has a {key} of its own", key=True,
                     hint="make two faults of it")
    elif not given:
        find.add(path, "the fault does nothing", allowed="delay, abort, bandwidth, or several of them",
                 hint="write delay: 200ms, or abort: 503")
    if "abort" in given and "grpc_status" in given:
        find.add((*path, "grpc_status"), "the fault has both an abort and a grpc_status", key=True,
                 hint="remove abort: others than callers of gRPC get the HTTP status that says the same")


def _change(find: Finder, path: Path, change: dict[str, Value], match_path: Path, match: dict[str, Value]) -> None:
    """Of a rewrite or redirect: another path."""
    given = [key for key in ("prefix", "path", "template") if change.get(key) is not None]
    for key in given[1:]:
        find.add((*path, key), f"the {path[-1]} has both a {given[0]} and a {key}", key=True, hint="remove one of them")
    if len(given) != 1 or find.is_broken(match_path):
        return
    if given == ["prefix"] and not any(match.get(key) is not None or find.is_broken((*match_path, key))
                                       for key in ("prefix", "starts_with")):
        find.add((*path, "prefix"), "the match has no prefix that this could take the place of", key=True,
                 hint="write prefix in the match, or path here")
    elif given == ["template"] and (text := text_of(change, "template")) is not None:
        patterns = [(key, read) for key, read in READERS if match.get(key) is not None]
        if not patterns and not any(find.is_broken((*match_path, key)) for key, _ in READERS):
            find.add((*path, "template"), "the match has no template or regex whose parts this could be made of",
                     key=True, hint="write template in the match, or path here")
        for key, read in patterns:
            try:
                found = read(text_of(match, key) or "")
            except WrongValue:
                continue        # told by the field
            try:
                pieces_of(text, found)
            except WrongValue as wrong:
                find.add((*path, "template"), f"found {wrong.found}", allowed=wrong.allowed, hint=wrong.hint)


def _split(find: Finder, path: Path, route: dict[str, Value], clusters: Clusters) -> None:
    weights = map_of(route.get("clusters"))
    for name in weights:
        check_reference(find, (*path, "clusters", name), name, clusters, key=True)
    shares = list(weights.values())
    for i, part in maps_of(route, "clusters"):
        check_reference(find, (*path, "clusters", i, "cluster"), part.get("cluster"), clusters)
        shares.append(part.get("weight"))
    if shares and all(share == "0" for share in shares):
        find.add((*path, "clusters"), "all weights are 0, so no request goes anywhere", key=True,
                 hint="give one of them a weight")
    elif route.get("clusters") in ({}, []):
        find.add((*path, "clusters"), "the route leads to none of several clusters", key=True,
                 hint="write {app: 90, app-next: 10}, with names of clusters")
    sticky = route.get("sticky")
    if not isinstance(sticky, dict):
        return
    if route.get("clusters") is None and not find.is_broken((*path, "clusters")):
        find.add((*path, "sticky"), "sticky is for clusters, and the route has none to choose between", key=True,
                 hint="remove sticky, or write clusters: {app: 90, app-next: 10}")
    given = [key for key in ("header", "cookie") if sticky.get(key) is not None]
    if len(given) != 1 and not any(find.is_broken((*path, "sticky", key)) for key in ("header", "cookie")):
        find.add((*path, "sticky"), "sticky has both a header and a cookie" if given else "sticky names nothing",
                 key=True,
                 hint="name one header or one cookie")


def check_edits(find: Finder, path: Path, edits: dict[str, Value]) -> None:
    removed = edits.get("remove")
    gone = {name.lower() for name in removed if isinstance(name, str)} if isinstance(removed, list) else set()
    for key in ("set", "add"):
        seen: set[str] = set()
        for name in map_of(edits.get(key)):
            if name.lower() in seen:
                find.add((*path, key, name), f"the header {shown(name)} is there twice", key=True,
                         hint="names are compared without case; remove one of them")
            seen.add(name.lower())
            if key == "set" and name.lower() in gone:
                find.add((*path, key, name), f"the header {shown(name)} is set and removed", key=True,
                         hint="set replaces what was there: leave it out of remove, or remove it here")


def check_match(find: Finder, path: Path, match: dict[str, Value]) -> None:
    """What the keys of a match must not say together."""
    given = [key for key in PATHS if match.get(key) is not None]
    for key in given[1:]:
        find.add((*path, key), f"the match has both a {given[0]} and a {key}", key=True,
                 hint="remove one of them: prefix is the beginning, path the whole"
                 if (given[0], key) == ("prefix", "path") else "remove one of them")
    for place in ("headers", "query", "cookies"):
        for name, value in map_of(match.get(place)).items():
            if isinstance(value, dict):
                _value_match(find, (*path, place, name), value)
    seen: dict[str, str] = {}
    for name in map_of(match.get("headers")):
        if name.lower() in seen:
            find.add((*path, "headers", name), f"the header {shown(name)} is there twice, as "
                     f"{shown(seen[name.lower()])} too", key=True,
                     hint="names are compared without case; remove one of them")
        seen[name.lower()] = name


def _value_match(find: Finder, path: Path, value: dict[str, Value]) -> None:
    given = [key for key in (*KINDS, "min", "max") if value.get(key) is not None]
    kinds = ["min" if key == "max" and "min" in given else key for key in given]
    if not given and not any(find.is_broken((*path, key)) for key in (*KINDS, "min", "max")):
        find.add(path, "the match does not say what the value must be", allowed="one of "
                 f"{', '.join(KINDS)}, min and max", hint="write present: true when any value will do")
    elif len(set(kinds)) > 1:
        second = next(key for key, kind in zip(given, kinds, strict=True) if kind != kinds[0])
        find.add((*path, second), f"the match has both {given[0]} and {second}", key=True, hint="remove one of them")
    elif given[:1] == ["present"] and value.get("invert") == "true":
        find.add((*path, "invert"), "present with invert says the opposite of what it says", key=True,
                 hint=f"write present: {'false' if value['present'] == 'true' else 'true'} alone")
    low, high = text_of(value, "min"), text_of(value, "max")
    with contextlib.suppress(ValueError):
        if low is not None and high is not None and int(low) > int(high):
            find.add((*path, "max"), f"max is {high}, less than min, {low}", hint="make max the larger one")


def check_reference(find: Finder, path: Path, name: Value, clusters: Clusters, *, key: bool = False) -> None:
    if clusters is None or not isinstance(name, str) or name in clusters:
        return
    find.unknown(path, "cluster", name, clusters,
                 "" if clusters else "add it to clusters, where there is none yet", key=key)


def check_names(find: Finder, named: Iterable[tuple[Path, dict[str, Value]]], hint: str) -> None:
    """Each has a name of its own, or none."""
    seen: dict[str, Path] = {}
    for path, item in named:
        name = text_of(item, "name")
        if name is None:
            continue
        if name in seen:
            find.add((*path, "name"), f"the name {shown(name)} is taken by {path_text(seen[name])} on line "
                     f"{find.line((*seen[name], 'name'))}", hint=hint)
        else:
            seen[name] = path


def check_references(find: Finder, path: Path, items: Sequence[Value], noun: str, known: Collection[str] | None,
                     hint: Callable[[str], str]) -> None:
    """Names in a list, among what is written in place: each is known, and stands there once. `known`: None when they
    cannot be read; `hint` is told the name."""
    seen: dict[str, int] = {}
    for i, item in enumerate(items):
        if not isinstance(item, str):
            continue
        if item in seen:
            find.add((*path, i), f"the {noun} {shown(item)} is there twice, first on line "
                     f"{find.line((*path, seen[item]))}", hint="remove one of them")
        seen.setdefault(item, i)
        if known is not None and item not in known:
            find.unknown((*path, i), noun, item, known, hint(item[:60]))


def _tables(find: Finder, root: dict[str, Value]) -> None:
    """Workers hold the tables of all patterns: each is bounded, and so is their sum."""
    seen: set[tuple[str, bool]] = set()
    cells = 0
    for path, owner in _matching(root):
        is_made_of = any(map_of(owner.get(key)).get("template") is not None for key in ("rewrite", "redirect"))
        for place, text, read in _patterns(map_of(owner.get("match"))):
            key = (text, is_made_of and len(place) == 1)
            if key in seen:
                continue
            seen.add(key)
            with contextlib.suppress(WrongValue):
                found = read(text)
                cells += len(found.automaton.table)
                if key[1]:
                    captures = captures_of(found)
                    cells += sum(len(part.table) for part in (*captures.forward, *captures.rest))
            if cells > MAX_ALL_CELLS:
                find.add((*path, "match", *place), f"the tables of all patterns up to here have {cells:,} steps",
                         allowed=f"at most {MAX_ALL_CELLS:,}", hint="make the patterns simpler, or fewer")
                return


def _matching(root: dict[str, Value]) -> Iterator[tuple[Path, dict[str, Value]]]:
    """Whatever may have a match: routes, filters and rate limits."""
    owners: list[tuple[Path, dict[str, Value]]] = [((), root)]
    for i, listener in maps_of(root, "listeners"):
        owners.append((("listeners", i), listener))
        for j, route in maps_of(listener, "routes"):
            owners.append((("listeners", i, "routes", j), route))
            yield owners[-1]
    owners += [(("clusters", i), cluster) for i, cluster in maps_of(root, "clusters")]
    for path, owner in owners:
        for key in ("filters", "rate_limits", "faults", "mirrors"):
            for i, item in maps_of(owner, key):
                yield (*path, key, i), item


def _patterns(match: dict[str, Value]) -> Iterator[tuple[Path, str, Callable[[str], Regex]]]:
    for key, read in READERS:
        if (text := text_of(match, key)) is not None:
            yield (key,), text, read
    for key in ("headers", "query", "cookies"):
        for name, value in map_of(match.get(key)).items():
            if isinstance(value, dict) and (text := text_of(value, "regex")) is not None:
                yield (key, name, "regex"), text, compile_regex


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
    for key, plain_base, plain_max in (("avoid", "1s", "30s"), ("outlier", "30s", "5m")):
        times = map_of(cluster.get(key))
        base = measure_of(times, "base", parse_duration, plain_base)
        longest = measure_of(times, "max", parse_duration, plain_max)
        if base is not None and longest is not None and base > longest:
            at = (*path, key, "base" if "base" in times else "max")
            find.add(at, f"{key}.base is {format_duration(base)}, more than {key}.max, {format_duration(longest)}",
                     hint=f"make {key}.max the larger one")


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
