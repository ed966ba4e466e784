"""The commands and policies of clusters: run when an endpoint is ejected or found dead, and when it is in again, within
bounds."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from fastmesh.control.checkup import Verdict
from fastmesh.control.heal_run import HealRun
from fastmesh.control.process import Child, worker_environment
from fastmesh.control.snapshot import Snapshot
from fastmesh.observe.health import Change

AT_ONCE = 4             # of them that run at the same time, of all clusters
LINES_MOST = 100        # that a policy logs of one event
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOLD_OF = ("ejected", "recovered", "unhealthy", "healthy")
RESULTS = ("done", "failed", "skipped", "watched")


class Healer:
    """Runs them. What it says goes to `tell`: cluster, what, text, level."""

    def __init__(self, tell: Callable[[str, str, str, str], None], paths: Sequence[str],
                 live: Callable[[], Snapshot | None]) -> None:
        """`paths`: where other processes find their packages; `live`: the snapshot that policies are in."""
        self.results: dict[str, dict[str, int]] = {}    # cluster → how it went → how often
        self._tell = tell
        self._paths = paths
        self._live = live
        self._next: dict[str, float] = {}       # cluster → when another may begin
        self._running: dict[Child | HealRun, asyncio.TimerHandle] = {}

    def heal(self, cluster: str, endpoint: str, change: Change | Verdict, command: dict[str, Any]) -> None:
        """`command`: as a snapshot's clusters have it."""
        if change.kind not in TOLD_OF:
            return
        what, now = command["run"][0] if command["run"] else command["use"], monotonic()
        why = f"{change.kind} {endpoint}"
        if now < self._next.get(cluster, 0):
            self._say(cluster, "skipped", "heal_skipped",
                      f"{what} is not run for {why}: more often than at_most allows")
            return
        if len(self._running) >= AT_ONCE:
            self._say(cluster, "skipped", "heal_skipped", f"{what} is not run for {why}: {AT_ONCE} run already")
            return
        self._next[cluster] = now + command["each_ns"] / 1e9
        if command["dry_run"]:
            self._say(cluster, "watched", "heal_watched", f"{what} would be run for {why}")
            return
        try:
            run = self._begin(cluster, endpoint, change, command, lambda: self._ended(run, cluster, what))
        except OSError as error:
            self._say(cluster, "failed", "heal_failed", f"{what} cannot be run: {error}")
            return
        # Its own children outlive it, if it has any: it is a command, not a service.
        self._running[run] = asyncio.get_running_loop().call_later(command["timeout_ns"] / 1e9, run.kill)
        self._tell(cluster, "heal", f"{what} runs for {why} (pid {run.pid})", "info")

    def _begin(self, cluster: str, endpoint: str, change: Change | Verdict, command: dict[str, Any],
               on_death: Callable[[], None]) -> Child | HealRun:
        live = self._live()
        if not command["run"] and live is not None:
            left = LINES_MOST

            def log(level: str, text: str) -> None:
                nonlocal left
                left -= 1
                if left >= 0:
                    self._tell(cluster, "heal_log", text, level)
            return HealRun(self._paths, live, command["policy"], cluster, endpoint, change, log, on_death)
        environment = {
            **worker_environment(), "PATH": PATH, "FASTMESH_EVENT": change.kind, "FASTMESH_CLUSTER": cluster,
            "FASTMESH_ENDPOINT": endpoint, "FASTMESH_REASON": change.reason, "FASTMESH_TIMES": str(change.times),
            "FASTMESH_FOR_MS": str(round(change.seconds * 1000)),
        }
        return Child.spawn(command["run"], {}, on_death, environment)

    def _say(self, cluster: str, result: str, what: str, text: str) -> None:
        self.results.setdefault(cluster, dict.fromkeys(RESULTS, 0))[result] += 1
        self._tell(cluster, what, text, {"failed": "error", "skipped": "warn", "watched": "info"}[result])

    def _ended(self, run: Child | HealRun, cluster: str, what: str) -> None:
        self._running.pop(run).cancel()
        if run.status != 0:
            self._say(cluster, "failed", "heal_failed", f"{what} has failed: {run.how_it_ended()}")
        else:
            self.results.setdefault(cluster, dict.fromkeys(RESULTS, 0))["done"] += 1

    def end(self) -> None:
        for run in self._running:
            run.kill()
