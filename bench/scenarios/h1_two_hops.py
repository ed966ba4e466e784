"""Sidecar to sidecar: every request passes two proxies of the same kind, both on the proxy's core."""

from collections.abc import Sequence

from bench.load import http_origin
from bench.peers import Peer, Service
from bench.running import Running
from bench.scenarios.small_requests import SmallRequests
from bench.stage import Stage


class H1TwoHops(SmallRequests):
    name = "h1-two-hops"
    title = "HTTP/1.1 keep-alive through two proxies, CPU of both"

    def hops(self, stage: Stage, peer: Peer, point: int) -> Sequence[Running]:
        second = stage.proxy(peer, Service("http"), http_origin.start)
        return stage.proxy(peer, Service("http", origins=(second.port,)), None), second
