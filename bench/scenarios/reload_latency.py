"""A new configuration under load: when it is live, and latency while configurations come in beside before.

Every proxy that can take one while it runs: fastmesh and nginx by SIGHUP, HAProxy by SIGUSR2 to its master, Envoy by
moving a new route table into place.  Each configuration answers another path by itself, which says that it is live;
asking for it is the same small request for all.
"""

import contextlib
import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bench.load import fixed_rate, http_origin
from bench.peers import Peer, Service
from bench.peers.fastmesh import Fastmesh
from bench.running import NotReady, Running
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

RATE = 2_000
CONNECTIONS = 32
ROUTES = 101
PAUSE = 0.3  # from one that is live to the next
ASK_AGAIN = 0.002
LIVE_SECONDS = 10.0


class ReloadLatency(Scenario):
    name = "reload-latency"
    title = f"Reload under {RATE:,} requests/s, {ROUTES - 1} routes"
    protocol = "http"
    figures = (
        Figure("live_ms", "until the new configuration is live, median", "ms", 0),
        Figure("before_p99", "latency p99 before", "µs", 0),
        Figure("during_p99", "latency p99 while reloads come in", "µs", 0),
        Figure("during_max", "longest latency meanwhile", "µs", 0),
        Figure("errors", "errors that clients saw", "", 0),
        Figure("ended", "connections ended between two requests", "", 0, judged=False),
    )

    def takes(self, peer: Peer) -> bool:
        return peer.reloads and not peer.floor

    def sample_seconds(self, options: Options) -> float:
        return 2 * options.seconds + 2.0

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        first = Service(self.protocol, routes=ROUTES, generation=1)
        with stage.fresh(peer, first, http_origin.start) as running, ThreadPoolExecutor(1) as pool:
            service = replace(first, origins=(stage.origin(http_origin.start).port,))
            client = (running.port, RATE, CONNECTIONS, options.seconds, stage.cores.load)
            before = fixed_rate.run(*client)
            live = []
            with stage.window(running) as window:
                during = pool.submit(fixed_rate.run, *client)
                while not during.done():
                    service = replace(service, generation=service.generation + 1)
                    live.append(_reload(peer, service, running))
                    time.sleep(PAUSE)
            load = during.result()
        figures = {
            "live_ms": statistics.median(live) * 1000,
            "before_p99": before.latency["p99"],
            "during_p99": load.latency["p99"],
            "during_max": load.max,
            "errors": float(load.failed),
            "ended": float(load.reconnected),
        }
        # For fastmesh a request that fails in a reload is an error; what the others do is shown.
        failed = before.failed + (load.failed if isinstance(peer, Fastmesh) else 0)
        return Measured(figures, failed, window.noise())


def _reload(peer: Peer, service: Service, running: Running) -> float:
    """Seconds until it answers by the new configuration."""
    begun = time.monotonic()
    peer.reload(service, running)
    while time.monotonic() < begun + LIVE_SECONDS:
        with contextlib.suppress(OSError, http.client.HTTPException):
            # A new connection each time: old ones may stay with the old configuration.
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
            connection.request("GET", f"/generation-{service.generation}")
            status = connection.getresponse().status
            connection.close()
            if status == 204:
                return time.monotonic() - begun
        time.sleep(ASK_AGAIN)
    raise NotReady(f"generation {service.generation} was not live after {LIVE_SECONDS:.0f} s")
