"""What of a cluster may be in use at the same time, over all workers."""

from fastmesh.config.cluster import Cluster
from fastmesh.units import PERCENT

_HUNDRED = 100 * PERCENT


def breaker_limits(cluster: Cluster) -> dict[str, int]:
    """The limits there are, in the order in which a request meets them, by the keys of the configuration."""
    found = {"max_requests": cluster.max_requests, "max_endpoint_requests": cluster.max_endpoint_requests,
             "max_pending": cluster.max_pending, "max_connections": cluster.max_connections,
             "max_cluster_connections": cluster.max_cluster_connections, "max_retries": cluster.max_retries}
    return {name: limit for name, limit in found.items() if limit}


def plain_limit(limit: int, reserve: int) -> int:
    """What requests that are not of high priority may have of it."""
    return max(1, limit - limit * reserve // _HUNDRED)
