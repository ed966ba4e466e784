"""Mirrors of routes on their way into a snapshot."""

from collections.abc import Mapping
from typing import Any

from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.model import Config
from fastmesh.snapshot.chains import match_record
from fastmesh.snapshot.conditions import Patterns


def mirrors(config: Config, places: Mapping[str, int], patterns: Patterns) -> list[Any]:
    """Those of each route that has some. `places`: of the clusters. Adds to `patterns` what the matches need."""
    return [
        [i, j, [[match_record(mirror.match, patterns), SHARE_ALL if mirror.match is None else mirror.match.share,
                 places[mirror.cluster], mirror.host_suffix] for mirror in route.mirrors]]
        for i, listener in enumerate(config.listeners) for j, route in enumerate(listener.routes) if route.mirrors]
