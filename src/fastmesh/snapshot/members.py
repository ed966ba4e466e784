"""Which endpoints of a cluster this instance uses, in the order in which it prefers them."""

import socket
from collections import defaultdict

from fastmesh.config.cluster import Cluster, Endpoint
from fastmesh.config.node import Node


def members(cluster: Cluster, node: Node) -> list[list[Endpoint]]:
    """Groups of endpoints, the preferred one first; each in the order of the file. There is at least one group."""
    balancing = cluster.balancing
    groups: dict[tuple[int, bool], list[Endpoint]] = defaultdict(list)
    for endpoint in cluster.listed:
        groups[endpoint.priority, balancing.prefer_zone and endpoint.zone != node.zone].append(endpoint)
    ordered = [groups[key] for key in sorted(groups)] or [[]]
    if balancing.subset is None:
        return ordered
    return [_drawn(group, balancing.subset, f"{node.instance or socket.gethostname()} {cluster.name}")
            for group in ordered]


def _drawn(group: list[Endpoint], count: int, who: str) -> list[Endpoint]:
    """The `count` with the smallest lots. A lot follows from `who` and the address alone, so one endpoint more or less
    changes one place at most; and others draw other lots, so that together they use all endpoints."""
    if len(group) <= count:
        return group
    # Not at the top: it brings OpenSSL into the control process (docs/decisions/control-loads-no-tls.md).
    from hashlib import blake2b

    seed = blake2b(who.encode(), digest_size=32).digest()
    lots = sorted((blake2b(str(endpoint.address).encode(), digest_size=8, key=seed).digest(), i)
                  for i, endpoint in enumerate(group))
    return [group[i] for i in sorted(i for _, i in lots[:count])]
