"""Faults of routes on their way into a snapshot."""

from typing import Any

from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.model import Config
from fastmesh.snapshot.chains import match_record
from fastmesh.snapshot.conditions import Patterns


def faults(config: Config, patterns: Patterns, workers: int) -> list[Any]:
    """Those of each route that has some. Adds to `patterns` what their matches need."""
    return [
        [i, j, [[match_record(fault.match, patterns), SHARE_ALL if fault.match is None else fault.match.share,
                 fault.delay or 0, fault.abort or 0, fault.bandwidth or 0, fault.request_bandwidth or 0,
                 max(1, fault.max_active // workers) if fault.max_active else 0, fault.grpc_status or 0,
                 fault.from_headers] for fault in route.faults]]
        for i, listener in enumerate(config.listeners) for j, route in enumerate(listener.routes) if route.faults]
