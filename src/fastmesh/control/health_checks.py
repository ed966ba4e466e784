"""All health checks: when each is due, how many are made at once, and what they say, on its way into shared memory.

Control makes them, so that an endpoint is asked once and not by every worker. The rows that workers go by are written
before a snapshot is pushed: its first pick finds what is known. An endpoint that stays over a reload keeps its state
and its place in time; where the check itself is another, the state stays and the rest begins anew.
"""

import asyncio
import heapq
import traceback
from collections.abc import Callable
from itertools import count
from time import monotonic, monotonic_ns
from typing import Any

from fastmesh._core.lb.verdict import BAD, GOOD, NOT_YET, Verdicts
from fastmesh.control.check_call import RESULTS, Call, CheckSpec, Result, Target, call_of
from fastmesh.control.checkup import HEALTHY, UNCHECKED, UNHEALTHY, Checkup, Verdict
from fastmesh.control.snapshot import Snapshot
from fastmesh.observe.journal import Journal

FIRST_SECONDS = 5.0         # that a start waits for the first checks
BEGUN_AT_ONCE = 32          # checks in one turn of the loop: what else control does is not held up
AT_ONCE = 256               # before a snapshot says how many
MARK = b"\xa6checks"        # in a packed snapshot that has any

Checkups = dict[str, dict[str, Checkup]]    # cluster → address
SAID = {HEALTHY: GOOD, UNHEALTHY: BAD, UNCHECKED: NOT_YET}


class HealthChecks:
    """Those of the live snapshot, and of one that is coming."""

    def __init__(self, health_fd: int, journal: Journal, tell: Callable[[str, str, Verdict], None]) -> None:
        """`tell` hears of every change: cluster, address, what."""
        self.running = 0            # checks that are under way
        self.delayed = 0            # checks that waited for others, ever
        self.results: dict[str, dict[str, int]] = {}    # cluster → kind → how many, ever
        self._health_fd = health_fd
        self._journal = journal
        self._tell = tell
        self._rows: Verdicts | None = None      # mapped with the first check
        self._at_once = self._live_at_once = AT_ONCE    # of the snapshot that is coming, and of the live one
        self._live: Checkups = {}
        self._coming: Checkups | None = None
        self._due: list[tuple[float, int, Checkup]] = []
        self._now = 0.0             # the latest time that was seen
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._is_pumping = False
        self._is_full = False       # as many run as may, and more are due
        self._heard: asyncio.Event | None = None    # of a first check that is waited for

    # --- with a snapshot ---

    async def prepare(self, snapshot: Snapshot, live: Snapshot | None, is_waiting: bool = True) -> None:
        """Before workers get it: rows are claimed, and new endpoints are asked. Clusters all of whose endpoints are new
        are waited for, a few seconds at most."""
        self.drop()
        found = [cluster for cluster in snapshot.clusters() if "checks" in cluster] if (
            MARK in snapshot.clusters_packed) else []
        self._coming = coming = {}
        if not found:
            return
        if self._rows is None:
            self._rows = Verdicts(self._health_fd)
        self._at_once = snapshot.process.max_checks
        served = self._served(found, live)
        for cluster in found:
            coming[cluster["name"]] = self._checkups(cluster, served.get(cluster["name"], frozenset()))
            self.results.setdefault(cluster["name"], dict.fromkeys(RESULTS, 0))
        if is_waiting:
            # Where one is known to be well, requests have somewhere to go.
            await self._wait([checkup for checkups in coming.values()
                              if not any(one.state == HEALTHY for one in checkups.values())
                              for checkup in checkups.values() if checkup.has_row and checkup.last is None
                              and checkup.address not in self._live.get(checkup.cluster, {})])

    def settle(self) -> None:
        """The snapshot is live."""
        if self._coming is None:
            return
        live, self._live, self._coming = self._live, self._coming, None
        self._live_at_once = self._at_once
        self._stop(live, self._live)
        for name, checkups in self._live.items():
            for address, checkup in checkups.items():
                old = live.get(name, {}).get(address)
                if old is not None and old is not checkup and checkup.has_row:
                    # Asked in another way: what was known holds until the answers say otherwise.
                    checkup.state, checkup.since = old.state, old.since
                    self._say(checkup)
                    self._schedule(checkup, 0.0)
        for name in [name for name in self.results if name not in self._live]:
            del self.results[name]

    def drop(self) -> None:
        """What was prepared does not become live."""
        if self._coming is not None:
            coming, self._coming = self._coming, None
            self._at_once = self._live_at_once
            self._stop(coming, self._live)
            for name in [name for name in self.results if name not in self._live]:
                del self.results[name]

    def end(self) -> None:
        """No more checks."""
        self.drop()
        self._stop(self._live, {})
        self._live = {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def of(self, cluster: str, address: str) -> Checkup | None:
        """What is known of an endpoint; None where nobody checks."""
        return self._live.get(cluster, {}).get(address)

    def states(self) -> dict[str, dict[str, int]]:
        """Cluster → state → how many endpoints."""
        found = {}
        for name, checkups in self._live.items():
            found[name] = dict.fromkeys((HEALTHY, UNHEALTHY, UNCHECKED), 0)
            for checkup in checkups.values():
                found[name][checkup.state] += 1
        return found

    def _served(self, found: list[dict[str, Any]], live: Snapshot | None) -> dict[str, frozenset[str]]:
        """Endpoints that get requests and were not checked until now, of clusters that get checks: they go on until a
        check says otherwise."""
        wanted = {cluster["name"] for cluster in found if cluster["name"] not in self._live}
        if live is None or not wanted:
            return {}
        return {cluster["name"]: frozenset(endpoint["address"] for endpoint in cluster["endpoints"])
                for cluster in live.clusters() if cluster["name"] in wanted}

    def _checkups(self, cluster: dict[str, Any], served: frozenset[str]) -> dict[str, Checkup]:
        spec, instead = CheckSpec.of(cluster["checks"]), cluster["checks"]["addresses"]
        known = self._live.get(cluster["name"], {})
        found: dict[str, Checkup] = {}
        for endpoint in cluster["endpoints"]:
            address = endpoint["address"]
            target = Target.of(instead[address]) if address in instead else Target.of(address, spec.port)
            old = known.get(address)
            if old is not None and (old.row, old.target, old.spec) == (endpoint["row"], target, spec):
                found[address] = old
                continue
            checkup = Checkup(cluster["name"], cluster["id"], address, endpoint["row"], target, spec)
            if address in served:
                checkup.state = HEALTHY
            found[address] = checkup
            assert self._rows is not None
            checkup.has_row = self._rows.claim(cluster["id"], cluster["name"], endpoint["row"], address)
            if old is None and checkup.has_row:
                self._say(checkup)
                self._schedule(checkup, 0.0)
        return found

    async def _wait(self, first: list[Checkup]) -> None:
        """Until each has been asked once."""
        end = monotonic() + FIRST_SECONDS
        self._heard = asyncio.Event()
        try:
            while (left := end - monotonic()) > 0:
                while first and first[-1].last is not None:
                    first.pop()
                if not first:
                    return
                self._heard.clear()
                try:
                    async with asyncio.timeout(left):
                        await self._heard.wait()
                except TimeoutError:
                    return
        finally:
            self._heard = None

    def _stop(self, checkups: Checkups, but: Checkups) -> None:
        kept = {id(checkup) for of_cluster in but.values() for checkup in of_cluster.values()}
        for checkup in (checkup for of_cluster in checkups.values() for checkup in of_cluster.values()):
            if id(checkup) not in kept:
                if checkup.call is not None:
                    self.running -= 1
                checkup.stop()
        self._due = [entry for entry in self._due if not entry[2].is_gone]
        heapq.heapify(self._due)
        self._wake()

    # --- what is due ---

    def _look(self) -> float:
        """What time it is. A clock that has been set back, as that of a machine which was moved may be, takes what is
        due along: else nobody would be asked before it is as late again."""
        now = monotonic()
        if now < self._now:
            back = self._now - now
            self._due = [(at - back, order, checkup) for at, order, checkup in self._due]
        self._now = now
        return now

    def _schedule(self, checkup: Checkup, wait: float) -> None:
        heapq.heappush(self._due, (self._look() + wait, next(self._order), checkup))
        self._wake()

    def _wake(self) -> None:
        """Come back when the next is due."""
        if self._is_pumping or not self._due or self.running >= self._at_once:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._due[0][0] - self._look()), self._pump)

    def _pump(self) -> None:
        self._timer = None
        self._is_pumping = True
        try:
            now, begun = self._look(), 0
            while self._due and self._due[0][0] <= now and self.running < self._at_once and begun < BEGUN_AT_ONCE:
                _, _, checkup = heapq.heappop(self._due)
                if not checkup.is_gone:
                    begun += 1
                    self.delayed += self._is_full
                    self._begin(checkup)
            is_due = bool(self._due) and self._due[0][0] <= now
            self._is_full = is_due and self.running >= self._at_once
        finally:
            self._is_pumping = False
        self._wake()

    def _begin(self, checkup: Checkup) -> None:
        checkup.began = monotonic()
        kept, checkup.kept = checkup.kept, None
        checkup.call = call_of(checkup.spec, checkup.target, kept,
                               lambda call, result: self._ended(checkup, call, result))
        self.running += 1
        checkup.call.begin()

    def _ended(self, checkup: Checkup, call: Call, result: Result) -> None:
        self.running -= 1
        checkup.call, checkup.kept = None, call.kept
        try:
            self._note(checkup, result)
        except Exception as error:      # a bug: it must not be the last check
            self._journal.error(f"internal error: {''.join(traceback.format_exception(error))}")
        took = max(0.0, self._look() - checkup.began)
        self._schedule(checkup, max(0.0, checkup.next_after() - took))

    def _note(self, checkup: Checkup, result: Result) -> None:
        assert self._rows is not None
        if (counts := self.results.get(checkup.cluster)) is not None:
            counts[result.kind] += 1
        verdict = checkup.take(result)
        if verdict is not None and verdict.kind in SAID:
            self._say(checkup)
        if result.kind == "passed" and checkup.spec.end_ejection and checkup.state == HEALTHY and (
                checkup.successes >= checkup.spec.healthy):
            self._end_ejection(checkup)
        if self._heard is not None:
            self._heard.set()
        if verdict is not None and verdict.is_news:
            self._tell(checkup.cluster, checkup.address, verdict)

    def _say(self, checkup: Checkup) -> None:
        assert self._rows is not None
        self._rows.say(checkup.cluster_row, checkup.row, SAID[checkup.state], monotonic_ns())

    def _end_ejection(self, checkup: Checkup) -> None:
        """Where as many checks have passed since it began as make an endpoint healthy."""
        assert self._rows is not None
        ejected_ns = self._rows.ejected_at(checkup.row)
        if not ejected_ns:
            return
        if ejected_ns / 1e9 > checkup.good_since:
            # Those of before say nothing of it: they are counted anew.
            checkup.successes, checkup.good_since = 1, checkup.began
            if ejected_ns / 1e9 > checkup.began:
                checkup.successes = 0
            if checkup.successes < checkup.spec.healthy:
                return
        self._rows.end_ejection(checkup.cluster_row, checkup.row, monotonic_ns())
