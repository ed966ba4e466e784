"""One worker process, as control knows it: its line, what it has acknowledged, and when it is gone."""

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from fastmesh.control.filter_hosts import FilterHosts
from fastmesh.control.host import HostFailed
from fastmesh.control.patience import within
from fastmesh.control.process import Child, command, line_pair, worker_environment
from fastmesh.control.snapshot import ListenerSpec, Snapshot
from fastmesh.observe.journal import Journal
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import MAX_FDS, Message, arrived, send

HELLO_SECONDS = 10.0    # from the start to the first word
ACK_SECONDS = 10.0      # a worker that needs longer serves nobody: its loop stands still
QUEUE_LIMIT = 1000      # packets that wait for a worker that does not read
TRACE_SECONDS = 1.0     # for a worker that is to be killed to say where it hangs
GIVE_UP_SECONDS = 5.0   # after SIGKILL; one that lives then is stuck in the kernel, and may be so for ever


class WorkerFailed(Exception):
    """A worker died, hung, or spoke nonsense. The text is for people."""


class Refused(Exception):
    """A worker did not take a snapshot and keeps its old one. The text is the worker's reason."""


class WorkerProcess:
    """A worker from its start to its death."""

    def __init__(self, slot: int, paths: Sequence[str], engine: str, orphan_grace_ms: int, stats: StatsFile,
                 on_death: "Callable[[WorkerProcess], None]", entry: str = "fastmesh.worker.main",
                 on_event: Callable[[int, Message], None] = lambda slot, message: None, shared_fd: int = -1,
                 journal: Journal | None = None, take_stats: Callable[[int], StatsFile] | None = None,
                 health_fd: int = -1) -> None:
        """Start the process. Raises OSError.

        `on_death` is called when it is dead; when it does not die of SIGKILL it is called with `is_lost` set, and
        again when it has died after all. `on_event` takes what the worker tells of its filters.
        """
        self.slot = slot
        self.stats = stats
        self.engine = ""                # io_uring or epoll, as the worker said
        self.version = 0                # of the snapshot it serves
        self.holds: set[tuple[int, str]] = set()    # id and address of the listeners it has descriptors of
        self.is_draining = False
        self.has_drained = False        # ended because its drain was over
        self.open_at_end = 0            # connections that a drain had to cut
        self.is_stalled = False         # has not moved for a while; the watchdog says so
        self.has_hung = False           # is being killed because it does not move, or does not answer
        self.is_lost = False            # does not even die
        self.started = monotonic()
        self._on_death = on_death
        self._on_event = on_event
        self.on_memory: Callable[[str], None] = lambda name: None     # a filter ran out of it, and all is kept
        self.on_account: Callable[[int, Message], None] = lambda number, account: None
        self.hosts = FilterHosts(slot, paths, journal or Journal(), self._send, on_event, shared_fd, take_stats)
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._queue: deque[tuple[Message, tuple[int, ...]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.hello: asyncio.Future[None] = self._loop.create_future()
        self.death: asyncio.Future[None] = self._loop.create_future()     # or given up
        with line_pair() as (ours, theirs):
            # The worker's own end is non-blocking too; the flag belongs to each end apart.
            fds = {3: theirs.fileno(), 4: stats.fd, **({5: shared_fd} if shared_fd >= 0 else {}),
                   **({6: health_fd} if health_fd >= 0 else {})}
            self._child = Child.spawn(command(entry, paths, slot, engine, orphan_grace_ms, os.getpid()),
                                      fds, self._died, worker_environment())
        self._line: socket.socket | None = ours
        self._loop.add_reader(ours.fileno(), self._read)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child.is_alive

    @property
    def is_serving(self) -> bool:
        return self.is_alive and self.version > 0 and not (self.is_draining or self.is_stalled or self.has_hung)

    def how_it_ended(self) -> str:
        return self._child.how_it_ended()

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        if self.is_alive:
            self._loop.call_later(GIVE_UP_SECONDS, self._give_up)

    def end_hung(self) -> None:
        """End one that does not move. It is given a moment to write to stderr where it is: SIGABRT makes it do so."""
        if self.has_hung or not self.is_alive:
            return
        self.has_hung = True
        self._child.kill(signal.SIGABRT)
        self._loop.call_later(TRACE_SECONDS, self.kill)

    def _give_up(self) -> None:
        # Its death may only not have been read yet, when control itself has stood still.
        if self.is_alive and not self.is_lost and not self._child.has_ended():
            self.is_lost = True
            self.death.set_result(None)
            self._on_death(self)

    async def wait_hello(self) -> None:
        """Until it has said hello. Raises WorkerFailed."""
        try:
            await within(HELLO_SECONDS, asyncio.shield(self.hello))
        except TimeoutError:
            self.end_hung()
            raise WorkerFailed(f"said nothing for {HELLO_SECONDS:g} s after its start") from None

    async def push(self, snapshot: Snapshot, fd_of: Callable[[ListenerSpec], int],
                   bypassed: dict[int, int] | None = None) -> float:
        """Give it a snapshot, with descriptors of the listeners it does not have yet; the milliseconds it took.

        `bypassed`: rows of filters that are not to run, and for how many milliseconds. Raises Refused or WorkerFailed.
        One that does not answer is killed.
        """
        wanted = {(spec.id, spec.address["text"]): spec for spec in snapshot.listeners}
        added = [spec for key, spec in wanted.items() if key not in self.holds]
        for at in range(0, len(added), MAX_FDS):
            part = added[at:at + MAX_FDS]
            self._send({"op": "listen", "ids": [spec.id for spec in part]}, tuple(fd_of(spec) for spec in part))
        try:
            took = await self._push(snapshot, bypassed or {})
        except BaseException:
            self.hosts.keep()
            raise
        # What it no longer needs it has closed, when the backlog was empty.
        self.holds = set(wanted)
        return took

    async def _push(self, snapshot: Snapshot, bypassed: dict[int, int]) -> float:
        # While a filter host starts, another snapshot may become live, and this one be closed.
        fd = os.dup(snapshot.fd)
        try:
            return await self._hand_over(snapshot, fd, bypassed)
        finally:
            os.close(fd)

    async def _hand_over(self, snapshot: Snapshot, fd: int, bypassed: dict[int, int]) -> float:
        try:
            host, host_fds = await self.hosts.prepare(snapshot.isolated, (fd, snapshot.size, snapshot.filters_size))
        except HostFailed as failure:
            raise Refused(f"its filter host cannot be used: {failure}") from None
        if not self.is_alive:
            raise WorkerFailed(f"died: {self.how_it_ended()}")
        waiting = self._waiting[snapshot.version] = self._loop.create_future()
        self._send({"op": "snapshot", "version": snapshot.version, "size": snapshot.size,
                    "filters": snapshot.filters_size,
                    "orphan_grace_ms": snapshot.process.orphan_grace_ms, "host": host,
                    "bypassed": bypassed}, (fd, *host_fds))
        try:
            took: float = await within(ACK_SECONDS, waiting)
        except TimeoutError:
            self.end_hung()
            raise WorkerFailed(f"did not take snapshot {snapshot.version} within {ACK_SECONDS:g} s") from None
        finally:
            self._waiting.pop(snapshot.version, None)
        self.hosts.settle(host)
        return took

    def watch(self, number: int, wanted: Message) -> None:
        """Ask it to wait for a request; `on_account` is told what became of it."""
        self._send({"op": "watch", "number": number, "wanted": wanted})

    def unwatch(self, number: int) -> None:
        self._send({"op": "unwatch", "number": number})

    def bypass(self, rows: dict[int, int]) -> None:
        """Filters that are not to run, by their rows, and for how many milliseconds."""
        self._send({"op": "bypass", "rows": rows})

    def drain(self, grace_ms: int, idle_ms: int) -> None:
        """Ask it to stop accepting, finish what is in flight, and end. Asked again, the new times count."""
        self.is_draining = True
        self._send({"op": "drain", "grace_ms": grace_ms, "idle_ms": idle_ms})

    def stop(self) -> None:
        """Ask it to end at once."""
        self.is_draining = True
        self._send({"op": "stop"})

    def _send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        if self._line is None:
            return
        if not self._queue:
            try:
                send(self._line, message, fds)
                return
            except BlockingIOError:
                self._loop.add_writer(self._line.fileno(), self._flush)
            except OSError:         # it has gone: its death is on its way here
                return
        if len(self._queue) >= QUEUE_LIMIT:
            self.kill()
            return
        self._queue.append((message, tuple(os.dup(fd) for fd in fds)))

    def _flush(self) -> None:
        while self._queue and self._line is not None:
            message, fds = self._queue[0]
            try:
                send(self._line, message, fds)
            except BlockingIOError:
                return
            except OSError:
                pass
            self._queue.popleft()
            for fd in fds:
                os.close(fd)
        if self._line is not None:
            self._loop.remove_writer(self._line.fileno())

    def _read(self) -> None:
        for message in arrived(self._line) if self._line is not None else ():
            if message is None:
                # It closed its end without leave, or talks nonsense: a worker that cannot be spoken to must go.
                self._hang_up()
                if not self.has_drained:
                    self.kill()
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        op = message["op"]
        if op == "hello":
            self.engine = str(message.get("engine", ""))
            if not self.hello.done():
                self.hello.set_result(None)
        elif op in ("ack", "nack"):
            version = message.get("version", 0)
            if op == "ack":
                self.version = version
            waiting = self._waiting.get(version)
            if waiting is not None and not waiting.done():
                if op == "ack":
                    waiting.set_result(float(message.get("ms", 0)))
                else:
                    waiting.set_exception(Refused(str(message.get("why", ""))))
        elif op == "event":
            self._on_event(self.slot, message)
            if message.get("what") == "filter_memory":
                self.on_memory(str(message.get("filter", "")))
        elif op == "account":
            self.on_account(int(message.get("number", 0)), message.get("account", {}))
        elif op == "drained":
            self.has_drained = True
            self.open_at_end = int(message.get("open", 0))

    def _hang_up(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._line.fileno())
            self._loop.remove_writer(self._line.fileno())
            self._line.close()
            self._line = None
        for _, fds in self._queue:
            for fd in fds:
                os.close(fd)
        self._queue.clear()

    def _died(self) -> None:
        self._read()            # its last words
        self._hang_up()
        self.hosts.end()
        failure = WorkerFailed(f"died: {self.how_it_ended()}")
        waiting: list[asyncio.Future[Any]] = [self.hello, *self._waiting.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(failure)
                future.exception()      # nobody may be waiting; that is no error
        if not self.death.done():
            self.death.set_result(None)
        self._on_death(self)
