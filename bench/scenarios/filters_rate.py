"""Latency that a filter adds at a fixed offered rate, open loop, in place and in a process of its own.

In a closed loop at full load the median is what all connections together wait for the slowest core: 32 times the CPU of
a request, whatever a hop to another process takes.  At a rate that leaves the core idle in between it is what one
request waits for.  All variants are measured right after each other, without filters first.
"""

from collections.abc import Sequence
from dataclasses import replace

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service, Work
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

RATE, CONNECTIONS = 4_000, 32
POINTS: tuple[tuple[str, tuple[Work, ...]], ...] = (
    ("none", ()),
    ("one", ("mark",)),
    ("one, isolated", ("isolated",)),
    ("one, isolated `async`", ("isolated-async",)),
)
NONE = 0


class FiltersRate(Scenario):
    name = "filters-rate"
    title = f"Latency with filters at {RATE:,} requests/s over {CONNECTIONS} connections"
    protocol = "http"
    figures = (
        Figure("p50", "latency p50", "µs", 0),
        Figure("added_p50", "latency p50 added by the filters", "µs", 0),
        Figure("p99", "latency p99", "µs", 0),
        Figure("added_us", "CPU added per request by the filters", "µs", 1),
    )
    points_together = True

    def __init__(self) -> None:
        # Of each proxy without filters, as measured last.
        self._bare: dict[str, dict[str, float]] = {}

    def points(self, options: Options) -> Sequence[int]:
        return range(len(POINTS))

    def label(self, point: int) -> str:
        return POINTS[point][0]

    def takes(self, peer: Peer) -> bool:
        return not peer.floor and "mark" in peer.works and not peer.guest

    def has(self, peer: Peer, point: int) -> bool:
        return peer.works.issuperset(POINTS[point][1])

    def sample_seconds(self, options: Options) -> float:
        return options.seconds + 1.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        service = replace(Service(self.protocol), filters=POINTS[point][1])
        running = stage.proxy(peer, service, http_origin.start)
        client = (running.port, RATE, CONNECTIONS)
        fixed_rate.run(*client, 0.5, stage.cores.load)
        with stage.window(running) as window:
            load = fixed_rate.run(*client, options.seconds, stage.cores.load)
        figures = {**load.latency, "cpu_us": window.cpu_ns / 1e3 / max(1, load.requests)}
        if point == NONE:
            self._bare[peer.name] = figures
        elif peer.name in self._bare:
            bare = self._bare[peer.name]
            figures["added_p50"] = figures["p50"] - bare["p50"]
            figures["added_us"] = figures["cpu_us"] - bare["cpu_us"]
        return Measured(figures, load.failed, window.noise())
