"""How a cluster's balancing is written into a snapshot."""

from typing import Any

from fastmesh.config.balancing import Ewma
from fastmesh.config.cluster import Cluster


def balancing_record(cluster: Cluster) -> list[Any] | None:
    """The item `balancing` of a cluster; None where nothing differs from the defaults."""
    record = [_ewma(cluster.balancing.ewma)]
    return record if any(item is not None for item in record) else None


def _ewma(ewma: Ewma | None) -> list[Any] | None:
    return None if ewma is None else [ewma.decay, ewma.initial, ewma.penalty, ewma.retry_after_max]
