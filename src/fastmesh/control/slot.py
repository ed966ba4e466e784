"""One place for a worker: it is never empty for long."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from fastmesh.control.backoff import Backoff
from fastmesh.control.filter_hosts import FilterHosts
from fastmesh.control.snapshot import ListenerSpec, Snapshot
from fastmesh.control.sockets import SocketShelf
from fastmesh.control.suspects import Suspects
from fastmesh.control.watches import Watches
from fastmesh.control.worker_process import Refused, WorkerFailed, WorkerProcess
from fastmesh.observe.events import Events
from fastmesh.observe.health import HealthFile
from fastmesh.observe.journal import Journal
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.stats import StatsShelf


@dataclass(slots=True)
class Ground:
    """What all slots stand on."""

    journal: Journal
    sockets: SocketShelf
    stats: StatsShelf
    paths: Sequence[str]                # where a worker finds its packages
    on_change: Callable[[], None]       # a worker began or ceased to serve
    live: Snapshot | None = None        # what a new worker is given
    restarts: int = 0                   # workers that died and were replaced
    host_restarts: int = 0              # filter hosts that ended by themselves, or were killed, and were replaced
    hangs: int = 0                      # workers that were killed because they did not move
    entry: str = "fastmesh.worker.main"
    names: SeriesNames = field(default_factory=SeriesNames)
    shared_fd: int = -1                 # memory that filters of all workers share; -1 = there is none
    health: HealthFile | None = None    # what workers know of endpoints
    events: Events = field(init=False)
    suspects: Suspects = field(default_factory=Suspects)
    on_suspect: Callable[[], None] = field(default=lambda: None)    # there is one more: workers that serve bypass it
    watches: Watches = field(default_factory=Watches)

    def __post_init__(self) -> None:
        self.events = Events(self.journal)


class Slot:
    """Keeps one worker alive: starts it, starts another when it dies, replaces it without a lost connection."""

    def __init__(self, index: int, ground: Ground) -> None:
        self.index = index
        self.current: WorkerProcess | None = None
        self.leaving: set[WorkerProcess] = set()    # replaced, still draining
        self.restarts = 0                           # workers that died here and were replaced
        self.is_retired = False
        self._ground = ground
        self._has_served = False
        self._backoff = Backoff()
        self._lock = asyncio.Lock()
        self._restart: asyncio.Task[None] | None = None
        self._alive: dict[WorkerProcess, None] = {}     # in the order of their start
        self._hosts: list[FilterHosts] = []             # of the worker here, and of those before that still end
        self._tasks: set[asyncio.Task[None]] = set()
        self._relief: asyncio.Task[None] | None = None      # a worker is replaced, for its filters keep too much

    @property
    def hosts(self) -> list[FilterHosts]:
        """The filter hosts of all workers of this slot, those that have died as well."""
        return [hosts for hosts in self._hosts if hosts.processes]

    @property
    def processes(self) -> list[WorkerProcess]:
        """Everything alive that belongs here."""
        return list(self._alive)

    async def start(self) -> None:
        """Bring up the first worker. Raises WorkerFailed or Refused."""
        async with self._lock:
            self.current = await self._bring_up()
            self._has_served = True
        self._ground.on_change()

    def keep(self) -> None:
        """Bring up a worker in the background, and go on trying."""
        if self._restart is None or self._restart.done():
            self._restart = asyncio.get_running_loop().create_task(self._keep(0.0))

    async def replace(self, grace_ms: int) -> WorkerProcess:
        """A new worker takes over the listening sockets; then the old one drains. Raises WorkerFailed or Refused:
        then the old one stays."""
        async with self._lock:
            fresh = await self._bring_up()
            old, self.current = self.current, fresh
            if old is not None and old.is_alive:
                self.leaving.add(old)
                # Idle connections may stay to the end: one that is closed could just be getting a request.
                old.drain(grace_ms, grace_ms)
        self._ground.on_change()
        return fresh

    def socket_of(self, spec: ListenerSpec) -> int:
        """The descriptor of this slot's socket for a listener."""
        return self._ground.sockets.socket_of(spec, self.index)

    def catch_up(self) -> None:
        """See to it that the worker serves the live snapshot, whatever happened while it became live."""
        if self.current is None:
            self.keep()
        elif self._ground.live is not None and self.current.version != self._ground.live.version:
            task = asyncio.get_running_loop().create_task(self._catch_up(self.current))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _catch_up(self, worker: WorkerProcess) -> None:
        assert self._ground.live is not None
        try:
            await worker.push(self._ground.live, self.socket_of)
        except (Refused, WorkerFailed) as failure:
            self._ground.journal.error(f"worker {self.index} {failure}; it is replaced")
            if not worker.has_hung:
                worker.kill()

    def start_no_more(self) -> None:
        """No worker that dies from now on has a successor."""
        self.is_retired = True
        if self._restart is not None:
            self._restart.cancel()

    def retire(self, grace_ms: int, idle_ms: int) -> None:
        """No more workers here; the one there is drains."""
        self.start_no_more()
        for worker in self.processes:
            if worker.version:
                worker.drain(grace_ms, idle_ms)
            else:
                worker.stop()

    async def gone(self) -> None:
        """Until no process is left."""
        while alive := self.processes:
            await asyncio.wait([asyncio.shield(worker.death) for worker in alive])
        for hosts in self._hosts:
            await hosts.gone()

    async def _bring_up(self) -> WorkerProcess:
        """A new worker that serves the live snapshot."""
        ground = self._ground
        assert ground.live is not None
        process = ground.live.process
        stats = ground.stats.take(self.index)
        try:
            worker = WorkerProcess(self.index, ground.paths, process.reactor, process.orphan_grace_ms, stats,
                                   self._died, ground.entry, ground.events.take, ground.shared_fd, ground.journal,
                                   ground.stats.take, ground.health.fd if ground.health is not None else -1)
        except OSError as error:
            stats.is_taken = False
            raise WorkerFailed(f"cannot be started: {error}") from None
        self._alive[worker] = None
        self._hosts = [hosts for hosts in self._hosts if hosts.processes]
        self._hosts.append(worker.hosts)
        worker.hosts.on_restart = self._host_restarts
        worker.on_account = ground.watches.take
        worker.on_memory = lambda name: self._runs_out(worker, name)
        try:
            await worker.wait_hello()
            # The live snapshot may change while this one is being taken.
            while worker.version != ground.live.version:
                snapshot = ground.live
                await worker.push(snapshot, self.socket_of, ground.suspects.bypassed(snapshot.filter_names))
            if self.is_retired:
                raise WorkerFailed("is no longer needed")
        except BaseException:
            if not worker.has_hung:     # that one is being killed, and says where it hangs
                worker.kill()
            raise
        took = (monotonic() - worker.started) * 1000
        ground.journal.info(f"worker {self.index} serves snapshot {worker.version} "
                            f"(pid {worker.pid}, {worker.engine}, up in {took:.0f} ms)")
        return worker

    def _died(self, worker: WorkerProcess) -> None:
        if worker.is_lost:
            if not worker.is_alive:
                self._forget(worker)
                return
            self._ground.journal.error(f"worker {self.index} does not die of SIGKILL (pid {worker.pid}): the kernel "
                                       "holds it; its slot goes on without it")
        else:
            self._accuse(worker)
            self._forget(worker)
        self._alive.pop(worker, None)
        if worker.has_hung:
            self._ground.hangs += 1
        if worker is self.current:
            self.current = None
        is_leaving = worker in self.leaving or (self.is_retired and worker.version > 0)
        self.leaving.discard(worker)
        if is_leaving and worker.has_drained:
            cut = f", {worker.open_at_end} connections cut" if worker.open_at_end else ""
            self._ground.journal.info(f"worker {self.index} has drained (pid {worker.pid}{cut})")
        elif is_leaving:
            self._ground.journal.error(f"worker {self.index} did not end its drain: {worker.how_it_ended()} "
                                       f"(pid {worker.pid}); its connections are lost")
        elif worker.version and not self.is_retired:
            self._replace_dead(worker)
        self._ground.on_change()

    def _forget(self, worker: WorkerProcess) -> None:
        """What it had in use is free again."""
        worker.stats.is_taken = False
        if self._ground.health is not None:
            self._ground.health.vacate(worker.pid)

    def _accuse(self, worker: WorkerProcess) -> None:
        """The filter in which its data thread was, if it was in any."""
        live = self._ground.live
        row, _ = worker.stats.filter_now()
        name = live.filter_names.get(row) if live is not None else None
        if name is None or worker.has_drained:
            return
        pause = self._ground.suspects.accuse(name)
        self._ground.events.take(self.index, {
            "what": "filter_quarantined", "filter": name,
            "text": f"worker {self.index} {'stood still' if worker.has_hung else 'died'} while it ran: it is bypassed "
                    f"for {pause:g} s, as its on_error says. A filter that runs isolated (`isolated: true`) cannot end "
                    "a worker"})
        self._ground.on_suspect()

    def _runs_out(self, worker: WorkerProcess, name: str) -> None:
        if worker is self.current and self._relief is None and not self.is_retired:
            self._relief = asyncio.get_running_loop().create_task(self._relieve(name))

    async def _relieve(self, name: str) -> None:
        """Another worker in place of one whose filters keep all the memory that they may have. The one that came to
        the limit is bypassed as if the worker had died in it."""
        ground = self._ground
        try:
            live = ground.live
            if live is None or name not in live.filter_names.values():
                return
            pause = ground.suspects.accuse(name)
            ground.on_suspect()
            ground.journal.warn(f"worker {self.index} is replaced, for its filters keep all the memory that they may "
                                f"have; filter {name}, which asked for more, is bypassed for {pause:g} s")
            await self.replace(live.process.drain_timeout_ms)
        except (Refused, WorkerFailed) as failure:
            ground.journal.error(f"worker {self.index} could not be replaced: {failure}")
        finally:
            self._relief = None

    def _host_restarts(self) -> None:
        self._ground.host_restarts += 1

    def _replace_dead(self, worker: WorkerProcess) -> None:
        wait = self._backoff.next_wait(monotonic() - worker.started)
        soon = f"in {wait:g} s" if wait else "now"
        self._ground.journal.error(f"worker {self.index} died: {worker.how_it_ended()} (pid {worker.pid}); "
                                   f"its connections are lost, the next one starts {soon}")
        self._restart = asyncio.get_running_loop().create_task(self._keep(wait))

    async def _keep(self, wait: float) -> None:
        while not self.is_retired:
            await asyncio.sleep(wait)
            begun = monotonic()
            try:
                async with self._lock:
                    if self.current is not None:
                        return
                    self.current = await self._bring_up()
            except Exception as failure:    # whatever it is, the slot must not stay empty
                wait = self._backoff.next_wait(monotonic() - begun)
                kind = "" if isinstance(failure, Refused | WorkerFailed) else f"{type(failure).__name__}: "
                self._ground.journal.error(f"worker {self.index} could not be started: {kind}{failure}; "
                                           f"the next attempt is in {wait:g} s")
                continue
            if self._has_served:        # else it is the first one here
                self.restarts += 1
                self._ground.restarts += 1
            self._has_served = True
            self._ground.on_change()
            return
