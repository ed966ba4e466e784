"""Calls of isolated filters through the mesh: the worker makes them, and they are asked for over its line.

To a filter `self.mesh` is what it is in a worker: the same checks, bounds and errors. A host has one worker, which is
asked in a phase and outside of one alike; what a task of a filter's own asks for is made there, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastmesh._core.hosted.fields import Headers
from fastmesh.filters.mesh import CallFailed, Mesh, Reply
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

if TYPE_CHECKING:
    from fastmesh._core.filter import view

LIMIT_MOST = 1 << 40
NOT_YET = "calls through the mesh work in phases and in tasks, not in start()"
GONE = "the worker is gone"


class Asks:
    """All calls through the mesh that this host waits for."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[list[Any]]] = {}
        self.weight = 0         # bytes of their bodies, and that their answers may have
        self.why = NOT_YET
        self._say: Callable[[tuple[Any, ...]], None] | None = None
        self._last = 0

    def begin(self, say: Callable[[tuple[Any, ...]], None]) -> None:
        """The worker can be asked; `say` sends it a message."""
        self._say = say

    def end(self) -> None:
        """It cannot be asked any more."""
        self._say, self.why = None, GONE
        for turn in self.waiting.values():
            if not turn.done():
                turn.set_exception(CallFailed(503, "no_worker", GONE))
                turn.exception()        # nobody may be waiting for it any more

    def take(self, message: list[Any]) -> None:
        """What the worker says about one of them. Raises what it likes when that is nothing of the protocol."""
        turn = self.waiting.get(message[1])
        if turn is not None and not turn.done():
            turn.set_result(message)

    async def ask(self, method: str, cluster: str, path: str, flat: list[Any], body: bytes, timeout: float,
                  limit: int) -> tuple[int, list[Any], bytes]:
        """Status, header fields and body of the answer. Raises CallFailed."""
        weight = len(body) + limit
        if self._say is None:
            raise CallFailed(503, "no_worker", self.why)
        if len(self.waiting) >= ASKS_MOST:
            raise CallFailed(503, "overflow", f"{ASKS_MOST} calls of isolated filters are under way beside this worker")
        if self.weight + weight > ASKED_MOST:
            raise CallFailed(503, "overflow", f"what calls of isolated filters carry, and what their answers may have "
                             f"(`limit`), would be more than {ASKED_MOST >> 20} MiB beside this worker")
        self._last += 1
        number = self._last
        self.weight += weight
        is_over = False
        try:
            told = await self._turn(number, (ASK, number, method, cluster, path, flat, timeout, limit, len(body)))
            at = 0
            while told[0] == NEXT:
                told = await self._turn(number, (BRING, number, body[at:at + PIECE_MOST]))
                at += PIECE_MOST
            if told[0] == NO_ANSWER:
                is_over = True
                raise CallFailed(told[2], told[3], told[4])
            if told[0] != ANSWER:
                raise RuntimeError(f"the worker said {told[0]!r} where an answer was due")
            status, fields, parts, is_over = told[2], told[3], [told[4]], told[5]
            while not is_over:
                told = await self._turn(number, (FETCH, number))
                if told[0] != REST:
                    raise RuntimeError(f"the worker said {told[0]!r} where the rest of an answer was due")
                parts.append(told[2])
                is_over = told[3]
            return status, fields, b"".join(parts)
        finally:
            self.weight -= weight
            self.waiting.pop(number, None)
            if not is_over and self._say is not None:
                self._say((DROP, number))

    async def _turn(self, number: int, message: tuple[Any, ...]) -> list[Any]:
        if self._say is None:
            raise CallFailed(503, "no_worker", GONE)
        turn: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.waiting[number] = turn
        self._say(message)
        return await turn


class HostMesh(Mesh):
    """`self.mesh` of an isolated filter."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    async def _call(self, method: str, cluster: str, path: str, fields: view.Headers, body: bytes, timeout: float,
                    limit: int) -> Reply:
        if type(cluster) is not str:
            raise TypeError(f"the name of a cluster is a str, not {type(cluster).__name__}")
        if not 0 <= limit <= LIMIT_MOST:
            raise ValueError(f"a limit of {limit!r} bytes: from 0 to {LIMIT_MOST} is allowed")
        flat = [part for field in fields.fields() for part in field]
        status, answered, whole = await self._asks.ask(method, cluster, path, flat, body, timeout, limit)
        return Reply(status, Headers.of(answered), whole)       # type: ignore[arg-type]
