"""Tasks in reserve: a coroutine is begun at once, and has a task of its own from its first step on.

One that never waits needs no task and no turn of the loop, which is most of what it would cost. But libraries ask
asyncio which task runs (`asyncio.timeout`, `TaskGroup`), in a first step as well. So there is one that stands ready: it
is the current task while a coroutine takes its first step. If that was the last one, the task is as good as new. If
not, it goes on with the coroutine, and another one takes its place.
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task  # for who runs tasks himself: "Extending" in asyncio's docs
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import Any

SPARE_MOST = 64

Steps = Generator[Any, Any, Any]


class Spare:
    """One task, and later the coroutine that it goes on with."""

    def __init__(self, spares: Spares, loop: asyncio.AbstractEventLoop) -> None:
        self.spares = spares
        self.loop = loop
        self.steps: Steps | None = None
        self.context: Context | None = None
        self.wanted: Any = None             # what it waits for
        self.end: Callable[[Any, BaseException | None], None] = _ignored
        self.go: asyncio.Future[None] = loop.create_future()
        self.task = loop.create_task(self._run())

    async def _run(self) -> None:
        self.spares.coming -= 1
        self.spares.ready.append(self)
        try:
            result = await _go_on(self)
        except BaseException as error:
            self.end(None, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        self.end(result, None)


class Spares:
    """Those that wait to be needed."""

    def __init__(self) -> None:
        self.ready: list[Spare] = []
        self.coming = 0         # that the loop has not run yet

    def begin(self, steps: Steps, end: Callable[[Any, BaseException | None], None]) -> asyncio.Task[None] | None:
        """Takes the first step of a coroutine. `end(result, error)` is called at its end, which may be now: then there
        is no task. Else the task that goes on with it."""
        loop = asyncio.get_running_loop()
        spare = self._next()
        if spare is None:
            self._more(loop)
            return loop.create_task(_alone(steps, end))
        context = copy_context()
        running = asyncio.current_task()
        if running is not None:
            _leave_task(loop, running)
        _enter_task(loop, spare.task)
        try:
            wanted = context.run(steps.send, None)
        except StopIteration as over:
            result, error = over.value, None
        except BaseException as raised:
            result, error = None, raised
        else:
            spare.steps, spare.context, spare.wanted, spare.end = steps, context, wanted, end
            if not spare.go.done():         # cancelled by the coroutine itself
                spare.go.set_result(None)
            self._more(loop)
            return spare.task
        finally:
            _leave_task(loop, spare.task)
            if running is not None:
                _enter_task(loop, running)
        if spare.go.done():
            self._more(loop)
        else:
            self.ready.append(spare)
        try:
            end(result, error)
        finally:
            error = None        # its traceback holds this frame
        return None

    def _next(self) -> Spare | None:
        while self.ready:
            spare = self.ready.pop()
            if not spare.go.done():         # by somebody who cancels every task there is
                return spare
        return None

    def _more(self, loop: asyncio.AbstractEventLoop) -> None:
        if len(self.ready) + self.coming < SPARE_MOST:
            self.coming += 1
            Spare(self, loop)


def _ignored(result: Any, error: BaseException | None) -> None:
    """Of a spare that was never needed."""


async def _alone(steps: Steps, end: Callable[[Any, BaseException | None], None]) -> None:
    """Without a spare: an ordinary task."""
    try:
        result = await _driven(steps)
    except BaseException as error:
        end(None, error)
        if isinstance(error, asyncio.CancelledError):
            raise
        return
    end(result, None)


@types.coroutine
def _driven(steps: Steps) -> Generator[Any, Any, Any]:
    return (yield from steps)


@types.coroutine
def _go_on(spare: Spare) -> Generator[Any, Any, Any]:
    """Waits until there is a coroutine, and drives it from its second step on."""
    failed: BaseException | None = None
    try:
        yield from spare.go
    except BaseException as error:
        failed = error
    if spare.steps is None or spare.context is None:
        if failed is not None:
            raise failed
        return None
    value: Any = None
    wanted = spare.wanted
    try:
        if failed is not None:
            wanted = spare.context.run(spare.steps.throw, failed)
        while True:
            try:
                value = yield wanted
            except BaseException as error:
                wanted = spare.context.run(spare.steps.throw, error)
            else:
                wanted = spare.context.run(spare.steps.send, value)
    except StopIteration as over:
        return over.value
