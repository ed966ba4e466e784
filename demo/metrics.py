"""What a sidecar says about its traffic, read from its /metrics and turned into figures of the last seconds."""

import re
import time
from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 2.0
SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Whose view: what came in for this service, or what it asked of others.
REPORTERS = {"inbound": "destination", "outbound": "source"}


@dataclass(slots=True)
class Totals:
    """Counters of one hop since the sidecar started."""

    requests: float = 0.0
    right: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)  # upper bound in ms -> requests at most that slow


@dataclass(slots=True)
class Figures:
    per_second: float = 0.0
    success: float = 1.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def read_totals(text: str) -> dict[str, Totals]:
    """The Prometheus text of one sidecar as totals by direction."""
    totals = {direction: Totals() for direction in REPORTERS}
    directions = {reporter: direction for direction, reporter in REPORTERS.items()}
    for name, labelled, value in SAMPLE.findall(text):
        if name not in {"istio_requests_total", "istio_request_duration_milliseconds_bucket"}:
            continue
        labels = dict(LABEL.findall(labelled))
        hop = totals[directions[labels["reporter"]]]
        if name == "istio_requests_total":
            hop.requests += float(value)
            if 200 <= int(labels["response_code"]) < 500:
                hop.right += float(value)
        else:
            bound = float(labels["le"])
            hop.buckets[bound] = hop.buckets.get(bound, 0.0) + float(value)
    return totals


def quantile(buckets: dict[float, float], q: float) -> float:
    """The q-th quantile, taken as evenly spread within its bucket."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return 0.0
    rank = q * buckets[bounds[-1]]
    low = below = 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return low
            inside = buckets[bound] - below
            return low + (bound - low) * ((rank - below) / inside if inside else 1.0)
        low, below = bound, buckets[bound]
    return low


class Hop:
    """One direction of one sidecar."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Totals]] = deque()

    def add(self, totals: Totals) -> None:
        now = time.monotonic()
        self._seen.append((now, totals))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW_SECONDS:
            self._seen.popleft()

    def figures(self) -> Figures:
        if len(self._seen) < 2:
            return Figures()
        (then, old), (now, new) = self._seen[0], self._seen[-1]
        n = new.requests - old.requests
        buckets = {bound: count - old.buckets.get(bound, 0.0) for bound, count in new.buckets.items()}
        return Figures(n / (now - then), (new.right - old.right) / n if n else 1.0,
                       quantile(buckets, 0.50), quantile(buckets, 0.99))
