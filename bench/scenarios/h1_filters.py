"""Filters: the same work, as the author of a filter writes it for each proxy, in bench/filters.

All variants of a proxy are measured right after each other, without filters first: what filters add is the difference.
nginx has none, and is there for what a proxy without them costs.
"""

import http.client
from collections.abc import Sequence
from dataclasses import replace

from bench.load import http_origin
from bench.peers import Peer, Work
from bench.running import Running
from bench.scenarios.scenario import Figure, Measured, Options
from bench.scenarios.small_requests import BUSY, CPU, P50, RPS, SmallRequests
from bench.stage import Stage

# By point: how it is called, and the filters.
POINTS: tuple[tuple[str, tuple[Work, ...]], ...] = (
    ("none", ()),
    ("one", ("mark",)),
    ("five", ("mark",) * 5),
    ("one, `async`", ("async",)),
    ("one, isolated", ("isolated",)),
    ("one, of the answer", ("answer",)),
    ("one, looks at the body", ("look",)),
    ("one, isolated `async`", ("isolated-async",)),
)
NONE, ONE, FIVE, ASYNC, ISOLATED, ANSWER, LOOK, ISOLATED_ASYNC = range(len(POINTS))
FIELDS = {"x-user": "alice", "x-team": "blue"}


class H1Filters(SmallRequests):
    name = "h1-filters"
    title = "HTTP/1.1 keep-alive with filters, 32 connections"
    figures = (
        replace(CPU, digits=2, ratio=False, above_floor=False),
        # Differences of two measurements: what is better shows in the figures that they are made of.
        Figure("added_us", "CPU added per request by the filters", "µs", 2, judged=False),
        replace(P50, ratio=False),
        Figure("added_p50", "latency p50 added by the filters", "µs", 0, judged=False),
        RPS,
        BUSY,
    )
    headers = tuple(f"{name}: {value}" for name, value in FIELDS.items())
    points_together = True

    def __init__(self) -> None:
        # Of each proxy without filters, as measured last.
        self._bare: dict[str, dict[str, float]] = {}

    def points(self, options: Options) -> Sequence[int]:
        return range(len(POINTS))

    def label(self, point: int) -> str:
        return POINTS[point][0]

    def takes(self, peer: Peer) -> bool:
        return not peer.floor

    def has(self, peer: Peer, point: int) -> bool:
        return peer.works.issuperset(POINTS[point][1])

    def clients(self, point: int) -> int:
        return self.connections

    def hops(self, stage: Stage, peer: Peer, point: int) -> Sequence[Running]:
        return (stage.proxy(peer, replace(self.service, filters=POINTS[point][1]), http_origin.start),)

    def measure(self, stage: Stage, peer: Peer, point: int, options: Options) -> Measured:
        _check(self.hops(stage, peer, point)[0].port, POINTS[point][1])
        measured = super().measure(stage, peer, point, options)
        if point == NONE:
            self._bare[peer.name] = measured.figures
        elif peer.name in self._bare:
            bare = self._bare[peer.name]
            measured.figures["added_us"] = measured.figures["cpu_us"] - bare["cpu_us"]
            measured.figures["added_p50"] = measured.figures["p50_us"] - bare["p50_us"]
        return measured


def _check(port: int, works: tuple[Work, ...]) -> None:
    """That the filters do their work. What looks on leaves no trace."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", http_origin.MARKS, headers=FIELDS)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    marks = sum(work in ("mark", "async", "isolated", "isolated-async") for work in works)
    wanted = ",".join("alice/blue" if number < marks else "" for number in range(http_origin.MARKS_MOST))
    if body != wanted:
        raise ValueError(f"filters {works}: the origin should see {wanted!r}, it sees {body!r}")
    if "answer" in works and answer.headers["x-answer"] != answer.headers["content-type"]:
        raise ValueError(f"filters {works}: x-answer is {answer.headers['x-answer']!r}")
