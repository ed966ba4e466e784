"""The filters of a kit, each in its slot of the worker's table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastmesh._core.filter.chain import Slot
from fastmesh._core.mem.metric import MetricTable
from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.filters.making import complete, put, secrets_of
from fastmesh.filters.mesh import Mesh
from fastmesh.filters.metrics import Metrics
from fastmesh.filters.phases import answer_of, phases_of, questions_of
from fastmesh.testing.reply import Report
from fastmesh.testing.wiring import PLACES, Match, Rules
from fastmesh.testing.witness import UnhurriedReporter, Witness


class Lineup:
    """Filters, load balancers and fallbacks in the order in which they were given.

    What they say goes to those who were named for it, who must not hold the worker: it holds what its filters hold.
    """

    slots: list[Slot]
    rules: Rules
    """Which exchanges each slot takes part in."""
    chains: dict[str, list[int]]
    """Numbers of slots, by the place where they are."""
    made: list[Filter | LoadBalancer | Fallback]
    """All but the witness."""

    def __init__(self, *, say: Callable[..., None], report: Callable[..., None],
                 on_error: Callable[..., None]) -> None:
        self.slots = []
        self.rules = Rules()
        self.chains = {place: [] for place in PLACES}
        self.made = []
        self._say = say
        self._report = report
        self._on_error = on_error
        self._metrics = MetricTable()
        self._loop: asyncio.AbstractEventLoop | None = None     # of isolated filters

    def add(self, made: Filter | LoadBalancer | Fallback, at: str, settings: dict[str, Any],
             match: Match | None = None) -> None:
        """Puts one behind the others, `at` a place with a chain, or "", and starts it. Raises what is wrong with it."""
        cls: type[Any] = type(made)
        if len(self.slots) >= 64:
            raise ValueError("a kit takes at most 63 filters")
        if isinstance(made, Witness):
            phases, name = {"on_complete": "def"}, "witness"
        else:
            phases, bad = (questions_of(cls) if isinstance(made, LoadBalancer) else
                           answer_of(cls) if isinstance(made, Fallback) else phases_of(cls))
            if bad:
                raise TypeError("; ".join(f"{one.reason}: allowed is {one.allowed}; {one.hint}" for one in bad))
            if "on_connection" in phases and at != "listener":
                raise ValueError(f"{cls.__name__} has on_connection, which only a listener has: say at=\"listener\"")
            name = self._name(cls.__name__)
            complete(made)
            self._furnish(made, name)
        calls = {phase: getattr(made, phase) for phase in phases}
        if getattr(cls, "isolated", False):
            self._loop = self._loop or asyncio.new_event_loop()
            calls = {phase: _on_loop(self._loop, call) if phases[phase] == "async" else call
                     for phase, call in calls.items()}
        report = self._report
        slot = Slot(made, calls, row=len(self.slots), name=name,
                    report=lambda what, phase, text: report(Report(what, name, phase, text)), **settings)
        slot.witness = self._on_error
        self.rules.add(match)
        if at:
            self.chains[at].append(len(self.slots))
        self.slots.append(slot)
        if name != "witness":
            try:
                made.start()
            except BaseException:
                made.metrics.close()
                raise
            self.made.append(made)

    def _furnish(self, made: Filter | LoadBalancer | Fallback, name: str) -> None:
        put(made, "name", name)
        put(made, "log", UnhurriedReporter(name, self._say, secrets_of(made)))
        put(made, "mesh", Mesh())
        metrics = Metrics(name)
        metrics._table = self._metrics      # each kit counts from nothing
        put(made, "metrics", metrics)

    def _name(self, wanted: str) -> str:
        taken = {slot.name for slot in self.slots}
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}.{number}", number + 1
        return name

    def stop(self) -> None:
        for made in self.made:
            made.stop()
            made.metrics.close()
        if self._loop is not None:
            self._loop.close()


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: loop.run_until_complete(call(*args))
