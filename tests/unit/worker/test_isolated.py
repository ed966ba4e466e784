"""A worker's side of the line: a host that says nonsense, is slow, or gone, never harms more than its own calls."""

import os
from typing import Any

import msgpack
import pytest
from playbook.hosted import Wire

from fastmesh.filters.protocol import CALL, CALLS_MOST, CANCEL, DONE
from fastmesh.worker.isolated import Host, HostBusy, HostGone, IsolatedError, kind_of, kinds


class Line:
    """A host whose line is here."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.host = Host(1, -1, self.reports.append)
        self.host.connect(self.make)

    def make(self, *answers: Any) -> Any:
        self.wire = Wire(*answers)
        return self.wire

    def call(self) -> Any:
        self.host.last_call += 1
        return self.host.begin(self.host.last_call, (CALL, self.host.last_call))

    def said(self) -> list[Any]:
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(self.wire.said))
        self.wire.said.clear()
        return list(unpacker)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.mark.parametrize("what", [
    b"\xc1", b"\x00", b"\x90", b"\x91\x00", b"\x92\x00\xc0", b"\x92\x00\x05", b"\xc7\x01\x01\x00", b"\x81\x00\x00",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff" + bytes(1 << 20), b"\xa2\xff\xff",
    b"\x91" * 5000, msgpack.packb([DONE, -1, [], 0, None]), msgpack.packb([DONE, 2**63, [], 0, None]),
    msgpack.packb([DONE, 1.0, [], 0])])
def test_nonsense_closes_the_line_and_ends_every_call(line: Line, what: bytes) -> None:
    signal = line.call()
    line.wire.receive(what)
    assert len(line.reports) == 1 and "no filter host says" in line.reports[0]
    assert line.host.pending == {} and not line.wire.is_open
    with pytest.raises(HostGone):
        next(iter(signal.__await__()))
    with pytest.raises(HostGone):
        line.call()


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_never_raise(line: Line, seed: int) -> None:
    import random

    made = random.Random(seed)
    for _ in range(50):
        if line.host.line is None:
            line.host.connect(line.make)
        line.call()
        line.wire.receive(made.randbytes(made.randrange(1, 300)))
    assert line.host.last_call == 50


def test_a_reply_in_pieces_is_one(line: Line) -> None:
    signal = line.call()
    for byte in msgpack.packb([DONE, 1, [], 0, None]):
        assert signal.is_waited_for or line.host.pending
        line.wire.receive(bytes((byte,)))
    assert line.host.pending == {} and line.reports == []


def test_a_late_reply_is_let_pass(line: Line) -> None:
    line.call()
    line.host.forget(1)
    assert line.said()[-1] == [CANCEL, 1]
    line.wire.receive(msgpack.packb([DONE, 1, [], 0, None]))
    assert line.reports == [] and line.wire.is_open


def test_only_so_many_calls_wait(line: Line) -> None:
    for _ in range(CALLS_MOST):
        line.call()
    with pytest.raises(HostBusy, match="too slow"):
        line.call()


def test_a_host_that_takes_nothing(line: Line) -> None:
    line.wire.is_full = True
    with pytest.raises(HostBusy, match="does not take"):
        line.call()
    assert line.host.pending == {}


def test_what_is_too_long_for_a_message(line: Line) -> None:
    line.host.last_call = 1
    with pytest.raises(IsolatedError, match="needs"):
        line.host.begin(1, (CALL, 1, "x" * 100_000))


def test_another_process_takes_over(line: Line) -> None:
    signal = line.call()
    line.host.lost("it has ended")
    with pytest.raises(HostGone, match="it has ended"):
        next(iter(signal.__await__()))
    line.host.connect(line.make)
    line.call()
    assert line.said() == [[CALL, 2]]


def test_kinds_of_errors_are_bounded() -> None:
    kinds.clear()
    assert kind_of("KeyError", 3) is kind_of("KeyError", 3) is not kind_of("KeyError", 4)
    assert kind_of("no name", 3) is kind_of(None, 3) is IsolatedError
    for i in range(1000):
        kind_of("KeyError", i)
    assert len(kinds) <= 200
    kinds.clear()


def test_descriptors_that_are_not_opened_are_closed() -> None:
    mine, its = os.pipe()
    host = Host(1, its, print)
    host.lost("not needed")
    del host
    os.close(mine)
    with pytest.raises(OSError, match="Bad file"):
        os.close(its)
