"""The filter hosts of one worker: that of the snapshot it serves, and those whose last exchanges have not ended yet."""

import asyncio
import os
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic

from fastmesh.control.backoff import Backoff
from fastmesh.control.filter_host import FilterHost
from fastmesh.control.host import HostFailed
from fastmesh.control.isolated import Isolated
from fastmesh.observe.journal import Journal
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import Message

LEAVE_SECONDS = 7.0     # for a host whose worker is gone
numbers = count(1)


class FilterHosts:
    """Starts a host when a snapshot has isolated filters, another when they change, and another when it dies."""

    def __init__(self, slot: int, paths: Sequence[str], journal: Journal,
                 send: Callable[[Message, tuple[int, ...]], None], on_event: Callable[[int, Message], None],
                 shared_fd: int, take_stats: Callable[[int], StatsFile] | None) -> None:
        """`send` says something to the worker; `take_stats` gives a host a file to count in."""
        self.slot = slot
        self.current: FilterHost | None = None
        self.number = 0         # by which the worker knows it, whatever process it is
        self.on_restart: Callable[[], None] = lambda: None      # one died and is started again
        self._coming: tuple[int, FilterHost, tuple[int, int, int]] | None = None
        self._paths = paths
        self._journal = journal
        self._send = send
        self._on_event = on_event
        self._shared_fd = shared_fd
        self._take_stats = take_stats
        self._alive: dict[FilterHost, None] = {}
        self._isolated: Isolated | None = None
        self._snapshot: tuple[int, int, int] | None = None      # the descriptor is our own
        self._backoff = Backoff()
        self._restart: asyncio.Task[None] | None = None
        self._is_changing = False       # the worker has not said yet whether it takes a snapshot
        self._is_over = False

    @property
    def processes(self) -> list[FilterHost]:
        return list(self._alive)

    async def prepare(self, isolated: Isolated | None, snapshot: tuple[int, int, int]) -> tuple[int, tuple[int, ...]]:
        """The number of the host for a snapshot that the worker is about to be given, and what to give along; 0 when
        the snapshot has no isolated filters. Raises HostFailed."""
        self._drop_coming()
        self._is_changing = True
        if isolated is None:
            return 0, ()
        if self._isolated is not None and self._isolated.key == isolated.key:
            return self.number, ()
        number = next(numbers)
        host = await self._start(isolated, snapshot)
        self._coming = number, host, (os.dup(snapshot[0]), *snapshot[1:])
        return number, (host.worker_end.fileno(),)

    def settle(self, number: int) -> None:
        """The worker serves the snapshot whose host has this number."""
        self._is_changing = False
        if self._coming is not None and self._coming[0] == number:
            old = self.current
            self._forget_snapshot()
            self.number, self.current, self._snapshot = self._coming
            self._isolated = self.current.isolated
            self._coming = None
            self.current.worker_end.close()
            self._backoff = Backoff()
            if old is not None and old.is_alive:
                self._journal.info(f"filter host of worker {self.slot} has a successor (pid {old.pid}): it ends with "
                                   "its last exchange")
        elif number == 0:
            self.current, self.number, self._isolated = None, 0, None
            self._forget_snapshot()
        self.keep()

    def keep(self) -> None:
        """The worker goes on with what it has, whatever was prepared."""
        self._is_changing = False
        self._drop_coming()
        if self.current is not None and not self.current.is_alive and self._restart is None:
            self._died(self.current)

    def end(self) -> None:
        """The worker is gone: hosts end by themselves, for their line is closed."""
        self._is_over = True
        if self._restart is not None:
            self._restart.cancel()
        self._drop_coming()
        self._forget_snapshot()
        loop = asyncio.get_running_loop()
        for host in self.processes:
            loop.call_later(LEAVE_SECONDS, host.kill)

    async def gone(self) -> None:
        """Until no process is left."""
        while alive := self.processes:
            await asyncio.wait([asyncio.shield(host.death) for host in alive])

    def kill(self) -> None:
        for host in self.processes:
            host.kill()

    async def _start(self, isolated: Isolated, snapshot: tuple[int, int, int]) -> FilterHost:
        stats = self._take_stats(self.slot) if self._take_stats is not None else None
        try:
            host = FilterHost(self.slot, self._paths, snapshot, isolated, self._died, self._on_event, self._shared_fd,
                              stats)
        except OSError as error:
            if stats is not None:
                stats.is_taken = False
            raise HostFailed(f"cannot be started: {error}") from None
        self._alive[host] = None
        try:
            await host.wait_ready()
        except BaseException:
            host.worker_end.close()
            host.kill()
            raise
        self._journal.info(f"filter host of worker {self.slot} is ready ({', '.join(isolated.names)}; pid {host.pid}, "
                           f"up in {(monotonic() - host.started) * 1000:.0f} ms)")
        return host

    def _drop_coming(self) -> None:
        if self._coming is not None:
            _, host, snapshot = self._coming
            self._coming = None
            os.close(snapshot[0])
            host.worker_end.close()
            host.kill()

    def _forget_snapshot(self) -> None:
        if self._snapshot is not None:
            os.close(self._snapshot[0])
            self._snapshot = None

    def _died(self, host: FilterHost) -> None:
        self._alive.pop(host, None)
        # One whose worker is changing may have ended because it has a successor.
        if host is not self.current or self._is_over or self._is_changing:
            return
        self.on_restart()
        wait = self._backoff.next_wait(monotonic() - host.started)
        self._journal.error(f"filter host of worker {self.slot} ended: {host.how_it_ended()} (pid {host.pid}). The "
                            f"next one starts {f'in {wait:g} s' if wait else 'now'}; until then its filters fail by "
                            "their error policy")
        self._restart = asyncio.get_running_loop().create_task(self._bring_back(self.number, wait))

    async def _bring_back(self, number: int, wait: float) -> None:
        try:
            await self._try_again(number, wait)
        finally:
            self._restart = None
        if not self._is_changing:
            self.keep()

    async def _try_again(self, number: int, wait: float) -> None:
        while True:
            await asyncio.sleep(wait)
            if number != self.number or self._isolated is None or self._snapshot is None:
                return
            begun = monotonic()
            try:
                host = await self._start(self._isolated, self._snapshot)
            except HostFailed as failure:
                wait = self._backoff.next_wait(monotonic() - begun)
                self._journal.error(f"filter host of worker {self.slot} could not be started: {failure}; the next "
                                    f"attempt is in {wait:g} s")
                continue
            if number != self.number:       # a reload came first
                host.worker_end.close()
                host.kill()
                return
            self.current = host
            self._send({"op": "filter_host", "number": number}, (host.worker_end.fileno(),))
            host.worker_end.close()
            return
