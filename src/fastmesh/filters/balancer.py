"""The class that every load balancer is made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar, dataclass_transform

    from fastmesh._core.filter.balance import Endpoint
    from fastmesh._core.filter.view import Request
    from fastmesh.filters.metrics import Metrics
    from fastmesh.filters.reporter import Reporter
else:
    # Workers do without `typing`.
    def dataclass_transform(**_):
        return lambda cls: cls


# Checkers take the annotated attributes of a subclass for keywords of its constructor.
@dataclass_transform(kw_only_default=True, eq_default=False)
class LoadBalancer:
    """Which endpoint of a cluster a request goes to, where the compiled algorithms do not serve.

    Write `weights`, which is asked now and then and costs a request nothing; or `pick`, which is asked about each
    request; or both. Annotated attributes are its configuration, as with a filter::

        class FewestFailures(LoadBalancer):
            harm: float = 10.0

            def weights(self, endpoints: Sequence[Endpoint]) -> Sequence[float]:
                return [e.weight / (1 + self.harm * e.failures / (e.requests + 1)) for e in endpoints]

    A cluster names it as `load_balancer: {use: my_package.policies:FewestFailures, harm: 5}`. One instance serves one
    cluster in one worker, and sees what this worker has seen. Both methods are `def`: they answer at once, on the
    thread that carries all traffic.
    """

    # --- what an author decides; an operator may decide otherwise in the configuration ---------------------------
    interval: ClassVar[str] = "1s"
    """How often `weights` is asked, the first time before the first request."""
    on_error: ClassVar[str | None] = None
    """What follows when it fails: `open` (the default) goes by the weights of the configuration; `closed` answers 503
    where `pick` has failed. `weights` that fail never refuse a request."""
    budget: ClassVar[str] = "2ms"
    """Time that one call may take. Longer is an overrun."""

    # --- given before `start` -------------------------------------------------------------------------------------
    log: Reporter
    """Writes to the journal of fastmesh."""
    metrics: Metrics
    """Counters, gauges and histograms that end in `/metrics`, from every worker: declare them in `start`."""
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
        """Called when no cluster is balanced by this instance any more."""

    # --- what it is asked ---------------------------------------------------------------------------------------------
    def weights(self, endpoints: Sequence[Endpoint]) -> Sequence[float] | None:
        """The weight of each endpoint, in their order, until it is asked again: finite numbers, 0 or above, of which
        only the ratios count. An endpoint with 0 gets no request, unless all have 0. None, and all 0, is as configured.

        What picks by them is `pick_by` of the configuration: `round_robin` keeps to them exactly.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method weights")

    def pick(self, request: Request, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """The endpoint of one attempt, one of `endpoints`; None leaves it to `pick_by` and the weights.

        The head is as it goes upstream and cannot be changed any more. An endpoint that is avoided, or was tried for
        this request, is not taken: `pick_by` picks another one then. A TCP connection is asked about too; it has no
        head, `request.peer` and `request.connection` are all there is.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method pick")
