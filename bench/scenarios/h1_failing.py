"""One endpoint of three dies under load and stays away: what clients see of it.

Requests come at a fixed rate, open loop.  The origin is killed after a third of the time: its connections are reset,
and it refuses new ones.  Each proxy repeats what failed before it was answered, as often as it does by default or as
all the others do, and leaves the endpoint alone after a few failures.
"""

import contextlib
import threading

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

ENDPOINTS = 3
RATE = 2_000
CONNECTIONS = 32


class H1Failing(Scenario):
    name = "h1-failing"
    title = f"One endpoint of {ENDPOINTS} is killed, at {RATE:,} requests/s"
    protocol = "http"
    figures = (
        Figure("errors", "errors that clients saw", "", 0),
        Figure("p99", "latency p99", "µs", 0),
        Figure("max", "longest latency", "µs", 0),
    )

    def sample_seconds(self, options: Options) -> float:
        return options.seconds + 2.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        with contextlib.ExitStack() as stack:
            origins = [stack.enter_context(stage.fresh_origin(http_origin.start)) for _ in range(ENDPOINTS)]
            service = Service(self.protocol, origins=tuple(origin.port for origin in origins))
            running = stack.enter_context(stage.fresh(peer, service, None))
            warm = fixed_rate.run(running.port, RATE, CONNECTIONS, 0.3, stage.cores.load)
            killer = threading.Timer(options.seconds / 3, origins[1].kill)
            with stage.window(running) as window:
                killer.start()
                load = fixed_rate.run(running.port, RATE, CONNECTIONS, options.seconds, stage.cores.load)
            killer.join()
        figures = {"errors": float(load.failed), "p99": load.latency["p99"], "max": load.max}
        # Before the kill nothing may fail, and after it not everything.
        return Measured(figures, warm.failed + (not load.requests), window.noise())
