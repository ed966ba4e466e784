"""The upstreams of a kit: clusters whose endpoints are the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from fastmesh.config.subset import FALLBACKS
from fastmesh.testing.message import Fields, FieldsLike, Message, body_of, pairs_of, write

FAILURES = ("connect_failure", "connect_timeout", "reset", "protocol", "cut", "silence")


class Asked:
    """A request as an upstream saw it."""

    method: str
    """GET, POST, and so on."""
    target: str
    """Path and query."""
    headers: Fields
    """Names have no case; `get_all` gives every value of one."""
    body: bytes
    """All of it, without the framing of chunks."""
    trailers: Fields
    """Fields behind a chunked body."""
    is_chunked: bool
    """It came in chunks, not with a Content-Length."""
    cluster: str
    """Name of the cluster that was asked."""
    endpoint: str
    """Its address."""
    metadata: dict[str, str]
    """What the configuration says of it, where the kit's cluster has subsets."""

    def __init__(self, message: Message, cluster: str, endpoint: str, metadata: dict[str, str] | None = None) -> None:
        """For the kit."""
        self.method, self.target, _ = message.line.split(" ", 2)
        self.headers = message.headers
        self.body = message.body
        self.trailers = message.trailers
        self.is_chunked = message.is_chunked
        self.cluster = cluster
        self.endpoint = endpoint
        self.metadata = metadata or {}

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind `?`, undecoded."""
        return self.target.partition("?")[2]

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Asked {self.cluster}: {self.method} {self.target}, {len(self.body)} bytes>"


class Answer:
    """What an upstream answers.

    `chunks` sends the body chunked, each piece by itself; so do `trailers`. `after` are seconds of the kit's clock
    until the answer begins.
    """

    status: int
    """200 to 599."""
    after: float
    """Seconds until it begins."""

    def __init__(self, status: int = 200, *, body: bytes | str = b"", json: Any = None, headers: FieldsLike = (),
                 chunks: Iterable[bytes] | None = None, trailers: FieldsLike = (), after: float = 0.0) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"an upstream that answers {status}: 200 to 599 is allowed; for tunnels use filter_proxy")
        if chunks is not None and (body or json is not None):
            raise ValueError("chunks is the body already: give no other")
        self.status = status
        self._fields = pairs_of(headers)
        self._body = body_of(body, json, self._fields)
        self._chunks = None if chunks is None else list(chunks)
        self._trailers = pairs_of(trailers)
        self.after = after

    def pieces(self, method: str) -> list[bytes]:
        """For the kit: the bytes, in the pieces in which they are sent."""
        is_bodiless = method == "HEAD" or self.status in (204, 304)
        return write(f"HTTP/1.1 {self.status} Answer", self._fields, self._body, self._chunks, self._trailers,
                     is_bodiless)


Answers = Callable[[Asked], Answer]
"""A function that makes the answer of each request."""


class Cluster:
    """A cluster of the kit's: what its endpoints do, and what they were asked.

    Without any further word it answers 200 with an empty body.
    """

    name: str
    """As routes and filters call it."""
    endpoints: list[str]
    """Their addresses."""
    weights: list[int]
    """Those of the configuration."""
    metadata: list[dict[str, str]]
    """Of each endpoint; empty without subsets."""
    requests: list[Asked]
    """All that it was asked, in order; also by filters."""

    def __init__(self, name: str, number: int, endpoints: int = 1) -> None:
        """For the kit."""
        self.name = name
        self.number = number
        self.fallback = 0
        self.has([1] * endpoints)
        self.requests = []
        self._always: Answers | str = lambda asked: Answer()
        self._next: list[Answers | str] = []

    def has(self, weights: Iterable[int]) -> None:
        """For the kit, which has to tell the worker: an endpoint for each of these weights."""
        self.weights = list(weights)
        self.endpoints = [f"10.0.{self.number}.{i + 1}:80" for i in range(len(self.weights))]
        self.metadata = [{} for _ in self.weights]

    def splits(self, metadata: Iterable[Mapping[str, str]], fallback: str) -> None:
        """For the kit, which has to tell the worker: an endpoint with each of these, and subsets by their names."""
        if fallback not in FALLBACKS[:2]:
            raise ValueError(f"fallback={fallback!r}: allowed are {' and '.join(FALLBACKS[:2])}")
        found = [dict(one) for one in metadata]
        self.has([1] * len(found))
        self.metadata, self.fallback = found, FALLBACKS.index(fallback)

    def selectors(self) -> list[list[str]]:
        """For the kit: the names by which it is split, each set of them once."""
        return [sorted(names) for names in dict.fromkeys(frozenset(one) for one in self.metadata if one)]

    def metadata_of(self, endpoint: str) -> dict[str, str]:
        """For the kit: what is said of an endpoint, by its address."""
        return self.metadata[self.endpoints.index(endpoint)] if endpoint in self.endpoints else {}

    def __repr__(self) -> str:
        return f"<Cluster {self.name}, asked {len(self.requests)} times>"

    @overload
    def answers(self, status: Answers, /, *, times: int | None = None) -> Cluster: ...

    @overload
    def answers(self, status: int = 200, /, *, body: bytes | str = b"", json: Any = None, headers: FieldsLike = (),
                chunks: Iterable[bytes] | None = None, trailers: FieldsLike = (), after: float = 0.0,
                times: int | None = None) -> Cluster: ...

    def answers(self, status: int | Answers = 200, /, *, times: int | None = None, **answer: Any) -> Cluster:
        """From now on this is the answer: of these parts, as `Answer` has them, or what a function makes of each
        request.

        With `times` it is the answer so many times, before what is said without; several such follow one another.
        """
        if callable(status):
            return self._does(status, times)
        made = Answer(status, **answer)
        return self._does(lambda asked: made, times)

    def fails(self, how: str, *, times: int | None = None) -> Cluster:
        """From now on attempts fail: `connect_failure` (refused), `connect_timeout`, `reset` (once the request is
        there), `protocol` (it answers what is no HTTP), `cut` (its answer ends in the middle of the body), `silence`
        (it never answers). `times` as in `answers`.
        """
        if how not in FAILURES:
            raise ValueError(f"no cluster fails with {how!r}: allowed are {', '.join(FAILURES)}")
        return self._does(how, times)

    def _does(self, what: Answers | str, times: int | None) -> Cluster:
        if times is None:
            self._always = what
        elif times < 1:
            raise ValueError(f"times={times}: 1 or more is allowed")
        else:
            self._next += [what] * times
        return self

    @property
    def will_fail(self) -> bool:
        """For the kit: the next attempt is to fail."""
        return isinstance(self._next[0] if self._next else self._always, str)

    def connects(self) -> str:
        """For the kit: what becomes of a connect that has begun: "", or how it fails."""
        what = self._next[0] if self._next else self._always
        if what not in ("connect_failure", "connect_timeout"):
            return ""
        return str(self._next.pop(0) if self._next else what)

    def asked(self, asked: Asked) -> Answer | str:
        """For the kit: what becomes of a request that is there: an answer, or how it fails."""
        self.requests.append(asked)
        what = self._next.pop(0) if self._next else self._always
        if isinstance(what, str):
            # On a connection that was there already there is no connect that could fail.
            return "reset" if what.startswith("connect_") else what
        made = what(asked)
        if not isinstance(made, Answer):
            raise TypeError(f"the function that answers for cluster {self.name!r} returned a {type(made).__name__}: "
                            "an Answer is allowed")
        return made
