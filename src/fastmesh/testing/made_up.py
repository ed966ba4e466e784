"""Made-up endpoints, for tests that call a load balancer's methods themselves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypedDict, Unpack

from fastmesh._core.play.numbers import made_endpoint

if TYPE_CHECKING:
    from fastmesh import Endpoint


class Numbers(TypedDict, total=False):
    """What has been seen of an endpoint; what is left out is 0, None or False."""

    active: int
    requests: int
    failures: int
    connect_failures: int
    latency: float | None
    answers: int
    answer_time: float
    is_avoided: bool
    is_unhealthy: bool


def endpoint(address: str = "10.0.0.1:80", *, weight: int = 1, metadata: Mapping[str, str] | None = None,
             priority: int = 0, zone: str = "", **numbers: Unpack[Numbers]) -> Endpoint:
    """An endpoint of which this has been seen; it may be looked at any time::

        assert Fastest().weights([endpoint(latency=0.01), endpoint(latency=0.03)]) == [3, 1]
    """
    said = priority, zone, MappingProxyType(dict(metadata or {}))
    return made_endpoint(address, weight, said, dict(numbers))
