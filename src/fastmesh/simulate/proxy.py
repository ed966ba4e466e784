"""The proxy that some callers are workers of: its snapshot, which another zone makes another one."""

from typing import Any

import msgpack

from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.node import Node
from fastmesh.simulate.scenario import Scenario, address_of, cluster_of
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry


class Proxy:
    """One proxy. Its workers tell endpoints by their place in its snapshot, the simulation by their number."""

    def __init__(self, scenario: Scenario, zone: str) -> None:
        self.numbers: list[int] = []            # of the endpoints, by their place
        self.places: dict[int, int] = {}        # the other way round
        self.packed = b""
        self._scenario = scenario
        self._zone = zone
        self._registry = Registry()
        self._version = 0
        self.compile(0)

    def compile(self, since_ns: int) -> None:
        """A snapshot of the endpoints that have joined by then."""
        scenario = self._scenario
        leads: dict[str, Any] = {"cluster": "simulated"} if not scenario.split else {"clusters": [
            {"cluster": "simulated", "weight": share.weight, "subset": share.subset or None}
            for share in scenario.split]}
        listeners = [] if scenario.retry is None and not scenario.split else [Listener.model_validate({
            "name": "simulated", "address": "127.0.0.1:1", "retry": scenario.retry,
            "routes": [{"match": {"prefix": "/"}, **leads}]})]
        config = Config(node=Node(instance="simulated", zone=self._zone), listeners=listeners,
                        clusters=[cluster_of(scenario, since_ns)])
        self._version += 1
        self.packed, self._registry = compile(config, self._version, self._registry)
        count = sum(group.count for group in scenario.endpoints)
        numbers = {address_of(number): number for number in range(count)}
        self.numbers = [numbers[record[5]] for record in msgpack.unpackb(self.packed)[5][0][13]]
        self.places = {number: place for place, number in enumerate(self.numbers)}
