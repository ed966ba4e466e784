"""The class that policies which find endpoints are made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import NoReturn, dataclass_transform

    from fastmesh.filters.metrics import Metrics
    from fastmesh.filters.reporter import Reporter

    Endpoints = Sequence[str | tuple[str, int] | Mapping[str, object]]
    """One set of them, as `Discovery.endpoints` yields it: a list of addresses, of pairs of address and weight, or of
    mappings with `address`, `weight` and `metadata`. `Discovery.endpoints` has examples."""
else:
    # A package of filters may have such a policy too, and workers do without `typing`.
    def dataclass_transform(**_):
        return lambda cls: cls

    Endpoints = list


NO_MESH = ("a discovery policy has no self.mesh: it runs before there is a worker that could carry the request, and "
           "finds the endpoints that such a request would go to; ask with a client of your own (httpx, aiohttp, or "
           "urllib.request in asyncio.to_thread), through a listener of fastmesh if it is to go by a cluster")


@dataclass_transform(kw_only_default=True, eq_default=False)
class Discovery:
    """Where the endpoints of a cluster come from: an async generator, in a process of its own with asyncio.

    Each set that it yields replaces the one before, in all workers. Annotated attributes are its settings, as those of
    a `Filter`::

        class FromRegistry(Discovery):
            service: str
            interval: Duration = 5.0

            async def endpoints(self) -> AsyncIterator[Endpoints]:
                while True:
                    yield await asyncio.to_thread(ask_registry, self.service)
                    await asyncio.sleep(self.interval)

    A cluster names it in place of a list: `endpoints: {use: my_package.registry:FromRegistry, service: shop}`. One
    instance serves one cluster. What it finds stays when it fails: it is begun again after a pause, and requests go on
    to the endpoints that were there.
    """

    # --- given before `start` -------------------------------------------------------------------------------------
    log: Reporter
    """Writes to the journal of fastmesh."""
    metrics: Metrics
    """Counters, gauges and histograms that end in `/metrics`, as those of filters: declare them in `start`. A counter
    `asked` of the cluster `app` is `fastmesh_filter_discovery_app_asked_total` there."""
    name: str
    """Of the cluster."""

    def __init__(self, **settings: object) -> None:
        """Settings as keywords, for tests."""
        if settings:
            from fastmesh.filters.making import set_settings

            set_settings(self, settings)

    @property
    def mesh(self) -> NoReturn:
        """There is none: raises AttributeError, which says what to do. Clusters get their first endpoints from
        here."""
        raise AttributeError(NO_MESH)

    def start(self) -> None:
        """Called once, with the settings in place and before `endpoints`. An exception refuses the configuration, and
        the version before stays: for settings that contradict each other, not for a registry that does not answer."""

    def endpoints(self) -> AsyncIterator[Endpoints]:
        """An async generator: yields whole sets, as often as there is news.

        An endpoint is an address as in a configuration, `"10.0.0.1:8080"`, `"[fd00::1]:8080"` or
        `"unix:/run/app.sock"`; or a pair of address and weight, `("10.0.0.1:8080", 2)`; or a mapping of `address`,
        `weight`, `priority`, `zone` and `metadata` (text to text, for subsets and load balancers), as there. The order
        means nothing. A set with one that cannot be used, or with one twice, is refused as a whole, and so is an empty
        one unless the operator has said `allow_empty: true`.

        When it raises, or ends, it is called again after 0.5 s, then 1, 2 … 30 s. It is closed when another version
        takes over: what it holds is given back in `finally`, or by `async with`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method endpoints")


def metrics_name(cluster: str) -> str:
    """As whose its metrics count: a filter may have the name of the cluster."""
    return f"discovery_{cluster}"
