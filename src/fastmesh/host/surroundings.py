"""What a filter finds in a host, in place of what it finds in a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import fastmesh
from fastmesh._core.hosted.exchange import Connection, Hosted, Labels, Request, Response
from fastmesh._core.hosted.fields import Headers
from fastmesh.filters.filter import Filter
from fastmesh.filters.metrics import Metrics
from fastmesh.host.mesh import Asks, HostMesh
from fastmesh.host.outcome import Failure, Outcome, UpstreamError
from fastmesh.host.signal import Signal

SLEEP_MOST = 86400


async def sleep(seconds: float) -> None:
    """As fastmesh.sleep in a worker."""
    if not seconds >= 0 or seconds > SLEEP_MOST:
        raise ValueError(f"a sleep of {seconds!r} s: from 0 to {SLEEP_MOST} is allowed")
    await asyncio.sleep(seconds)


def offer_names() -> None:
    """Lets `from fastmesh import Request` give what filters see here. Before the first filter is imported."""
    for name, made in (("Request", Request), ("Response", Response), ("Headers", Headers), ("Labels", Labels),
                       ("Connection", Connection), ("Outcome", Outcome), ("UpstreamError", UpstreamError),
                       ("Failure", Failure), ("Signal", Signal), ("Cancelled", asyncio.CancelledError),
                       ("sleep", sleep)):
        setattr(fastmesh, name, made)


def furnish(instance: object, spec: dict[str, Any], asks: Asks) -> None:
    """Give a filter what it calls by `self.`, besides its settings."""
    instance.mesh = HostMesh(asks)      # type: ignore[attr-defined]
    instance.metrics = Metrics(spec["name"])        # type: ignore[attr-defined]


def hosted_of(instance: Filter, spec: dict[str, Any]) -> Hosted:
    return Hosted(instance, list(spec["phases"]), spec["timeout_ns"] / 1e9)
