"""Tells when a cluster comes near one of its limits, before that refuses anybody."""

import asyncio
from time import monotonic

from fastmesh.control.slot import Ground
from fastmesh.observe.breakers import COUNTED

LOOK_SECONDS = 0.5
CALM_SECONDS = 10       # what is told once lasts until nobody has come near for so long


class Nearness:
    """Looks at what workers write when less than a fifth of a limit is left. A peak between two looks is seen, too."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._count = 0                                     # as near_count had it
        self._told: dict[tuple[int, str], int] = {}         # (row, limit) → the second when it was near, last

    async def run(self) -> None:
        """For ever."""
        while True:
            self.look(monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, now: float) -> None:
        health, live = self._ground.health, self._ground.live
        if health is None or live is None:
            return
        self._told = {key: second for key, second in self._told.items() if now - second <= CALM_SECONDS}
        count = health.near_count()
        if count == self._count:
            return
        self._count = count
        for row, limits in live.cluster_limits.items():
            near = health.near(row)
            for limit, counted in COUNTED.items():
                second = near[counted]
                if limit not in limits or not second or now - second > CALM_SECONDS:
                    continue
                if (row, limit) not in self._told:
                    most = health.highest(row)[counted]
                    self._ground.events.near(self._ground.names.clusters.get(row, "?"), limit, most,
                                             f"more than 80 % of {limits[limit]} were in use; at most {most} since the "
                                             "workers began")
                self._told[row, limit] = second
