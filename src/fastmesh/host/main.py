"""The filter host: the process that isolated filters run in, one beside each worker that has any.

Control starts it with a line to itself, one to the worker, the filters and a page in which it says that it is alive.
It ends when its worker has closed the line, and dies with control.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import mmap
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic_ns
from typing import Any, NoReturn

import uvloop

from fastmesh._core.hosted.exchange import Hosted
from fastmesh._core.hosted.host_line import Line
from fastmesh.filters import metrics, shared
from fastmesh.filters.blob import unpack
from fastmesh.filters.protocol import TEXT_MOST
from fastmesh.host.calls import Calls
from fastmesh.host.mesh import Asks
from fastmesh.host.priority import yield_to_worker
from fastmesh.host.surroundings import furnish, hosted_of, offer_names
from fastmesh.worker.filters import Filters
from fastmesh.worker.packet import Message, receive, send
from fastmesh.worker.title import name_command, name_process

CONTROL_FD = 3
LINE_FD = 4
FILTERS_FD = 5
PULSE_FD = 6
SHARED_FD = 7
STATS_FD = 8
PULSE_BYTES = 4096
PULSE_SECONDS = 0.25
GRACE_SECONDS = 5.0     # for what is under way when the worker is gone
OOM_SCORE = 500         # when memory ends, this process goes before any worker
PR_SET_PDEATHSIG = 1
# Control decides when this process ends. What reaches a whole process group is control's to answer.
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


class CannotStart(Exception):
    """A filter cannot be loaded, or its `start` failed. The text is for people."""


class HostProcess:
    """One host from its start to its end."""

    def __init__(self, filters: dict[str, Any]) -> None:
        self.filters = filters
        self.hosted: list[Hosted] = []
        self.control = socket.socket(fileno=CONTROL_FD)
        self.control.setblocking(False)
        # When the loop turned last, and the place of the filter that runs now, from 1 on.
        self.pulse = memoryview(mmap.mmap(PULSE_FD, PULSE_BYTES)).cast("Q")
        self.end = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.beats: asyncio.TimerHandle | None = None
        self.calls: Calls | None = None
        self.asks = Asks()

    async def run(self) -> int:
        """Until the worker or control is gone. Returns the exit status."""
        self.loop.set_exception_handler(self.on_loop_error)
        self.loop.add_reader(CONTROL_FD, self.on_control)
        self.beat()
        try:
            self.start()
        except CannotStart as error:
            self.tell({"op": "failed", "text": str(error)[-TEXT_MOST:]})
            return 1
        line = Line(socket.socket(fileno=LINE_FD))
        calls = self.calls = Calls(self.hosted, line.write, self.pulse, self.asks)
        line.begin(calls)
        for hosted in self.hosted:
            hosted.instance.metrics.renew()
        # What is there by now stays: nobody need look through it again for what can go.
        gc.collect()
        gc.freeze()
        self.tell({"op": "ready", "pid": os.getpid()})
        waiting = [self.loop.create_task(event.wait()) for event in (self.end, line.is_over)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        line.close()
        self.asks.end()
        await calls.end(GRACE_SECONDS)
        self.stop()
        return 0

    def start(self) -> None:
        sys.path.extend(path for path in self.filters["paths"] if path not in sys.path)
        offer_names()
        # Started without, its filters count for nobody, and share with nobody.
        with contextlib.suppress(OSError):
            metrics.attach(STATS_FD)
        with contextlib.suppress(OSError, shared.SharedError):
            shared.attach(SHARED_FD)
        loader = Filters(self.tell, lambda instance, spec: furnish(instance, spec, self.asks))
        for spec, where in zip(self.filters["slots"], self.filters["places"], strict=True):
            if not spec["isolated"]:
                continue
            try:
                instance = loader.new(spec, self.filters["files"].get(spec["fingerprint"], ""))
                instance.start()        # on the loop: it may begin tasks
                self.hosted.append(hosted_of(instance, spec))
            except BaseException as error:      # also SystemExit, and whatever else a module may raise
                raise CannotStart(f"{where}: filter {spec['name']}: {trace_of(error)[-TEXT_MOST // 2:]}") from error

    def stop(self) -> None:
        for hosted in self.hosted:
            try:
                hosted.instance.stop()
            except BaseException as error:
                self.tell({"op": "event", "what": "filter_error", "filter": hosted.instance.name,
                           "text": f"stop: {trace_of(error)}"})

    def beat(self) -> None:
        """The loop turns; and what takes too long is ended."""
        self.pulse[0] = monotonic_ns()
        if self.calls is not None:
            self.calls.sweep()
        self.beats = self.loop.call_later(PULSE_SECONDS, self.beat)

    def on_control(self) -> None:
        try:
            packet = receive(self.control)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ValueError):
            packet = None
        if packet is None:      # control is gone, or ends this process
            self.loop.remove_reader(CONTROL_FD)
            self.end.set()
            return
        for fd in packet[1]:
            os.close(fd)

    def tell(self, message: Message) -> None:
        with contextlib.suppress(OSError, ValueError):
            send(self.control, message)

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """A task of a filter's own, whose exception nobody took."""
        error = what.get("exception")
        text = f"{what.get('message', '')}\n{trace_of(error) if error is not None else ''}"
        self.tell({"op": "event", "what": "filter_error", "filter": "host", "text": text[-TEXT_MOST:]})


def trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-12)).rstrip()


def _die_with(control_pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != control_pid:     # it died before that
        sys.exit(1)


def enter(control_pid: int, title: str, command: str, *, gives_way: bool) -> None:
    """What a host process does before anything else. `gives_way`: to workers that want the processor."""
    _die_with(control_pid)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    name_process(title)
    name_command(command)
    if gives_way:
        yield_to_worker()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def live(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """The rest of the process: `work` on a loop, and the exit with the status that it returns."""
    async def begin() -> int:
        # The runner has put its own in place of what is ignored.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(begin())
    # Threads that an author's code started must not keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(argv: list[str]) -> int:
    """`argv`: slot of the worker, where the filters begin in their descriptor, their bytes, low or normal priority,
    pid of control."""
    slot, at, size, priority, control_pid = argv[:5]
    enter(int(control_pid), "fastmesh-filter", f"fastmesh-filters-{slot}", gives_way=priority == "low")
    filters = unpack(os.pread(FILTERS_FD, int(size), int(at)))
    os.close(FILTERS_FD)

    async def work() -> int:
        return await HostProcess(filters).run()

    live(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
