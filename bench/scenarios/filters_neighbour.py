"""Routes without filters while the filter of another route computes: what the neighbour makes of their latency.

Requests at a fixed rate, open loop, first alone and then beside others to /slow/, whose filter takes the processor for
2 ms each.  Inline, everybody waits for it; isolated, it has a process of its own.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service, Work
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

RATE, CONNECTIONS = 2_000, 32
SLOW_RATE, SLOW_CONNECTIONS = 50, 4  # a tenth of the processor
START_SECONDS = 0.5  # until the program that sends them, which starts on the client's core, does nothing else
POINTS: tuple[tuple[str, Work], ...] = (("inline", "compute"), ("isolated", "compute-isolated"))


class FiltersNeighbour(Scenario):
    name = "filters-neighbour"
    title = f"{RATE:,} requests/s without a filter, beside {SLOW_RATE} whose filter computes for 2 ms"
    protocol = "http"
    figures = (
        Figure("alone_p99", "latency p99 alone", "µs", 0),
        Figure("p99", "latency p99 beside them", "µs", 0),
        Figure("times", "latency p99 beside them ÷ alone", "", 2),
        Figure("slow_p50", "latency p50 of the others", "µs", 0, judged=False),
    )

    def points(self, options: Options) -> Sequence[int]:
        return range(len(POINTS))

    def label(self, point: int) -> str:
        return POINTS[point][0]

    def takes(self, peer: Peer) -> bool:
        return "compute" in peer.works

    def has(self, peer: Peer, point: int) -> bool:
        return POINTS[point][1] in peer.works

    def sample_seconds(self, options: Options) -> float:
        return 2 * options.seconds + 2.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, Service(self.protocol, filters=(POINTS[point][1],)), http_origin.start)
        client = (running.port, RATE, CONNECTIONS, options.seconds, stage.cores.load)
        fixed_rate.run(running.port, RATE, CONNECTIONS, 0.3, stage.cores.load)
        alone = fixed_rate.run(*client)
        with ThreadPoolExecutor(1) as pool, stage.window(running) as window:
            # It begins before the others and ends after them.
            slow = pool.submit(
                fixed_rate.run, running.port, SLOW_RATE, SLOW_CONNECTIONS, options.seconds + START_SECONDS + 0.6,
                stage.cores.load, "/slow/",
            )  # fmt: skip
            time.sleep(START_SECONDS)
            beside = fixed_rate.run(*client)
            theirs = slow.result()
        figures = {
            "alone_p99": alone.latency["p99"],
            "p99": beside.latency["p99"],
            "times": beside.latency["p99"] / alone.latency["p99"],
            "slow_p50": theirs.latency["p50"],
        }
        return Measured(figures, alone.failed + beside.failed + theirs.failed, window.noise())
