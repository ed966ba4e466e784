"""The routes whose requests are counted by themselves, on their way into a snapshot."""

from fastmesh.config.counted import counted_routes
from fastmesh.config.model import Config
from fastmesh.snapshot.registry import Registry


def counted(config: Config, registry: Registry) -> list[list[int]]:
    """The item `counted`. Those that come when all rows are taken have none."""
    places = counted_routes(config)
    rows = registry.routes.assign(places)
    return [[i, j, rows[name]] for name, found in places.items() if rows[name] != registry.routes.overflow
            for i, j in found]
