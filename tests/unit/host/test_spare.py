"""Coroutines that take their first step at once, and have a task of their own in it."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from fastmesh._core.hosted.reserve import SPARE_MOST
from fastmesh.host.spare import Spares

word = contextvars.ContextVar("word", default="none")


def steps(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    return (yield from coroutine.__await__())


class Ends:
    """What coroutines came to."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, BaseException | None]] = []

    def __call__(self, result: Any, error: BaseException | None) -> None:
        self.found.append((result, error))


def run(work: Callable[[Spares, Ends], Coroutine[Any, Any, None]]) -> None:
    async def begin() -> None:
        spares = Spares()
        first = spares.begin(steps(asyncio.sleep(0)), Ends())
        assert first is not None
        await first
        await asyncio.sleep(0)
        assert len(spares.ready) == 1
        await work(spares, Ends())
    asyncio.run(begin())


def test_one_that_never_waits_is_over_at_once_and_the_task_is_as_good_as_new() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise KeyError("no")

    async def work(spares: Spares, ends: Ends) -> None:
        spare = spares.ready[0]
        assert spares.begin(steps(answer()), ends) is None and ends.found == [(7, None)]
        assert spares.begin(steps(fail()), ends) is None and isinstance(ends.found[1][1], KeyError)
        assert spares.ready == [spare] and len(asyncio.all_tasks()) == 2
    run(work)


def test_its_task_is_the_same_from_the_first_step_to_the_last() -> None:
    tasks = []

    async def look() -> str:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0.001)
        tasks.append(asyncio.current_task())
        return "done"

    async def work(spares: Spares, ends: Ends) -> None:
        mine = asyncio.current_task()
        task = spares.begin(steps(look()), ends)
        assert task is not None and asyncio.current_task() is mine
        await task
        assert set(tasks) == {task} and len(tasks) == 3 and ends.found == [("done", None)]
    run(work)


def test_timeouts_and_groups_of_asyncio_work_in_the_first_step() -> None:
    async def late() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return ""

    async def both() -> int:
        async with asyncio.TaskGroup() as group:
            one, two = group.create_task(asyncio.sleep(0, 1)), group.create_task(asyncio.sleep(0, 2))
        return one.result() + two.result()

    async def work(spares: Spares, ends: Ends) -> None:
        for coroutine in (late(), both()):
            task = spares.begin(steps(coroutine), ends)
            assert task is not None
            await task
        assert ends.found == [("late", None), (3, None)]
    run(work)


def test_what_one_sets_in_its_context_is_its_own() -> None:
    async def note(value: str, waits: bool) -> str:
        before = word.get()
        word.set(value)
        if waits:
            await asyncio.sleep(0)
        return f"{before} {word.get()}"

    async def work(spares: Spares, ends: Ends) -> None:
        for i in range(3):
            spares.begin(steps(note(str(i), False)), ends)
        task = spares.begin(steps(note("3", True)), ends)
        assert task is not None
        await task
        assert [result for result, _ in ends.found] == ["none 0", "none 1", "none 2", "none 3"]
        assert word.get() == "none"
    run(work)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_one_that_waits_can_be_cancelled(turns: int) -> None:
    seen: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def work(spares: Spares, ends: Ends) -> None:
        task = spares.begin(steps(wait()), ends)
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"] and isinstance(ends.found[0][1], asyncio.CancelledError)
        await asyncio.sleep(0)
        assert len(spares.ready) == 1       # another one has taken its place
    run(work)


def test_one_that_cancels_itself_takes_the_task_along() -> None:
    async def give_up() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "over"

    async def work(spares: Spares, ends: Ends) -> None:
        spare = spares.ready[0]
        assert spares.begin(steps(give_up()), ends) is None and ends.found == [("over", None)]
        await asyncio.sleep(0)
        assert spare.task.cancelled() and len(spares.ready) == 1 and spares.ready[0] is not spare
    run(work)


def test_one_that_somebody_else_cancelled_is_not_used() -> None:
    async def look() -> bool:
        await asyncio.sleep(0)
        return True

    async def work(spares: Spares, ends: Ends) -> None:
        spares.ready[0].task.cancel()
        task = spares.begin(steps(look()), ends)
        assert task is not None
        await task
        assert ends.found == [(True, None)]
    run(work)


def test_many_at_once_have_a_task_each_and_few_are_kept() -> None:
    async def wait(i: int) -> int:
        await asyncio.sleep(0.001)
        return i

    async def work(spares: Spares, ends: Ends) -> None:
        tasks = [spares.begin(steps(wait(i)), ends) for i in range(500)]
        assert None not in tasks
        await asyncio.gather(*(task for task in tasks if task is not None))
        await asyncio.sleep(0)
        assert sorted(result for result, _ in ends.found) == list(range(500))
        assert len(spares.ready) <= SPARE_MOST and spares.coming == 0
    run(work)
