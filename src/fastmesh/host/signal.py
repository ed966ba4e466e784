"""What resumes a filter that waits for another one of its own phases or tasks, on an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any


class Signal:
    """Resumes the filter that awaits it when something else calls `finish` or `fail`."""

    def __init__(self) -> None:
        self._is_awaited = False
        self._turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[Any, None, Any]:
        if self._is_awaited:
            raise RuntimeError("this Signal was awaited before: each can be awaited once")
        self._is_awaited = True
        return self._turn.__await__()

    def finish(self, value: Any = None) -> None:
        if not self._turn.done():
            self._turn.set_result(value)

    def fail(self, error: BaseException) -> None:
        if not self._turn.done():
            self._turn.set_exception(error)
            self._turn.exception()      # nobody may be waiting for it

    @property
    def is_waited_for(self) -> bool:
        return self._is_awaited and not self._turn.done()
