"""What few calls of a worker do: bodies and results in pieces, streams, and the ends of what takes too long.

What all of them do is compiled (fastmesh._core.hosted.phases). While a call is not answered it stands in `running`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from time import monotonic
from typing import Any

from fastmesh._core.hosted.exchange import Call, Hosted, Response
from fastmesh._core.hosted.fields import Headers
from fastmesh._core.hosted.phases import PhaseCalls
from fastmesh.filters.protocol import CANCEL, GAVE, LAST, MORE, NEXT, PHASES, PIECE, PIECE_MOST, WANTS
from fastmesh.host.mesh import Asks
from fastmesh.host.outcome import Failure, Outcome, UpstreamError
from fastmesh.host.spare import Spares

LATE = 0.25             # seconds that the worker has to call a phase off itself, before it is ended here
ANSWERS = ("on_request", "on_route", "on_response", "answer")
TOLD: dict[int, type[UpstreamError | Failure | Outcome]] = {
    PHASES.index("on_upstream_error"): UpstreamError, PHASES.index("answer"): Failure,
    PHASES.index("on_complete"): Outcome}


class Calls(PhaseCalls):
    """All calls that are under way."""

    def __init__(self, filters: list[Hosted], write: Callable[[bytes], None],
                 pulse: memoryview | None = None, asks: Asks | None = None) -> None:
        """`write` puts bytes into the queue towards the worker; in `pulse` stands which filter runs; `asks` are those
        through the mesh."""
        super().__init__(filters, write, bytearray(16) if pulse is None else pulse, Spares())
        self.asks = Asks() if asks is None else asks
        self.asks.begin(self.tell)

    # --- from the worker ---

    def hear(self, message: list[Any]) -> None:
        """What is not a call's begin."""
        kind, number = message[0], message[1]
        if kind >= NEXT:
            self.asks.take(message)
            return
        call = self.running.get(number)
        if call is None:        # it has ended meanwhile
            return
        if kind == CANCEL:
            self._cancel(call)
        elif kind in (PIECE, LAST):
            self._fed(call, message[2], kind == LAST)
        elif kind == MORE:
            self._taken(call)
        else:
            raise ValueError(f"a message of kind {kind!r}")

    def told(self, phase: int, argument: list[Any]) -> UpstreamError | Failure | Outcome:
        """What a phase is told of something that has happened."""
        return TOLD[phase](*argument)

    def runs(self, call: Call, task: asyncio.Task[None]) -> None:
        """It could not be answered at once."""
        call.task = task
        call.due = monotonic() + call.filter.timeout
        self.running[call.number] = call

    def _fed(self, call: Call, piece: bytes | None, is_last: bool) -> None:
        if call.pieces is not None:
            call.pieces.append(piece or b"")
            if is_last:
                call.argument, call.pieces = b"".join(call.pieces), None
                self.enter_late(call)
            else:
                self.tell((WANTS, call.number))
        elif call.turn is not None and not call.turn.done():
            call.turn.set_result(piece)

    def _taken(self, call: Call) -> None:
        if call.outbox is not None:
            self._push(call)
        elif call.turn is not None and not call.turn.done():
            call.turn.set_result(None)

    def _cancel(self, call: Call) -> None:
        if call.task is not None:
            call.task.cancel()
        if not call.has_begun:
            # A task that is cancelled before its first step never hears of it.
            self.drop(call)
            if call.coroutine is not None:
                call.coroutine.close()

    def sweep(self) -> None:
        """Ends the tasks that should have come to an end long ago."""
        late = monotonic() - LATE
        for call in [call for call in self.running.values() if call.due < late and call.task is not None]:
            # A stream that waits for the worker is not late, however long that takes.
            if call.turn is None or call.turn.done():
                call.due = late + 1e9
                assert call.task is not None
                call.task.cancel("took longer than its `timeout`")

    async def end(self, grace: float) -> None:
        """Lets what is under way come to its end, for so many seconds at most."""
        for call in list(self.running.values()):
            if call.task is None:       # a body that will not come, or not be taken
                self.drop(call)
        self.idle = asyncio.Event()
        if not self.running:
            return
        try:
            await asyncio.wait_for(self.idle.wait(), grace)
        except TimeoutError:
            for call in list(self.running.values()):
                if call.task is not None:
                    call.task.cancel()

    # --- a result ---

    def result_of(self, call: Call, result: Any) -> tuple[Any, list[bytes]]:
        """What a phase returned, as it travels, and the pieces of it that go before. Raises TypeError."""
        phase = call.phase
        if result is None:
            return None, []
        if phase in ANSWERS or phase == "on_request_body":
            if result is call.request.response:
                return None, []
            if _is_answer(result):
                body = result.body or b""
                parts = _parts(body)
                return [result.status, _flat(result.headers), b"" if parts else body], parts
        if phase.endswith(("_chunk", "_body")) and isinstance(result, bytes | bytearray | memoryview):
            body = bytes(result)
            parts = _parts(body)
            return (None if parts else body), parts
        if phase in ("on_connection", "on_upstream_error") and isinstance(result, bool):
            return result, []
        raise TypeError(f"returned a {type(result).__name__}: {_allowed(phase)} is allowed")

    def give(self, call: Call, told: Any, parts: list[bytes]) -> None:
        """Piece by piece, and then what is told."""
        call.task, call.has_begun = None, False
        call.outbox, call.last = deque(parts), told
        self.running[call.number] = call
        self._push(call)

    def _push(self, call: Call) -> None:
        if call.outbox:
            self.tell((GAVE, call.number, call.outbox.popleft()))
        else:
            self.finish_late(call, call.last)

    # --- streams ---

    def begin_stream(self, call: Call) -> None:
        self.runs(call, asyncio.get_running_loop().create_task(self._stream(call)))

    async def _stream(self, call: Call) -> None:
        call.has_begun = True
        request = call.request
        pieces = self._pieces(call)
        try:
            arguments = (request, pieces) if call.phase == "on_request_stream" else (request, request.response, pieces)
            made = call.filter.calls[call.phase](*arguments)
            try:
                async with contextlib.aclosing(made):
                    async for piece in made:
                        if not isinstance(piece, bytes | bytearray | memoryview):
                            raise TypeError(f"yielded a {type(piece).__name__}: bytes are allowed")
                        whole = bytes(piece)
                        for at in range(0, len(whole), PIECE_MOST):
                            await self._turn(call, (GAVE, call.number, whole[at:at + PIECE_MOST]))
            finally:
                # Else whatever an error's traceback holds stays until the collector of garbage and the loop have come
                # by. A task of the filter's own may be reading them still.
                with contextlib.suppress(RuntimeError):
                    await pieces.aclose()
        except BaseException as error:
            self.fail_late(call, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        self.finish_late(call)

    async def _pieces(self, call: Call) -> AsyncGenerator[bytes, None]:
        while True:
            piece = await self._turn(call, (WANTS, call.number))
            if piece is None:
                return
            yield piece

    async def _turn(self, call: Call, message: tuple[Any, ...]) -> bytes | None:
        """Says something, and waits for what the worker says to it."""
        turn: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        call.turn = turn
        self.tell(message)
        piece = await turn
        call.due = monotonic() + call.filter.timeout
        return piece


def _is_answer(result: Any) -> bool:
    return isinstance(result, Response) or (type(result).__name__ == "Response" and hasattr(result, "headers"))


def _flat(headers: Any) -> list[Any]:
    if isinstance(headers, Headers):
        return headers.flat()
    return [part for field in headers.fields() for part in field]


def _parts(body: bytes) -> list[bytes]:
    """Pieces of a body that is too long for one message."""
    if len(body) <= PIECE_MOST // 2:
        return []
    return [body[at:at + PIECE_MOST] for at in range(0, len(body), PIECE_MOST)]


def _allowed(phase: str) -> str:
    if phase in ANSWERS:
        return "None or a Response"
    if phase == "on_request_body":
        return "bytes, None or a Response"
    if phase.endswith(("_chunk", "_body")):
        return "bytes or None"
    return "None, True or False" if phase in ("on_connection", "on_upstream_error") else "None"
