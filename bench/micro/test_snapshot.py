"""What taking a snapshot in costs: `pytest bench/micro/test_snapshot.py`. The figure is the processor time of one."""

import pytest

from probes.snapshot_probe import Registry, Snapshot, take_last_seen
from probes.wire import cluster, endpoint, endpoints, listener, pack, route, snapshot

SHAPES = {
    "small": lambda: snapshot([listener([route("/", cluster=0)])], [cluster([endpoint()])]),
    "100000_endpoints_in_one_cluster": lambda: snapshot(clusters=[cluster(endpoints(100_000))]),
    "100000_endpoints_in_1000_clusters": lambda: snapshot(
        clusters=[cluster(endpoints(100), i, f"cluster-{i}") for i in range(1000)]
    ),
    "100000_endpoints_in_10000_clusters": lambda: snapshot(
        clusters=[cluster(endpoints(10), i, f"cluster-{i}") for i in range(10_000)]
    ),
    "100000_different_weights": lambda: snapshot(clusters=[cluster(endpoints(100_000, range(1, 100_001)))]),
    "10000_routes": lambda: snapshot(
        [
            listener(
                [
                    route(f"/api/v1/kind-{i % 100}", hosts=[f"service-{i // 100}.test"], status=200)
                    for i in range(10_000)
                ]
            )
        ]
    ),
}


@pytest.mark.parametrize("again", [False, True], ids=["first", "reload"])
@pytest.mark.parametrize("shape", SHAPES)
def test_decode(benchmark, shape, again):
    """`reload`: an earlier snapshot holds the same endpoints."""
    packed = pack(SHAPES[shape]())
    times = []

    def once():
        registry = Registry(1000)
        earlier = Snapshot(packed, registry) if again else None
        taken = Snapshot(packed, registry)
        times.append(taken.decode_ns)
        taken.close()
        if earlier is not None:
            earlier.close()
        take_last_seen()
        registry.close()

    once()
    benchmark.pedantic(once, rounds=10)
    benchmark.extra_info["bytes"] = len(packed)
    benchmark.extra_info["ms per decode"] = round(min(times) / 1e6, 3)
