"""What scenarios of small requests and 100-byte answers share: wrk in a closed loop, CPU per request."""

from collections.abc import Sequence

from bench.load import http_origin, wrk
from bench.peers import Peer, Service
from bench.running import Running
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage, Window

CPU = Figure("cpu_us", "CPU per request", "µs", 1, ratio=True, above_floor=True)
RPS = Figure("rps", "requests per second", "1/s", 0, less_is_better=False)
P50 = Figure("p50_us", "latency p50", "µs", 0, ratio=True)
P99 = Figure("p99_us", "latency p99", "µs", 0)
BUSY = Figure("busy", "share of its core the proxy used", "%", 0, judged=False)


class SmallRequests(Scenario):
    protocol = "http"
    figures: tuple[Figure, ...] = (CPU, RPS, P99, BUSY)
    service = Service("http")
    headers: tuple[str, ...] = ()
    connections = 32

    def sample_seconds(self, options: Options) -> float:
        warm = options.warm_seconds / (options.rounds if options.quick else 1)
        return options.seconds + warm + 0.2

    def hops(self, stage: Stage, peer: Peer, point: int) -> Sequence[Running]:
        """The proxies a request passes, the client's first."""
        return (stage.proxy(peer, self.service, http_origin.start),)

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        hops = self.hops(stage, peer, point)
        if stage.cold(peer, point) or not options.quick:
            self.load(stage, hops[0], point, options.warm_seconds)
        with stage.window(*hops) as window:
            load = self.load(stage, hops[0], point, options.seconds)
        return Measured(self.counted(hops, load, window), load.failed + (not load.requests), window.noise())

    def clients(self, point: int) -> int:
        """Connections of the load."""
        return point or self.connections

    def load(self, stage: Stage, running: Running, point: int, seconds: int) -> wrk.Load:
        return wrk.run(
            running.port,
            self.clients(point),
            seconds,
            stage.cores.load,
            self.headers,
            self.service.routes,
            self.service.clusters,
        )

    def counted(self, hops: Sequence[Running], load: wrk.Load, window: Window) -> dict[str, float]:
        return {
            "cpu_us": window.cpu_ns / 1e3 / max(1, load.requests),
            "rps": load.requests / load.duration_us * 1e6,
            "p50_us": load.p50,
            "p99_us": load.p99,
            "busy": window.busy * 100,
        }
