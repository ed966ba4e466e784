"""What the parts of a cluster's balancing must not say together."""

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.load_balancer import ALGORITHMS, WEIGHING
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem

# The sections that only some algorithms read.
_OF_ALGORITHMS = {
    "ewma": ("peak_ewma", "failure_aware_ewma"),
    "hash": ("ring_hash", "maglev"),
}

_KINDS = ("header", "cookie", "query", "source")


def check_balancing(tree: Tree) -> list[Problem]:
    """Every contradiction in the `balancing` of a cluster."""
    find = Finder(tree)
    root = map_of(tree.value)
    for i, cluster in maps_of(root, "clusters"):
        balancing = map_of(cluster.get("balancing"))
        path: Path = ("clusters", i, "balancing")
        _algorithm(find, path, cluster, balancing)
        for j, key in maps_of(map_of(balancing.get("hash")), "keys"):
            _key(find, (*path, "hash", "keys", j), key)
        _sticky(find, (*path, "sticky"), map_of(balancing.get("sticky")), "sticky" in balancing)
        _groups(find, path, map_of(root.get("node")), cluster, balancing)
    return find.problems


def _algorithm(find: Finder, path: Path, cluster: dict[str, Value], balancing: dict[str, Value]) -> None:
    """Settings of another algorithm would be silently without effect."""
    algorithm = text_of(cluster, "load_balancer") if "load_balancer" in cluster else "least_request"
    if policy := map_of(cluster.get("load_balancer")):
        algorithm = text_of(policy, "pick_by") if "pick_by" in policy else "round_robin"
    if algorithm not in (WEIGHING if policy else ALGORITHMS):
        return
    for key, algorithms in _OF_ALGORITHMS.items():
        if balancing.get(key) is not None and algorithm not in algorithms:
            written = "pick_by" if policy and algorithms[0] in WEIGHING else "load_balancer"
            find.add((*path, key), f"{key} is for {written}: {' or '.join(algorithms)}, and it is {algorithm}",
                     key=True, hint=f"write {written}: {algorithms[0]}, or remove {key}")
    hashing = map_of(balancing.get("hash"))
    for key, owner in (("points", "ring_hash"), ("table_size", "maglev")):
        if key in hashing and algorithm in ("ring_hash", "maglev") and algorithm != owner:
            find.add((*path, "hash", key), f"{key} is for {owner}, and load_balancer is {algorithm}", key=True,
                     hint=f"remove {key}, or write load_balancer: {owner}")
    size, endpoints = hashing.get("table_size", "65537"), cluster.get("endpoints")
    if algorithm == "maglev" and isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 8 and (
            isinstance(endpoints, list) and len(endpoints) > int(size) > 2):
        find.add((*path, "hash", "table_size"), f"the table has {int(size):,} places for {len(endpoints):,} endpoints: "
                 "some would get no request", hint="make table_size a prime number 100 times as large as that")
    if algorithm in _OF_ALGORITHMS["hash"] and "hash" not in balancing and not find.is_broken((*path, "hash")):
        find.add((*path[:-1], "load_balancer"), f"{algorithm} has nothing to tell requests apart by",
                 hint="add balancing: {hash: {keys: [{header: NAME}]}}, or cookie, query or source instead of header")


def _key(find: Finder, path: Path, key: dict[str, Value]) -> None:
    given = [kind for kind in _KINDS if key.get(kind) is not None and not (kind == "source" and key[kind] == "false")]
    if len(given) != 1 and not any(find.is_broken((*path, kind)) for kind in _KINDS):
        reason = "the key names nothing" if not given else f"the key has both {given[0]} and {given[1]}"
        find.add(path, reason, allowed="one of header, cookie, query and source",
                 hint="write each as an item of its own" if given else "write {header: NAME}, or {source: true}")
    for name in ("ttl", "path"):
        if key.get(name) is not None and "cookie" not in key and not find.is_broken((*path, "cookie")):
            find.add((*path, name), f"{name} is for a cookie", key=True, hint=f"remove {name}, or name a cookie")
    if key.get("path") is not None and "ttl" not in key and "cookie" in key and not find.is_broken((*path, "ttl")):
        find.add((*path, "path"), "the cookie is never made, so its path says nothing", key=True,
                 hint="add ttl, and it is made for requests that have no key; or remove path")


def _groups(find: Finder, path: Path, node: dict[str, Value], cluster: dict[str, Value],
            balancing: dict[str, Value]) -> None:
    is_found = isinstance(cluster.get("endpoints"), dict)
    if is_found and balancing.get("subset") is not None:
        find.add((*path, "subset"), "subset is for endpoints that the file names, and a policy finds those of this "
                 "cluster", key=True, hint="remove subset")
    prefers = balancing.get("prefer_zone") in ("true", "True", "TRUE")
    if prefers and not node.get("zone") and not find.is_broken(("node", "zone")):
        find.add((*path, "prefer_zone"), "prefer_zone has no zone to prefer: this proxy does not know its own",
                 hint="add node: {zone: NAME}, or remove prefer_zone")
    if is_found:
        return      # who finds them says of each what zone and priority it has
    endpoints = [endpoint for _, endpoint in maps_of(cluster, "endpoints")]
    if prefers and "endpoints" in cluster and cluster["endpoints"] and not any(e.get("zone") for e in endpoints):
        find.add((*path, "prefer_zone"), "prefer_zone has nothing to go by: no endpoint has a zone",
                 hint="write endpoints as {address: …, zone: NAME}, or remove prefer_zone")
    if balancing.get("spill_below") is not None and not prefers and not any("priority" in e for e in endpoints):
        find.add((*path, "spill_below"), "spill_below is for endpoints with a priority, or with prefer_zone, and there "
                 "is neither", key=True, hint="remove spill_below, or give endpoints a priority")


def _sticky(find: Finder, path: Path, sticky: dict[str, Value], is_there: bool) -> None:
    given = [kind for kind in ("cookie", "header") if sticky.get(kind) is not None]
    broken = any(find.is_broken((*path, kind)) for kind in ("cookie", "header"))
    if is_there and len(given) != 1 and not broken and not find.is_broken(path):
        find.add(path, "sticky has both a cookie and a header" if given else "sticky says not where names stand",
                 hint="remove one of them" if given else "add cookie: NAME, or header: NAME")
    for key in ("ttl", "path"):
        if sticky.get(key) is not None and given == ["header"]:
            find.add((*path, key), f"{key} is for a cookie, and the name stands in a header", key=True,
                     hint=f"remove {key}")
