"""What became of one exchange of a kit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from fastmesh.testing.message import Fields, Message
from fastmesh.testing.upstream import Asked
from fastmesh.units import parse_duration

if TYPE_CHECKING:
    from fastmesh._core.filter.retry_rule import Retry
    from fastmesh._core.filter.view import Outcome
    from fastmesh._core.play.stage import Line
    from fastmesh.testing.kit import Kit


class Sent(NamedTuple):
    """A request of a client, ready to be sent again."""

    method: str
    pieces: list[bytes]
    peer: str


class Report(NamedTuple):
    """What the proxy has to say of a filter."""

    what: str
    """`error`, `overrun`, `quarantine`, `back` (from quarantine) or `shadow`."""
    filter: str
    """Name of the filter."""
    phase: str
    """As `on_request`; "" when it is none's."""
    text: str
    """The sentence for an operator."""


class LogLine(NamedTuple):
    """A line that a filter has logged."""

    level: str
    """`debug`, `info`, `warn` or `error`."""
    filter: str
    """Name of the filter."""
    text: str
    """The line."""


class Unanswered(AssertionError):
    """There is no whole answer, and what was asked for is in one."""


class Reply:
    """An exchange: what the client got, what the upstream saw, what the filters did.

    Of one that `Kit.begin` has begun, parts are there as they come: `is_complete` says whether all are. What stands in
    the answer is to be had when it is whole.
    """

    requests: list[Asked]
    """All that upstreams were asked meanwhile, in order: several when it was tried again, and calls of filters."""
    upstream: Asked | None
    """The request as the upstream that answered, or was tried last, saw it; None when none was asked."""
    labels: dict[str, str]
    """What filters have set in `request.labels`."""
    state: dict[str, Any]
    """What filters have left in `request.state`."""
    cluster: str | None
    """The cluster that was chosen for it, by the route or by filters."""
    subset: dict[str, str] | None
    """The subset of the cluster that it went to; None: it had all endpoints."""
    retry: Retry | None
    """How often it was to be tried, as `request.retry` had it at the end."""
    outcome: Outcome | None
    """How it ended, as `on_complete` is told; None when there was no exchange: the connection was turned away, or what
    was sent is no request."""
    errors: list[BaseException]
    """What filters have raised."""
    reports: list[Report]
    """What the proxy would say of them to an operator: errors, overruns, quarantines, what a shadow would have done."""
    log: list[LogLine]
    """What they have logged."""
    interim: list[Message]
    """Answers with 1xx that came before."""
    sent: Sent
    """For the kit: what the client has sent."""

    def __init__(self, kit: Kit, sent: Sent, line: Line) -> None:
        """For the kit."""
        self._kit = kit
        self._line = line
        self._answer: Message | None = None
        self._received = b""
        self._begun_ns = 0
        self._ended_ns = 0
        self.sent = sent
        self.requests = []
        self.upstream = None
        self.labels = {}
        self.state = {}
        self.cluster = None
        self.subset = None
        self.retry = None
        self.outcome = None
        self.errors = []
        self.reports = []
        self.log = []
        self.interim = []

    # --- the answer ----------------------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """There is a whole answer, or the connection was closed."""
        return self._answer is not None or self._line.is_closed

    @property
    def was_cut(self) -> bool:
        """The connection was closed before there was a whole answer."""
        return self._answer is None and self._line.is_closed

    @property
    def status(self) -> int:
        """0 when the connection was closed without any answer."""
        return self._whole().status if not (self.was_cut and not self._received) else 0

    @property
    def headers(self) -> Fields:
        """Names have no case; `get_all` gives every value of one."""
        return self._whole().headers

    @property
    def body(self) -> bytes:
        """The whole body."""
        return self._whole().body

    @property
    def trailers(self) -> Fields:
        """Fields behind a chunked body."""
        return self._whole().trailers

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    @property
    def received(self) -> bytes:
        """All that the client has got so far, as it came."""
        return self._received

    @property
    def elapsed(self) -> float:
        """Seconds by the kit's clock, which stands still but for what is waited for."""
        end = self._ended_ns if self.is_complete else self._kit.now_ns
        return (end - self._begun_ns) / 1e9

    def _whole(self) -> Message:
        if self._answer is not None:
            return self._answer
        if self._line.is_closed:
            raise Unanswered(f"the connection was closed after {len(self._received)} bytes of an answer: "
                             f"{self._received[:200]!r}")
        raise Unanswered(f"there is no whole answer yet, after {self.elapsed:.3f} s: pass_time of the kit lets what is "
                         f"waited for happen. The client has got {self._received[:200]!r}")

    # --- what the client does ------------------------------------------------------------------------------------

    def send(self, *pieces: bytes) -> None:
        """The client sends more, each piece by itself: as it is, in whatever framing the head has told of."""
        for piece in pieces:
            self._line.feed(piece)
        self._kit.pass_time(0)

    def leave(self) -> None:
        """The client is gone. Whatever waits for the sake of this exchange is cancelled."""
        self._line.reset()
        self._kit.pass_time(0)

    # --- what it costs -------------------------------------------------------------------------------------------

    def costs_less_than(self, limit: str, *, n: int = 2000) -> bool:
        """That the filters take less than `limit` ("5us", "0.2ms") for such an exchange. Raises AssertionError
        otherwise; see `Kit.cost` for what is measured."""
        allowed = _nanoseconds(limit)
        took = round(self._kit.cost(n, of=self) * 1e9)
        if took >= allowed:
            raise AssertionError(f"the filters take {took / 1000:.2f} µs for this exchange, {limit} is allowed")
        return True

    def __repr__(self) -> str:
        if self._answer is not None:
            return f"<Reply {self._answer.status}, {len(self._answer.body)} bytes>"
        return "<Reply, cut>" if self._line.is_closed else "<Reply, under way>"


def _nanoseconds(limit: str) -> int:
    text = limit.strip().replace("µs", "us")
    for unit, factor in (("ns", 1), ("us", 1000)):
        if text.endswith(unit):
            try:
                return round(float(text[:-2]) * factor)
            except ValueError:
                raise ValueError(f"{limit!r} is no time: write 5us or 0.2ms") from None
    return parse_duration(text)


__all__ = ["LogLine", "Reply", "Report", "Sent", "Unanswered"]
