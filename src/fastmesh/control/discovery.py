"""The discovery policies of the live snapshot: their process, and what they find on its way into the workers."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

from fastmesh.control.backoff import Backoff
from fastmesh.control.discovery_host import DiscoveryHost, FoundSet, Policies
from fastmesh.control.finding import Finding
from fastmesh.control.host import HostFailed
from fastmesh.control.snapshot import DiscoverySpec, Snapshot
from fastmesh.observe.events import Events
from fastmesh.observe.journal import Journal
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import Message

APART_SECONDS = 0.2         # between two changes of the workers' endpoints
RETRY_SECONDS = 5.0         # before sets that the workers did not take are tried again
LEAVE_SECONDS = 7.0         # for a host that has a successor
NEVER = float("inf")
NO_SLOT = -1                # of a file that no worker counts in


class Discoveries:
    """One host for all policies: started with a snapshot that has any, started beside it when they change, and again
    when it dies."""

    def __init__(self, paths: Sequence[str], journal: Journal, events: Events,
                 apply: Callable[[], Awaitable[None]], take_stats: Callable[[int], StatsFile]) -> None:
        """`apply` makes live what `take` gives; it is called when that is due. `take_stats` gives a host a file to
        count in."""
        self.findings: dict[str, Finding] = {}      # by cluster
        self.restarts = 0
        self._paths = paths
        self._journal = journal
        self._events = events
        self._apply = apply
        self._take_stats = take_stats
        self._current: DiscoveryHost | None = None
        self._coming: DiscoveryHost | None = None
        self._late: list[DiscoverySpec] = []        # policies of the one that is coming that were waited for in vain
        self._live: dict[str, int] = {}             # cluster → the hash of the set that is live
        self._alive: dict[DiscoveryHost, None] = {}
        self._heard = asyncio.Event()               # of the host that is coming, or that it has died
        self._wake = asyncio.Event()
        self._due = NEVER
        self._backoff = Backoff()
        self._restart: asyncio.Task[None] | None = None
        self._updates: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def processes(self) -> list[DiscoveryHost]:
        return list(self._alive)

    # --- with a snapshot ---

    async def prepare(self, snapshot: Snapshot) -> dict[str, FoundSet]:
        """What policies have found for a snapshot that is not yet live. Those that are new are waited for, each for
        its `first_wait`. Raises HostFailed; then nothing has changed."""
        self.drop()
        current = self._current
        if not snapshot.discoveries or (current is not None and current.policies.are_those_of(snapshot)):
            return {}
        known = {spec.cluster: spec.key for spec in current.policies.specs} if current is not None else {}
        policies = Policies.of(snapshot)
        try:
            host = await self._start(policies)
        except BaseException:
            policies.close()
            raise
        self._coming = host
        begun = monotonic()
        missing = {spec.cluster: begun + spec.first_wait for spec in snapshot.discoveries
                   if known.get(spec.cluster) != spec.key}
        try:
            while host.is_alive:
                now = monotonic()
                ends = [end for cluster, end in missing.items() if cluster not in host.sets and end > now]
                if not ends:
                    break
                self._heard.clear()
                try:
                    async with asyncio.timeout(max(ends) - now):
                        await self._heard.wait()
                except TimeoutError:
                    break
            if not host.is_alive and current is not None:
                raise HostFailed(f"its process died: {host.how_it_ended()}")
        except BaseException:
            self.drop()
            raise
        self._late = [spec for spec in snapshot.discoveries
                      if spec.cluster in missing and spec.cluster not in host.sets]
        found, host.sets = host.sets, {}
        # What the old host has found and nobody has made live yet is not lost with it.
        waiting = current.sets if current is not None else {}
        return {**{spec.cluster: waiting[spec.cluster] for spec in snapshot.discoveries
                   if spec.cluster in waiting and known[spec.cluster] == spec.key}, **found}

    def drop(self) -> None:
        """What was prepared does not become live."""
        if self._coming is not None:
            self._coming.kill()
            self._coming.policies.close()
            self._coming = None
            live = {spec.cluster for spec in self._current.policies.specs} if self._current is not None else set()
            self.findings = {cluster: one for cluster, one in self.findings.items() if cluster in live}
        self._late = []

    def settle(self, snapshot: Snapshot) -> None:
        """The snapshot is live."""
        specs = {spec.cluster: spec for spec in snapshot.discoveries}
        for cluster in [cluster for cluster in self.findings if cluster not in specs]:
            del self.findings[cluster]
        for spec in specs.values():
            self._finding(spec).use = spec.use
        self._live.clear()
        old = self._current
        if self._coming is not None:
            self._current, self._coming = self._coming, None
        elif not specs:
            self._current = None
        if self._late:
            counts = {cluster["name"]: len(cluster["endpoints"]) for cluster in snapshot.clusters()}
            for spec in self._late:
                self._miss(spec, counts[spec.cluster])
            self._late = []
        if self._current is old:
            if old is not None:
                old.policies.specs = snapshot.discoveries       # other times, perhaps
            return
        self._backoff = Backoff()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        if old is not None:
            self._let_go(old)
        if self._current is not None:
            self._begin(self._current)
        if self._updates is None:
            self._updates = asyncio.get_running_loop().create_task(self._run())

    def take(self) -> dict[str, FoundSet]:
        """The sets that wait to become live. Whoever takes them says what became of them."""
        if self._current is None:
            return {}
        found, self._current.sets = self._current.sets, {}
        for cluster in found:       # what comes while these are under way is compared with nothing
            self._live.pop(cluster, None)
        return found

    def note(self, snapshot: Snapshot, found: dict[str, FoundSet], answer: dict[str, Any]) -> None:
        """What became of sets: `answer` is the compile process's, and `snapshot` is live."""
        for spec in snapshot.discoveries:
            one = found.get(spec.cluster)
            if one is None:
                continue
            if spec.cluster in answer["refused"]:
                self._problem(spec, *answer["refused"][spec.cluster])
                continue
            change = answer["changed"].get(spec.cluster)
            self._finding(spec).note_good(one.at, change is not None)
            self._live[spec.cluster] = hash(one.packed)
            if change is not None:
                total, more, fewer = change
                self._events.note(spec.cluster, "discovery_update",
                                  f"{total:,} endpoint{'' if total == 1 else 's'} ({more:,} new, {fewer:,} gone) live "
                                  f"after {(monotonic() - one.at) * 1000:.0f} ms, snapshot {snapshot.version}")

    def put_back(self, found: dict[str, FoundSet], why: str) -> None:
        """Sets that could not be made live are tried again, unless newer ones have come."""
        host = self._current
        if host is None:
            return
        host.sets = {**found, **host.sets}
        for spec in host.policies.specs:
            if spec.cluster in found:
                self._problem(spec, "refused", f"{why}; it is tried again in {RETRY_SECONDS:g} s")
        self._schedule(RETRY_SECONDS)

    # --- the end ---

    def end(self) -> None:
        """No more updates; the host ends by itself."""
        self._is_over = True
        for task in (self._restart, self._updates):
            if task is not None:
                task.cancel()
        self.drop()
        if self._current is not None:
            self._let_go(self._current)
            self._current = None

    async def gone(self) -> None:
        """Until no process is left."""
        while alive := self.processes:
            await asyncio.wait([asyncio.shield(host.death) for host in alive])

    # --- what a host says ---

    def on_set(self, host: DiscoveryHost, spec: DiscoverySpec) -> None:
        self._heard.set()
        if host is not self._current:
            return
        found = host.sets[spec.cluster]
        if self._live.get(spec.cluster) == hash(found.packed):
            del host.sets[spec.cluster]
            self._finding(spec).note_good(found.at, False)
            return
        self._schedule(spec.debounce)

    def on_problem(self, host: DiscoveryHost, spec: DiscoverySpec, kind: str, text: str, wait: float) -> None:
        if host in self._alive:
            self._problem(spec, kind, text + (f"\nit is begun again in {wait:g} s" if wait else ""))

    def on_log(self, message: Message) -> None:
        name, text = message.get("filter"), message.get("text")
        if isinstance(name, str) and isinstance(text, str):
            level = "error" if message.get("what") == "filter_error" else str(message.get("level", "info"))
            self._events.note(name, "discovery_log", text, level)

    def on_death(self, host: DiscoveryHost) -> None:
        self._alive.pop(host, None)
        self._heard.set()
        if host is not self._current or self._is_over or self._restart is not None:
            return
        self.restarts += 1
        wait = self._backoff.next_wait(monotonic() - host.started)
        for spec in host.policies.specs:
            self._finding(spec).note_error("died", host.how_it_ended())
        soon = f"in {wait:g} s" if wait else "now"
        self._events.note("", "discovery_error", f"the discovery host ended: {host.how_it_ended()} (pid {host.pid}). "
                          f"The next one starts {soon}; until then endpoints stay as they are")
        self._restart = asyncio.get_running_loop().create_task(self._bring_back(host, wait))

    # --- inside ---

    async def _start(self, policies: Policies) -> DiscoveryHost:
        stats = self._take_stats(NO_SLOT)
        try:
            host = DiscoveryHost(self._paths, policies, self, stats)
        except OSError as error:
            stats.is_taken = False
            raise HostFailed(f"cannot be started: {error}") from None
        self._alive[host] = None
        try:
            await host.wait_ready()
        except BaseException:
            host.kill()
            raise
        self._journal.info(f"discovery host is ready ({', '.join(host.names)}; pid {host.pid}, up in "
                           f"{(monotonic() - host.started) * 1000:.0f} ms)")
        return host

    async def _bring_back(self, dead: DiscoveryHost, wait: float) -> None:
        try:
            while True:
                await asyncio.sleep(wait)
                if self._current is not dead:
                    return
                begun = monotonic()
                try:
                    host = await self._start(dead.policies)
                except HostFailed as failure:
                    wait = self._backoff.next_wait(monotonic() - begun)
                    self._events.note("", "discovery_error", f"the discovery host could not be started: {failure}; the "
                                      f"next attempt is in {wait:g} s")
                    continue
                break
        finally:
            if self._restart is asyncio.current_task():
                self._restart = None
        if self._current is not dead:       # a reload came first
            host.kill()
            return
        host.sets = {**dead.sets, **host.sets}
        self._current = host
        self._begin(host)

    def _begin(self, host: DiscoveryHost) -> None:
        """It is the one now; what it has found or become before that counts too."""
        if not host.is_alive:
            self.on_death(host)
        elif host.sets:
            self._schedule(0.0)

    def _let_go(self, host: DiscoveryHost) -> None:
        """Its policies are no longer wanted."""
        host.end()
        host.policies.close()
        if host.is_alive:
            asyncio.get_running_loop().call_later(LEAVE_SECONDS, host.kill)

    def _schedule(self, wait: float) -> None:
        self._due = min(self._due, monotonic() + wait)
        self._wake.set()

    async def _run(self) -> None:
        """What came within a debounce becomes live together, at most five times a second."""
        last = 0.0
        while True:
            await self._wake.wait()
            wait = max(self._due, last + APART_SECONDS) - monotonic()
            if wait > 0:
                self._wake.clear()      # one that is due sooner wakes again
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                    continue
                except TimeoutError:
                    pass
            self._wake.clear()
            self._due = NEVER
            last = monotonic()
            try:
                await self._apply()
            except Exception as error:      # a bug: it must not be the last update
                self._journal.error(f"internal error: {''.join(traceback.format_exception(error))}")

    def _finding(self, spec: DiscoverySpec) -> Finding:
        return self.findings.setdefault(spec.cluster, Finding(spec.use))

    def _problem(self, spec: DiscoverySpec, kind: str, text: str) -> None:
        if self._finding(spec).note_error(kind, text):
            self._events.note(spec.cluster, "discovery_error", text)

    def _miss(self, spec: DiscoverySpec, count: int) -> None:
        what = (f"the endpoints that it had stay, {count:,} of them" if count else
                "it begins without endpoints, and requests get 503 until it does")
        self._events.note(spec.cluster, "discovery_error",
                          f"its policy has yielded nothing good within {spec.first_wait:g} s: {what}", "warn")
