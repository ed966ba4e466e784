"""Calls to filters in a host: when they are answered, and what stays of them."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import msgpack

from fastmesh._core.hosted.exchange import Hosted, Request, Response
from fastmesh.filters.filter import Filter
from fastmesh.filters.protocol import CALL, CANCEL, DONE, FAILED, OVER, PHASES
from fastmesh.host.calls import Calls
from fastmesh.host.outcome import Outcome

HEAD = ["GET", "/a", "b=c", None, "x", "http", "1.1", None, 0, False, ["x-a", "1"], ["127.0.0.1", 1, "web", 1]]
FACTS = ["web/route-0", "app", None, None, 0, 0.001, None, None, None]
ANSWER = [200, False, None, ["x-b", "2"]]


class Asked:
    """A host whose worker is the test."""

    def __init__(self, *filters: Filter) -> None:
        self.written: list[bytes] = []
        hosted = [Hosted(made, [name for name in PHASES if getattr(type(made), name, None) is not
                               getattr(Filter, name, None)], 60)
                  for made in filters]
        self.calls = Calls(hosted, self.written.append)
        self.last = 0

    def call(self, phase: str, exchange: int = 0, argument: Any = None, *, head: bool = True) -> None:
        self.last += 1
        self.say(
            CALL, self.last, exchange, 0, PHASES.index(phase), HEAD if head else None, FACTS,
            ANSWER if phase == "on_response" else None, argument)

    def say(self, *message: Any) -> None:
        self.calls.take(msgpack.packb(message))

    def replies(self) -> list[Any]:
        found = [msgpack.unpackb(packed) for packed in self.written]
        self.written.clear()
        return found


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


class Eager(Filter):
    async def on_request(self, request: Request) -> None:
        request.headers["x-seen"] = request.target
        assert asyncio.current_task() is not None


class Waits(Filter):
    async def on_request(self, request: Request) -> Response:
        await asyncio.sleep(0.001)
        return Response(204, headers={"x-a": request.headers["x-a"]})


class Raises(Filter):
    async def on_request(self, request: Request) -> None:
        raise KeyError("no")


def test_a_coroutine_that_does_not_wait_is_answered_at_once() -> None:
    async def work() -> None:
        asked = Asked(Eager())
        asked.call("on_request")        # there is no task in reserve yet
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [reply[0] for reply in asked.replies()] == [DONE]
        for _ in range(3):
            asked.call("on_request")
            assert [reply[:3] for reply in asked.replies()] == [
                [DONE, asked.last, [[0, 0, "x-seen", "/a?b=c"]]]]
        assert asked.calls.running == {}
    run(work)


def test_one_that_waits_is_answered_when_it_has() -> None:
    async def work() -> None:
        asked = Asked(Waits())
        for _ in range(2):
            asked.call("on_request")
            assert asked.replies() == [] and list(asked.calls.running) == [asked.last]
            while asked.calls.running:      # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert asked.replies() == [[DONE, asked.last, [], 0, [204, ["x-a", "1"], b""]]]
    run(work)


def test_one_that_raises_at_once() -> None:
    async def work() -> None:
        asked = Asked(Raises())
        asked.call("on_request")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.call("on_request")
        assert [(reply[0], reply[4]) for reply in asked.replies()] == [(FAILED, "KeyError")] * 2
    run(work)


def test_one_that_is_cancelled_before_its_first_step_and_after() -> None:
    async def work() -> None:
        asked = Asked(Waits())
        for turns in (0, 1, 2, 3):
            asked.call("on_request")
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.say(CANCEL, asked.last)
            for _ in range(3):
                await asyncio.sleep(0)
            assert asked.calls.running == {}
            assert [reply[0] for reply in asked.replies()] in ([], [FAILED])
    run(work)


class Both(Filter):
    """Keeps an eye on what it was given."""

    def __init__(self) -> None:
        self.seen: list[weakref.ref[Any]] = []
        self.go = asyncio.Event()

    def on_request(self, request: Request) -> None:
        request.labels["a"] = "b"
        request.headers["x-a"] = "2"
        self.seen.append(weakref.ref(request))

    def on_response(self, request: Request, response: Response) -> None:
        assert response.headers["x-b"] == "2"

    async def on_complete(self, request: Request, outcome: Outcome) -> None:
        await self.go.wait()
        assert request.headers["x-a"] == "2" and request.labels == {"a": "b"}
        request.labels["c"] = "d"


def test_an_exchange_is_looked_at_until_its_last_phase_has_ended_and_leaves_nothing() -> None:
    async def work() -> None:
        made = Both()
        asked = Asked(made)
        gc.disable()
        try:
            asked.call("on_request", 5)
            asked.call("on_response", 5, head=False)
            asked.call("on_complete", 5, [200, "", "", 0.1, None, 0, 0, None], head=False)
            asked.say(OVER, 5)     # while it still waits
            assert len(asked.replies()) == 2
            made.go.set()
            while asked.calls.running:      # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            reply, = asked.replies()
            assert reply[0] == DONE and reply[2] == [[7, 0, "c", "d"]]
            assert asked.calls.exchanges == {} and [seen() for seen in made.seen] == [None]
            made.seen.clear()
            asked.call("on_request")        # and of an exchange that is not kept
            assert [seen() for seen in made.seen] == [None]
        finally:
            gc.enable()
    run(work)
