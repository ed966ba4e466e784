"""Whatever is not the right answer is noticed, and nothing that was sent is forgotten."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from demo import caller as module
from demo.caller import Caller, Record
from demo.wire import Message, serve

Answer = Callable[[Message], Awaitable[Message]]


def right(request: Message) -> Message:
    number = int(request.path.rpartition("/")[2])
    return Message("HTTP/1.1 200 OK", {}, json.dumps({"number": number, "served_by": ["shop-1"]}).encode())


async def call(answer: Answer, requests: int) -> Record:
    """What a caller records that stops once so many requests have arrived."""
    finished = asyncio.Event()
    arrived = 0

    async def count_and_answer(request: Message) -> Message:
        nonlocal arrived
        arrived += 1
        if arrived == requests:
            finished.set()
        return await answer(request)

    server = await serve(0, count_and_answer)
    caller = Caller(server.sockets[0].getsockname()[1], rate=500)
    async with asyncio.timeout(20):
        await caller.run(finished)
    server.close()
    return caller.record


def test_right_answers_are_counted():
    async def answer(request: Message) -> Message:
        return right(request)

    record = asyncio.run(call(answer, 20))
    assert record.noticed == [] and record.sent == record.answered == record.served_by["shop-1"] >= 20
    assert record.slowest_ms > 0


@pytest.mark.parametrize(("wrong", "said"), [
    (Message("HTTP/1.1 500 Internal Server Error", {}, b"out of stock"), "500 Internal Server Error: out of stock"),
    (Message("HTTP/1.1 404 Not Found"), "404 Not Found"),
    (Message("HTTP/1.1 200 OK", {}, b"<html>"), "not an answer of shop: b'<html>'"),
    (Message("HTTP/1.1 200 OK", {}, b"[1]"), "not an answer of shop: b'[1]'"),
    (Message("HTTP/1.1 200 OK", {}, b'{"number": 1}'), "not an answer of shop"),
    (Message("HTTP/1.1 200 OK", {}, b'{"number": 0, "served_by": ["shop-1"]}'), "was given the answer to 0"),
    (Message("nonsense"), "request 1: "),
], ids=["500", "404", "no JSON", "a list", "half an answer", "another's answer", "no HTTP"])
def test_a_wrong_answer_is_noticed(wrong, said):
    async def answer(request: Message) -> Message:
        return wrong

    record = asyncio.run(call(answer, 3))
    assert record.answered == 0 and len(record.noticed) == record.sent >= 3
    assert any(said in line for line in record.noticed)


def test_a_connection_that_breaks_is_noticed():
    async def answer(request: Message) -> Message:
        raise ConnectionError

    record = asyncio.run(call(answer, 3))
    assert record.answered == 0 and len(record.noticed) == record.sent >= 3


def test_an_answer_that_does_not_come_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)

    async def answer(request: Message) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    record = asyncio.run(call(answer, 1))
    assert record.answered == 0 and len(record.noticed) == record.sent >= 1
    assert "no answer in 0.05 s" in record.noticed[0]
