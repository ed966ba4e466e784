"""When a worker is taken for hung, and when not. The workers are stand-ins, the looks are the test's."""

import asyncio
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from fastmesh.control import patience, watchdog
from fastmesh.control.patience import within
from fastmesh.control.watchdog import Sight, Watchdog, sight_of
from fastmesh.observe.journal import Journal

LOOPS = Sight("R", -1, 0, "")


@dataclass(eq=False)
class Worker:
    """What a watchdog sees of one."""

    beat: int = 1
    pid: int = 4711
    slot: int = 0
    is_alive: bool = True
    is_stalled: bool = False
    has_hung: bool = False
    has_said_hello: bool = True
    ended: int = 0
    hello: Any = field(init=False)
    stats: Any = field(init=False)

    def __post_init__(self) -> None:
        self.hello = SimpleNamespace(done=lambda: self.has_said_hello)
        self.stats = SimpleNamespace(heartbeat=lambda: self.beat)

    def end_hung(self) -> None:
        self.has_hung = True
        self.ended += 1


class Yard:
    """A watchdog over one worker, with a limit of ten seconds."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.worker = Worker()
        self.sight = LOOPS
        self.changes = 0
        monkeypatch.setattr(watchdog, "sight_of", lambda pid: self.sight)
        self.dog = Watchdog(lambda: [self.worker], lambda: 10.0, Journal(self.fd), self._changed)  # type: ignore[list-item,return-value]

    def _changed(self) -> None:
        self.changes += 1

    def look(self, seconds: float) -> None:
        for _ in range(int(seconds / watchdog.LOOK_SECONDS)):
            self.dog.look()

    @property
    def log(self) -> str:
        return self.path.read_text()


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Yard(tmp_path / "log", monkeypatch)
    yield made
    os.close(made.fd)


def test_one_that_stands_still_is_avoided_then_ended_once(yard: Yard) -> None:
    yard.look(0.5)
    yard.look(2.5)
    assert not yard.worker.is_stalled
    yard.look(0.5)
    assert (yard.worker.is_stalled, yard.changes, yard.worker.ended) == (True, 1, 0)
    yard.look(6.5)
    assert yard.worker.ended == 0
    yard.look(20)
    assert yard.worker.ended == 1
    assert "worker 0 has not moved for 10 s (pid 4711): it computes without end; it is killed" in yard.log


def test_one_that_moves_begins_anew(yard: Yard) -> None:
    for beat in range(20):
        yard.worker.beat = beat
        yard.look(9.5)
    assert yard.worker.ended == 0
    assert yard.log.count("worker 0 moves again after 9 s") == 19
    assert not yard.worker.is_stalled or yard.changes % 2


def test_one_that_is_given_no_processor_is_not_to_blame(yard: Yard) -> None:
    yard.sight = Sight("R", 1234, 0, "")
    yard.look(60)
    assert yard.worker.ended == 0
    for cpu_ns in range(24):        # it is given some, and does not turn
        yard.sight = Sight("R", 5000 + cpu_ns, 0, "")
        yard.look(0.5)
    assert yard.worker.ended == 1


def test_one_in_a_debugger_is_left_alone_and_said_once(yard: Yard) -> None:
    yard.sight = Sight("t", 1234, 99, "")
    yard.look(60)
    assert yard.worker.ended == 0
    assert yard.log.count("held by a debugger (pid 99); it is left alone") == 1
    yard.sight = Sight("S", 1234, 0, "pipe_write")
    yard.look(0.5)
    assert yard.worker.ended == 1
    assert "it waits in the kernel, in pipe_write; it is killed" in yard.log


def test_one_that_has_not_begun_is_not_looked_at(yard: Yard) -> None:
    yard.worker.has_said_hello = False
    yard.look(60)
    assert (yard.worker.ended, yard.worker.is_stalled) == (0, False)


def test_time_in_which_control_stood_still_is_not_counted(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.look(9.5)
    clock = [0.0]
    pauses = iter([60.0, 0.5, 0.5])

    async def sleep(seconds: float) -> None:
        if (pause := next(pauses, None)) is None:
            raise asyncio.CancelledError
        clock[0] += pause

    monkeypatch.setattr(watchdog, "monotonic", lambda: clock[0])
    monkeypatch.setattr(watchdog, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        uvloop.run(yard.dog.run())
    assert yard.worker.ended == 0
    assert not yard.worker.is_stalled


def test_what_the_kernel_says_of_a_process() -> None:
    here = sight_of(os.getpid())
    assert (here.state, here.tracer) == ("R", 0)
    assert here.cpu_ns > 0 or not os.path.exists("/proc/self/schedstat")
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert str(sight_of(child.pid)) == "it is stopped by a signal"
        child.kill()
    assert str(sight_of(child.pid)) == "nothing is known about it"


def test_patience_ends_and_cancels() -> None:
    async def test() -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError):
            await within(0.05, never)
        assert never.cancelled()
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(5)
        assert await within(0.0, done) == 5

    uvloop.run(test())


def test_patience_begins_anew_when_nobody_was_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first five steps of a clock that jumps by a minute in each, as for a process that was stopped."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return 60.0 * min(looks, 10)

    monkeypatch.setattr(patience, "monotonic", clock)
    monkeypatch.setattr(patience, "STEP", 0.01)

    async def test() -> None:
        with pytest.raises(TimeoutError):
            await within(0.02, asyncio.get_running_loop().create_future())

    uvloop.run(test())
    assert looks == 2 * (5 + 2)     # each step looks twice: those that do not count, and then two that do
