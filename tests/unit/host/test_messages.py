"""What travels between a worker and a host, on the host's side: all that msgpack has is read and written as msgpack
does it, and what is none closes the line and harms nothing else."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.hosted.exchange import Hosted, Request
from fastmesh._core.hosted.host_line import Line
from fastmesh.filters.filter import Filter
from fastmesh.filters.protocol import CALL, DONE, FAILED, PHASES
from fastmesh.host.calls import Calls

PLAIN = (st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats(allow_nan=False) | st.text()
         | st.binary())
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
HEAD = ["GET", "/a", "", None, "x", "http", "1.1", None, 0, False, ["x-a", "1"], ["127.0.0.1", 1, "web", 1]]
FACTS = ["web/route-0", "app", None, None, 0, 0.001, None, None, None]


class Looks(Filter):
    """At everything."""

    def on_request(self, request: Request) -> None:
        request.headers["x-seen"] = repr((
            request.method, request.target, request.headers.fields(), request.connection, request.route,
            request.cluster, request.timeout, request.retry, request.endpoint, request.attempts, request.labels,
            request.subset, request.id, request.content_length, request.is_upgrade, request.cookies, request.params))


def calls() -> tuple[Calls, list[bytes]]:
    said: list[bytes] = []
    return Calls([Hosted(Looks(), ["on_request"], 60)], said.append), said


def over_a_line(sent: bytes, piece: int, until: Callable[[Line, list[Any]], bool]) -> tuple[Line, list[Any]]:
    async def work() -> tuple[Line, list[Any]]:
        worker, host = socket.socketpair()
        worker.setblocking(False)
        line, seen = Line(host), []
        line.begin(seen.append)
        for at in range(0, len(sent), piece):
            if line.is_over.is_set():
                break
            worker.send(sent[at:at + piece])
            await asyncio.sleep(0)
        while not until(line, seen):    # noqa: ASYNC110
            await asyncio.sleep(0)
        line.close()
        worker.close()
        return line, seen
    return asyncio.run(asyncio.wait_for(work(), 60))


@given(st.lists(VALUES, min_size=1, max_size=5), st.integers(1, 40))
def test_messages_are_read_as_msgpack_reads_them_in_whatever_pieces_they_come(values: list[Any], piece: int) -> None:
    sent = b"".join(msgpack.packb(value) for value in values)
    _, seen = over_a_line(sent, max(piece, len(sent) // 100), lambda line, seen: len(seen) >= len(values))
    assert seen == values


@given(VALUES)
def test_what_is_said_is_what_msgpack_would_say(value: Any) -> None:
    made, said = calls()
    made.tell((DONE, 7, value))
    assert said == [msgpack.packb((DONE, 7, value))]


@pytest.mark.parametrize("value", ["\ud800", 2**64, object(), -2**70, {1: object()}])
def test_what_cannot_be_said_is_a_failure(value: Any) -> None:
    made, said = calls()
    made.tell((DONE, 7, value))
    reply = msgpack.unpackb(said[0])
    assert reply[:4] == [FAILED, 7, [], 0] and reply[6].startswith("cannot be sent: ")


def test_long_values_are_said_whole() -> None:
    made, said = calls()
    for size in (0, 31, 32, 255, 256, 500, 513, 65535, 65536, 200_000):
        made.tell((DONE, size, "x" * size, b"y" * size, [1] * size))
    assert [msgpack.unpackb(packed) for packed in said] == [
        [DONE, size, "x" * size, b"y" * size, [1] * size]
        for size in (0, 31, 32, 255, 256, 500, 513, 65535, 65536, 200_000)]


@pytest.mark.parametrize("sent", [
    b"\xc1", b"\x91\xc1", b"\xd4\x00\x00", b"\xc7\x01\x01\x00", b"\x91" * 40 + b"\xc0", b"\x81\x90\x00",
    b"\xa1\xff", b"\xdd\xff\xff\xff\xff" + bytes(200_000), b"\xc6\xff\xff\xff\xff" + bytes(200_000)])
def test_what_is_no_message_closes_the_line(sent: bytes) -> None:
    line, seen = over_a_line(sent, 50_000, lambda line, seen: line.is_over.is_set())
    assert seen == [] and line.why.startswith("the worker said what cannot be understood: ")


CALLED = [CALL, 1, 0, 0, PHASES.index("on_request"), HEAD, FACTS, None, None]


@pytest.mark.parametrize("wrong", [
    [], [CALL], CALLED[:5], CALLED[:6], CALLED[:8], [*CALLED[:3], 1, *CALLED[4:]], [*CALLED[:4], 16, *CALLED[5:]],
    [CALL, -1, *CALLED[2:]], [CALL, "1", *CALLED[2:]], [7], "text", 5, None])
def test_a_call_that_is_none_raises(wrong: Any) -> None:
    made, said = calls()
    with pytest.raises(Exception):      # noqa: B017
        made.take(msgpack.packb(wrong))
    assert said == [] and made.running == {}


@pytest.mark.parametrize("place", range(12))
def test_a_head_or_facts_that_are_none_fail_the_phase_and_no_more(place: int) -> None:
    made, said = calls()
    for wrong in (HEAD[:place], [*HEAD[:place], [[[]]], *HEAD[place + 1:]], {}, 7):
        made.take(msgpack.packb([*CALLED[:5], wrong, *CALLED[6:]]))
    for wrong in (FACTS[:place % 9], {}, 7):
        made.take(msgpack.packb([*CALLED[:6], wrong, *CALLED[7:]]))
    made.take(msgpack.packb(CALLED))
    assert msgpack.unpackb(said[-1])[0] == DONE and made.running == {}


@pytest.mark.parametrize("seed", range(30))
def test_messages_with_bytes_that_are_others_harm_nothing(seed: int) -> None:
    dice = random.Random(seed)
    made, _ = calls()
    good = msgpack.packb(CALLED)
    for _ in range(300):
        message = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            message[dice.randrange(len(message))] = dice.randrange(256)
        try:
            made.take(bytes(message[:dice.randrange(len(message)) + 1] if dice.random() < 0.3 else message))
        except Exception:
            pass
    made.take(good)
    assert made.running == {}


