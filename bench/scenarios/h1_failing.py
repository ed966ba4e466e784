"""One endpoint of three fails under load and stays so: what clients see of it.

Requests come at a fixed rate, open loop, and the endpoint fails after a third of the time, in one of three ways:

killed: its connections are reset, and it refuses new ones.
frozen: its processes stand still.  Connections are accepted by the kernel, and nobody answers.
answers 503: it is there, quick, and serves nothing.

The proxies know of all three (`Service.failing`): how long to wait for an answer, that a GET may be repeated elsewhere,
and that an endpoint is to be left alone after a few failures.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service
from bench.running import Running
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

ENDPOINTS = 3
RATE = 2_000
# As many requests as wait for the frozen one at a time, while it is not left alone, and half as many more.
CONNECTIONS = 256
WAYS: tuple[tuple[str, Callable[[Running], None]], ...] = (
    ("killed", Running.kill),
    ("frozen", Running.freeze),
    ("answers 503", http_origin.break_down),
)


class H1Failing(Scenario):
    name = "h1-failing"
    title = f"One endpoint of {ENDPOINTS} fails, at {RATE:,} requests/s"
    protocol = "http"
    points_together = True
    figures = (
        Figure("errors", "errors that clients saw", "", 0),
        Figure("p99", "latency p99", "µs", 0),
        Figure("max", "longest latency", "µs", 0),
    )

    def points(self, options: Options) -> Sequence[int]:
        return range(len(WAYS))

    def label(self, point: int) -> str:
        return WAYS[point][0]

    def sample_seconds(self, options: Options) -> float:
        return options.seconds + 2.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        with contextlib.ExitStack() as stack:
            origins = [stack.enter_context(stage.fresh_origin(http_origin.start_breakable)) for _ in range(ENDPOINTS)]
            service = Service(self.protocol, origins=tuple(origin.port for origin in origins), failing=True)
            running = stack.enter_context(stage.fresh(peer, service, None))
            stack.callback(origins[1].thaw)
            warm = fixed_rate.run(running.port, RATE, CONNECTIONS, 0.3, stage.cores.load)
            failure = threading.Timer(options.seconds / 3, WAYS[point][1], [origins[1]])
            with stage.window(running) as window:
                failure.start()
                load = fixed_rate.run(running.port, RATE, CONNECTIONS, options.seconds, stage.cores.load)
            failure.join()
        figures = {"errors": float(load.failed), "p99": load.latency["p99"], "max": load.max}
        # Before it fails nothing else may, and after it not everything.
        return Measured(figures, warm.failed + (not load.requests), window.noise())
