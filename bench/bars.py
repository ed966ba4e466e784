"""The bars fastmesh set itself, checked against a run."""

from dataclasses import dataclass

from bench.results import Results, by_round, points, ratio


@dataclass(frozen=True)
class Bar:
    """A limit on a figure, or on its ratio to the best of some peers in the same round."""

    words: str
    scenario: str
    points: tuple[int, ...]
    peer: str
    figure: str
    limit: float
    against: tuple[str, ...] = ()
    at_least: bool = False  # the limit is a lower one
    their_point: int | None = None  # of the others, where it is another than its own


RIVALS = ("nginx", "haproxy")
# Points of h1-filters, of filters-rate, and of filters-neighbour.
NONE, ONE, FIVE, ASYNC, ISOLATED = range(5)
ISOLATED_ASYNC = 7
RATE_ISOLATED = (2, 3)
NEIGHBOUR_ISOLATED = 1
MANY = (32, 128, 512)
BARS = (
    Bar("CPU, io_uring ÷ better of both (goal)", "h1-keepalive", MANY, "fastmesh-uring", "cpu_us", 0.8, RIVALS),
    Bar("CPU, io_uring ÷ better of both (least)", "h1-keepalive", MANY, "fastmesh-uring", "cpu_us", 0.9, RIVALS),
    Bar("CPU, io_uring ÷ Envoy", "h1-keepalive", MANY, "fastmesh-uring", "cpu_us", 0.25, ("envoy",)),
    Bar("CPU, epoll ÷ better of both", "h1-keepalive", MANY, "fastmesh-epoll", "cpu_us", 1.0, RIVALS),
    Bar("latency p50, io_uring ÷ nginx", "h1-keepalive", (1,), "fastmesh-uring", "p50_us", 1.0, ("nginx",)),
    Bar("latency p50, epoll ÷ nginx", "h1-keepalive", (1,), "fastmesh-epoll", "p50_us", 1.0, ("nginx",)),
    Bar("TCP down, io_uring ÷ HAProxy", "tcp-1m-down", (0,), "fastmesh-uring", "gib_per_cpu", 1.2, ("haproxy",), True),
    Bar("TCP down, epoll ÷ HAProxy", "tcp-1m-down", (0,), "fastmesh-epoll", "gib_per_cpu", 1.2, ("haproxy",), True),
    Bar("TCP up, io_uring ÷ HAProxy", "tcp-1m-up", (0,), "fastmesh-uring", "gib_per_cpu", 1.2, ("haproxy",), True),
    Bar("TCP up, epoll ÷ HAProxy", "tcp-1m-up", (0,), "fastmesh-epoll", "gib_per_cpu", 1.2, ("haproxy",), True),
    Bar("MiB at rest, control and one worker", "memory-rest", (0,), "fastmesh-uring", "rest_mib", 40),
    Bar("MiB for a further worker", "memory-rest", (0,), "fastmesh-uring", "worker_mib", 8),
    Bar("MiB for 10,000 idle clients", "memory-idle", (0,), "fastmesh-uring", "growth_mib", 20),
    Bar("ms until a new configuration is live, first", "reload", (12, 100), "fastmesh-uring", "first_ms", 100),
    Bar("ms until a new configuration is live, loaded", "reload", (12, 100), "fastmesh-uring", "loaded_ms", 100),
    Bar("CPU with a filter, io_uring ÷ nginx without", "h1-filters", (ONE,), "fastmesh-uring", "cpu_us", 1.05,
        ("nginx",), their_point=NONE),
    Bar("CPU with a filter, io_uring ÷ Envoy without", "h1-filters", (ONE,), "fastmesh-uring", "cpu_us", 0.35,
        ("envoy",), their_point=NONE),
    Bar("µs of CPU added by a filter", "h1-filters", (ONE,), "fastmesh-uring", "added_us", 1.5),
    Bar("µs of CPU added by five filters", "h1-filters", (FIVE,), "fastmesh-uring", "added_us", 6),
    Bar("µs of CPU added by an async filter", "h1-filters", (ASYNC,), "fastmesh-uring", "added_us", 2),
    Bar("µs of CPU added by an isolated filter", "h1-filters", (ISOLATED, ISOLATED_ASYNC), "fastmesh-uring",
        "added_us", 30),
    Bar("µs of latency p50 added by an isolated filter", "filters-rate", RATE_ISOLATED, "fastmesh-uring", "added_p50",
        80),
    Bar("p99 beside another route's filter ÷ p99 without it", "filters-neighbour", (NEIGHBOUR_ISOLATED,),
        "fastmesh-uring", "times", 1.2),
    Bar("ms until the proxy of an author's test has answered", "filter-proxy", (0, 1), "fastmesh-uring", "ready_ms",
        1000),
    Bar("MiB by which memory grows over many filtered requests", "memory-filtered", (0,), "fastmesh-uring",
        "growth_mib", 0.5),
    Bar("MiB for a slow reader of 1 GiB", "memory-slow-reader", (0,), "fastmesh-uring", "growth_mib", 2),
)  # fmt: skip

# Nanoseconds of processor time that bench/micro/test_pick.py may need for one pick, up to 10,000 endpoints of any
# weights. A request costs tens of microseconds: a pick is to be less than a hundredth of it, whatever it picks from.
# With others it grows with the cluster: Envoy's weighted round robin and least request are a heap of deadlines, its
# ring a binary search; nginx looks at each server for each request, and HAProxy keeps a tree.
PICKS = {
    "round_robin": 50, "least_request": 50, "peak_ewma": 50, "failure_aware_ewma": 50, "maglev": 50,
    "random": 100, "ring_hash": 100,
    # With what comes on top of an algorithm: some requests of a full endpoint or one that warms up pick again; the name
    # of a session is 32 digits to read, and to compare with one that is far away.
    "load_bound": 150, "levels": 100, "slow_start": 150, "sticky": 150,
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    point: int
    value: float

    @property
    def met(self) -> bool:
        return self.value >= self.bar.limit if self.bar.at_least else self.value <= self.bar.limit


def judge(results: Results) -> list[Verdict]:
    """Every bar for which the run has numbers."""
    cards = {(one.name, card.key): card for one in results.scenarios for card in one.figures}
    verdicts = []
    for bar in BARS:
        for point in points(results, bar.scenario):
            if point not in bar.points:
                continue
            if bar.against:
                card = cards[bar.scenario, bar.figure]
                found = ratio(results, bar.scenario, point, bar.peer, card, bar.against, bar.their_point)
                if found:
                    verdicts.append(Verdict(bar, point, found.median))
            else:
                values = sorted(by_round(results, bar.scenario, point, bar.peer, bar.figure).values())
                if values:
                    verdicts.append(Verdict(bar, point, values[len(values) // 2]))
    return verdicts
