"""Waiting for another process, without counting the time in which this one did not run.

A control process that was stopped for a minute (SIGSTOP, a frozen container, a machine without a free processor) finds
every deadline past, and the answers that came in time unread behind them. So time is counted in short steps, and a
step that took far longer than it should says that nobody was here to listen: then the whole time counts anew. The
clock is CLOCK_MONOTONIC, which does not go on while the machine sleeps.
"""

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

STEP = 0.5      # seconds
LATE = 1.0      # a step that ends so much later was interrupted

T = TypeVar("T")


async def within(seconds: float, what: Awaitable[T]) -> T:
    """The result of `what`. Raises TimeoutError when it takes longer, and cancels it."""
    waiting = asyncio.ensure_future(what)
    left = seconds
    try:
        while True:
            step = min(left, STEP)
            begun = monotonic()
            done, _ = await asyncio.wait([waiting], timeout=step)
            if done:
                return waiting.result()
            if monotonic() - begun > step + LATE:
                left = seconds
                continue
            left -= step
            if left <= 0:
                raise TimeoutError
    finally:
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait([waiting])
