"""Tasks in reserve: a coroutine is begun at once, and has a task of its own from its first step on.

One that never waits needs no task and no turn of the loop, which is most of what it would cost. But libraries ask
asyncio which task runs (`asyncio.timeout`, `TaskGroup`), in a first step as well. So there is one that stands ready: it
is the current task while a coroutine takes its first step. If that was the last one, the task is as good as new. If
not, it goes on with the coroutine, and another one takes its place. The first step itself is compiled
(fastmesh._core.hosted.reserve).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Protocol

from fastmesh._core.hosted.reserve import Reserve


class Steps(Protocol):
    """Of a coroutine, or what drives one."""

    def send(self, value: Any, /) -> Any: ...
    def throw(self, error: BaseException, /) -> Any: ...
    def __iter__(self) -> Any: ...


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

    def go_on(self, steps: Steps, context: Context, wanted: Any,
              end: Callable[[Any, BaseException | None], None]) -> None:
        """With a coroutine that has taken its first step as this task, and waits for `wanted` now."""
        self.steps, self.context, self.wanted, self.end = steps, context, wanted, end
        if not self.go.done():      # cancelled by the coroutine itself
            self.go.set_result(None)


class Spares(Reserve):
    """Those that wait to be needed."""

    def more(self, loop: asyncio.AbstractEventLoop) -> None:
        Spare(self, loop)

    async def alone(self, steps: Steps, end: Callable[[Any, BaseException | None], None]) -> None:
        """Without a spare: an ordinary task."""
        try:
            result = await _driven(steps)
        except BaseException as error:
            end(None, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        end(result, None)


def _ignored(result: Any, error: BaseException | None) -> None:
    """Of a spare that was never needed."""


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
