"""What the parts of a cluster's balancing must not say together."""

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem

# The sections that only some algorithms read.
_OF_ALGORITHMS = {
    "ewma": ("peak_ewma", "failure_aware_ewma"),
}


def check_balancing(tree: Tree) -> list[Problem]:
    """Every contradiction in the `balancing` of a cluster."""
    find = Finder(tree)
    for i, cluster in maps_of(map_of(tree.value), "clusters"):
        balancing = map_of(cluster.get("balancing"))
        path: Path = ("clusters", i, "balancing")
        _algorithm(find, path, cluster, balancing)
    return find.problems


def _algorithm(find: Finder, path: Path, cluster: dict[str, Value], balancing: dict[str, Value]) -> None:
    """Settings of another algorithm would be silently without effect."""
    algorithm = text_of(cluster, "load_balancer") if "load_balancer" in cluster else "least_request"
    if algorithm is None or find.is_broken((*path[:-1], "load_balancer")):
        return
    for key, algorithms in _OF_ALGORITHMS.items():
        if balancing.get(key) is not None and algorithm not in algorithms:
            find.add((*path, key), f"{key} is for load_balancer: {' or '.join(algorithms)}, and it is {algorithm}",
                     key=True, hint=f"write load_balancer: {algorithms[0]}, or remove {key}")
