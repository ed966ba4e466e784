"""Health checks on their way to who makes them, and what workers must know of them."""

from typing import Any

from fastmesh.config.cluster import Cluster
from fastmesh.config.health_check import BODY_LOOKED_AT, HealthCheck, HttpCheck, TcpCheck, bytes_of, statuses_of
from fastmesh.snapshot import wire
from fastmesh.units import parse_duration

_SECOND = 1_000_000_000
_EDGE = parse_duration("1s")
ARE_MADE, CLOSE_IDLE = 1, 2


def checks_bits(cluster: Cluster) -> int:
    """The item `checks` of a cluster."""
    check = cluster.health_check
    return 0 if check is None else ARE_MADE | (CLOSE_IDLE if check.close_connections else 0)


def edge_interval(check: HealthCheck) -> int:
    """The one that holds."""
    return min(_EDGE, check.interval) if check.edge_interval is None else check.edge_interval


def checks_record(cluster: Cluster) -> wire.ChecksRecord | None:
    """What control keeps of it."""
    check = cluster.health_check
    if check is None:
        return None
    return {
        "http": None if check.http is None else _http(check.http),
        "tcp": None if check.tcp is None else _tcp(check.tcp),
        "port": check.port or 0,
        "addresses": {str(endpoint.address): str(endpoint.check_address) for endpoint in cluster.listed
                      if endpoint.check_address is not None},
        "timeout": check.timeout / _SECOND,
        "interval": check.interval / _SECOND,
        "unhealthy_interval": (check.unhealthy_interval or check.interval) / _SECOND,
        "edge_interval": edge_interval(check) / _SECOND,
        "jitter": check.jitter / 1e6,
        "healthy": check.healthy,
        "unhealthy": check.unhealthy,
        "keep_alive": check.keep_alive,
        "end_ejection": check.end_ejection,
    }


def _http(check: HttpCheck) -> list[Any]:
    return [check.method, check.path, check.host or "", [list(field) for field in check.headers.items()],
            [statuses_of(text) for text in check.expect], [statuses_of(text) for text in check.retriable],
            (check.body or "").encode("utf-8", "surrogatepass")[:BODY_LOOKED_AT]]


def _tcp(check: TcpCheck) -> list[bytes]:
    return [bytes_of(text) if text is not None else b"" for text in (check.send, check.expect)]
