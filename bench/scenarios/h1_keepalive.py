"""HTTP/1.1, keep-alive on both sides, a small request and a 100-byte answer."""

from collections.abc import Sequence

from bench.scenarios.scenario import Options
from bench.scenarios.small_requests import BUSY, CPU, P50, P99, RPS, SmallRequests


class H1Keepalive(SmallRequests):
    name = "h1-keepalive"
    title = "HTTP/1.1 keep-alive, small request and answer"
    point_unit = "connections"
    floors = True
    quick = True
    figures = (CPU, RPS, P50, P99, BUSY)

    def points(self, options: Options) -> Sequence[int]:
        return options.connections
