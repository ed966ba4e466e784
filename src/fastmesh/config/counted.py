"""The routes whose requests are counted by themselves."""

from fastmesh.config.listener import Listener
from fastmesh.config.model import Config

MAX_COUNTED = 4_096


def counted_name(config: Config, listener: Listener, place: int) -> str:
    """By which name a route is counted; "" when it is not."""
    which, name = config.metrics.routes, listener.routes[place].name
    if which == "none" or (which == "named" and name is None):
        return ""
    return name or f"route-{place}"


def counted_routes(config: Config) -> dict[str, list[tuple[int, int]]]:
    """Listener and name → their places. Names hold no space. Routes of one name are counted together."""
    found: dict[str, list[tuple[int, int]]] = {}
    for i, listener in enumerate(config.listeners):
        for j in range(len(listener.routes)):
            name = counted_name(config, listener, j)
            if name:
                found.setdefault(f"{listener.name} {name}", []).append((i, j))
    return found
