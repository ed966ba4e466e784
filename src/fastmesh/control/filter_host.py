"""One filter host, as control knows it: the process that a worker's isolated filters run in."""

import asyncio
import mmap
import os
import socket
import sys
from collections.abc import Callable, Sequence
from time import monotonic

from fastmesh.control.isolated import Isolated
from fastmesh.control.patience import within
from fastmesh.control.process import Child
from fastmesh.control.sight import sight_of
from fastmesh.observe.stats import StatsFile
from fastmesh.worker.packet import Message, arrived

START_SECONDS = 30.0        # to import the filters, and for their `start`
LOOK_SECONDS = 0.5
PULSE_BYTES = 4096
MEMORY_MOST = 1 << 30       # resident bytes of a host
MORE_SECONDS = 1.0          # past the longest timeout of its filters, that its loop may stand still
ENTRY = ("import sys; sys.path[:0] = [p for p in sys.argv.pop(1).split(':') if p not in sys.path]; "
         "from fastmesh.host.main import main; sys.exit(main(sys.argv[1:]))")


class HostFailed(Exception):
    """A filter host did not come up. The text is for people."""


class FilterHost:
    """A host from its start to its death."""

    def __init__(self, slot: int, paths: Sequence[str], snapshot: tuple[int, int, int], isolated: Isolated,
                 on_death: "Callable[[FilterHost], None]", on_event: Callable[[int, Message], None],
                 shared_fd: int, stats: StatsFile | None) -> None:
        """Start the process. `snapshot`: its descriptor, where filters begin in it, and their bytes. `shared_fd`: what
        filters of all processes share, or -1; `stats`: where its filters count. Raises OSError.

        `worker_end` is to be given to the worker, and closed.
        """
        self.slot = slot
        self.isolated = isolated
        self.stats = stats
        self.started = monotonic()
        self.why = ""           # it was killed
        self._on_death = on_death
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.death: asyncio.Future[None] = self._loop.create_future()
        fd, at, size = snapshot
        pulse = os.memfd_create("fastmesh-pulse", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.worker_end, host_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            os.ftruncate(pulse, PULSE_BYTES)
            self._pulse = mmap.mmap(pulse, PULSE_BYTES, prot=mmap.PROT_READ)
            self._child = Child.spawn(
                [sys.executable, "-I", "-c", ENTRY, ":".join(paths),
                 *map(str, (slot, at, size, os.getpid(), isolated.priority))],
                {3: theirs.fileno(), 4: host_end.fileno(), 5: fd, 6: pulse,
                 **({7: shared_fd} if shared_fd >= 0 else {}), **({8: stats.fd} if stats is not None else {})},
                self._died, os.environ)
        except OSError:
            ours.close()
            self.worker_end.close()
            raise
        finally:
            theirs.close()
            host_end.close()
            os.close(pulse)
        self._line: socket.socket | None = ours
        self._loop.add_reader(ours.fileno(), self._read)
        self._watch = self._loop.create_task(self._look())

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child.is_alive

    def how_it_ended(self) -> str:
        return self.why or self._child.how_it_ended()

    def kill(self, why: str = "") -> None:
        """End it at once."""
        if self.is_alive:
            self.why = self.why or why
            self._child.kill()

    async def wait_ready(self) -> None:
        """Until its filters are loaded. Raises HostFailed; then it is killed."""
        try:
            await within(START_SECONDS, asyncio.shield(self.ready))
        except TimeoutError:
            self.kill()
            raise HostFailed(f"its filters did not start within {START_SECONDS:g} s") from None

    async def _look(self) -> None:
        """Ends a host whose loop stands still, or that takes too much memory."""
        limit = self.isolated.timeout + MORE_SECONDS
        beat, still, cpu_ns = 0, 0.0, -1
        while self.is_alive:
            begun = monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            now = int.from_bytes(self._pulse[:8], "little")
            # Control itself did not run, or nothing has begun to beat yet: `wait_ready` has a limit of its own.
            if now != beat or not self.ready.done() or monotonic() - begun > 2 * LOOK_SECONDS:
                beat, still = now, 0.0
            else:
                sight = sight_of(self.pid)
                if not (sight.state == "R" and sight.cpu_ns == cpu_ns >= 0) and not sight.tracer:
                    still += LOOK_SECONDS
                cpu_ns = sight.cpu_ns
                if still >= limit:
                    self.kill(f"killed, for its loop stood still for {still:g} s{self._who()}: {sight}. A filter that "
                              "blocks holds up all isolated ones: let it use asyncio, or asyncio.to_thread")
            memory = memory_of(self.pid)
            if memory > MEMORY_MOST:
                self.kill(f"killed, for it had {memory >> 20} MiB of memory, {MEMORY_MOST >> 20} are allowed")

    def _who(self) -> str:
        place = int.from_bytes(self._pulse[8:16], "little")
        return f" in filter {self.isolated.names[place - 1]}" if 0 < place <= len(self.isolated.names) else ""

    def _read(self) -> None:
        for message in arrived(self._line) if self._line is not None else ():
            if message is None:
                self._hang_up()
                return
            op = message["op"]
            if op == "ready" and not self.ready.done():
                self.ready.set_result(None)
            elif op == "failed" and not self.ready.done():
                self.ready.set_exception(HostFailed(str(message.get("text", ""))))
                self.ready.exception()
            elif op == "event":
                self._on_event(self.slot, message)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
            self._line = None

    def _died(self) -> None:
        self._read()
        self._hang_up()
        self._watch.cancel()
        self._pulse.close()
        if self.stats is not None:
            self.stats.is_taken = False
        if not self.ready.done():
            self.ready.set_exception(HostFailed(f"its process died: {self.how_it_ended()}"))
            self.ready.exception()
        self.death.set_result(None)
        self._on_death(self)


def memory_of(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:        # noqa: PTH123  (pathlib is not imported in control)
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0
