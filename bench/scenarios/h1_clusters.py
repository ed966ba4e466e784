"""A thousand clusters chosen by host, asked for in turn: each has its own pool of connections to its origin."""

from collections.abc import Sequence

from bench.load import wrk
from bench.peers import Service
from bench.running import Running
from bench.scenarios.scenario import Figure
from bench.scenarios.small_requests import BUSY, CPU, P99, RPS, SmallRequests
from bench.stage import Window

MIB = 1 << 20


class H1Clusters(SmallRequests):
    name = "h1-clusters"
    title = "HTTP/1.1 keep-alive, a thousand clusters by host"
    figures = (CPU, RPS, P99, Figure("memory_mib", "memory of the whole proxy, after the load", "MiB"), BUSY)
    # One connection at a time is asked of each cluster, seldom two.
    service = Service("http", clusters=1000, idle_upstream=32)

    def counted(self, hops: Sequence[Running], load: wrk.Load, window: Window) -> dict[str, float]:
        figures = super().counted(hops, load, window)
        return {**figures, "memory_mib": sum(hop.pss_bytes() for hop in hops) / MIB}
