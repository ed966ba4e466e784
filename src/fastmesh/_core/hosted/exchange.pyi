"""An exchange in a filter host; this file is what type checkers read.

What filters see of it is described where they see the same in a worker (fastmesh._core.filter.view).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from fastmesh._core.filter.retry_rule import Retry
from fastmesh._core.hosted.fields import Headers, Owner

PHASES: tuple[str, ...]

class Connection(NamedTuple):
    peer: str
    port: int
    listener: str
    id: int

class Labels(MutableMapping[str, str]):
    def __getitem__(self, name: str) -> str: ...
    def __setitem__(self, name: str, value: str) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

class Hosted:
    instance: Any
    calls: dict[str, Callable[..., Any]]
    timeout: float
    def __init__(self, instance: object, phases: list[str], timeout: float) -> None: ...

class Call:
    number: int
    request: Request
    filter: Hosted
    place: int
    argument: Any
    edits: list[tuple[int, int, str, Any]] | None
    cpu_ns: int
    due: float
    has_begun: bool
    task: asyncio.Task[None] | None
    coroutine: Coroutine[Any, Any, Any] | None
    turn: asyncio.Future[bytes | None] | None
    pieces: list[bytes] | None
    outbox: deque[bytes] | None
    last: Any
    @property
    def phase(self) -> str: ...

class Request(Owner):
    path: str
    query: str
    host: str
    cluster: str | None
    subset: dict[str, str] | None
    retry: Retry | None
    timeout: float | None
    @property
    def response(self) -> Response | None: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def cookies(self) -> dict[str, str]: ...
    @property
    def params(self) -> dict[str, str]: ...
    @property
    def connection(self) -> Connection: ...
    @property
    def peer(self) -> str: ...
    @property
    def listener(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def route(self) -> str | None: ...
    def split(self, weights: Mapping[str, float], by: str | bytes | None = None) -> str: ...
    @property
    def endpoint(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def state(self) -> dict[str, Any]: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def is_upgrade(self) -> bool: ...
    @property
    def content_length(self) -> int | None: ...

class Response(Owner):
    status: int
    def __init__(self, status: int = 200, *, text: str | None = None, json: Any = None, body: bytes | None = None,
                 headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
                 content_type: str | None = None) -> None: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def is_local(self) -> bool: ...
    @property
    def body(self) -> bytes | None: ...

class Trailers(Owner): ...
