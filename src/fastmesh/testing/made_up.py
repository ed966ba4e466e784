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
    """As `Endpoint` has it; so are all of these."""
    requests: int
    """Attempts that have begun."""
    failures: int
    """Of them, how many failed."""
    connect_failures: int
    """Of them, how many could not be connected."""
    latency: float | None
    """Seconds until an answer begins, smoothed."""
    answers: int
    """Answers that have begun."""
    answer_time: float
    """Seconds that were waited for all of them together."""
    is_avoided: bool
    """Nothing is picked there."""
    is_unhealthy: bool
    """It does not pass its health checks."""


def endpoint(address: str = "10.0.0.1:80", *, weight: int = 1, metadata: Mapping[str, str] | None = None,
             priority: int = 0, zone: str = "", **numbers: Unpack[Numbers]) -> Endpoint:
    """An endpoint of which this has been seen; it may be looked at any time::

        assert Fastest().weights([endpoint(latency=0.01), endpoint(latency=0.03)]) == [3, 1]
    """
    said = priority, zone, MappingProxyType(dict(metadata or {}))
    return made_endpoint(address, weight, said, dict(numbers))
