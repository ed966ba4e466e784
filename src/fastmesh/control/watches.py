"""Who waits for the next request of a kind, and is told all that becomes of it."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol

MOST = 8                    # who may wait at the same time
LOOK_SECONDS = 0.2          # so soon a worker that has just come up is asked too

Account = dict[str, Any]


class Busy(RuntimeError):
    """As many wait as may. The text is for people."""


class Watched(Protocol):
    """What is needed of a worker."""

    @property
    def is_serving(self) -> bool: ...
    def watch(self, number: int, wanted: dict[str, Any]) -> None: ...
    def unwatch(self, number: int) -> None: ...


class Watches:
    """The first worker that meets such a request tells; the others are told to wait no more."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Account]] = {}

    def take(self, number: int, account: Account) -> None:
        """A worker tells. Of several that met one at the same time the first counts."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(account)

    async def next(self, wanted: dict[str, str], workers: Callable[[], Iterable[Watched]],
                   seconds: float) -> Account | None:
        """The account of the next request that is as `wanted` says, when it is over; None when none came and ended
        within `seconds`. Raises Busy."""
        if len(self._waiting) >= MOST:
            raise Busy(f"{MOST} wait for a request already")
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        asked: list[Watched] = []
        end = monotonic() + seconds
        try:
            while not waiting.done() and (left := end - monotonic()) > 0:
                for worker in workers():
                    if worker.is_serving and worker not in asked:
                        worker.watch(number, wanted)
                        asked.append(worker)
                await asyncio.wait([waiting], timeout=min(left, LOOK_SECONDS))
            return waiting.result() if waiting.done() else None
        finally:
            del self._waiting[number]
            for worker in asked:
                worker.unwatch(number)
