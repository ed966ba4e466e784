"""How long a new configuration takes to be live: from `POST /reload` until its answer, when the last worker has it.

Each reload is of a file that has just been replaced and differs from the one before.
"""

import http.client
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.load import http_origin, small_requests, wrk
from bench.peers import Peer, Service
from bench.peers.fastmesh import Fastmesh
from bench.running import Running, free_port
from bench.scenarios.scenario import Figure, Measured, Options, Scenario
from bench.stage import Stage

LISTENERS = 12
CLUSTERS = 12
LAST_ROUTE = {"match": {"prefix": "/"}, "cluster": "app-0"}
COUNT = 20
REST_SECONDS, REST_SECONDS_QUICK = 20.0, 2.0
CONNECTIONS = 32


class Reload(Scenario):
    name = "reload"
    title = f"A new configuration of {LISTENERS} listeners"
    protocol = "http"
    point_unit = "routes"
    figures = (
        Figure("first_ms", "the first one, after a rest", "ms"),
        Figure("median_ms", f"median of {COUNT}, one after the other", "ms"),
        Figure("worst_ms", f"slowest of {COUNT}", "ms"),
        Figure("loaded_ms", f"median while {CONNECTIONS} connections ask without pause", "ms"),
        Figure("loaded_worst_ms", f"slowest while {CONNECTIONS} connections ask without pause", "ms"),
    )

    def points(self, options: Options) -> tuple[int, ...]:
        return (12, 100) if options.quick else (12, 100, 1000)

    def takes(self, peer: Peer) -> bool:
        # Others say that they have begun, not that they are done.
        return isinstance(peer, Fastmesh)

    def _rest(self, options: Options) -> float:
        return REST_SECONDS_QUICK if options.quick else REST_SECONDS

    def sample_seconds(self, options: Options) -> float:
        return 2 + self._rest(options) + options.seconds

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        assert isinstance(peer, Fastmesh)
        with stage.fresh(peer, Service(self.protocol), http_origin.start) as running:
            small_requests.ask(running.port)
            origin_port = stage.origin(http_origin.start).port
            configurations = _configurations(peer, running, origin_port, point)
            time.sleep(self._rest(options))
            first = _reload(peer, running, next(configurations))
            idle = [_reload(peer, running, next(configurations)) for _ in range(COUNT)]
            with ThreadPoolExecutor(1) as pool, stage.window(running) as window:
                load = pool.submit(wrk.run, running.port, CONNECTIONS, options.seconds, stage.cores.load)
                loaded = []
                while not load.done():
                    loaded.append(_reload(peer, running, next(configurations)))
            figures = {
                "first_ms": first,
                "median_ms": statistics.median(idle),
                "worst_ms": max(idle),
                "loaded_ms": statistics.median(loaded),
                "loaded_worst_ms": max(loaded),
            }
        return Measured(figures, load.result().failed, window.noise())


def _route(k: int) -> dict[str, object]:
    return {
        "match": {"prefix": f"/api/kind-{k}", "hosts": [f"service-{k}.example.com"]},
        "cluster": f"app-{k % CLUSTERS}",
    }


def _configurations(peer: Fastmesh, running: Running, origin_port: int, routes: int) -> Iterator[str]:
    """So many routes over a dozen listeners, and a dozen clusters; what the load asks for is always there."""
    ports = [running.port, *(free_port() for _ in range(LISTENERS - 1))]
    for weight in itertools.cycle((1, 2)):
        listeners = [
            {
                "name": f"web-{i}",
                "address": f"127.0.0.1:{port}",
                "routes": [*map(_route, range(i, routes - LISTENERS, LISTENERS)), LAST_ROUTE],
            }
            for i, port in enumerate(ports)
        ]
        clusters = [
            {"name": f"app-{k}", "endpoints": [{"address": f"127.0.0.1:{origin_port}", "weight": weight}]}
            for k in range(CLUSTERS)
        ]
        yield json.dumps(
            {
                "admin": {"address": f"127.0.0.1:{peer.admin_port(running.folder)}"},
                "reactor": peer.engine,
                "listeners": listeners,
                "clusters": clusters,
            },
            indent=1,
        )


def _reload(peer: Fastmesh, running: Running, configuration: str) -> float:
    """Milliseconds. Raises ValueError when it was refused."""
    path = peer.config_path(running.folder)
    fresh = path.with_suffix(".new")
    fresh.write_text(configuration)
    admin = http.client.HTTPConnection("127.0.0.1", peer.admin_port(running.folder), timeout=10)
    fresh.replace(path)
    begun = time.perf_counter()
    admin.request("POST", "/reload")
    answer = admin.getresponse()
    said = answer.read()
    took = (time.perf_counter() - begun) * 1000
    admin.close()
    if answer.status != 200:
        raise ValueError(f"reload: {answer.status} {said[:500]!r}")
    return took
