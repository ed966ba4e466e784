"""What a sidecar says about its traffic, read from its /metrics and turned into figures of the last seconds."""

import re
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 2.0
SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


Buckets = dict[float, float]  # upper bound -> how many were at most that much


@dataclass(slots=True)
class Totals:
    """Counters of one hop since its sidecar started: what it carried to one of its clusters."""

    requests: float = 0.0
    right: float = 0.0
    retries: float = 0.0
    hedges: float = 0.0
    ejected: float = 0.0  # now
    ejections: float = 0.0
    degraded: float = 0.0
    milliseconds: Buckets = field(default_factory=dict)
    proxy_seconds: Buckets = field(default_factory=dict)  # of the sidecar itself, without any waiting


@dataclass(slots=True)
class Figures:
    per_second: float = 0.0
    success: float = 1.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    proxy_us: float | None = None  # median; nobody measures it for the caller
    retries: float = 0.0
    hedges: float = 0.0
    ejected: float = 0.0  # now
    degraded: float = 0.0


def read_totals(text: str) -> dict[str, Totals]:
    """The Prometheus text of one sidecar, by cluster."""
    totals: defaultdict[str, Totals] = defaultdict(Totals)
    for name, labelled, number in SAMPLE.findall(text):
        labels, value = dict(LABEL.findall(labelled)), float(number)
        hop = totals[labels.get("cluster") or labels.get("destination_service_name", "")]
        match name:
            case "istio_requests_total":
                hop.requests += value
                hop.right += value if 200 <= int(labels["response_code"]) < 500 else 0
            case "istio_request_duration_milliseconds_bucket":
                add(hop.milliseconds, labels["le"], value)
            case "fastmesh_proxy_time_seconds_bucket":
                add(hop.proxy_seconds, labels["le"], value)
            case "fastmesh_cluster_retries_total":
                hop.retries += value
            case "fastmesh_cluster_hedges_total":
                hop.hedges += value
            case "fastmesh_cluster_ejected":
                hop.ejected += value
            case "fastmesh_cluster_ejections_total":
                hop.ejections += value
            case "fastmesh_fallback_total":
                hop.degraded += value
    return totals


def add(buckets: Buckets, bound: str, value: float) -> None:
    buckets[float(bound)] = buckets.get(float(bound), 0.0) + value


def difference(new: Buckets, old: Buckets) -> Buckets:
    return {bound: count - old.get(bound, 0.0) for bound, count in new.items()}


def quantile(buckets: Buckets, q: float) -> float:
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
    """One sidecar and one of its clusters."""

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
        milliseconds = difference(new.milliseconds, old.milliseconds)
        return Figures(n / (now - then), (new.right - old.right) / n if n else 1.0, quantile(milliseconds, 0.50),
                       quantile(milliseconds, 0.99),
                       quantile(difference(new.proxy_seconds, old.proxy_seconds), 0.50) * 1e6,
                       new.retries - old.retries, new.hedges - old.hedges, new.ejected, new.degraded - old.degraded)

    @property
    def last(self) -> Totals:
        return self._seen[-1][1] if self._seen else Totals()
