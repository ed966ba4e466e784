"""How long an author's test waits for the real proxy that `fastmesh.testing` starts: from the call of `filter_proxy`
until the first request has been answered, with the start of the control process, of the worker, of the filter and of
the origin. And how long its end takes.
"""

import statistics
import time
from collections.abc import Sequence

from bench.peers import Peer
from bench.peers.fastmesh import FILTERS, Fastmesh
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage
from fastmesh.testing.proxy import Proxy

COUNT, COUNT_QUICK = 10, 2
LABELS = ("in the worker", "isolated")


class FilterProxy(Scenario):
    name = "filter-proxy"
    title = "A proxy and an origin for a test of a filter, started anew"
    protocol = "http"
    figures = (
        Figure("ready_ms", f"until it has answered, median of {COUNT}", "ms", 0),
        Figure("worst_ms", f"until it has answered, slowest of {COUNT}", "ms", 0),
        Figure("end_ms", f"its end, median of {COUNT}", "ms", 0),
    )

    def points(self, options: Options) -> Sequence[int]:
        return range(len(LABELS))

    def label(self, point: int) -> str:
        return LABELS[point]

    def takes(self, peer: Peer) -> bool:
        # The engine is the one that the machine has, as in the tests of an author.
        return isinstance(peer, Fastmesh) and peer.engine == "io_uring"

    def rounds(self, options: Options) -> int:
        return 1

    def sample_seconds(self, options: Options) -> float:
        return COUNT_QUICK if options.quick else COUNT

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        ready, end = [], []
        for _ in range(COUNT_QUICK if options.quick else COUNT):
            begun = time.perf_counter()
            with Proxy(f"{FILTERS}:Mark", header="x-mark", isolated=bool(point)) as proxy:
                status = proxy.get("/", headers={"x-user": "alice", "x-team": "blue"}).status
                ready.append(time.perf_counter() - begun)
                if status != 200:
                    raise ValueError(f"the proxy answered {status}:\n{proxy.log}")
                begun = time.perf_counter()
            end.append(time.perf_counter() - begun)
        return Measured({
            "ready_ms": statistics.median(ready) * 1000,
            "worst_ms": max(ready) * 1000,
            "end_ms": statistics.median(end) * 1000,
        })  # fmt: skip
