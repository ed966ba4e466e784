"""What becomes of endpoints is told: into the log, to `GET /events`, and to the commands of clusters."""

import asyncio
from typing import Any

from fastmesh.control.checkup import Verdict
from fastmesh.control.healer import Healer
from fastmesh.control.slot import Ground
from fastmesh.control.snapshot import Snapshot
from fastmesh.observe.health import Change, HealthFile

LOOK_SECONDS = 0.2


class Healing:
    """Reads what workers write, a few times a second."""

    def __init__(self, ground: Ground, health: HealthFile) -> None:
        self._ground = ground
        self._health = health
        self._named: Snapshot | None = None
        self._names: dict[int, tuple[str, str]] = {}    # endpoint row → cluster, address
        self._commands: dict[str, dict[str, Any]] = {}  # of the clusters that have one
        self.healer = Healer(ground.events.heal, ground.paths, lambda: ground.live)

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        for change in self._health.changes():
            self._tell(change)

    def checked(self, cluster: str, address: str, verdict: Verdict) -> None:
        """What a health check has changed."""
        self._learn()
        self._ground.events.check(cluster, address, verdict)
        if cluster in self._commands:
            self.healer.heal(cluster, address, verdict, self._commands[cluster])

    def _tell(self, change: Change) -> None:
        cluster, address = self._name(change.endpoint)
        if not cluster:
            return      # of a configuration that is gone
        self._ground.events.health(cluster, address, change)
        if cluster in self._commands:
            self.healer.heal(cluster, address, change, self._commands[cluster])

    def _name(self, row: int) -> tuple[str, str]:
        self._learn()
        return self._names.get(row, ("", ""))

    def _learn(self) -> None:
        """The names and commands of the live snapshot."""
        live = self._ground.live
        if live is not self._named and live is not None:
            found: list[dict[str, Any]] = live.clusters()
            # Those of before stay: their last events may still be on the way.
            self._names |= {endpoint["row"]: (cluster["name"], endpoint["address"])
                            for cluster in found for endpoint in cluster["endpoints"]}
            self._commands = {cluster["name"]: cluster["heal"] for cluster in found if "heal" in cluster}
            self._named = live
