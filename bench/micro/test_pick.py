"""What a pick costs: `pytest bench/micro/test_pick.py`. A round is so many picks in C; the figure is per pick."""

import random

import pytest

from probes.wire import ALGORITHMS, FAILURE_AWARE_EWMA, PEAK_EWMA, SECOND, cluster, decoded, endpoints, snapshot

PICKS = 200_000
# By how many share a weight: the schedule of unequal weights costs most when no two are equal.
WEIGHTS = {
    "equal": lambda n: [1] * n,
    "few_weights": lambda n: [1 + i % 3 for i in range(n)],
    "all_different": lambda n: random.Random(1).sample(range(1, 10 * n + 1), n),
}


@pytest.mark.parametrize("count", [3, 100, 10_000])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("lb", ALGORITHMS)
def test_pick(benchmark, lb, weights, count):
    value = snapshot(clusters=[cluster(endpoints(count, WEIGHTS[weights](count)), lb=ALGORITHMS[lb])])
    with decoded(value, rows=count) as s:
        if ALGORITHMS[lb] in (PEAK_EWMA, FAILURE_AWARE_EWMA):
            # As they are in traffic: measured at different times, and fading.
            for i in range(count):
                s.observe(i, (1 + i % 50) * SECOND // 1000, now_ns=SECOND + i)
        s.time_picks(PICKS, 0, 2 * SECOND)
        times = []
        benchmark.pedantic(lambda: times.append(s.time_picks(PICKS, 0, 2 * SECOND)), rounds=10)
        benchmark.extra_info["ns per pick"] = round(min(times) / PICKS, 1)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("weights", ["equal", "few_weights"])
@pytest.mark.parametrize("lb", ALGORITHMS)
def test_pick_in_an_outage(benchmark, lb, weights, share):
    """That share of 1,000 endpoints is avoided."""
    value = snapshot(clusters=[cluster(endpoints(1000, WEIGHTS[weights](1000)), lb=ALGORITHMS[lb])])
    with decoded(value, rows=1000) as s:
        for i in random.Random(2).sample(range(1000), int(1000 * share)):
            s.set_avoid(i, 10)
        s.time_picks(PICKS, 0, 5)
        times = []
        benchmark.pedantic(lambda: times.append(s.time_picks(PICKS, 0, 5)), rounds=5)
        benchmark.extra_info["ns per pick"] = round(min(times) / PICKS, 1)
