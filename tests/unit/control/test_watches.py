"""Who waits for a request: the first worker that tells counts, and nothing is left behind."""

import asyncio
from typing import Any

import pytest

from fastmesh.control.watches import MOST, Busy, Watches


class Worker:
    def __init__(self, is_serving: bool = True) -> None:
        self.is_serving = is_serving
        self.watched: dict[int, dict[str, Any]] = {}
        self.all: list[int] = []
        self.asked = asyncio.Event()

    def watch(self, number: int, wanted: dict[str, Any]) -> None:
        self.watched[number] = wanted
        self.all.append(number)
        self.asked.set()

    def unwatch(self, number: int) -> None:
        del self.watched[number]


def test_the_first_to_tell_counts_and_all_are_told_to_stop() -> None:
    async def go() -> None:
        watches, workers = Watches(), [Worker(), Worker(), Worker(is_serving=False)]
        waiting = asyncio.create_task(watches.next({"path": "/a"}, lambda: workers, 10))
        await asyncio.sleep(0)
        assert [list(worker.watched.values()) for worker in workers] == [[{"path": "/a"}], [{"path": "/a"}], []]
        (number,) = workers[0].watched
        watches.take(number + 1, {"of": "another"})
        watches.take(number, {"of": "first"})
        watches.take(number, {"of": "second"})
        assert await waiting == {"of": "first"}
        assert not any(worker.watched for worker in workers)
        watches.take(number, {"of": "late"})        # it is nobody's any more

    asyncio.run(go())


def test_one_that_comes_up_meanwhile_is_asked_once() -> None:
    async def go() -> None:
        watches, late = Watches(), Worker(is_serving=False)
        waiting = asyncio.create_task(watches.next({}, lambda: [late], 10))
        await asyncio.sleep(0)
        assert not late.watched
        late.is_serving = True
        async with asyncio.timeout(5):
            await late.asked.wait()
        (number,) = late.watched
        watches.take(number, {"of": "late"})
        assert await waiting == {"of": "late"} and late.all == [number]

    asyncio.run(go())


def test_nobody_waits_for_ever_and_who_gives_up_leaves_nothing() -> None:
    async def go() -> None:
        watches, worker = Watches(), Worker()
        assert await watches.next({}, lambda: [worker], 0.05) is None
        waiting = asyncio.create_task(watches.next({}, lambda: [worker], 10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not worker.watched

    asyncio.run(go())


def test_only_so_many_wait() -> None:
    async def go() -> None:
        watches = Watches()
        waiting = [asyncio.create_task(watches.next({}, list, 10)) for _ in range(MOST)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await watches.next({}, list, 10)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await watches.next({}, list, 0.01) is None

    asyncio.run(go())
