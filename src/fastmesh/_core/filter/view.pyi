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
    def __getitem__(self, name: str, /) -> str:
        """The first value of the name. Raises KeyError when there is none."""
    @overload
    def get(self, name: str) -> str | None:
        """The first value of the name; `default` when there is none."""
    @overload
    def get(self, name: str, default: _D) -> str | _D: ...
    def get_all(self, name: str) -> list[str]:
        """Every value of the name, in order; an empty list when there is none."""
    def raw(self, name: str) -> bytes | None:
        """The first value as it came, undecoded."""
    def raw_all(self, name: str) -> list[bytes]:
        """Every value of the name as it came, undecoded and in order; an empty list when there is none."""
    def __setitem__(self, name: str, value: str | bytes | int, /) -> None:
        """One field of that name from now on, behind all others. Raises HeaderError."""
    def add(self, name: str, value: str | bytes | int) -> None:
        """One more field, whatever there is of that name. Raises HeaderError."""
    def __delitem__(self, name: str, /) -> None:
        """Take every field of that name away. Raises KeyError when there is none."""
    def discard(self, name: str) -> None:
        """Take every field of that name away; it need not be there."""
    def __contains__(self, name: object, /) -> bool:
        """There is a field of that name."""
    def __iter__(self) -> Iterator[str]:
        """Each name once, in lower case, in the order of the fields."""
    def __len__(self) -> int:
        """How many different names there are."""
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
    """200 to 599. May be set until the answer is on its way, which is within on_response."""
    @property
    def headers(self) -> Headers:
        """The fields of the answer, which may be changed as long as `status` may be set."""
    @property
    def is_local(self) -> bool:
        """It was made by the proxy or a filter, not by the upstream."""
    @property
    def body(self) -> bytes | None:
        """Of an answer that a filter or the proxy gave; None of the upstream's, whose body comes in phases."""

class Labels(MutableMapping[str, str]):
    """Words about an exchange: for the access log, rate limits, and metrics. At most 16."""

    def __getitem__(self, name: str, /) -> str: ...
    @overload
    def get(self, key: str, /) -> str | None:
        """The word of that name; `default` when there is none."""
    @overload
    def get(self, key: str, default: _D, /) -> str | _D: ...
    def __setitem__(self, name: str, value: str, /) -> None:
        """Replaces the word of that name. Raises ValueError when it cannot be one, or there are 16 others."""
    def __delitem__(self, name: str, /) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

class Connection:
    """A client's connection."""

    @property
    def peer(self) -> str:
        """The client's IP address, or "unix"."""
    @property
    def port(self) -> int:
        """The client's port; 0 of a Unix-domain socket."""
    @property
    def listener(self) -> str:
        """Name of the listener that it came in at."""
    @property
    def id(self) -> int:
        """A number that no other connection of this proxy has; CONNECTION_ID of the access log."""

class Request:
    """A request on its way to the upstream, and the exchange as a whole.

    The object is the same in all phases of an exchange, and usable within them only. What may be read may be read in
    each of them; what may be set says until when.
    """

    @property
    def method(self) -> str:
        """As the client sent it: GET, POST, and so on."""
    path: str
    """The path without its query, as it came or was set. Setting it, before or after routing, changes what the upstream
    sees, and before routing what routes see. Raises ValueError unless it begins with "/" and can stand in a request
    line."""
    query: str
    """What stands behind "?", undecoded; "" when there is nothing. May be set until the request is sent."""
    host: str
    """The Host header, or the target's authority. May be set until the request is sent."""
    @property
    def target(self) -> str:
        """Path and query as the request line has them."""
    @property
    def scheme(self) -> str:
        """"http" or "https", as the client spoke to whoever is in front, where that one is trusted."""
    @property
    def http_version(self) -> str:
        """Of the client: "1.1" or "1.0"."""
    @property
    def headers(self) -> Headers:
        """The fields of the request as they go upstream. May be changed until it is sent, which is in on_request and
        on_route."""
    @property
    def cookies(self) -> dict[str, str]:
        """Those that the client sent, by their names; of one that is there twice, the first. A copy."""
    @property
    def params(self) -> dict[str, str]:
        """The query, decoded; of a name that stands several times, the last. A copy. Raises ValueError for more than
        1,000 of them."""
    @property
    def peer(self) -> str:
        """The client's IP address as the connection has it, or "unix"."""
    @property
    def connection(self) -> Connection:
        """The client's connection that the request came on."""
    @property
    def id(self) -> str:
        """The value of x-request-id that goes upstream."""
    @property
    def listener(self) -> str:
        """The name of the listener that it came in by."""
    @property
    def route(self) -> str | None:
        """The route's name, once there is one."""
    cluster: str | None
    """The cluster that answers, once the route is known. May be set from then on, until the request is sent; of several
    filters that do so, the last one has decided."""
    subset: dict[str, str] | None
    """Which subset of the cluster the request is for, by names and values of the endpoints' metadata: as the route has
    it, or who set it last. Once it is sent, that of the subset it went to, which the cluster's `fallback` may have
    chosen. None: all endpoints. May be set as `cluster`, and after it, for it holds for the cluster that there is by
    then. A subset without endpoints is no error: `fallback` says where the request goes. Raises ValueError where the
    cluster has no subsets, or none by these names."""
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
    def attempts(self) -> int:
        """How often an endpoint was tried so far; 0 before the first time."""
    @property
    def state(self) -> dict[str, Any]:
        """The filter author's own, for the exchange; shared by all filters."""
    @property
    def labels(self) -> Labels:
        """Words about the exchange: for the access log, for the rate limits of routes, and for the
        metrics that `metrics.labels` of the configuration names. May be set in every phase."""
    @property
    def elapsed(self) -> float:
        """Seconds since the request's head was complete."""
    @property
    def is_upgrade(self) -> bool:
        """The client asks for another protocol on this connection, as for a WebSocket."""
    @property
    def content_length(self) -> int | None:
        """Bytes of the body, as the head says: 0 when there is none, None when its length comes with it."""

class UpstreamError:
    """Why an attempt failed."""

    @property
    def reason(self) -> str:
        """connect_failure, connect_timeout, reset, protocol, timeout (of one attempt, as `request.retry` has it), or
        status."""
    @property
    def message(self) -> str:
        """The same as a sentence; "" of a status."""
    @property
    def endpoint(self) -> str:
        """Address of the endpoint that failed."""
    @property
    def attempt(self) -> int:
        """Which attempt it was, from 1 on."""
    @property
    def may_repeat(self) -> bool:
        """Nothing that cannot be repeated was sent: the request may go to another endpoint."""

class Failure:
    """What made a fallback begin."""

    @property
    def reason(self) -> str:
        """As `on` of the step has it: no-endpoint, overflow, connect-failure, reset, protocol-error, timeout, overload,
        rate-limit, deadline; or status, of an answer that is none."""
    @property
    def status(self) -> int:
        """What the client is answered with when no step answers; of `status`, the upstream's."""
    @property
    def flags(self) -> str:
        """Envoy's response flags, as `UH`; "" of a status."""
    @property
    def details(self) -> str:
        """Envoy's response code details."""
    @property
    def message(self) -> str:
        """Why, as a sentence for those who run the mesh; not for clients."""
    @property
    def cluster(self) -> str:
        """Name of the cluster that failed first: that of the route."""
    @property
    def endpoint(self) -> str | None:
        """Address of the endpoint that was tried last; None when there was none."""
    @property
    def attempts(self) -> int:
        """Attempts so far, at all clusters."""

class Outcome:
    """How an exchange ended."""

    @property
    def status(self) -> int:
        """0 when no answer was given."""
    @property
    def flags(self) -> str:
        """Envoy's response flags, "" when there is none."""
    @property
    def details(self) -> str:
        """Envoy's response code details: `via_upstream`, or what made the proxy answer by itself."""
    @property
    def duration(self) -> float:
        """Seconds from the request's head to the end."""
    @property
    def upstream_time(self) -> float | None:
        """Seconds from the request sent to the answer's first byte."""
    @property
    def received(self) -> int:
        """Bytes of the request's body."""
    @property
    def sent(self) -> int:
        """Bytes of the answer's body."""
    @property
    def endpoint(self) -> str | None:
        """Address of the endpoint that answered, or was tried last; None when there was none."""

class Wait(Generic[_T]):
    """What a filter may await. Each can be awaited once."""

    def __await__(self) -> Generator[Any, Any, _T]: ...
    def __next__(self) -> Any: ...

class Sleep(Wait[None]):
    """Lets so many seconds pass, while the worker serves others: `await sleep(0.05)`. In an isolated filter too."""

    def __init__(self, seconds: float) -> None: ...

class Signal(Wait[_T]):
    """Resumes the filter that awaits it when something else calls `finish` or `fail`.

    For requests that wait for what another one does, in the same worker::

        class BehindTheFirst(Filter):
            def start(self) -> None:
                self.under_way: dict[str, list[Signal[None]]] = {}

            async def on_request(self, request: Request) -> None:
                waiting = self.under_way.get(request.path)
                if waiting is None:
                    request.state["first"] = request.path
                    self.under_way[request.path] = []
                else:
                    mine: Signal[None] = Signal()
                    waiting.append(mine)
                    await mine

            def on_complete(self, request: Request, outcome: Outcome) -> None:
                if "first" in request.state:
                    for signal in self.under_way.pop(request.state["first"]):
                        signal.finish()
    """

    def __init__(self) -> None: ...
    def finish(self, value: _T = ...) -> None:
        """What awaits it goes on with this value. May come before the `await`; only the first `finish` or `fail`
        counts."""
    def fail(self, error: BaseException) -> None:
        """What awaits it goes on with this error, which is raised there."""
    @property
    def is_waited_for(self) -> bool:
        """Somebody awaits it at this moment; nobody does when the client has left meanwhile."""
