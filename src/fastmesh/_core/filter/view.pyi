"""What filters see of an exchange. The classes are compiled; this file is what type checkers read."""

from collections.abc import Generator, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar, overload

from fastmesh._core.filter.retry_rule import Retry

_T = TypeVar("_T")
_D = TypeVar("_D")

class ViewClosed(RuntimeError):
    """A view was used outside of the phases it is for. The text says which, and what to keep instead."""

class Cancelled(BaseException):
    """The exchange is over: its client left, or it was cut. Raised where a filter waits; to be let through."""

class FilterTimeout(BaseException):
    """A filter took longer than it may: it waited for longer than its `timeout`, or ran far beyond its `budget`."""

class HeaderError(ValueError):
    """A header's name or value cannot be sent as it is, or is not a filter's to set."""

class Headers(MutableMapping[str, str]):
    """Header fields in the order they are sent in: a dictionary whose names have no case, and may stand several times.

    Values are `str`, decoded as Latin-1 outside of ASCII only when they are not UTF-8; `raw` gives the bytes. Reading
    decodes what is read and nothing else.
    """

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None: ...
    def __getitem__(self, name: str, /) -> str: ...
    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: _D) -> str | _D: ...
    def get_all(self, name: str) -> list[str]:
        """Every value of the name, in order; an empty list when there is none."""
    def raw(self, name: str) -> bytes | None:
        """The first value as it came, undecoded."""
    def __setitem__(self, name: str, value: str | bytes | int, /) -> None:
        """One field of that name from now on, behind all others. Raises HeaderError."""
    def add(self, name: str, value: str | bytes | int) -> None:
        """One more field, whatever there is of that name. Raises HeaderError."""
    def __delitem__(self, name: str, /) -> None: ...
    def discard(self, name: str) -> None:
        """Take every field of that name away; it need not be there."""
    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def fields(self) -> list[tuple[str, str]]:
        """Names as they were written, and values, each field by itself."""
    def copy(self) -> dict[str, str]:
        """A plain dictionary, names in lower case, that may be kept; fields that stand several times are joined
        with a comma."""

class Response:
    """An answer: one that a filter gives, or the upstream's on its way to the client.

    At most one of `text`, `json` and `body` is given. `json` is written compactly. Content-Length is added.
    """

    def __init__(self, status: int = 200, *, text: str | None = None, json: Any = None, body: bytes | None = None,
                 headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
                 content_type: str | None = None) -> None: ...
    status: int
    @property
    def headers(self) -> Headers: ...
    @property
    def is_local(self) -> bool:
        """It was made by the proxy or a filter, not by the upstream."""
    @property
    def body(self) -> bytes | None:
        """Of an answer that a filter or the proxy gave; None of the upstream's, whose body comes in phases."""

class Labels(MutableMapping[str, str]):
    """Words about an exchange for the access log, and for metrics where an operator asks for them. At most 16."""

    def __getitem__(self, name: str, /) -> str: ...
    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, default: _D, /) -> str | _D: ...
    def __setitem__(self, name: str, value: str, /) -> None: ...
    def __delitem__(self, name: str, /) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

class Connection:
    """A client's connection."""

    @property
    def peer(self) -> str:
        """The client's IP address, or "unix"."""
    @property
    def port(self) -> int: ...
    @property
    def listener(self) -> str: ...
    @property
    def id(self) -> int: ...

class Request:
    """A request on its way to the upstream, and the exchange as a whole.

    The object is the same in all phases of an exchange, and usable within them only.
    """

    @property
    def method(self) -> str: ...
    path: str
    """The path without its query, as it came or was set. Setting it, before or after routing, changes what the upstream
    sees, and before routing what routes see. Raises ValueError unless it begins with "/" and can stand in a request
    line."""
    query: str
    """What stands behind "?", undecoded; "" when there is nothing. May be set."""
    host: str
    """The Host header, or the target's authority. May be set."""
    @property
    def target(self) -> str:
        """Path and query as the request line has them."""
    @property
    def scheme(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def cookies(self) -> dict[str, str]: ...
    @property
    def params(self) -> dict[str, str]:
        """The query, decoded; of a name that stands several times, the last."""
    @property
    def peer(self) -> str:
        """The client's IP address as the connection has it, or "unix"."""
    @property
    def connection(self) -> Connection: ...
    @property
    def id(self) -> str:
        """The value of x-request-id that goes upstream."""
    @property
    def listener(self) -> str: ...
    @property
    def route(self) -> str | None:
        """The route's name, once there is one."""
    cluster: str | None
    """The cluster that answers, once the route is known. May be set from then on, until the request is sent; of several
    filters that do so, the last one has decided."""
    timeout: float | None
    """Seconds from the request received to the answer sent; None is no limit. May be set as `cluster`."""
    retry: Retry | None
    """After which failures it is tried again, and how often. None: it is not, whatever failed, a connect that was
    refused included. Before anybody sets it: the rule of the route or its listener, without the fields of answers that
    it may name; else as the settings of the cluster say, which is after a connect that failed or a connection that was
    lost, at endpoints that were not tried yet, `connect_attempts` in all. May be set as
    `cluster`. A filter that decides in `on_upstream_error` comes before it."""
    def split(self, weights: Mapping[str, float], by: str | bytes | None = None) -> str:
        """Choose one of several clusters by weight, set `cluster` to it, and return its name::

            request.labels["version"] = request.split({"app": 95, "app-next": 5}, by=request.headers.get("x-user"))

        Without `by` each request is drawn for itself. With it the same key gives the same cluster for as long as the
        weights are the same, in every worker and on every machine; when a cluster's share grows by 5 %, about 5 % of
        the keys move to it, and no key that it has leaves it. Weights are relative: their sum may be anything. One of 0
        gives a cluster nothing.

        It is a method, not a mapping that is assigned to `cluster`, as it takes a key and has a result: what `cluster`
        reads is always a name. Raises ValueError for a cluster that there is not, a weight below 0, or nothing above 0;
        may be called where `cluster` may be set.
        """
    @property
    def endpoint(self) -> str | None:
        """Address of the endpoint that was chosen last."""
    @property
    def attempts(self) -> int: ...
    @property
    def state(self) -> dict[str, Any]:
        """The filter author's own, for the exchange; shared by all filters."""
    @property
    def labels(self) -> Labels: ...
    @property
    def elapsed(self) -> float:
        """Seconds since the request's head was complete."""
    @property
    def is_upgrade(self) -> bool: ...
    @property
    def content_length(self) -> int | None: ...

class UpstreamError:
    """Why an attempt failed."""

    @property
    def reason(self) -> str:
        """connect_failure, connect_timeout, reset, protocol, timeout (of one attempt, as `request.retry` has it), or
        status."""
    @property
    def message(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def may_repeat(self) -> bool:
        """Nothing that cannot be repeated was sent: the request may go to another endpoint."""

class Outcome:
    """How an exchange ended."""

    @property
    def status(self) -> int:
        """0 when no answer was given."""
    @property
    def flags(self) -> str:
        """Envoy's response flags, "" when there is none."""
    @property
    def details(self) -> str: ...
    @property
    def duration(self) -> float: ...
    @property
    def upstream_time(self) -> float | None:
        """Seconds from the request sent to the answer's first byte."""
    @property
    def received(self) -> int: ...
    @property
    def sent(self) -> int: ...
    @property
    def endpoint(self) -> str | None: ...

class Wait(Generic[_T]):
    """What a filter may await. Each can be awaited once."""

    def __await__(self) -> Generator[Any, Any, _T]: ...
    def __next__(self) -> Any: ...

class Sleep(Wait[None]):
    def __init__(self, seconds: float) -> None: ...

class Signal(Wait[_T]):
    """Resumes the filter that awaits it when something else calls `finish` or `fail`."""

    def __init__(self) -> None: ...
    def finish(self, value: _T = ...) -> None: ...
    def fail(self, error: BaseException) -> None: ...
    @property
    def is_waited_for(self) -> bool: ...
