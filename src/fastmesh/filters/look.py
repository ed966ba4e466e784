"""The way to the classes of a file's filters and policies, for whoever loads configurations: costs nothing when there
are none."""

from fastmesh.config.chains import balancers_of, chains_of, fallbacks_of
from fastmesh.config.checks import map_of, maps_of
from fastmesh.config.load import Looked
from fastmesh.config.yaml_tree import Tree


def look_at_filters(tree: Tree) -> Looked:
    """Loads the classes of a file's filters and policies. What that needs is imported only when the file has any."""
    root = map_of(tree.value)
    if not root.get("filters") and not any(chain.items for chain in chains_of(root)) and not any(
            balancers_of(root)) and not any(fallbacks_of(root)) and not any(
            isinstance(cluster.get("endpoints"), dict) or "use" in map_of(cluster.get("heal"))
            for _, cluster in maps_of(root, "clusters")):
        return Looked([], [], None)
    from fastmesh.filters.inspection import inspect

    return inspect(tree)
