"""What must hold between the filters of a configuration, apart from what their classes say.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fastmesh.config.checks import (
    Finder,
    check_match,
    check_names,
    check_references,
    map_of,
    maps_of,
    measure_of,
    text_of,
)
from fastmesh.config.fields import shown
from fastmesh.config.filter import MAX_CHAIN, MAX_FILTERS
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.units import format_duration, parse_duration

_NEEDS_REQUEST = ("prefix", "path", "hosts", "methods", "headers")


class Chain(NamedTuple):
    """One list of filters: where it stands, what it holds, and whose it is."""

    path: Path                  # of the list
    items: list[Value]
    owner: str                  # "listener", "route" or "cluster"
    is_tcp: bool                # of a listener with protocol: tcp


def chains_of(root: dict[str, Value]) -> Iterator[Chain]:
    """Every list of filters below the top level."""
    for i, listener in maps_of(root, "listeners"):
        is_tcp = listener.get("protocol") == "tcp"
        yield Chain(("listeners", i, "filters"), _items(listener), "listener", is_tcp)
        for j, route in maps_of(listener, "routes"):
            yield Chain(("listeners", i, "routes", j, "filters"), _items(route), "route", False)
    for i, cluster in maps_of(root, "clusters"):
        yield Chain(("clusters", i, "filters"), _items(cluster), "cluster", False)


def balancers_of(root: dict[str, Value]) -> Iterator[tuple[Path, dict[str, Value]]]:
    """Every policy that balances a cluster, and where it stands. As filters they have names, rows and a quarantine."""
    for i, cluster in maps_of(root, "clusters"):
        policy = cluster.get("load_balancer")
        if isinstance(policy, dict):
            yield ("clusters", i, "load_balancer"), policy


def fallbacks_of(root: dict[str, Value]) -> Iterator[tuple[Path, dict[str, Value]]]:
    """Every policy of a fallback, and where it stands. As filters they have names, rows and a quarantine."""
    for i, listener in maps_of(root, "listeners"):
        chains: list[tuple[Path, dict[str, Value]]] = [(("listeners", i), listener)]
        chains += [(("listeners", i, "routes", j), route) for j, route in maps_of(listener, "routes")]
        for path, owner in chains:
            for k, step in maps_of(owner, "fallback"):
                if step.get("use") is not None:
                    yield (*path, "fallback", k), step


def named_of(root: dict[str, Value]) -> dict[str, tuple[int, dict[str, Value]]]:
    """The filters of the top level by name, the first of each, with their places."""
    named: dict[str, tuple[int, dict[str, Value]]] = {}
    for i, item in maps_of(root, "filters"):
        name = text_of(item, "name")
        if name is not None:
            named.setdefault(name, (i, item))
    return named


def check_filters(tree: Tree) -> list[Problem]:
    """Every error between the filters of the file."""
    find = Finder(tree)
    root = map_of(tree.value)
    chains = [chain for chain in chains_of(root) if chain.items]
    _named(find, root)
    _names(find, root, chains)
    named = {name: item for name, (_, item) in named_of(root).items()}
    # Written as a mapping instead of a list: that is reported, and each reference would be a second report of it.
    is_known = not isinstance(root.get("filters"), dict)
    for chain in chains:
        _chain(find, chain, named, is_known)
    for path, item in [*((("filters", i), item) for i, item in maps_of(root, "filters")), *_in_place(chains)]:
        check_match(find, (*path, "match"), map_of(item.get("match")))
        check_quarantine(find, (*path, "quarantine"), map_of(item.get("quarantine")))
    balancers = list(balancers_of(root))
    for path, item in balancers:
        _balancer(find, path, item)
    _lengths(find, root)
    policies = [*balancers, *fallbacks_of(root)]
    total = sum(1 for _ in maps_of(root, "filters")) + sum(1 for _ in _in_place(chains)) + len(policies)
    if total > MAX_FILTERS:
        at: Path = ("filters",) if "filters" in root else chains[-1].path if chains else policies[-1][0]
        find.add(at, f"there are {total:,} filters",
                 allowed=f"at most {MAX_FILTERS}, those in place, load balancers and fallbacks included",
                 hint="name a filter once at the top level, and refer to it")
    return find.problems


def _items(value: dict[str, Value]) -> list[Value]:
    items = value.get("filters")
    return items if isinstance(items, list) else []


def _in_place(chains: list[Chain]) -> Iterator[tuple[Path, dict[str, Value]]]:
    for chain in chains:
        for i, item in enumerate(chain.items):
            if isinstance(item, dict):
                yield (*chain.path, i), item


def _named(find: Finder, root: dict[str, Value]) -> None:
    items = root.get("filters")
    for i, item in enumerate(items if isinstance(items, list) else []):
        path: Path = ("filters", i)
        if isinstance(item, str):
            find.add(path, f"found {shown(item)}", allowed="a mapping with name and use",
                     hint=f"write {{name: {item[:60]}, use: my_package.module:Class}}; names alone stand at listeners, "
                          "routes and clusters")
        elif isinstance(item, dict) and item.get("name") is None and not find.is_broken((*path, "name")):
            find.add(path, "the key 'name' is missing", hint="add name: nobody could refer to the filter without it")


def _names(find: Finder, root: dict[str, Value], chains: list[Chain]) -> None:
    places: list[tuple[Path, dict[str, Value]]] = [(("filters", i), item) for i, item in maps_of(root, "filters")]
    steps: dict[int, tuple[Path, dict[str, Value]]] = {}     # one that several have taken over from a policy is one
    for path, item in fallbacks_of(root):
        steps.setdefault(id(item), (path, item))
    check_names(find, [*places, *_in_place(chains), *balancers_of(root), *steps.values()],
                "give each of the filters a name of its own; to use one twice, write its name alone")


def _chain(find: Finder, chain: Chain, named: dict[str, dict[str, Value]], is_known: bool) -> None:
    check_references(find, chain.path, chain.items, "filter", named if is_known else None, lambda name: (
        f"name it at the top level, as filters: [{{name: {name}, use: …}}], or write a filter in place, as "
        f"{{use: {name}}}"))
    for i, item in enumerate(chain.items):
        path = (*chain.path, i)
        use = named.get(item) if isinstance(item, str) else item
        if chain.is_tcp and isinstance(use, dict):
            for key in _NEEDS_REQUEST:
                if map_of(use.get("match")).get(key):
                    at = path if isinstance(item, str) else (*path, "match", key)
                    find.add(at, f"a connection has no {key} to match", allowed="a match with share alone",
                             hint="a tcp listener sees no requests; remove it, or write protocol: http",
                             key=at is not path)


def _balancer(find: Finder, path: Path, item: dict[str, Value]) -> None:
    check_quarantine(find, (*path, "quarantine"), map_of(item.get("quarantine")))
    if "isolated" in item:
        find.add((*path, "isolated"), "a load balancer is not isolated: it is asked within the worker, and answers "
                 "before the next request goes out", key=True,
                 hint="remove it; what takes long or needs other libraries belongs into an isolated filter or another "
                      "process, which puts what it found into fastmesh.shared for the load balancer to read")


def check_quarantine(find: Finder, path: Path, quarantine: dict[str, Value]) -> None:
    """Its times fit together."""
    pause = measure_of(quarantine, "pause", parse_duration, "5s")
    longest = measure_of(quarantine, "longest", parse_duration, "5m")
    if pause is not None and longest is not None and pause > longest:
        at = (*path, "pause" if "pause" in quarantine else "longest")
        find.add(at, f"quarantine.pause is {format_duration(pause)}, more than quarantine.longest, "
                 f"{format_duration(longest)}", hint="make quarantine.longest the larger one")


def _lengths(find: Finder, root: dict[str, Value]) -> None:
    """A filter may send a request to any cluster, so the longest of theirs counts everywhere."""
    longest, whose = 0, ""
    for i, cluster in maps_of(root, "clusters"):
        count = len(_items(cluster))
        if count > MAX_CHAIN:
            find.add(("clusters", i, "filters"), f"there are {count} filters", allowed=f"at most {MAX_CHAIN}", key=True)
        elif count > longest:
            longest, whose = count, text_of(cluster, "name") or ""
    for i, listener in maps_of(root, "listeners"):
        own = len(_items(listener))
        behind = f", {longest} of cluster {shown(whose)}" if longest else ""
        for j, route in [*maps_of(listener, "routes")] or [(-1, {})]:
            here = len(_items(route))
            if own + here + longest <= MAX_CHAIN:
                continue
            at: Path = ("listeners", i, "routes", j, "filters") if here else ("listeners", i, "filters")
            if not here and not own:
                continue
            find.add(at, f"the chain has {own + here + longest} filters: {own} of the listener, {here} of the route"
                     f"{behind}", allowed=f"at most {MAX_CHAIN} on the way of one request", key=True,
                     hint="a filter may send a request to any cluster, so the longest of theirs counts" if longest
                     else "make one filter of several")
