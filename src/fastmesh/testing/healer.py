"""A healing policy without a proxy: told of events as a proxy tells it."""

from __future__ import annotations

import asyncio
from typing import Any

from fastmesh.filters.heal_inspection import wrong_with
from fastmesh.filters.healer import Healer, HealEvent, tell
from fastmesh.filters.making import complete, secrets_of
from fastmesh.filters.reporter import Reporter


def tell_healer(policy: Healer | type[Healer], event: HealEvent | None = None, *, timeout: float = 10.0) -> list[str]:
    """Tells a policy of one event, on an event loop of its own. Returns the lines that it logs, each with its level::

        def test_it_restarts_who_is_ejected(ops):
            tell_healer(Restart(url=ops.url), HealEvent("ejected", endpoint="10.0.0.1:80"))
            assert ops.restarted == ["10.0.0.1:80"]

    Without an event, an endpoint was ejected. A proxy makes an instance for each event: make one for each call. Raises
    what the policy raises; TimeoutError when it takes longer than `timeout` seconds; TypeError for a class that
    `fastmesh check` would refuse.
    """
    made = policy() if isinstance(policy, type) else policy
    complete(made)
    if bad := wrong_with(type(made)):
        raise TypeError(bad[0].reason + (f"; {bad[0].hint}" if bad[0].hint else ""))
    said: list[str] = []

    def take(line: dict[str, Any]) -> None:
        said.append(f"{line['level']}: {line['text']}")

    chosen = event or HealEvent()
    made.name = getattr(made, "name", chosen.cluster)
    made.log = Reporter(made.name, take, secrets_of(made))

    async def run() -> None:
        made.start()
        async with asyncio.timeout(timeout):
            await tell(made, chosen)

    asyncio.run(run())
    return said
