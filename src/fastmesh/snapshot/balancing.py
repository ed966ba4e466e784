"""How a cluster's balancing is written into a snapshot."""

from typing import Any

from fastmesh.config.balancing import Ewma, Hashing, HashKey, StickySession
from fastmesh.config.cluster import Cluster
from fastmesh.snapshot import wire
from fastmesh.units import PERCENT

_SECOND = 1_000_000_000


def balancing_record(cluster: Cluster, levels: list[int], zone: str) -> list[Any] | None:
    """The item `balancing` of a cluster; None where nothing differs from the defaults. `levels`: their sizes; `zone`:
    this instance's own."""
    balancing = cluster.balancing
    record = [
        _ewma(balancing.ewma), _hash(balancing.hash),
        slow_start(cluster),
        balancing.panic_threshold,
        _levels(cluster, levels, zone),
        _sticky(balancing.sticky),
    ]
    return record if any(record) else None


def _levels(cluster: Cluster, sizes: list[int], zone: str) -> list[Any] | None:
    balancing = cluster.balancing
    if cluster.discovery is not None:
        # Workers form them, by what each endpoint says: the snapshot is changed without looking at the others.
        return [balancing.spill_below, zone if balancing.prefer_zone else None]
    return [balancing.spill_below, sizes] if len(sizes) > 1 else None


def slow_start(cluster: Cluster) -> list[int] | None:
    """Window, aggression in thousandths, the least share in millionths."""
    slow = cluster.balancing.slow_start
    return None if slow is None else [slow.window, slow.aggression, slow.min_weight]


def warming(cluster: Cluster) -> list[int] | None:
    """The same of whatever makes endpoints warm up: slow start, or else the ramp behind an ejection."""
    outlier = cluster.outlier
    ramp = [outlier.ramp, 1000, 10 * PERCENT] if outlier.enabled and outlier.ramp else None
    return slow_start(cluster) or ramp


def _ewma(ewma: Ewma | None) -> list[Any] | None:
    return None if ewma is None else [ewma.decay, ewma.initial, ewma.penalty, ewma.retry_after_max]


def _hash(hashing: Hashing | None) -> list[Any] | None:
    if hashing is None:
        return None
    return [[_key(key) for key in hashing.keys], hashing.points, hashing.table_size, hashing.load_bound or 0]


def _key(key: HashKey) -> list[Any]:
    kind, name = next((kind, name) for kind, name in (
        ("header", key.header), ("cookie", key.cookie), ("query", key.query), ("source", "")) if name is not None)
    # A browser counts seconds; a part of one is not to end at once.
    ttl = 0 if key.ttl is None else -(-key.ttl // _SECOND)
    return [wire.HASH_KEYS[kind], name, key.ttl is not None, ttl, (key.path or "/") if key.ttl is not None else ""]


def _sticky(sticky: StickySession | None) -> list[Any] | None:
    if sticky is None:
        return None
    # Not at the top: it brings OpenSSL into the control process (docs/decisions/control-loads-no-tls.md).
    from hashlib import blake2b

    kind, name = ("cookie", sticky.cookie) if sticky.cookie is not None else ("header", sticky.header)
    secret = blake2b(sticky.secret.encode(), digest_size=16).digest()
    return [wire.STICKY[kind], name, -(-sticky.ttl // _SECOND), sticky.path, secret]
