"""Isolated filters in a worker: stand-ins whose phases ask the filter host, and the line to it.

To the chain driver a stand-in is a filter like any other whose phases are `async def`: they await a Signal that the
host's reply finishes. So its timeouts, error policies, quarantine and counters are those of every filter. What the
host says is believed no further than a filter of the worker's own: edits are made through the same views, with their
checks; a host that says anything else than the protocol has loses its line.
"""

from __future__ import annotations

from os import close

import msgpack

from fastmesh._core.filter.ending import drop_label, set_label
from fastmesh._core.filter.errand import close_errands
from fastmesh._core.filter.line import Line, close_lines, count_cpu
from fastmesh._core.filter.retry_rule import retry_heard
from fastmesh._core.filter.travel import call_of, is_sent
from fastmesh._core.filter.view import Response, Signal
from fastmesh.filters.protocol import (
    ADD,
    ASK,
    CALL,
    CALLS_MOST,
    CANCEL,
    CLUSTER,
    DISCARD,
    DONE,
    EDITS_MOST,
    FAILED,
    GAVE,
    LABEL,
    LAST,
    MESSAGE_MOST,
    MORE,
    OVER,
    PATH,
    PHASES,
    PIECE,
    PIECE_MOST,
    QUERY,
    REQUEST,
    RESPONSE,
    RESULT_MOST,
    RETRY,
    SET,
    SPLIT,
    STATUS,
    SUBSET,
    TEXT_MOST,
    TIMEOUT,
    TRAILERS,
    UNLABEL,
    WANTS,
)
from fastmesh.worker.errands import Errands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from fastmesh._core.filter.view import Connection, Failure, Headers, Outcome, Request, UpstreamError

    Report = Callable[[str], None]
    Reply = list[Any]

KINDS_MOST = 200        # kinds of errors of a host that are told apart
NO_HOST = "the filter host does not run yet"


class IsolatedError(Exception):
    """An isolated filter failed, or could not be asked. The text is for people."""


class HostGone(IsolatedError):
    """The filter host has ended, or has not begun."""


class HostBusy(IsolatedError):
    """The filter host has more to do than it may be given."""


class Nonsense(IsolatedError):
    """The filter host said what the protocol does not have."""


kinds: dict[tuple[str, int], type[IsolatedError]] = {}
NUMBERS = {phase: number for number, phase in enumerate(PHASES)}
pack = msgpack.Packer(autoreset=True).pack


def kind_of(name: object, line: object) -> type[IsolatedError]:
    """A class for each kind of exception of a host, so that each is told once: errors are told apart by their class."""
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(line, int):
        return IsolatedError
    found = kinds.get((name, line))
    if found is None:
        found = IsolatedError
        if len(kinds) < KINDS_MOST:
            found = kinds[name, line] = type(name[:100], (IsolatedError,), {})
    return found


class Exchange:
    """What the host knows of a request."""

    __slots__ = ("answer", "has_head", "is_over", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False        # its filters are being told
        self.has_head = False       # the head that went upstream: it need not travel again
        self.answer: Response | None = None     # likewise, while its body passes


class Host:
    """One filter host, as long as its filters are in use: the process may be another one after it has died."""

    def __init__(self, number: int, fd: int, report: Report) -> None:
        """Takes over the descriptor, an end of a stream socket; -1 when there is none yet."""
        self.number = number
        self.report = report
        self.keeps = False          # filters have more than one phase: what they know of an exchange is kept
        self.needs: tuple[bytes, ...] | None = None     # the headers that they want to see, all of them together
        self.is_serving = False     # its filters are in use: it is heard, whether or not it was asked
        self.why = NO_HOST
        self.users = 0              # stand-ins
        self.line: Line | None = None
        self.pending: dict[int, Signal[Any]] = {}
        self.exchanges: dict[int, Exchange] = {}        # by the address of their Request
        self.ending: list[Request] = []
        self.last_call = 0
        self.last_exchange = 0
        self.errands = Errands(self.owe, pack, self.nonsense)
        if fd >= 0:
            self.attach(fd)

    def release(self) -> None:
        """One stand-in less. Behind the last one the line is closed, and the process ends."""
        self.users -= 1
        if self.users <= 0:
            self.lost("its filters are not used any more")

    def attach(self, fd: int) -> None:
        """Another process takes the place of the one before."""
        self.connect(lambda *answers: Line(fd, *answers))
        if self.is_serving:
            self.serve()

    def serve(self) -> None:
        """Its filters are in use. They may ask for something before they are asked."""
        self.is_serving = True
        if self.line is not None and not self.line.is_open:
            try:
                self.line.open()
            except OSError as error:
                self.lost(str(error))

    def connect(self, make: Callable[..., Line]) -> None:
        """`make` gets what is called when bytes come, when the line is lost, and at the end of a turn."""
        self.lost("another one takes its place")
        self.exchanges.clear()
        self.unpacker = msgpack.Unpacker(
            max_buffer_size=8 * MESSAGE_MOST, max_str_len=MESSAGE_MOST, max_bin_len=MESSAGE_MOST,
            max_array_len=4 * EDITS_MOST, max_map_len=0, max_ext_len=0)
        self.line = make(self.receive, self.lost, self.settled)

    def lost(self, why: str) -> None:
        """Every call that waits ends now."""
        if self.line is None:
            return
        self.line.close()
        self.line = None
        self.errands.close()
        self.why = f"the filter host is not there: {why}"
        waiting, self.pending = self.pending, {}
        for signal in waiting.values():
            signal.fail(HostGone(self.why))

    def nonsense(self, what: str) -> Nonsense:
        """It cannot be trusted any more."""
        self.report(f"it said what no filter host says ({what}): its line is closed")
        self.lost("it said what cannot be understood")
        return Nonsense(what)

    # --- to the host ---

    def begin(self, number: int, packed: bytes | None) -> Signal[Reply]:
        """Sends something of a call that the host has to reply to. None is what is too large to be packed at all."""
        line = self.line
        if line is None:
            raise HostGone(self.why)
        if len(self.pending) >= CALLS_MOST:
            raise HostBusy(f"{CALLS_MOST} calls wait for the filter host already: it is too slow, or its filters are")
        if packed is None or len(packed) > MESSAGE_MOST:
            raise IsolatedError(f"more than {MESSAGE_MOST} bytes are too much for one message to the filter host: "
                                "declare with `needs` which headers it has to see")
        if not line.is_open:
            line.open()
        if not line.send(packed):
            raise HostBusy("the filter host does not take what is sent to it: it is too slow, or its filters are")
        signal: Signal[Reply] = Signal()
        self.pending[number] = signal
        return signal

    def forget(self, number: int) -> None:
        """Nobody waits for this call any more."""
        self.pending.pop(number, None)
        if self.line is not None:
            self.line.send(pack((CANCEL, number)))

    def owe(self, packed: bytes) -> None:
        """Says what the host has asked for."""
        if self.line is not None and not self.line.send(packed, True):
            self.lost("it does not take what it has asked for")

    def exchange(self, request: Request) -> Exchange:
        known = self.exchanges.get(id(request))
        if known is None:
            self.last_exchange += 1
            known = self.exchanges[id(request)] = Exchange(self.last_exchange)
        return known

    def over(self, request: Request) -> None:
        """The exchange is over: after this turn, in which others of its filters may still be told."""
        if self.line is None:
            self.exchanges.pop(id(request), None)
            return
        known = self.exchanges.get(id(request))
        if known is not None and not known.is_over:
            known.is_over = True
            self.ending.append(request)     # until then no other one has its address
            self.line.later()

    def settled(self) -> None:
        ending, self.ending = self.ending, []
        for request in ending:
            known = self.exchanges.pop(id(request), None)
            if known is not None and self.line is not None:
                self.line.send(pack((OVER, known.number)))

    # --- from the host ---

    def receive(self, data: bytes) -> None:
        try:
            self.unpacker.feed(data)
            for message in self.unpacker:
                self.take(message)
                if self.line is None:
                    break
        except Exception as error:
            if self.line is not None:
                self.nonsense(f"{type(error).__name__}: {error}"[:200])

    def take(self, message: Reply) -> None:
        if type(message) is not list or len(message) < 2:
            raise Nonsense("no message")
        number = message[1]
        if type(message[0]) is int and message[0] >= ASK:
            self.errands.take(message)
            return
        signal = self.pending.pop(number, None) if type(number) is int else None
        if signal is not None:
            signal.finish(message)
        elif type(number) is not int or not 0 < number <= self.last_call:
            raise Nonsense("a call that nobody made")
        # Else it was given up meanwhile.


class StandIn:
    """What a worker has in place of an isolated filter. `phases` are for the chain driver, like any filter's."""

    def __init__(self, host: Host, place: int, name: str, phases: list[str]) -> None:
        """`place`: among the isolated filters of the configuration."""
        self.host = host
        self.place = place
        self.name = name
        self.slot: Any = None       # its row in the ledger, as soon as there is one
        self.changes_body = True
        self.is_current: Callable[[], bool] = lambda: True      # the next snapshot's filters are in this host, too
        self.phases: dict[str, Callable[..., Any]] = {phase: getattr(self, phase) for phase in phases}
        host.users += 1
        if host.keeps and "on_complete" not in phases and phases not in (["on_connection"], ["answer"]):
            self.phases["on_complete"] = self.completed

    def stop(self) -> None:
        """No exchange uses it any more."""
        self.phases = {}        # which hold it
        self.host.release()

    # --- one call ---

    def message(self, phase: str, request: Request, response: Response | None,
                argument: object, is_final: bool) -> tuple[int, bytes | None]:
        """The next call, and its number. `is_final`: the answer's head does not change any more."""
        host = self.host
        host.last_call += 1
        number = 0
        has_head = True
        # A fallback stands in no chain, so nothing says when what it would keep may go.
        if host.keeps and phase != "answer":
            known = host.exchange(request)
            number = known.number
            has_head = not known.has_head
            if has_head:
                known.has_head = is_sent(request)
            if response is not None:
                if known.answer is response:
                    response = None
                else:
                    known.answer = response if is_final else None
        return host.last_call, call_of(CALL, host.last_call, number, self.place, NUMBERS[phase], request, has_head,
                                       response, host.needs, argument)

    async def ask(self, phase: str, request: Request, response: Response | None = None, argument: object = None,
                  trailers: Headers | None = None, body: bytes | None = None, is_final: bool = False) -> Any:
        """One call from its begin to its end; `body` goes piece by piece as the host wants it."""
        host = self.host
        number, packed = self.message(phase, request, response, argument, is_final)
        made: list[bytes] = []
        size = at = 0
        try:
            reply = await host.begin(number, packed)
            while reply[0] == GAVE or reply[0] == WANTS:
                if reply[0] == GAVE:
                    size += len(self.piece(reply))
                    if size > RESULT_MOST:
                        raise IsolatedError(f"made a body of more than {RESULT_MOST >> 20} MiB in one piece")
                    made.append(reply[2])
                    reply = await host.begin(number, pack((MORE, number)))
                elif body is None:
                    raise host.nonsense("it wants a body where there is none")
                else:
                    piece, at = body[at:at + PIECE_MOST], at + PIECE_MOST
                    reply = await host.begin(number, pack((PIECE if at < len(body) else LAST, number, piece)))
        except BaseException:
            host.forget(number)
            raise
        return self.finish(phase, reply, request, response, trailers, made)

    def piece(self, reply: Reply) -> bytes:
        if len(reply) < 3 or type(reply[2]) is not bytes or len(reply[2]) > PIECE_MOST:
            raise self.host.nonsense("no piece")
        return reply[2]

    def finish(self, phase: str, reply: Reply, request: Request, response: Response | None, trailers: Headers | None,
               made: list[bytes]) -> Any:
        """Carries out what the host's filter did, and returns what it returned, or raises."""
        if len(reply) < 5 or type(reply[3]) is not int or reply[3] < 0:
            raise self.host.nonsense("no reply")
        if self.slot is not None:
            count_cpu(self.slot, phase, min(reply[3], 1 << 40))
        for edit in self.edits(reply):
            self.carry_out(edit, request, response, trailers)
        result = reply[4]
        if reply[0] == FAILED:
            if len(reply) < 7 or type(reply[6]) is not str:
                raise self.host.nonsense("no error")
            raise kind_of(reply[4], reply[5])(reply[6][:TEXT_MOST])
        if reply[0] != DONE:
            raise self.host.nonsense("no reply")
        if type(result) is list:
            return self.response(result, made, response)
        if made:
            return b"".join(made)
        if result is None or type(result) is bool or type(result) is bytes:
            return result
        raise self.host.nonsense("no result")

    def response(self, given: list[Any], made: list[bytes], response: Response | None) -> Response:
        if len(given) != 3 or type(given[1]) is not list or type(given[2]) is not bytes or len(given[1]) % 2:
            raise self.host.nonsense("no answer")
        fields = given[1]
        body = b"".join(made) or given[2]
        answer = Response(given[0], body=body or None)
        headers = answer.headers
        headers.discard("content-type")
        for i in range(0, len(fields), 2):
            headers.add(fields[i], fields[i + 1])
        return answer

    def edits(self, reply: Reply) -> list[Any]:
        if len(reply) < 3 or type(reply[2]) is not list:
            raise self.host.nonsense("no reply")
        return reply[2]

    def edit(self, edit: Any) -> list[Any]:
        if type(edit) is not list or len(edit) != 4 or type(edit[0]) is not int or type(edit[2]) is not str:
            raise self.host.nonsense("no edit")
        return edit

    def carry_out(self, edit: Any, request: Request, response: Response | None, trailers: Headers | None) -> None:
        which, target, name, value = self.edit(edit)
        if which <= DISCARD:
            headers = (request.headers if target == REQUEST else
                       response.headers if target == RESPONSE and response is not None else
                       trailers if target == TRAILERS else None)
            if headers is None or which < 0:
                raise self.host.nonsense("an edit of nothing")
            if which == SET:
                headers[name] = value
            elif which == ADD:
                headers.add(name, value)
            else:
                headers.discard(name)
        elif which == STATUS and response is not None:
            response.status = value
        elif which == PATH:
            request.path = value
        elif which == QUERY:
            request.query = value
        elif which == CLUSTER:
            request.cluster = value
        elif which == TIMEOUT:
            request.timeout = value
        elif which == SPLIT:
            if type(value) is not list or len(value) != 2 or type(value[0]) is not list:
                raise self.host.nonsense("no split")
            request.split(dict(value[0]), by=value[1])
        elif which == RETRY:
            if value is not None and type(value) is not list:
                raise self.host.nonsense("no retry")
            request.retry = None if value is None else retry_heard(value)
        elif which == SUBSET:
            if value is not None and (type(value) is not list or len(value) % 2):
                raise self.host.nonsense("no subset")
            request.subset = None if value is None else dict(zip(value[::2], value[1::2], strict=True))
        elif which == LABEL:
            request.labels[name] = value
        elif which == UNLABEL:
            if name in request.labels:
                del request.labels[name]
        else:
            raise self.host.nonsense("no edit")

    # --- phases ---

    async def on_connection(self, connection: Connection) -> Any:
        host = self.host
        host.last_call += 1
        number = host.last_call
        try:
            reply = await host.begin(number, pack((CALL, number, 0, self.place, 0, None, None, None, (
                connection.peer, connection.port, connection.listener, connection.id))))
        except BaseException:
            host.forget(number)
            raise
        return self.finish_bare("on_connection", reply)

    def finish_bare(self, phase: str, reply: Reply) -> Any:
        """Of a phase in which there is nothing to change."""
        if len(reply) < 5 or reply[0] not in (DONE, FAILED) or reply[2] != [] or type(reply[4]) is list:
            raise self.host.nonsense("no reply")
        return self.finish(phase, reply, None, None, None, [])      # type: ignore[arg-type]

    def on_request(self, request: Request) -> Coroutine[Any, Any, Any]:
        return self.ask("on_request", request)

    def on_route(self, request: Request) -> Coroutine[Any, Any, Any]:
        return self.ask("on_route", request)

    async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes | None:
        return await self.chunk("on_request_chunk", request, None, chunk, last)

    def on_request_body(self, request: Request, body: bytes) -> Coroutine[Any, Any, Any]:
        return self.whole("on_request_body", request, None, body)

    def on_request_trailers(self, request: Request, trailers: Headers) -> Coroutine[Any, Any, Any]:
        return self.ask("on_request_trailers", request, argument=trailers.fields(), trailers=trailers)

    def on_upstream_error(self, request: Request, error: UpstreamError) -> Coroutine[Any, Any, Any]:
        return self.ask("on_upstream_error", request, argument=(
            error.reason, error.message, error.endpoint, error.attempt, error.may_repeat))

    def on_retry(self, request: Request, attempt: int) -> Coroutine[Any, Any, Any]:
        return self.ask("on_retry", request, argument=attempt)

    def on_response(self, request: Request, response: Response) -> Coroutine[Any, Any, Any]:
        return self.ask("on_response", request, response)

    async def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        return await self.chunk("on_response_chunk", request, response, chunk, last)

    def on_response_body(self, request: Request, response: Response, body: bytes) -> Coroutine[Any, Any, Any]:
        return self.whole("on_response_body", request, response, body)

    def on_response_trailers(self, request: Request, trailers: Headers) -> Coroutine[Any, Any, Any]:
        return self.ask("on_response_trailers", request, argument=trailers.fields(), trailers=trailers)

    def answer(self, request: Request, failure: Failure) -> Coroutine[Any, Any, Any]:
        return self.ask("answer", request, argument=(
            failure.reason, failure.status, failure.flags, failure.details, failure.message, failure.cluster,
            failure.endpoint, failure.attempts))

    async def on_complete(self, request: Request, outcome: Outcome) -> None:
        # All that is needed of the request is taken before the first wait: the exchange is over then.
        host = self.host
        number, packed = self.message("on_complete", request, None, (
            outcome.status, outcome.flags, outcome.details, outcome.duration, outcome.upstream_time, outcome.received,
            outcome.sent, outcome.endpoint), False)
        host.over(request)
        labels = request.labels
        try:
            reply = await host.begin(number, packed)
        except BaseException:
            host.forget(number)
            raise
        for edit in self.edits(reply):
            which, _, name, value = self.edit(edit)
            if which == LABEL:
                set_label(labels, name, value)
            elif which == UNLABEL:
                drop_label(labels, name)
            else:
                raise host.nonsense("an edit of an exchange that is over")
        reply[2] = []
        self.finish_bare("on_complete", reply)

    def completed(self, request: Request, outcome: Outcome) -> None:
        self.host.over(request)

    async def chunk(self, phase: str, request: Request, response: Response | None, chunk: bytes,
                    last: bool) -> bytes | None:
        if len(chunk) <= PIECE_MOST:
            result: bytes | None = await self.ask(phase, request, response, (chunk, last), is_final=True)
            return result
        made: list[bytes] = []
        for at in range(0, len(chunk), PIECE_MOST):
            piece = chunk[at:at + PIECE_MOST]
            got = await self.ask(phase, request, response, (piece, last and at + PIECE_MOST >= len(chunk)),
                                 is_final=True)
            made.append(piece if got is None else got)
        return b"".join(made)

    def whole(self, phase: str, request: Request, response: Response | None,
              body: bytes) -> Coroutine[Any, Any, Any]:
        if len(body) <= PIECE_MOST // 2:        # it goes along with the head
            return self.ask(phase, request, response, body)
        return self.ask(phase, request, response, body=body)

    async def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in self.stream("on_request_stream", request, None, chunks):
            yield piece

    async def on_response_stream(self, request: Request, response: Response,
                                 chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in self.stream("on_response_stream", request, response, chunks):
            yield piece

    async def stream(self, phase: str, request: Request, response: Response | None,
                     chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The host's generator is at work; this one carries pieces to and fro."""
        host = self.host
        number, packed = self.message(phase, request, response, None, True)
        rest = b""
        try:
            reply = await host.begin(number, packed)
            while reply[0] == GAVE or reply[0] == WANTS:
                if reply[0] == GAVE:
                    yield self.piece(reply)
                    reply = await host.begin(number, pack((MORE, number)))
                    continue
                if not rest:
                    try:
                        rest = await chunks.__anext__()
                    except StopAsyncIteration:
                        reply = await host.begin(number, pack((LAST, number, None)))
                        continue
                piece, rest = rest[:PIECE_MOST], rest[PIECE_MOST:]
                reply = await host.begin(number, pack((PIECE, number, piece)))
        except BaseException:
            host.forget(number)
            raise
        self.finish(phase, reply, request, response, None, [])


class Hosts:
    """The filter hosts of a worker: that of the snapshot it serves, and of the one that it is about to take."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.current: Host | None = None
        self.coming: Host | None = None

    def offer(self, number: int, fd: int) -> None:
        """The next snapshot's filters are in this host. One that is in use already comes without a descriptor."""
        if self.current is not None and self.current.number == number:
            self.coming = self.current
            if fd >= 0:
                self.current.attach(fd)
        else:
            self.coming = Host(number, fd, self.report)

    def settle(self, is_taken: bool) -> None:
        """The snapshot was taken, or refused."""
        if is_taken:
            self.current = self.coming
            if self.current is not None:
                self.current.serve()
        elif self.coming is not None and self.coming is not self.current:
            self.coming.lost("its filters were refused")
        self.coming = None

    def renew(self, number: int, fd: int) -> None:
        """A process has taken the place of one that died."""
        for host in (self.current, self.coming):
            if host is not None and host.number == number:
                host.attach(fd)
                return
        close(fd)

    def close(self) -> None:
        """The worker ends: its reactor waits for nobody."""
        close_errands()
        close_lines()

    def stand_in(self, specs: list[dict[str, Any]], place: int) -> StandIn:
        """For one of the isolated filters of a snapshot. Raises ValueError when no host was offered."""
        host = self.coming
        if host is None:
            raise ValueError(f"filter {specs[place]['name']}: it is isolated, and there is no process for it")
        exchanges = [phase for spec in specs for phase in spec["phases"] if phase != "on_connection"]
        host.keeps = len(exchanges) > 1 or any(phase.endswith("_chunk") for phase in exchanges)
        needs = [spec["needs"] for spec in specs]
        host.needs = None if None in needs else tuple(sorted({name.encode() for some in needs for name in some}))
        made = StandIn(host, place, specs[place]["name"], list(specs[place]["phases"]))
        made.changes_body = specs[place]["changes_body"]
        made.is_current = lambda: host is self.coming
        return made
