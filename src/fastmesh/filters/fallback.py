"""The class that every policy of a fallback is made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import ClassVar, dataclass_transform

    from fastmesh._core.filter.view import Failure, Request, Response
    from fastmesh.filters.mesh import Mesh
    from fastmesh.filters.metrics import Metrics
    from fastmesh.filters.reporter import Reporter
else:
    # Workers do without `typing`.
    def dataclass_transform(**_):
        return lambda cls: cls


# Checkers take the annotated attributes of a subclass for keywords of its constructor.
@dataclass_transform(kw_only_default=True, eq_default=False)
class Fallback:
    """What a client gets where a cluster gives no useful answer, as a step of a route's `fallback`.

    Write `answer`, with `def` or `async def`. Annotated attributes are its configuration, as with a filter::

        class LastKnownPrice(Fallback):
            currency: str = "EUR"

            async def answer(self, request: Request, failure: Failure) -> Response | None:
                reply = await self.mesh.get("catalogue", request.path)
                if reply.status != 200:
                    return None
                return Response(200, json={"price": reply.json()["price"], "currency": self.currency})

    A step names it: `fallback: [{use: ./prices.py:LastKnownPrice, currency: CHF}, {response: {status: 503}}]`. One
    instance serves one step in one worker. An exception, an answer that is none and one that comes too late count
    against it, are logged once per kind, and leave the request to the next step, as None does.
    """

    # --- what an author decides; an operator may decide otherwise in the configuration ---------------------------
    isolated: ClassVar[bool] = False
    """Runs in a process of its own, with asyncio: for libraries that need an event loop, and for what blocks."""
    needs: ClassVar[tuple[str, ...] | None] = None
    """Of an isolated one: the only headers that travel to it. None: all."""
    budget: ClassVar[str] = "2ms"
    """Time that `answer` may take in one go, without what it waits for. Longer is an overrun."""
    before_filters: ClassVar[bool] = False
    """It may answer whom the route's filters were not asked about: a rate limit that refuses comes before them. For
    what is everybody's to see."""

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
        """Settings as keywords, for tests. In a worker it is made without any, and given them before `start`."""
        if settings:
            from fastmesh.filters.making import set_settings  # a worker has no need of it

            set_settings(self, settings)

    def start(self) -> None:
        """Called once in each worker, with the configuration in place and before the first request. An exception
        refuses the configuration, and the version before stays."""

    def stop(self) -> None:
        """Called when no step is this instance any more."""

    # --- what it is asked ---------------------------------------------------------------------------------------------
    def answer(self, request: Request, failure: Failure) -> Response | Awaitable[Response | None] | None:
        """The answer; None leaves it to the next step. The head of the request is as it goes upstream and cannot be
        changed any more; its body is not to be had. It is asked about each request that comes to its step."""
        raise NotImplementedError(f"{type(self).__name__} has no method answer")
