"""The commands of clusters: run when an endpoint is ejected or found dead, and when it is in again, within bounds."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from fastmesh.control.checkup import Verdict
from fastmesh.control.process import Child, worker_environment
from fastmesh.observe.health import Change

AT_ONCE = 4             # commands that run at the same time, of all clusters
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOLD_OF = ("ejected", "recovered", "unhealthy", "healthy")


class Healer:
    """Runs them. What it says goes to `tell`: cluster, what, text, level."""

    def __init__(self, tell: Callable[[str, str, str, str], None]) -> None:
        self._tell = tell
        self._next: dict[str, float] = {}       # cluster → when another may begin
        self._running: dict[Child, asyncio.TimerHandle] = {}

    def heal(self, cluster: str, endpoint: str, change: Change | Verdict, command: dict[str, Any]) -> None:
        """`command`: as a snapshot's clusters have it."""
        if change.kind not in TOLD_OF:
            return
        program, now = command["run"][0], monotonic()
        why = f"{change.kind} {endpoint}"
        if now < self._next.get(cluster, 0):
            self._tell(cluster, "heal_skipped", f"{program} is not run for {why}: more often than at_most allows",
                       "warn")
            return
        if len(self._running) >= AT_ONCE:
            self._tell(cluster, "heal_skipped", f"{program} is not run for {why}: {AT_ONCE} commands run already",
                       "warn")
            return
        self._next[cluster] = now + command["each_ns"] / 1e9
        if command["dry_run"]:
            self._tell(cluster, "heal_watched", f"{program} would be run for {why}", "info")
            return
        environment = {
            **worker_environment(), "PATH": PATH, "FASTMESH_EVENT": change.kind, "FASTMESH_CLUSTER": cluster,
            "FASTMESH_ENDPOINT": endpoint, "FASTMESH_REASON": change.reason, "FASTMESH_TIMES": str(change.times),
            "FASTMESH_FOR_MS": str(round(change.seconds * 1000)),
        }
        try:
            child = Child.spawn(command["run"], {}, lambda: self._ended(child, cluster, program), environment)
        except OSError as error:
            self._tell(cluster, "heal_failed", f"{program} cannot be run: {error}", "error")
            return
        # Its own children outlive it, if it has any: it is a command, not a service.
        self._running[child] = asyncio.get_running_loop().call_later(command["timeout_ns"] / 1e9, child.kill)
        self._tell(cluster, "heal", f"{program} runs for {why} (pid {child.pid})", "info")

    def _ended(self, child: Child, cluster: str, program: str) -> None:
        self._running.pop(child).cancel()
        if child.status != 0:
            self._tell(cluster, "heal_failed", f"{program} has failed: {child.how_it_ended()}", "error")

    def end(self) -> None:
        for child in self._running:
            child.kill()
