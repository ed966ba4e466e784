"""What must hold between the subsets of clusters, and between them and the routes that ask for them.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from collections.abc import Iterable, Iterator

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.fields import shown
from fastmesh.config.model import Config
from fastmesh.config.report import Path
from fastmesh.config.subset import MAX_SUBSETS
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem

Keys = frozenset[str]


def check_subsets(tree: Tree) -> list[Problem]:
    """Every contradiction in the subsets of the file."""
    find = Finder(tree)
    root = map_of(tree.value)
    known: dict[str, list[Keys] | None] = {}        # None: what they are cannot be read
    for i, cluster in maps_of(root, "clusters"):
        path: Path = ("clusters", i, "subsets")
        name = text_of(cluster, "name")
        found = _cluster(find, path, cluster)
        if name is not None:
            known[name] = None if find.is_broken(path) else found
    for i, listener in maps_of(root, "listeners"):
        for j, route in maps_of(listener, "routes"):
            _route(find, ("listeners", i, "routes", j), route, known)
            for k, mirror in maps_of(route, "mirrors"):
                _of_step(find, ("listeners", i, "routes", j, "mirrors", k), mirror, known)
            for k, step in maps_of(route, "fallback"):
                _of_step(find, ("listeners", i, "routes", j, "fallback", k), step, known)
        for k, step in maps_of(listener, "fallback"):
            _of_step(find, ("listeners", i, "fallback", k), step, known)
    return find.problems


def _cluster(find: Finder, path: Path, cluster: dict[str, Value]) -> list[Keys] | None:
    """The sets of names that it is split by."""
    subsets = cluster.get("subsets")
    if not isinstance(subsets, dict):
        return [] if subsets is None else None
    if isinstance(cluster.get("load_balancer"), dict):
        find.add(path, "a policy in Python weighs all endpoints of this cluster, and subsets would take its choice "
                       "from it", key=True, hint="name an algorithm as load_balancer, or remove subsets")
    if map_of(cluster.get("balancing")).get("subset") is not None:
        find.add((*path[:-1], "balancing", "subset"), "subset draws endpoints without a look at their metadata: one of "
                 "the cluster's subsets might be left with none", key=True, hint="remove it, or subsets")
    selectors = subsets.get("selectors")
    if not isinstance(selectors, list):
        return None
    if not selectors:
        find.add((*path, "selectors"), "the cluster is split by nothing", hint="write [{keys: [version]}]")
    known: list[Keys] = []
    for i, selector in enumerate(selectors):
        at: Path = (*path, "selectors", i)
        keys = map_of(selector).get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            return None
        texts = [key for key in keys if isinstance(key, str)]
        if not texts or "" in texts:
            find.add((*at, "keys"), "the selector names nothing" if not texts else "one of the names is empty",
                     hint="write keys: [version], with names of the endpoints' metadata")
        elif len(set(texts)) < len(texts):
            twice = next(key for key in texts if texts.count(key) > 1)
            find.add((*at, "keys"), f"the name {shown(twice)} is there twice", hint="remove one of them")
        elif frozenset(texts) in known:
            first = known.index(frozenset(texts))
            find.add((*at, "keys"), f"these are the names of selectors[{first}], too", hint="remove one of them")
        known.append(frozenset(texts))
    _default(find, path, subsets, known)
    _count(find, path, cluster, subsets, known)
    return known


def _default(find: Finder, path: Path, subsets: dict[str, Value], known: list[Keys]) -> None:
    fallback, default = subsets.get("fallback", "any"), subsets.get("default")
    if fallback == "default" and not default and not find.is_broken((*path, "default")):
        find.add((*path, "fallback"), "there is no default to fall back on",
                 hint="add default: {version: v1}, with names of a selector")
    if default and fallback in ("any", "none"):
        find.add((*path, "default"), f"default is for fallback: default, and it is {fallback}", key=True,
                 hint="write fallback: default, or remove default")
    if isinstance(default, dict) and default and frozenset(default) not in known:
        find.add((*path, "default"), f"no selector has {_names(default)}",
                 allowed=_all(known), hint=f"add {{keys: [{', '.join(sorted(default))}]}} to selectors")


def _count(find: Finder, path: Path, cluster: dict[str, Value], subsets: dict[str, Value], known: list[Keys]) -> None:
    most = subsets.get("max", "256")
    if not isinstance(most, str) or not most.isascii() or not most.isdigit() or not 1 <= int(most) <= MAX_SUBSETS:
        return
    found = {(i, *(text_of(metadata, key) for key in sorted(keys)))
             for _, endpoint in maps_of(cluster, "endpoints") if (metadata := map_of(endpoint.get("metadata")))
             for i, keys in enumerate(known) if keys <= metadata.keys()}
    if len(found) > int(most):
        find.add((*path, "max" if "max" in subsets else "selectors"),
                 f"the endpoints make {len(found):,} subsets, and at most {int(most):,} are made",
                 hint=f"write max: {len(found)}, or fewer names in a selector" if len(found) <= MAX_SUBSETS else
                 "a name whose values are nearly all different splits nothing: leave it out of the selectors")


def _route(find: Finder, path: Path, route: dict[str, Value], known: dict[str, list[Keys] | None]) -> None:
    subset = route.get("subset")
    if subset is not None:
        at: Path = (*path, "subset")
        other = next((key for key in ("response", "redirect") if route.get(key) is not None), None)
        if route.get("clusters") is not None:
            find.add(at, "subset is of cluster, and the route has clusters", key=True,
                     hint="write clusters: [{cluster: app, weight: 90, subset: {version: v1}}, …]")
        elif other is not None:
            find.add(at, f"the route has a {other}, so no endpoint is chosen", key=True, hint="remove subset")
        else:
            _asked(find, at, subset, text_of(route, "cluster"), known)
    for i, part in maps_of(route, "clusters"):
        if part.get("subset") is not None:
            _asked(find, (*path, "clusters", i, "subset"), part["subset"], text_of(part, "cluster"), known)


def _of_step(find: Finder, path: Path, step: dict[str, Value], known: dict[str, list[Keys] | None]) -> None:
    """One of a mirror, or of a step of a fallback."""
    if step.get("subset") is not None:
        _asked(find, (*path, "subset"), step["subset"], text_of(step, "cluster"), known)


def _asked(find: Finder, path: Path, subset: Value, cluster: str | None,
           known: dict[str, list[Keys] | None]) -> None:
    if not isinstance(subset, dict):
        return
    for name, value in subset.items():
        _value(find, (*path, name), value)
    selectors = known.get(cluster) if cluster is not None else None
    if selectors is None:
        return      # there is no such cluster, which is told, or what it says cannot be read
    if not subset:
        find.add(path, "the subset names nothing", hint="write {version: v2}, or remove subset")
    elif not selectors:
        find.add(path, f"the cluster {shown(cluster)} has no subsets", key=True,
                 hint=f"add subsets: {{selectors: [{{keys: [{', '.join(sorted(subset))}]}}]}} to it")
    elif frozenset(subset) not in selectors:
        find.add(path, f"the cluster {shown(cluster)} is not split by {_names(subset)}", allowed=_all(selectors),
                 hint=f"add {{keys: [{', '.join(sorted(subset))}]}} to its selectors")


def _value(find: Finder, path: Path, value: Value) -> None:
    if not isinstance(value, dict):
        return
    given = [key for key in ("value", "header") if value.get(key) is not None]
    if len(given) != 1 and not any(find.is_broken((*path, key)) for key in ("value", "header")):
        find.add(path, "there is both a value and a header" if given else "there is neither a value nor a header",
                 hint="write a text, or {header: NAME}")
    elif given == ["value"] and value.get("default") is not None:
        find.add((*path, "default"), "default is for a header, and the value is always there", key=True,
                 hint="remove default, or write header")


def _names(keys: Iterable[str]) -> str:
    return " and ".join(sorted(keys))


def _all(known: list[Keys]) -> str:
    return ", or ".join(_names(keys) for keys in known)


def doubtful_subsets(config: Config) -> Iterator[tuple[Path, str]]:
    """Subsets that are asked for and have no endpoint, where the file names the endpoints: place, and why."""
    there = {cluster.name: [endpoint.metadata for endpoint in cluster.listed] for cluster in config.clusters
             if cluster.subsets is not None and cluster.listed}
    for i, cluster in enumerate(config.clusters):
        default = cluster.subsets.default if cluster.subsets is not None else {}
        if default and cluster.name in there and not any(
                default.items() <= metadata.items() for metadata in there[cluster.name]):
            yield ("clusters", i, "subsets", "default"), "no endpoint is in the default subset"
    for i, listener in enumerate(config.listeners):
        for j, route in enumerate(listener.routes):
            for k, part in enumerate(route.parts()):
                wanted = {name: value.value for name, value in (part.subset or {}).items()}
                if None in wanted.values() or not wanted or part.cluster not in there:
                    continue
                if not any(wanted.items() <= metadata.items() for metadata in there[part.cluster]):
                    at: Path = ("listeners", i, "routes", j)
                    yield ((*at, "subset") if route.cluster is not None else (*at, "clusters", k, "subset"),
                           f"no endpoint of '{part.cluster}' is in this subset")
