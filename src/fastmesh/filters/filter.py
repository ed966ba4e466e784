"""The class that every filter is made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from typing import ClassVar, dataclass_transform

    from fastmesh._core.filter.view import Connection, Headers, Outcome, Request, Response, UpstreamError
    from fastmesh.filters.mesh import Mesh
    from fastmesh.filters.metrics import Metrics
    from fastmesh.filters.reporter import Reporter
else:
    # Workers do without `typing`.
    def dataclass_transform(**_):
        return lambda cls: cls


# Checkers take the annotated attributes of a subclass for keywords of its constructor.
@dataclass_transform(kw_only_default=True, eq_default=False)
class Filter:
    """A policy applied to the exchanges of the listeners, routes and clusters that name it.

    Write the phases that are needed, with `def` or `async def`, and leave out the others: a phase that no filter of a
    chain has is never entered. Annotated attributes are the filter's configuration::

        class RequireTenant(Filter):
            header: str = "x-tenant"

            def on_request(self, request: Request) -> Response | None:
                if self.header not in request.headers:
                    return Response(400, text=f"missing {self.header}\\n")

    One instance serves all requests of a worker. Phases are called in the order of the chain on the way in, and in
    reverse on the way out. An exception counts against the filter, is logged once per kind, and is answered by its
    error policy (`on_error`).
    """

    # --- what an author decides; an operator may decide otherwise in the configuration ---------------------------
    security: ClassVar[bool] = False
    """Fails closed, and cannot be set to `on_error: open` unless `allow_fail_open: true` is said beside it."""
    isolated: ClassVar[bool] = False
    """Runs in a process of its own, with asyncio: for libraries that need an event loop, and for what blocks."""
    needs: ClassVar[tuple[str, ...] | None] = None
    """Of an isolated filter: the only headers that travel to it. None: all."""
    on_error: ClassVar[str | None] = None
    """`closed` (503), `open` (as if this phase had done nothing) or `skip` (not asked again in this exchange). The
    default is `closed` with `security`, else `open`."""
    budget: ClassVar[str] = "2ms"
    """Time that a phase may take in one go, without what it waits for. Longer is an overrun."""
    budget_per_second: ClassVar[str | None] = None
    """Time that all phases together may take of each second of a worker, `"200ms"`. More, and it is left alone for a
    while. None: no limit."""
    timeout: ClassVar[str | None] = None
    """How long a phase may take with what it waits for, `"300ms"`. None: 1s of an isolated filter, else 30s. Then it
    has 250 ms to put away what it holds: who catches FilterTimeout and waits for longer than that is ended."""
    body_limit: ClassVar[str] = "1MiB"
    """How much `on_request_body` and `on_response_body` collect. More: 413, or 502 for an answer."""
    changes_body: ClassVar[bool] = True
    """Whether body phases may change what they see; with False, Content-Length stays. Then a `_stream` phase gives
    what it takes, cut as it likes; what comes after its return passes as it is, and anything else fails it."""

    # --- given before `start` -------------------------------------------------------------------------------------
    log: Reporter
    """Writes to the journal of fastmesh."""
    metrics: Metrics
    """Counters, gauges and histograms that end in `/metrics`, from every worker: declare them in `start`."""
    mesh: Mesh
    """Calls the clusters of the configuration, with their load balancing: `await self.mesh.get("users", "/me")`."""
    name: str
    """As the configuration calls it: its own `name` there, else that of its class; two of one name get a number."""

    def __init__(self, **settings: object) -> None:
        """Settings as keywords, for tests. In a worker a filter is made without any, and given them before `start`."""
        if settings:
            from fastmesh.filters.making import set_settings  # a worker has no need of it

            set_settings(self, settings)

    def start(self) -> None:
        """Called once in each worker, with the configuration in place and before the first request. An exception
        refuses the configuration, and the version before stays."""

    def stop(self) -> None:
        """Called when no exchange uses this instance any more."""

    # --- phases -----------------------------------------------------------------------------------------------------
    def on_connection(self, connection: Connection) -> bool | Awaitable[bool | None] | None:
        """A client has connected, and not a byte is read. False closes the connection. At listeners only."""

    def on_request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """The head is complete. At a listener: before a route is chosen; else right after. A Response is the answer,
        and filters behind this one are not asked. `on_complete` follows in any case."""

    def on_route(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """The route is known and nothing is sent yet; `request.cluster`, `request.subset`, `request.timeout` and
        `request.retry` may be changed. Not called for a filter of a cluster, nor where the route gives a fixed
        answer."""

    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> (
            bytes | Response | Awaitable[bytes | Response | None] | None):
        """A piece of the body. None passes it on, b"" drops it, other bytes take its place; what is held back may
        come with a later piece. `last` is True once, perhaps with an empty piece. A Response is the answer, and
        nothing more goes upstream."""

    def on_request_body(self, request: Request, body: bytes) -> (
            bytes | Response | Awaitable[bytes | Response | None] | None):
        """The whole body, at most `body_limit`, before the upstream is chosen and sees anything of the request."""

    def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An async generator: takes the pieces with `async for`, yields what is sent in their place."""
        raise NotImplementedError

    def on_request_trailers(self, request: Request, trailers: Headers) -> Awaitable[None] | None:
        """Fields behind a chunked body."""

    def on_upstream_error(self, request: Request, error: UpstreamError) -> bool | Awaitable[bool | None] | None:
        """An attempt failed. True: try again, if `error.may_repeat`; False: do not; None: as `request.retry` says, or
        the settings of the cluster. The first filter that decides has decided."""

    def on_retry(self, request: Request, attempt: int) -> Awaitable[None] | None:
        """The request is about to be sent for the `attempt`-th time, 2 and up."""

    def on_response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """The answer's head is here, the upstream's or one of the proxy's own. A Response takes its place."""

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> (
            bytes | Awaitable[bytes | None] | None):
        """As `on_request_chunk`, of the answer's body."""

    def on_response_body(self, request: Request, response: Response, body: bytes) -> (
            bytes | Awaitable[bytes | None] | None):
        """The whole body of the answer, at most `body_limit`. Its head waits and may still be changed."""

    def on_response_stream(self, request: Request, response: Response,
                           chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """As `on_request_stream`, of the answer's body."""
        raise NotImplementedError

    def on_response_trailers(self, request: Request, trailers: Headers) -> Awaitable[None] | None:
        """Fields behind a chunked body of the answer."""

    def on_complete(self, request: Request, outcome: Outcome) -> Awaitable[None] | None:
        """The exchange is over, whatever became of it. Follows, exactly once, for each filter whose `on_request` was
        called, or would have been."""
