"""A host's end of the line to its worker."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import msgpack

from fastmesh._core.hosted.host_line import Line


def run(work: Callable[[socket.socket, Line], Coroutine[Any, Any, None]]) -> None:
    async def begin() -> None:
        worker, host = socket.socketpair()
        worker.setblocking(False)
        line = Line(host)
        try:
            await asyncio.wait_for(work(worker, line), 30)
        finally:
            line.close()
            worker.close()
    asyncio.run(begin())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():      # noqa: ASYNC110
        await asyncio.sleep(0)


def test_what_comes_meanwhile_is_read_without_a_turn_of_the_loop() -> None:
    async def work(worker: socket.socket, line: Line) -> None:
        seen: list[Any] = []

        def take(message: list[Any]) -> None:
            seen.append(message[0])
            if message[0] < 3:
                asyncio.get_running_loop().call_soon(seen.append, f"turn {message[0]}")
                worker.send(msgpack.packb([message[0] + 1]))
            line.write(msgpack.packb(message))

        line.begin(take)
        worker.send(msgpack.packb([1]))
        await until(lambda: len(seen) == 5)
        assert seen == [1, 2, 3, "turn 1", "turn 2"]
        unpacker = msgpack.Unpacker()
        unpacker.feed(worker.recv(1000))
        assert list(unpacker) == [[1], [2], [3]]
    run(work)


def test_tasks_run_between_so_many_reads() -> None:
    async def work(worker: socket.socket, line: Line) -> None:
        seen: list[Any] = []

        def take(message: list[Any]) -> None:
            seen.append(message[0])
            if message[0] == 1:
                asyncio.get_running_loop().call_soon(seen.append, "turn")
            if message[0] < 50:
                worker.send(msgpack.packb([message[0] + 1]))

        line.begin(take)
        worker.send(msgpack.packb([1]))
        await until(lambda: 50 in seen)
        assert seen.index("turn") <= 8
    run(work)


def test_the_end_is_noticed_in_between() -> None:
    async def work(worker: socket.socket, line: Line) -> None:
        line.begin(lambda message: worker.close())
        worker.send(msgpack.packb([1]))
        await line.is_over.wait()
        assert line.why == "the worker has closed it"
    run(work)
