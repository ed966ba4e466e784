"""A process that runs Python of authors with asyncio, as control knows it: started, watched, spoken to, ended.

Filter hosts and the discovery host are such processes. Each has a line to control, and a page in which it says that its
loop turns and which of its authors' things runs now.
"""

import asyncio
import mmap
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from time import monotonic

from fastmesh.control.patience import within
from fastmesh.control.process import Child, line_pair
from fastmesh.control.sight import sight_of
from fastmesh.worker.packet import BadPacket, Message, receive

START_SECONDS = 30.0        # to import its classes, and for their `start`
LOOK_SECONDS = 0.5
PULSE_BYTES = 4096
MEMORY_MOST = 1 << 30       # resident bytes
LINE_FD = 3
PULSE_FD = 6
ENTRY = ("import sys; sys.path[:0] = [p for p in sys.argv.pop(1).split(':') if p not in sys.path]; "
         "from {} import main; sys.exit(main(sys.argv[1:]))")


class HostFailed(Exception):
    """A host did not come up. The text is for people."""


class Host:
    """One from its start to its death. Subclasses say what they are told besides, and what their death means."""

    noun = "filter"             # of what runs in it
    advice = ""                 # to the author of one that blocks

    def __init__(self, module: str, paths: Sequence[str], arguments: Sequence[int | str], fds: Mapping[int, int],
                 names: Sequence[str], patience: float) -> None:
        """Start `main` of a module. `fds`: besides LINE_FD and PULSE_FD, which are made here. `names`: of what runs in
        it; `patience`: how long its loop may stand still, in seconds. Raises OSError."""
        self.names = names
        self.started = monotonic()
        self.why = ""           # it was killed
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.death: asyncio.Future[None] = self._loop.create_future()
        pulse = os.memfd_create("fastmesh-pulse", os.MFD_CLOEXEC)
        try:
            os.ftruncate(pulse, PULSE_BYTES)
            self._pulse = mmap.mmap(pulse, PULSE_BYTES, prot=mmap.PROT_READ)
            with line_pair() as (ours, theirs):
                self._child = Child.spawn(
                    [sys.executable, "-I", "-c", ENTRY.format(module), ":".join(paths), *map(str, arguments),
                     str(os.getpid())],
                    {LINE_FD: theirs.fileno(), PULSE_FD: pulse, **fds}, self._died, os.environ)
        finally:
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
        """Until its classes are loaded and started. Raises HostFailed; then it is killed."""
        try:
            await within(START_SECONDS, asyncio.shield(self.ready))
        except TimeoutError:
            self.kill()
            raise HostFailed(f"its {self.noun}s did not start within {START_SECONDS:g} s") from None

    async def _look(self) -> None:
        """Ends a host whose loop stands still, or that takes too much memory."""
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
                if still >= self._patience:
                    self.kill(f"killed, for its loop stood still for {still:g} s{self._who()}: {sight}. {self.advice}")
            memory = memory_of(self.pid)
            if memory > MEMORY_MOST:
                self.kill(f"killed, for it had {memory >> 20} MiB of memory, {MEMORY_MOST >> 20} are allowed")

    def _who(self) -> str:
        place = int.from_bytes(self._pulse[8:16], "little")
        return f" in {self.noun} {self.names[place - 1]}" if 0 < place <= len(self.names) else ""

    def _read(self) -> None:
        while self._line is not None:
            try:
                packet = receive(self._line)
            except BlockingIOError:
                return
            except (OSError, BadPacket):
                packet = None
            if packet is None:
                self._hang_up()
                return
            message, fds = packet
            try:
                if message["op"] == "ready" and not self.ready.done():
                    self.ready.set_result(None)
                elif message["op"] == "failed" and not self.ready.done():
                    self._fail(str(message.get("text", "")))
                else:
                    self._take(message, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _take(self, message: Message, fds: list[int]) -> None:
        """What it says besides. The descriptors are closed afterwards."""

    def _gone(self) -> None:
        """It is dead, and has been read to its last word."""

    def _fail(self, text: str) -> None:
        self.ready.set_exception(HostFailed(text))
        self.ready.exception()      # nobody may be waiting; that is no error

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
        if not self.ready.done():
            self._fail(f"its process died: {self.how_it_ended()}")
        self.death.set_result(None)
        self._gone()


def memory_of(pid: int) -> int:
    """Resident bytes of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:        # noqa: PTH123  (pathlib is not imported in control)
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return 0
