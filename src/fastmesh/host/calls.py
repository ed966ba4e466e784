"""The calls that a worker makes to the filters of a host, from their begin to their reply.

A phase is called at once, and its reply leaves with those of all other calls of the same read; a coroutine takes its
first step at once, too, and has a task when it waits (fastmesh.host.spare). What a filter raises is its reply, whatever
it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from inspect import iscoroutine
from time import monotonic, thread_time_ns
from typing import Any

import msgpack

from fastmesh.filters.filter import Filter
from fastmesh.filters.protocol import (
    CALL,
    CANCEL,
    DONE,
    EDITS_MOST,
    FAILED,
    GAVE,
    LAST,
    MORE,
    NEXT,
    OVER,
    PHASES,
    PIECE,
    PIECE_MOST,
    TEXT_MOST,
    TRAILERS,
    WANTS,
)
from fastmesh.host.headers import Headers
from fastmesh.host.mesh import Asks
from fastmesh.host.outcome import Failure, Outcome, UpstreamError
from fastmesh.host.request import Connection, Edit, Request
from fastmesh.host.response import Response
from fastmesh.host.spare import Spares

LATE = 0.25             # seconds that the worker has to call a phase off itself, before it is ended here
ANSWERS = ("on_request", "on_route", "on_response", "answer")
STREAMS = frozenset(number for number, phase in enumerate(PHASES) if phase.endswith("_stream"))
WHOLE = frozenset(number for number, phase in enumerate(PHASES) if phase.endswith("_body"))
TRACE_LINES = 12
CPU_EVERY = 32          # calls of which one has its processor time measured: two system calls each


class Exchange:
    """What a host knows of an exchange between two calls."""

    __slots__ = ("is_kept", "request", "response")

    def __init__(self, is_kept: bool) -> None:
        """`is_kept`: until the worker says that it is over. Else it has one call."""
        self.is_kept = is_kept
        self.request = Request()
        self.response: Response | None = None

    def end(self) -> None:
        """No phase begins any more."""
        self.request.end()
        self.part()

    def part(self) -> None:
        """When the last phase has ended: what refers to each other is parted, so that nobody has to look for it."""
        if self.request.part() and self.response is not None:
            self.response.part()


class Call:
    """One phase of one filter for one exchange."""

    # What a plain function's call never needs stands at the class.
    cpu_ns = 0
    due = 0.0                   # when the task should have come to its end
    is_open = False             # the views are
    has_begun = False           # the task
    is_measured = False         # its processor time is taken, for that of CPU_EVERY calls
    task: asyncio.Task[None] | None = None
    coroutine: Coroutine[Any, Any, Any] | None = None       # of the task
    turn: asyncio.Future[bytes | None] | None = None        # of a stream: what the worker says next
    pieces: list[bytes] | None = None       # of a whole body that comes in pieces
    outbox: deque[bytes] | None = None      # what was made and is taken piece by piece
    reply: tuple[Any, ...] = ()             # behind them

    def __init__(self, number: int, exchange: Exchange, of: Hosted, place: int, phase: str, argument: Any) -> None:
        """`place`: of its filter, from 1 on."""
        self.number = number
        self.exchange = exchange
        self.filter = of
        self.place = place
        self.phase = phase
        self.argument = argument
        self.edits: list[Edit] = []


class Hosted:
    """A filter and its phases."""

    def __init__(self, instance: Filter, phases: list[str], timeout: float) -> None:
        """`timeout`: seconds of a call."""
        self.instance = instance
        self.calls: dict[str, Callable[..., Any]] = {phase: getattr(instance, phase) for phase in phases}
        self.timeout = timeout


class Calls:
    """All calls that are under way."""

    def __init__(self, filters: list[Hosted], write: Callable[[bytes], None],
                 pulse: memoryview | None = None, asks: Asks | None = None) -> None:
        """`write` puts bytes into the queue towards the worker; in `pulse` stands which filter runs; `asks` are those
        through the mesh."""
        self.filters = filters
        self.asks = Asks() if asks is None else asks
        self.asks.begin(lambda message: self.write(self._pack(message)))
        self.spares = Spares()
        self.pulse = memoryview(bytearray(16)).cast("Q") if pulse is None else pulse
        self.write = write
        self.running: dict[int, Call] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.idle: asyncio.Event | None = None      # asked for: nothing is under way
        self.entries = 0
        self._pack = msgpack.Packer(autoreset=True).pack

    # --- from the worker ---

    def take(self, message: list[Any]) -> None:
        """Obey one message. Raises whatever it likes when that is none of the protocol."""
        kind, number = message[0], message[1]
        if kind == CALL:
            self._begin(*message[1:])
        elif kind == OVER:
            exchange = self.exchanges.pop(number, None)
            if exchange is not None:
                exchange.end()
        elif kind >= NEXT:
            self.asks.take(message)
        else:
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

    def _begin(self, number: int, exchange_number: int, place: int, phase_number: int, head: list[Any] | None,
               facts: list[Any] | None, answer: list[Any] | None, argument: Any) -> None:
        exchange = self.exchanges.get(exchange_number) if exchange_number else None
        if exchange is None:
            exchange = Exchange(exchange_number != 0)
            if exchange_number:
                self.exchanges[exchange_number] = exchange
        request = exchange.request
        request.update(head, facts)
        if answer is not None:
            exchange.response = Response.of(request, answer)
        call = Call(number, exchange, self.filters[place], place + 1, PHASES[phase_number], argument)
        if phase_number in STREAMS:
            self._open(call)
            self._runs(call, asyncio.get_running_loop().create_task(self._stream(call)))
        elif argument is None and phase_number in WHOLE:
            call.pieces = []
            self.running[number] = call
            self._say((WANTS, number))
        else:
            self._enter(call)

    def _open(self, call: Call) -> None:
        call.is_open = True
        call.exchange.request.open(call)

    def _runs(self, call: Call, task: asyncio.Task[None]) -> None:
        call.task = task
        call.due = monotonic() + call.filter.timeout
        self.running[call.number] = call

    def _fed(self, call: Call, piece: bytes | None, is_last: bool) -> None:
        if call.pieces is not None:
            call.pieces.append(piece or b"")
            if is_last:
                call.argument, call.pieces = b"".join(call.pieces), None
                self._enter(call)
            else:
                self._say((WANTS, call.number))
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
            self._forget(call)
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
                self._forget(call)
        self.idle = asyncio.Event()
        if not self.running:
            return
        try:
            await asyncio.wait_for(self.idle.wait(), grace)
        except TimeoutError:
            for call in list(self.running.values()):
                if call.task is not None:
                    call.task.cancel()

    # --- a phase ---

    def _arguments(self, call: Call) -> tuple[Any, ...]:
        request, argument = call.exchange.request, call.argument
        phase = call.phase
        if phase == "on_connection":
            return (Connection(*argument),)
        if phase == "on_request" or phase == "on_route":
            return (request,)
        if phase == "on_response":
            return request, call.exchange.response
        if phase == "on_request_chunk":
            return request, argument[0], argument[1]
        if phase == "on_response_chunk":
            return request, call.exchange.response, argument[0], argument[1]
        if phase == "on_response_body":
            return request, call.exchange.response, argument
        if phase.endswith("_trailers"):
            flat = [part for field in argument for part in field]
            return request, Headers.of(flat, request.alive, lambda which, name, value:
                                       call.edits.append((which, TRAILERS, name, value)))
        if phase == "on_upstream_error":
            return request, UpstreamError(*argument)
        if phase == "answer":
            return request, Failure(*argument)
        if phase == "on_complete":
            return request, Outcome(*argument)
        return request, argument

    def _enter(self, call: Call) -> None:
        self._open(call)
        self.entries += 1
        begun = 0
        if self.entries % CPU_EVERY == 0:
            call.is_measured = True
            begun = thread_time_ns()
        self.pulse[1] = call.place
        try:
            result = call.filter.calls[call.phase](*self._arguments(call))
        except BaseException as error:
            self.pulse[1] = 0
            self._failed(call, error)
            return
        self.pulse[1] = 0
        if begun:
            call.cpu_ns = (thread_time_ns() - begun) * CPU_EVERY
        if result is not None and iscoroutine(result):
            call.coroutine = result
            task = self.spares.begin(_measured(call, result, self.pulse),
                                     lambda value, error: self._came_to(call, value, error))
            if task is not None:
                self._runs(call, task)
        else:
            self._finished(call, result)

    def _came_to(self, call: Call, result: Any, error: BaseException | None) -> None:
        """A coroutine has ended."""
        if error is None:
            self._finished(call, result)
        else:
            self._failed(call, error)

    def _finished(self, call: Call, result: Any) -> None:
        if result is None and len(call.edits) <= EDITS_MOST:
            call.reply = (DONE, call.number, call.edits, call.cpu_ns, None)
            self._reply(call)
            return
        try:
            told, parts = self._told(call, result)
            if len(call.edits) > EDITS_MOST:
                raise ValueError(f"made {len(call.edits)} changes in one phase: {EDITS_MOST} are allowed")
        except Exception as error:
            self._failed(call, error)
            return
        call.reply = (DONE, call.number, call.edits, call.cpu_ns, told)
        if parts:
            call.task, call.has_begun = None, False
            call.outbox = deque(parts)
            self.running[call.number] = call
            self._shut(call)
            self._push(call)
        else:
            self._reply(call)

    def _push(self, call: Call) -> None:
        if call.outbox:
            self._say((GAVE, call.number, call.outbox.popleft()))
        else:
            self._reply(call)

    def _told(self, call: Call, result: Any) -> tuple[Any, list[bytes]]:
        """What a phase returned, as it travels, and the pieces of it that go before. Raises TypeError."""
        phase = call.phase
        if result is None:
            return None, []
        if phase in ANSWERS or phase == "on_request_body":
            if result is call.exchange.response:
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

    def _failed(self, call: Call, error: BaseException) -> None:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        try:
            text = "".join(traceback.format_exception(error, limit=-TRACE_LINES))
        except Exception:       # a __str__ that raises
            text = type(error).__name__
        edits = call.edits if len(call.edits) <= EDITS_MOST else []
        call.reply = (FAILED, call.number, edits, call.cpu_ns, type(error).__name__,
                      at.tb_lineno if at is not None else 0, text[-TEXT_MOST:])
        self._reply(call)

    def _reply(self, call: Call) -> None:
        self._forget(call)
        self._say(call.reply)

    def _shut(self, call: Call) -> None:
        if call.is_open:
            call.is_open = False
            call.exchange.request.close(call)
            call.exchange.part()

    def _forget(self, call: Call) -> None:
        self.running.pop(call.number, None)
        self._shut(call)
        if not call.exchange.is_kept:
            call.exchange.end()
        if self.idle is not None and not self.running:
            self.idle.set()

    def _say(self, message: tuple[Any, ...]) -> None:
        try:
            packed = self._pack(message)
        except (ValueError, TypeError, OverflowError) as error:     # an edit or a result that cannot travel
            packed = self._pack((FAILED, message[1], [], 0, type(error).__name__, 0, f"cannot be sent: {error}"))
        self.write(packed)

    # --- streams ---

    async def _stream(self, call: Call) -> None:
        call.has_begun = True
        request = call.exchange.request
        pieces = self._pieces(call)
        try:
            arguments = (request, pieces) if call.phase == "on_request_stream" else (
                request, call.exchange.response, pieces)
            made = call.filter.calls[call.phase](*arguments)
            async with contextlib.aclosing(made):
                async for piece in made:
                    if not isinstance(piece, bytes | bytearray | memoryview):
                        raise TypeError(f"yielded a {type(piece).__name__}: bytes are allowed")
                    whole = bytes(piece)
                    for at in range(0, len(whole), PIECE_MOST):
                        await self._turn(call, (GAVE, call.number, whole[at:at + PIECE_MOST]))
        except BaseException as error:
            self._failed(call, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        call.reply = (DONE, call.number, call.edits, call.cpu_ns, None)
        self._reply(call)

    async def _pieces(self, call: Call) -> AsyncIterator[bytes]:
        while True:
            piece = await self._turn(call, (WANTS, call.number))
            if piece is None:
                return
            yield piece

    async def _turn(self, call: Call, message: tuple[Any, ...]) -> bytes | None:
        """Says something, and waits for what the worker says to it."""
        call.turn = asyncio.get_running_loop().create_future()
        self._say(message)
        piece = await call.turn
        call.due = monotonic() + call.filter.timeout
        return piece


@types.coroutine
def _measured(call: Call, coroutine: Coroutine[Any, Any, Any], pulse: memoryview) -> Generator[Any, Any, Any]:
    """The coroutine's result; the time that its own code had the thread is added to the call's."""
    send: Callable[[Any], Any] = coroutine.send
    value: Any = None
    call.has_begun = True
    while True:
        pulse[1] = call.place
        begun = thread_time_ns() if call.is_measured else 0
        try:
            wanted = send(value)
        except StopIteration as end:
            return end.value
        finally:
            pulse[1] = 0
            if begun:
                call.cpu_ns += (thread_time_ns() - begun) * CPU_EVERY
        try:
            send, value = coroutine.send, (yield wanted)
        except BaseException as error:
            send, value = coroutine.throw, error


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
