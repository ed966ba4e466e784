"""Work whose instructions are counted: `python -m bench.micro.workloads NAME=LOOPS...`, run by bench.instructions."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from bench.micro.heads import HEADS, PATHS

# Each imports what it needs by itself: under valgrind that is most of the time.
HOSTS = [f"service-{i}.namespace.svc.cluster.local" for i in range(100)]


def _parse(kind: str, text: bytes) -> Callable[[int], object]:
    def run(loops: int) -> None:
        from probes.http_probe import parse_loop

        parse_loop(kind, text, loops)

    return run


def _part(name: str, *arguments: str) -> Callable[[int], object]:
    def run(loops: int) -> None:
        from probes import loops_probe

        getattr(loops_probe, name)(*arguments, loops)

    return run


def _pick(name: str) -> Callable[[int], object]:
    def run(loops: int) -> None:
        from probes import wire
        from probes.wire import cluster, decoded, endpoints, snapshot

        lb = getattr(wire, name)
        weights = [1 + i % 3 for i in range(100)]
        with decoded(snapshot(clusters=[cluster(endpoints(100, weights), lb=lb)]), rows=100) as s:
            s.time_picks(loops)

    return run


def _route(loops: int) -> None:
    from probes.snapshot_probe import Request
    from probes.wire import decoded, listener, route, snapshot

    rng = random.Random(1)
    table = [route(f"/api/v1/kind-{k}", hosts=[host], status=200) for host in HOSTS for k in range(10)]
    requests = [
        Request(b"GET", rng.choice(HOSTS).encode(), f"/api/v1/kind-{rng.randrange(10)}/items".encode(), [])
        for _ in range(100)
    ]
    with decoded(snapshot(listeners=[listener(table)])) as s:
        s.time_routes(requests, loops)


def _decode(loops: int) -> None:
    from probes.snapshot_probe import Registry, Snapshot, take_last_seen
    from probes.wire import cluster, endpoints, pack, snapshot

    packed = pack(snapshot(clusters=[cluster(endpoints(100), i, f"cluster-{i}") for i in range(10)]))
    for _ in range(loops):
        registry = Registry(1000)
        Snapshot(packed, registry).close()
        take_last_seen()
        registry.close()


def _filters(name: str, count: int, memory: int = 0) -> Callable[[int], object]:
    def run(loops: int) -> None:
        from bench.micro.filters import exchanges

        exchanges(name, count, loops, memory)

    return run


def _balanced(name: str, count: int, what: str) -> Callable[[int], object]:
    def run(loops: int) -> None:
        from bench.micro.filters import balanced

        balanced(name, count, loops, what)

    return run


# By name: what runs, how often, and how many operations one of these is.
WORKLOADS: dict[str, tuple[Callable[[int], object], int, int]] = {
    **{f"parse: {name}": (_parse(*head), 5_000, 1) for name, head in HEADS.items()},
    "normalize a path": (_parse("uri", PATHS["plain"]), 5_000, 1),
    "pick: round_robin of 100": (_pick("ROUND_ROBIN"), 20_000, 1),
    "pick: least_request of 100": (_pick("LEAST_REQUEST"), 20_000, 1),
    "route: one of 1000": (_route, 50, 100),
    "decode 1000 endpoints": (_decode, 5, 1),
    "block": (_part("block_loop"), 20_000, 1),
    "inbox": (_part("inbox_loop"), 20_000, 1),
    "slab": (_part("slab_loop"), 20_000, 1),
    "timer: later": (_part("timer_loop", "later"), 20_000, 1),
    "timer: anew": (_part("timer_loop", "anew"), 20_000, 1),
    "timer: fire": (_part("timer_loop", "fire"), 20_000, 1),
    "filters: one that does nothing": (_filters("Nothing", 1), 2_000, 1),
    "filters: five that do nothing": (_filters("Nothing", 5), 1_000, 1),
    "filters: one that marks": (_filters("Mark", 1), 2_000, 1),
    "filters: five that mark": (_filters("Mark", 5), 1_000, 1),
    "filters: one that marks, async": (_filters("MarkAsync", 1), 2_000, 1),
    "filters: one that marks, memory bound": (_filters("Mark", 1, 1 << 30), 2_000, 1),
    "filters: a header read": (_filters("Get", 1), 20, 100),
    "filters: a header set": (_filters("Set", 1), 200, 10),
    "filters: a header added": (_filters("Add", 1), 200, 10),
    "filters: a Response made": (_filters("Make", 1), 20, 100),
    "filters: a pick of 100, compiled": (_balanced("First", 100, "compiled"), 20_000, 1),
    "filters: a pick of 100": (_balanced("First", 100, "pick"), 2_000, 1),
    "filters: a pick by a header": (_balanced("ByHeader", 100, "pick"), 2_000, 1),
    "filters: weights of 100": (_balanced("LeastLatency", 100, "weights"), 20, 1),
}


def main() -> None:
    for argument in sys.argv[1:]:
        name, _, loops = argument.rpartition("=")
        WORKLOADS[name][0](int(loops))


if __name__ == "__main__":
    main()
