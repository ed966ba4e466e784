"""An exchange in a filter host: made of what the worker sends, and what a filter changes is written down.

The same object in all phases of an exchange, open within them. A phase of the request's direction and one of the
answer's may run at the same time: each has a list of its own for its edits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from time import monotonic
from typing import Any, NamedTuple, Protocol

from fastmesh._core.filter.headers import ViewClosed, cookies_of
from fastmesh._core.filter.retry_rule import Retry, retry_heard, retry_told
from fastmesh._core.filter.split import choose
from fastmesh.filters.protocol import (
    CLUSTER,
    DISCARD,
    LABEL,
    PATH,
    QUERY,
    REQUEST,
    RETRY,
    SET,
    SPLIT,
    TIMEOUT,
    UNLABEL,
)
from fastmesh.host.headers import Headers

TARGET_PATH = re.compile(r"\*|/[!\"$->@-~]*")
LABELS_MOST = 16
LABEL_NAME_MOST = 64
# In which the request's head has not been sent.
EDITED_IN = ("on_request", "on_route", "on_request_body")
STEERED_IN = ("on_request", "on_route")
OVER = ("this request's exchange is over: keep what you need of it (str values, headers.copy()) before on_complete "
        "ends")
BETWEEN = ("a request may be used while one of its phases runs, not between them: keep what you need of it (str "
           "values, headers.copy()) before the phase ends")

Edit = tuple[int, int, str, Any]


class Editor(Protocol):
    """A phase that runs."""

    phase: str
    edits: list[Edit]


class Connection(NamedTuple):
    """A client's connection."""

    peer: str
    port: int
    listener: str
    id: int

    def __repr__(self) -> str:
        return f"<Connection {self.id} of {self.peer} at {self.listener}>"


class Labels(MutableMapping[str, str]):
    """Words about an exchange: for the access log, rate limits, and metrics."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.words: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.words[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._request.alive()
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"labels are str: {name!r}: {value!r}")
        if not name or len(name.encode()) > LABEL_NAME_MOST or not name.isprintable():
            raise ValueError(f"a label's name has 1 to {LABEL_NAME_MOST} printable bytes: {name!r}")
        if name not in self.words and len(self.words) >= LABELS_MOST:
            raise ValueError(f"an exchange has at most {LABELS_MOST} labels; {name!r} is one more")
        self._request.label(LABEL, name, value)
        self.words[name] = value

    def __delitem__(self, name: str) -> None:
        self._request.alive()
        if name not in self.words:
            raise KeyError(name)
        self._request.label(UNLABEL, name, "")
        del self.words[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Labels({self.words!r})"


class Request:
    """A request on its way to the upstream, and the exchange as a whole."""

    # What many requests never need is made when it is asked for.
    _is_over = False
    _elapsed = 0.0          # when it was told
    _head: list[Any] | None = None
    _flat: list[Any] | None = None          # header fields that nobody has looked at
    _told: list[Any] | None = None          # of the connection, likewise
    _headers: Headers | None = None
    _connection: Connection | None = None
    _labels: Labels | None = None
    _state: dict[str, Any] | None = None
    _route: str | None = None
    _cluster: str | None = None
    _timeout: float | None = None
    _rule: Any = None                       # of further attempts, as it travels
    _endpoint: str | None = None
    _attempts = 0
    _told_at = 0.0

    def __init__(self) -> None:
        self._active: list[Editor] = []

    # --- for the host ---

    def update(self, head: list[Any] | None, facts: list[Any] | None) -> None:
        """What the worker says of it now."""
        if head is not None:
            self._told = head.pop()
            self._flat = head.pop()
            self._head = head
        if facts is not None:
            (self._route, self._cluster, self._timeout, self._endpoint, self._attempts, self._elapsed, labels,
             self._rule) = facts
            self._told_at = monotonic()
            if labels is not None:
                if self._labels is None:
                    self._labels = Labels(self)
                self._labels.words = labels

    def open(self, phase: Editor) -> None:
        self._active.append(phase)

    def close(self, phase: Editor) -> None:
        self._active.remove(phase)

    def end(self) -> None:
        """Its exchange is over: no phase begins any more."""
        self._is_over = True

    def part(self) -> bool:
        """Lets its parts go, which refer back to it, when nobody will look at them any more: whether that is so."""
        if self._active or not self._is_over:
            return False
        self._headers = self._labels = None
        return True

    def alive(self) -> Editor:
        if not self._active:
            raise ViewClosed(OVER if self._is_over else BETWEEN)
        return self._active[-1]

    def look(self) -> list[Any]:
        self.alive()
        if self._head is None:
            raise ViewClosed("a TCP connection has no request head")
        return self._head

    def edit_of(self, phases: tuple[str, ...], why_not: str) -> list[Edit]:
        """The edits of that of the phases which runs. Raises RuntimeError where none of them does."""
        self.alive()
        for active in self._active:
            if active.phase in phases:
                return active.edits
        raise RuntimeError(why_not)

    def label(self, which: int, name: str, value: str) -> None:
        self.alive().edits.append((which, REQUEST, name, value))

    def _edits(self) -> list[Edit]:
        for active in self._active:
            if active.phase in EDITED_IN:
                return active.edits
        raise RuntimeError("the request is on its way already: its head can be changed in on_request, on_route and "
                           f"on_request_body, not in {self.alive().phase}")

    def _change(self, which: int, name: str, value: object) -> None:
        self._edits().append((which, REQUEST, name, value))
        if name.lower() == "x-request-id" and self._head is not None:
            self._head[7] = None if which == DISCARD else value

    # --- the request line ---

    @property
    def method(self) -> str:
        return str(self.look()[0])

    @property
    def path(self) -> str:
        return str(self.look()[1])

    @path.setter
    def path(self, value: str) -> None:
        edits, head = self._edits(), self.look()
        if not TARGET_PATH.fullmatch(value):
            raise ValueError(f"{value!r} cannot stand in a request line: a path begins with '/' and has visible ASCII "
                             "characters, others percent-encoded (urllib.parse.quote)")
        edits.append((PATH, REQUEST, "", value))
        head[1], head[3] = value, f"{value}?{head[2]}" if "?" in self.target else value

    @property
    def query(self) -> str:
        return str(self.look()[2])

    @query.setter
    def query(self, value: str) -> None:
        edits, head = self._edits(), self.look()
        if not value.isascii() or not value.isprintable() or "#" in value or " " in value:
            raise ValueError(f"{head[1]!r} with the query {value!r} cannot stand in a request line: visible ASCII "
                             "characters are allowed, others percent-encoded (urllib.parse.quote)")
        edits.append((QUERY, REQUEST, "", value))
        path = self.target.partition("?")[0]
        head[2], head[3] = value, f"{path}?{value}" if value else path

    @property
    def target(self) -> str:
        head = self.look()
        if head[3] is None:     # path and query say it
            head[3] = f"{head[1]}?{head[2]}" if head[2] else head[1]
        return str(head[3])

    @property
    def host(self) -> str:
        return str(self.look()[4])

    @host.setter
    def host(self, value: str) -> None:
        self._edits()
        # By way of the headers, which check it.
        self.headers["host"] = value
        self.look()[4] = value

    @property
    def scheme(self) -> str:
        return str(self.look()[5])

    @property
    def http_version(self) -> str:
        return str(self.look()[6])

    @property
    def headers(self) -> Headers:
        if not self._active:
            self.alive()
        if self._flat is not None:
            self._headers = Headers.of(self._flat, self.look, self._change)
            self._flat = None
        elif self._headers is None:
            self.look()
            self._headers = Headers.of([], self.look, self._change)
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        return cookies_of(self.headers)

    @property
    def params(self) -> dict[str, str]:
        from urllib.parse import parse_qsl

        return dict(parse_qsl(self.query, keep_blank_values=True, max_num_fields=1000))

    # --- the exchange ---

    @property
    def connection(self) -> Connection:
        self.alive()
        if self._told is not None:
            self._connection = Connection(*self._told)
            self._told = None
        if self._connection is None:
            raise ViewClosed("what there is of this connection did not travel")
        return self._connection

    @property
    def peer(self) -> str:
        return self.connection.peer

    @property
    def listener(self) -> str:
        return self.connection.listener

    @property
    def id(self) -> str:
        head = self.look()
        if head[7] is None:
            if not any(active.phase in EDITED_IN for active in self._active):
                return ""
            # A version 4 UUID (RFC 9562), as the proxy would make one.
            raw = bytearray(os.urandom(16))
            raw[6] = raw[6] & 0x0F | 0x40
            raw[8] = raw[8] & 0x3F | 0x80
            made = raw.hex()
            head[7] = f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:]}"
            self._change(SET, "x-request-id", head[7])
        return head[7] if isinstance(head[7], str) else head[7].decode("latin-1")

    @property
    def route(self) -> str | None:
        self.alive()
        return self._route

    @property
    def cluster(self) -> str | None:
        self.alive()
        return self._cluster

    @cluster.setter
    def cluster(self, name: str) -> None:
        edits = self._steered("the cluster")
        if not isinstance(name, str):
            raise TypeError(f"the name of a cluster is a str, not {type(name).__name__}")
        edits.append((CLUSTER, REQUEST, "", name))
        self._cluster = name

    def _steered(self, what: str) -> list[Edit]:
        """The edits of a phase in which it can still be said where the request goes."""
        self.alive()
        if self._route is None:
            raise RuntimeError(f"no route is chosen yet: set {what} in on_route, or in on_request of a filter that "
                               "stands at a route")
        return self.edit_of(STEERED_IN, f"the request is on its way already: {what} can be changed in on_request and "
                            "on_route")

    def split(self, weights: Mapping[str, float], by: str | bytes | None = None) -> str:
        edits = self._steered("the cluster")
        # The worker, which knows what clusters there are, chooses as it is done here: by the same key.
        key = os.urandom(8) if by is None else by
        chosen = choose(weights, key)
        edits.append((SPLIT, REQUEST, "", ([list(pair) for pair in weights.items()], key)))
        self._cluster = chosen
        return chosen

    @property
    def retry(self) -> Retry | None:
        self.alive()
        if isinstance(self._rule, int):
            return Retry(self._rule, backoff=0)     # by the settings of the cluster: so many endpoints
        return None if self._rule is None else retry_heard(list(self._rule))

    @retry.setter
    def retry(self, rule: Retry | None) -> None:
        edits = self._steered("retry")
        if rule is not None and not isinstance(rule, Retry):
            raise TypeError(f"retry = {rule!r}: a Retry is allowed, or None for a single attempt")
        self._rule = None if rule is None else retry_told(rule)
        edits.append((RETRY, REQUEST, "", self._rule))

    @property
    def timeout(self) -> float | None:
        self.alive()
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self.alive()
        why_not = "the timeout can be changed in on_route, and in on_request of a filter that stands at a route"
        if self._route is None:
            raise RuntimeError(why_not)
        edits = self.edit_of(STEERED_IN, why_not)
        if seconds is not None and not 0 < seconds <= 86400:
            raise ValueError(f"a timeout of {seconds!r} s: more than 0 and at most 86400 is allowed, or None for no "
                             "limit")
        edits.append((TIMEOUT, REQUEST, "", seconds))
        self._timeout = seconds

    @property
    def endpoint(self) -> str | None:
        self.alive()
        return self._endpoint

    @property
    def attempts(self) -> int:
        self.alive()
        return self._attempts

    @property
    def state(self) -> dict[str, Any]:
        self.alive()
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def labels(self) -> Labels:
        self.alive()
        if self._labels is None:
            self._labels = Labels(self)
        return self._labels

    @property
    def elapsed(self) -> float:
        self.alive()
        return self._elapsed + monotonic() - self._told_at

    @property
    def is_upgrade(self) -> bool:
        return bool(self.look()[9])

    @property
    def content_length(self) -> int | None:
        length: int | None = self.look()[8]
        return length

    def __repr__(self) -> str:
        try:
            return f"<Request {self.method} {self.target}>"
        except ViewClosed:
            return "<Request, closed>"
