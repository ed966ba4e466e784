"""HTTP/1.1, keep-alive on both sides, a small request and a 100-byte answer."""

from collections.abc import Sequence

from bench.load import http_origin, wrk
from bench.peers import Peer
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage


class H1Keepalive(Scenario):
    name = "h1-keepalive"
    title = "HTTP/1.1 keep-alive, small request and answer"
    protocol = "http"
    point_unit = "connections"
    floors = True
    figures = (
        Figure("cpu_us", "CPU per request", "µs", 1, ratio=True, above_floor=True),
        Figure("rps", "requests per second", "1/s", 0, less_is_better=False),
        Figure("p50_us", "latency p50", "µs", 0, ratio=True),
        Figure("p99_us", "latency p99", "µs", 0),
        Figure("busy", "share of its core the proxy used", "%", 0),
    )

    def points(self, options: Options) -> Sequence[int]:
        return options.connections

    def sample_seconds(self, options: Options) -> float:
        warm = options.warm_seconds / (options.rounds if options.quick else 1)
        return options.seconds + warm + 0.2

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, self.protocol, http_origin.start)
        if stage.cold(peer, point) or not options.quick:
            wrk.run(running.port, point, options.warm_seconds, stage.cores.load)
        with stage.window(running) as window:
            load = wrk.run(running.port, point, options.seconds, stage.cores.load)
        return Measured(
            {
                "cpu_us": window.cpu_ns / 1e3 / max(1, load.requests),
                "rps": load.requests / load.duration_us * 1e6,
                "p50_us": load.p50,
                "p99_us": load.p99,
                "busy": window.busy * 100,
            },
            load.failed,
            window.noise(),
        )
