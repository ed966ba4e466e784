"""A worker's side of the line: a host that says nonsense, is slow, or gone, never harms more than its own calls."""

import os
from typing import Any

import msgpack
import pytest
from playbook.hosted import Wire

from fastmesh.filters.protocol import (
    ASK,
    ASKED_MOST,
    ASKS_MOST,
    BRING,
    CALL,
    CALLS_MOST,
    CANCEL,
    DONE,
    DROP,
    FETCH,
    NEXT,
    NO_ANSWER,
    PIECE_MOST,
)
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
        return self.host.begin(self.host.last_call, msgpack.packb((CALL, self.host.last_call)))

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
    for packed in (msgpack.packb((CALL, 1, "x" * 100_000)), None):
        with pytest.raises(IsolatedError, match="needs"):
            line.host.begin(1, packed)


GOOD = ["GET", "app", "/", ["host", "x"], 1.0, 100, 0]


def ask(line: Line, *message: Any) -> None:
    line.wire.receive(msgpack.packb(list(message)))


@pytest.mark.parametrize("message", [
    [ASK, 1], [ASK, 0, *GOOD], [ASK, -1, *GOOD], [ASK, "1", *GOOD], [ASK, 2**64 - 1, *GOOD], [ASK, 1, *GOOD, 7],
    [ASK, 1, b"GET", *GOOD[1:]], [ASK, 1, "GET", None, *GOOD[2:]], [ASK, 1, "GET", "app", 7, *GOOD[3:]],
    [ASK, 1, "GET", "app", "/", ["odd"], 1.0, 100, 0], [ASK, 1, "GET", "app", "/", ["a", 7], 1.0, 100, 0],
    [ASK, 1, "GET", "app", "/", ["a", "b"] * 300, 1.0, 100, 0], [ASK, 1, "GET", "app", "/", [], "soon", 100, 0],
    [ASK, 1, "GET", "app", "/", [], 1.0, -1, 0], [ASK, 1, "GET", "app", "/", [], 1.0, 1.5, 0],
    [ASK, 1, "GET", "app", "/", [], 1.0, 100, -1], [8, 1], [127, 1]])
def test_an_ask_that_is_none_closes_the_line(line: Line, message: list[Any]) -> None:
    ask(line, ASK, 1, "POST", "app", "/", [], 1.0, 100, 10)
    if message[0] == ASK:
        ask(line, DROP, 1)
    ask(line, *message)
    assert len(line.reports) == 1 and not line.wire.is_open and line.host.errands.asks == {}
    assert line.host.errands.weight == 0


@pytest.mark.parametrize("piece", [None, "text", b"", bytes(11), bytes(PIECE_MOST + 1)])
def test_a_piece_that_is_none_closes_the_line(line: Line, piece: Any) -> None:
    ask(line, ASK, 1, "POST", "app", "/", [], 1.0, 100, 10)
    assert line.said() == [[NEXT, 1]]
    ask(line, BRING, 1, piece)
    assert len(line.reports) == 1 and not line.wire.is_open


def test_a_host_that_asks_for_the_same_twice(line: Line) -> None:
    for _ in range(2):
        ask(line, ASK, 1, "POST", "app", "/", [], 1.0, 100, 10)
    assert len(line.reports) == 1 and not line.wire.is_open


def test_a_host_that_wants_more_of_an_answer_than_there_is(line: Line) -> None:
    ask(line, ASK, 1, "POST", "app", "/", [], 1.0, 100, 10)
    ask(line, FETCH, 1)
    assert len(line.reports) == 1 and not line.wire.is_open


def test_what_is_said_of_an_ask_that_is_over_is_let_pass(line: Line) -> None:
    for message in ([BRING, 5, b"x"], [FETCH, 5], [DROP, 5]):
        ask(line, *message)
    assert line.reports == [] and line.said() == []


def test_without_a_worker_that_serves_there_is_no_answer(line: Line) -> None:
    ask(line, ASK, 1, *GOOD)
    assert line.said() == [[NO_ANSWER, 1, 503, "no_worker", "there is no worker that serves"]]
    assert line.host.errands.asks == {} and line.host.errands.weight == 0


def test_only_so_much_is_asked_for_at_a_time(line: Line) -> None:
    for number in range(1, ASKS_MOST + 1):
        ask(line, ASK, number, "POST", "app", "/", [], 1.0, 100, 10)
    line.said()
    ask(line, ASK, 1000, *GOOD)
    assert line.said()[0][:4] == [NO_ANSWER, 1000, 503, "overflow"]
    for number in range(1, ASKS_MOST + 1):
        ask(line, DROP, number)
    ask(line, ASK, 1001, "POST", "app", "/", [], 1.0, ASKED_MOST, 10)
    assert line.said()[0][:4] == [NO_ANSWER, 1001, 503, "overflow"]
    assert line.host.errands.weight == 0 and line.reports == []


def test_a_host_that_does_not_take_what_it_asked_for(line: Line) -> None:
    line.wire.is_full = True
    ask(line, ASK, 1, *GOOD)
    assert not line.wire.is_open and "asked for" in line.host.why


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
