"""Tells once that a label by which requests are counted has more values than are told apart."""

import asyncio

from fastmesh.control.slot import Ground
from fastmesh.observe.labelled import overflow

LOOK_SECONDS = 1.0


class LabelWatch:
    """Looks at what workers have counted as "other"."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._told: set[str] = set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        for file in self._ground.stats.of_workers():
            found = overflow(file)
            if found.values and "values" not in self._told:
                self._told.add("values")
                self._ground.events.labels(file.slot, found.label, (
                    f"the label {found.label or '(unknown)'} of metrics has more values than metrics.values allows: "
                    "further ones are counted as other (fastmesh_labelled_overflow_total). Raise metrics.values, or "
                    "let the filter set fewer"))
            if found.rows and "rows" not in self._told:
                self._told.add("rows")
                self._ground.events.labels(file.slot, "", (
                    "there are more combinations of listener, route, cluster and labels of metrics than a worker tells "
                    "apart: further ones are counted as other (fastmesh_labelled_overflow_total). Ask for fewer labels "
                    "in metrics.labels"))
