"""Calls through the mesh that the filters of a host ask for: the worker makes them as those of its own filters.

Each is asked for under a number of the host's. A body comes, and an answer goes, in pieces that the other side says
it wants. How many there are at a time, and how many bytes they may have together, is bounded; what the host says is
checked here for its form, and by `Mesh` for what may stand in a request.
"""

from __future__ import annotations

from fastmesh._core.filter.errand import Errand
from fastmesh._core.filter.travel import answer_of
from fastmesh.filters.mesh import CallFailed, Mesh
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
    TEXT_MOST,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastmesh.filters.mesh import Reply

NUMBER_MOST = 1 << 63
FIELDS_MOST = 544           # names and values of a head
ALONG_MOST = PIECE_MOST // 4        # bytes of an answer that go with its head


class Ask:
    """One of them."""

    __slots__ = ("at", "body", "errand", "got", "number", "pieces", "request", "size", "weight")

    def __init__(self, number: int, request: tuple[str, str, str, list[tuple[str, str]], float, int],
                 size: int) -> None:
        self.number = number
        self.request = request
        self.size = size            # of its body
        self.weight = size + request[5]
        self.pieces: list[bytes] = []
        self.got = 0
        self.errand: Errand | None = None
        self.body = b""             # of the answer
        self.at = 0                 # of that, the host has so many bytes


class Errands:
    """Those of one host."""

    def __init__(self, send: Callable[[Any], None], pack: Callable[[object], bytes],
                 nonsense: Callable[[str], Exception]) -> None:
        """`send` takes what is packed; `nonsense` makes an exception of what no host says."""
        self.send = send
        self.pack = pack
        self.nonsense = nonsense
        self.mesh = Mesh()
        self.asks: dict[int, Ask] = {}
        self.weight = 0

    def close(self) -> None:
        """The host is gone."""
        asks, self.asks = self.asks, {}
        self.weight = 0
        for ask in asks.values():
            if ask.errand is not None:
                ask.errand.give_up()

    def take(self, message: list[Any]) -> None:
        """Raises what `nonsense` makes."""
        kind, number = message[0], message[1]
        if kind > DROP:
            raise self.nonsense("a message of no kind")
        if type(number) is not int or not 0 < number < NUMBER_MOST:
            raise self.nonsense("no number of a call through the mesh")
        ask = self.asks.get(number)
        if kind == ASK:
            self._begin(message, ask)
        elif ask is None:
            return      # it failed meanwhile
        elif kind == BRING:
            self._brought(ask, message)
        elif kind == FETCH:
            self._fetched(ask)
        else:       # DROP
            self._forget(ask)
            if ask.errand is not None:
                ask.errand.give_up()

    def _begin(self, message: list[Any], known: Ask | None) -> None:
        if known is not None or len(message) != 9:
            raise self.nonsense("no call through the mesh")
        number, method, cluster, path, flat, timeout, limit, size = message[1:]
        if (type(method) is not str or type(cluster) is not str or type(path) is not str or type(flat) is not list
                or len(flat) > FIELDS_MOST or len(flat) % 2 or type(timeout) not in (int, float)
                or type(limit) is not int or limit < 0 or type(size) is not int or size < 0
                or not all(type(part) is str for part in flat)):
            raise self.nonsense("no call through the mesh")
        if len(self.asks) >= ASKS_MOST:
            self._fail(number, 503, "overflow", f"{ASKS_MOST} calls of this filter host are under way")
            return
        if self.weight + limit + size > ASKED_MOST:
            self._fail(number, 503, "overflow", f"what calls of this filter host carry, and what their answers may "
                       f"have (`limit`), would be more than {ASKED_MOST >> 20} MiB")
            return
        ask = Ask(number, (method, cluster, path, list(zip(flat[::2], flat[1::2], strict=True)), timeout, limit), size)
        self.asks[number] = ask
        self.weight += ask.weight
        if size:
            self.send(self.pack((NEXT, number)))
        else:
            self._call(ask)

    def _brought(self, ask: Ask, message: list[Any]) -> None:
        piece = message[2] if len(message) == 3 else None
        if type(piece) is not bytes or not 0 < len(piece) <= PIECE_MOST or ask.got + len(piece) > ask.size:
            raise self.nonsense("no piece of a body")
        ask.pieces.append(piece)
        ask.got += len(piece)
        if ask.got < ask.size:
            self.send(self.pack((NEXT, ask.number)))
        else:
            self._call(ask)

    def _call(self, ask: Ask) -> None:
        method, cluster, path, fields, timeout, limit = ask.request
        body, ask.pieces = b"".join(ask.pieces), []
        ask.errand = Errand(
            self.mesh.request(method, cluster, path, headers=fields, body=body, timeout=timeout, limit=limit),
            lambda reply, error: self._called(ask, reply, error))
        try:
            ask.errand.begin()
        except RuntimeError as error:
            self._forget(ask)
            self._fail(ask.number, 503, "no_worker", str(error))

    def _called(self, ask: Ask, reply: Reply | None, error: BaseException | None) -> None:
        ask.errand = None
        if isinstance(error, CallFailed):
            self._forget(ask)
            self._fail(ask.number, error.status, error.reason, str(error))
        elif error is not None or reply is None:
            # The host checks as the worker does: what does not fit here has not been through its checks.
            self._forget(ask)
            self._fail(ask.number, 503, "refused", f"{type(error).__name__}: {error}")
        else:
            is_all = len(reply.body) <= ALONG_MOST
            told = answer_of(ANSWER, ask.number, reply.status, reply.headers, reply.body if is_all else b"", is_all)
            if is_all or told is None:
                self._forget(ask)
            else:
                ask.body = reply.body
            if told is None:
                self._fail(ask.number, 502, "too_large", "the head of the answer is too large for the filter host")
            else:
                self.send(told)

    def _fetched(self, ask: Ask) -> None:
        if ask.at >= len(ask.body):
            raise self.nonsense("it wants more of an answer than there is")
        piece = ask.body[ask.at:ask.at + PIECE_MOST]
        ask.at += len(piece)
        is_last = ask.at >= len(ask.body)
        if is_last:
            self._forget(ask)
        self.send(self.pack((REST, ask.number, piece, is_last)))

    def _forget(self, ask: Ask) -> None:
        if self.asks.pop(ask.number, None) is not None:
            self.weight -= ask.weight

    def _fail(self, number: int, status: int, reason: str, text: str) -> None:
        self.send(self.pack((NO_ANSWER, number, status, reason, text[:TEXT_MOST])))
