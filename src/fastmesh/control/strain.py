"""Tells when a worker begins to refuse work for want of memory, descriptors or time, and when it ceases to."""

import asyncio

from fastmesh._core.mem.counter import GLOBALS
from fastmesh._core.resil.pressure import LEVELS
from fastmesh.control.slot import Ground
from fastmesh.observe.overload import Pressures, pressures_of

LOOK_SECONDS = 0.2
_RESETS = GLOBALS.index("overload_reset")
# What a level means, for people.
MEANS = ("all is done", "connections end after their answer", "requests of low priority are refused",
         "requests of low and of default priority are refused",
         "requests of low and of default priority are refused, and no connection is accepted")


class Strain:
    """Looks at the levels that workers write into their statistics."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._levels: dict[int, str] = {}       # slot → the level that was told last
        self._resets: dict[int, int] = {}       # slot → connections reset there, as far as was seen
        self._resetting: set[int] = set()       # slots of which was told, since they were calm last

    async def run(self) -> None:
        """For ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        found: dict[int, Pressures] = {}
        for file in self._ground.stats.of_workers():
            now = pressures_of(file)
            # While one worker takes over from another, the higher counts.
            if file.slot not in found or LEVELS.index(now.level) > LEVELS.index(found[file.slot].level):
                found[file.slot] = now
        for slot, now in sorted(found.items()):
            self._look_at_resets(slot, now)
            before = self._levels.get(slot, LEVELS[0])
            if now.level == before:
                continue
            part = f"{now.reason} {now.parts[now.reason] * 100:.0f} %"
            is_worse = LEVELS.index(now.level) > LEVELS.index(before)
            self._ground.events.strain(slot, now.level, now.reason,
                                       f"worker {slot} is {'now' if is_worse else 'back'} at level {now.level} "
                                       f"({part}): {MEANS[LEVELS.index(now.level)]}", is_worse)
        self._levels = {slot: now.level for slot, now in found.items()}

    def _look_at_resets(self, slot: int, now: Pressures) -> None:
        """Once from the first one to when the worker is calm again."""
        count = sum(file.globals()[_RESETS] for file in self._ground.stats.files if file.slot == slot)
        if count > self._resets.get(slot, 0) and slot not in self._resetting:
            self._resetting.add(slot)
            self._ground.events.reset(slot, f"worker {slot} resets the connections that hold most: its memory is at "
                                            f"{now.parts['memory'] * 100:.0f} %")
        elif now.level == LEVELS[0]:
            self._resetting.discard(slot)
        self._resets[slot] = count
