"""Calls of isolated filters through the mesh, as a host asks for them: the worker is the test."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastmesh import CallFailed, HeaderError
from fastmesh.filters.mesh import Reply
from fastmesh.filters.protocol import (
    ANSWER,
    ASK,
    ASKED_MOST,
    ASKS_MOST,
    BRING,
    DROP,
    FETCH,
    NEXT,
    NO_ANSWER,
    PIECE_MOST,
    REST,
)
from fastmesh.host.mesh import Asks, HostMesh


class Worker:
    """What was said to it, and what it says."""

    def __init__(self) -> None:
        self.asks = Asks()
        self.mesh = HostMesh(self.asks)
        self.said: list[tuple[Any, ...]] = []

    async def hears(self) -> tuple[Any, ...]:
        for _ in range(10):
            if self.said:
                return self.said.pop(0)
            await asyncio.sleep(0)
        raise AssertionError("nothing was said")

    def says(self, *message: Any) -> None:
        self.asks.take(list(message))


def run(work: Callable[[Worker], Coroutine[Any, Any, None]], *, begins: bool = True) -> None:
    async def begin() -> None:
        worker = Worker()
        if begins:
            worker.asks.begin(worker.said.append)
        await work(worker)
        assert worker.asks.waiting == {} and worker.asks.weight == 0 and worker.said == []
    asyncio.run(begin())


def test_an_ask_and_its_answer() -> None:
    async def work(worker: Worker) -> None:
        task = asyncio.create_task(worker.mesh.get("app", "/a", headers={"x-a": "b"}, timeout=2.0, limit=50))
        assert await worker.hears() == (ASK, 1, "GET", "app", "/a", ["x-a", "b", "host", "app"], 2.0, 50, 0)
        worker.says(ANSWER, 1, 200, ["X-B", "c", "x-latin", b"\xe9"], b"hello", True)
        reply: Reply = await task
        assert (reply.status, reply.text) == (200, "hello") and reply.headers["x-b"] == "c"
        assert reply.headers["x-latin"] == "é" and reply.headers.raw("x-latin") == b"\xe9"
    run(work)


def test_bodies_in_pieces() -> None:
    body = bytes(range(256)) * 600

    async def work(worker: Worker) -> None:
        task = asyncio.create_task(worker.mesh.post("app", "/a", body=body))
        asked = await worker.hears()
        assert asked[0] == ASK and asked[-1] == len(body)
        got = b""
        while len(got) < len(body):
            worker.says(NEXT, 1)
            kind, number, piece = await worker.hears()
            assert (kind, number) == (BRING, 1) and 0 < len(piece) <= PIECE_MOST
            got += piece
        assert got == body
        worker.says(ANSWER, 1, 201, [], b"", False)
        for piece, is_last in ((b"one", False), (b"two", True)):
            assert await worker.hears() == (FETCH, 1)
            worker.says(REST, 1, piece, is_last)
        reply = await task
        assert reply.status == 201 and reply.body == b"onetwo"
    run(work)


def test_what_the_worker_says_no_to() -> None:
    async def work(worker: Worker) -> None:
        task = asyncio.create_task(worker.mesh.get("nobody", "/"))
        await worker.hears()
        worker.says(NO_ANSWER, 1, 503, "cluster_not_found", "there is no cluster 'nobody' in the configuration")
        with pytest.raises(CallFailed, match="no cluster 'nobody'") as failed:
            await task
        assert (failed.value.status, failed.value.reason) == (503, "cluster_not_found")
    run(work)


def test_who_gives_up_says_so() -> None:
    async def work(worker: Worker) -> None:
        task = asyncio.create_task(worker.mesh.get("app", "/"))
        await worker.hears()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await worker.hears() == (DROP, 1)
        worker.says(ANSWER, 1, 200, [], b"late", True)
    run(work)


def test_before_the_worker_is_there_and_after_it_has_gone() -> None:
    async def work(worker: Worker) -> None:
        with pytest.raises(CallFailed, match=r"not in start\(\)") as failed:
            await worker.mesh.get("app", "/")
        assert failed.value.reason == "no_worker"
        worker.asks.begin(worker.said.append)
        task = asyncio.create_task(worker.mesh.get("app", "/"))
        await worker.hears()
        worker.asks.end()
        with pytest.raises(CallFailed, match="the worker is gone"):
            await task
        with pytest.raises(CallFailed, match="the worker is gone"):
            await worker.mesh.get("app", "/")
    run(work, begins=False)


def test_only_so_much_at_a_time() -> None:
    async def work(worker: Worker) -> None:
        tasks = [asyncio.create_task(worker.mesh.get("app", "/")) for _ in range(ASKS_MOST)]
        for _ in tasks:
            await worker.hears()
        with pytest.raises(CallFailed, match="are under way") as failed:
            await worker.mesh.get("app", "/")
        assert (failed.value.status, failed.value.reason) == (503, "overflow")
        for number in range(1, ASKS_MOST + 1):
            worker.says(ANSWER, number, 204, [], b"", True)
        await asyncio.gather(*tasks)
        with pytest.raises(CallFailed, match="MiB"):
            await worker.mesh.get("app", "/", limit=ASKED_MOST + 1)
    run(work)


@pytest.mark.parametrize(("wrong", "error"), [
    ({"path": "no"}, ValueError), ({"path": "/a b"}, ValueError), ({"method": "GE T"}, ValueError),
    ({"timeout": 0}, ValueError), ({"limit": -1}, ValueError), ({"limit": 1 << 80}, ValueError),
    ({"cluster": 7}, TypeError), ({"cluster": "\ud800"}, ValueError), ({"headers": {"a": "b\r\n"}}, HeaderError),
    ({"headers": {"content-length": "1"}}, HeaderError), ({"headers": {"a b": "c"}}, HeaderError)])
def test_what_cannot_be_asked_for(wrong: dict[str, Any], error: type[Exception]) -> None:
    async def work(worker: Worker) -> None:
        with pytest.raises(error):
            await worker.mesh.request(**{"method": "GET", "cluster": "app", "path": "/", **wrong})
        worker.said.clear()
    run(work)
