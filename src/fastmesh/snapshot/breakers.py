"""How the limits of a cluster are written into a snapshot."""

from typing import Any

from fastmesh.config.adaptive import Adaptive, Admission
from fastmesh.config.cluster import Cluster


def breakers_record(cluster: Cluster) -> list[Any]:
    """The item `breakers` of a cluster: those limits that have no place of their own."""
    return [cluster.max_cluster_connections, cluster.max_retries, cluster.max_endpoint_requests,
            cluster.high_priority_reserve, _adaptive(cluster.adaptive), _admission(cluster.admission)]


def _adaptive(adaptive: Adaptive | None) -> list[int] | None:
    if adaptive is None:
        return None
    return [adaptive.min_concurrency, adaptive.max_concurrency, adaptive.initial_concurrency, adaptive.tolerance]


def _admission(admission: Admission | None) -> list[Any] | None:
    if admission is None:
        return None
    return [admission.success_rate, admission.max_rejected, admission.aggression, admission.min_requests,
            admission.statuses]
