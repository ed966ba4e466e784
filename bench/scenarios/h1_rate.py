"""Latency at a fixed offered rate, open loop, corrected for coordinated omission.

All proxies get the same requests at the same times, whatever they answer: see bench/load/open_loop.pyx.
"""

from collections.abc import Sequence

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

CONNECTIONS = 64
RATES = (2_000, 8_000)


class H1Rate(Scenario):
    name = "h1-rate"
    title = f"Latency at a fixed rate of small requests, {CONNECTIONS} connections"
    protocol = "http"
    point_unit = "requests/s"
    floors = True
    quick = True
    # The other percentiles, p0 to p99.99, are in the results too: the curves are drawn from them.
    figures = (
        Figure("p50", "latency p50", "µs", 0, ratio=True),
        Figure("p99", "latency p99", "µs", 0, ratio=True),
        Figure("p99.9", "latency p99.9", "µs", 0),
        Figure("cpu_us", "CPU per request", "µs", 1, ratio=True),
        Figure("late", "p99 of how late the client itself sent", "µs", 0, judged=False),
    )

    def points(self, options: Options) -> Sequence[int]:
        return RATES[:1] if options.quick else RATES

    def sample_seconds(self, options: Options) -> float:
        return options.seconds + 1.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, Service(self.protocol), http_origin.start)
        client = (running.port, point, CONNECTIONS)
        if stage.cold(peer, point) or not options.quick:
            fixed_rate.run(*client, 0.5, stage.cores.load)
        with stage.window(running) as window:
            load = fixed_rate.run(*client, options.seconds, stage.cores.load)
        cpu = window.cpu_ns / 1e3 / max(1, load.requests)
        return Measured({**load.latency, "cpu_us": cpu, "late": load.late}, load.failed, window.noise())
