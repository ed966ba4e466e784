"""What h1-keepalive measures at 32 connections, with requests from h2load in place of wrk."""

from bench.load import h2load, http_origin
from bench.peers import Peer, Service
from bench.running import Running
from bench.scenarios.scenario import Measured, Options, Scenario
from bench.scenarios.small_requests import BUSY, CPU, RPS
from bench.stage import Stage

CONNECTIONS = 32


class H1SecondLoad(Scenario):
    name = "h1-second-load"
    title = "HTTP/1.1 keep-alive, small request and answer, asked for by h2load"
    protocol = "http"
    figures = (CPU, RPS, BUSY)
    floors = True
    service = Service("http")

    def sample_seconds(self, options: Options) -> float:
        return options.seconds + options.warm_seconds + 0.2

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        running = stage.proxy(peer, self.service, http_origin.start)
        if stage.cold(peer, point) or not options.quick:
            self.load(stage, running, options.warm_seconds)
        with stage.window(running) as window:
            load = self.load(stage, running, options.seconds)
        figures = {
            "cpu_us": window.cpu_ns / 1e3 / max(1, load.requests),
            "rps": load.rps,
            "busy": window.busy * 100,
        }
        return Measured(figures, load.failed + (not load.requests), window.noise())

    def load(self, stage: Stage, running: Running, seconds: int) -> h2load.Load:
        return h2load.run(running.port, CONNECTIONS, seconds, stage.cores.load)
