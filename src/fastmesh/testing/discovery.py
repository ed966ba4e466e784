"""A discovery policy without a proxy: what it yields, one set after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastmesh.filters.discovery import Discovery, metrics_name
from fastmesh.filters.discovery_inspection import wrong_with
from fastmesh.filters.endpoint_set import Member, read_set
from fastmesh.filters.making import complete, secrets_of
from fastmesh.filters.metrics import Metrics
from fastmesh.filters.reporter import Reporter


def take_sets(policy: Discovery | type[Discovery], count: int = 1, *, timeout: float = 10.0,
              between: Callable[[], object] | None = None, log: list[str] | None = None) -> list[list[str]]:
    """Runs a policy on an event loop of its own, and returns its first `count` sets as a proxy would take them: sorted,
    an endpoint of another weight than 1 as `"10.0.0.1:80 weight 2"`::

        def test_what_the_registry_has(registry):
            found, = take_sets(FromRegistry(url=registry.url))
            assert found == ["10.0.0.1:80", "10.0.0.2:80"]

    `between` is called after each set but the last, for what is to change meanwhile. `log` gets the lines that the
    policy logs, each with its level. The generator is closed at the end.

    Raises what the policy raises; WrongSet, a ValueError, for a set that a proxy would refuse; TimeoutError when a set
    takes longer than `timeout` seconds; EOFError when the policy ends before; TypeError for a class that
    `fastmesh check` would refuse.
    """
    made = policy() if isinstance(policy, type) else policy
    complete(made)
    if bad := wrong_with(type(made)):
        raise TypeError(bad[0].reason + (f"; {bad[0].hint}" if bad[0].hint else ""))

    def tell(event: dict[str, Any]) -> None:
        if log is not None:
            log.append(f"{event['level']}: {event['text']}")

    made.name = getattr(made, "name", "cluster")
    made.log = Reporter(made.name, tell, secrets_of(made))
    made.metrics = Metrics(metrics_name(made.name))
    made.start()
    return asyncio.run(_take(made, count, timeout, between))


async def _take(made: Discovery, count: int, timeout: float, between: Callable[[], object] | None) -> list[list[str]]:
    taken: list[list[str]] = []
    generator: Any = made.endpoints()
    try:
        while len(taken) < count:
            if taken and between is not None:
                await asyncio.to_thread(between)
            try:
                async with asyncio.timeout(timeout):
                    yielded = await anext(generator)
            except StopAsyncIteration:
                ended = f"{type(made).__name__}.endpoints has ended after {len(taken)} sets of {count}"
                raise EOFError(ended) from None
            taken.append([_line(member) for member in read_set(yielded)])
    finally:
        await generator.aclose()
    return taken


def _line(member: Member) -> str:
    weight = f" weight {member.weight}" if member.weight != 1 else ""
    weight += f" priority {member.priority}" if member.priority else ""
    weight += f" zone {member.zone}" if member.zone else ""
    return f"{member.address}{weight}{''.join(f' {name}={value}' for name, value in member.metadata)}"
