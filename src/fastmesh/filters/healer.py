"""The class that policies which heal endpoints are made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, dataclass_transform

    from fastmesh.filters.reporter import Reporter
else:
    # Packages of filters may have such a policy too, and workers do without `typing`.
    def dataclass_transform(**_):
        return lambda cls: cls


NO_MESH = ("a healing policy has no self.mesh: it runs in a process of its own, away from the workers; ask with a "
           "client of your own (httpx, aiohttp, or urllib.request in asyncio.to_thread)")


class HealEvent:
    """What has become of an endpoint."""

    __slots__ = ("cluster", "endpoint", "kind", "reason", "seconds", "times", "why")

    kind: str
    """`ejected` and `recovered`, of outlier detection; `unhealthy` and `healthy`, of health checks."""
    cluster: str
    """Name of the cluster."""
    endpoint: str
    """Its address."""
    reason: str
    """Why it was ejected, as `gateway_errors`; `check`, of health checks."""
    why: str
    """The same for people, with what was found: `5 gateway errors in a row`."""
    times: int
    """Ejections in a row; checks in a row that led to it, of health checks."""
    seconds: float
    """How long it will be out, of `ejected`; else how long it was what it is no more."""

    def __init__(self, kind: str = "ejected", cluster: str = "cluster", endpoint: str = "10.0.0.1:80",
                 reason: str = "gateway_errors", why: str = "", times: int = 1, seconds: float = 30.0) -> None:
        self.kind = kind
        self.cluster = cluster
        self.endpoint = endpoint
        self.reason = reason
        self.why = why
        self.times = times
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<HealEvent {self.kind} {self.cluster} {self.endpoint}: {self.why or self.reason}>"


@dataclass_transform(kw_only_default=True, eq_default=False)
class Healer:
    """What is done when an endpoint is ejected or found dead, and when it is in again.

    Annotated attributes are its settings, as those of a `Filter`::

        class Restart(Healer):
            url: str

            async def on_ejected(self, event: HealEvent) -> None:
                await asyncio.to_thread(restart, self.url, event.endpoint)

    A cluster names it: `heal: {use: my_package.restart:Restart, url: http://ops/restart, at_most: 1/m}`. Each event has
    a process of its own with asyncio, an instance of its own, and the `timeout` of the configuration: what one event
    leaves behind, no other finds, and one that hangs is killed. What it raises is told in the log and the events, and
    counted. Write one of the two methods, or both.
    """

    # --- given before `start` -------------------------------------------------------------------------------------
    log: Reporter
    """Writes to the journal of fastmesh."""
    name: str
    """Of the cluster."""

    def __init__(self, **settings: object) -> None:
        """Settings as keywords, for tests."""
        if settings:
            from fastmesh.filters.making import set_settings

            set_settings(self, settings)

    @property
    def mesh(self) -> NoReturn:
        """There is none: raises AttributeError, which says what to do."""
        raise AttributeError(NO_MESH)

    def start(self) -> None:
        """Called with the settings in place, before the event is told."""

    async def on_ejected(self, event: HealEvent) -> None:
        """An endpoint was ejected (also after a probe that failed), or its health checks found it dead."""

    async def on_recovered(self, event: HealEvent) -> None:
        """It is in again."""


EJECTED = ("ejected", "unhealthy")      # kinds that `on_ejected` is told of; the others go to `on_recovered`
METHODS = ("on_ejected", "on_recovered")


async def tell(policy: Healer, event: HealEvent) -> None:
    """Tells it what it wants to hear of."""
    if event.kind in EJECTED:
        await policy.on_ejected(event)
    else:
        await policy.on_recovered(event)
