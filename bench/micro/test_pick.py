"""What a pick costs: `pytest bench/micro/test_pick.py`. A round is so many picks in C; the figure is per pick.

With FASTMESH_BARS=1 one that costs more than its bar in bench/bars.py fails. Without, the machine may be busy.
"""

import os
import random

import pytest

from bench.bars import PICKS as BARS
from probes.wire import (
    ALGORITHMS,
    FAILURE_AWARE_EWMA,
    MAGLEV,
    PEAK_EWMA,
    RING_HASH,
    SECOND,
    cluster,
    decoded,
    endpoints,
    snapshot,
)

PICKS = 200_000
COUNTS = pytest.mark.parametrize("count", [3, 100, 10_000])
# By how many share a weight: the schedule of unequal weights costs most when no two are equal.
WEIGHTS = {
    "equal": lambda n: [1] * n,
    "few_weights": lambda n: [1 + i % 3 for i in range(n)],
    "all_different": lambda n: random.Random(1).sample(range(1, 10 * n + 1), n),
}


def note(benchmark, times: list[int], bar: str) -> None:
    each = min(times) / PICKS
    benchmark.extra_info["ns per pick"] = round(each, 1)
    benchmark.extra_info["bar"] = BARS[bar]
    assert each > 0
    assert each <= BARS[bar] or "FASTMESH_BARS" not in os.environ


@COUNTS
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
        times: list[int] = []
        benchmark.pedantic(lambda: times.append(s.time_picks(PICKS, 0, 2 * SECOND)), rounds=10)
        note(benchmark, times, lb)


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


@COUNTS
@pytest.mark.parametrize("lb", ["ring_hash", "maglev"])
def test_pick_below_a_load_bound(benchmark, lb, count):
    """`load_bound: 125%`, with ten requests in flight for each endpoint: many are full, and their keys go on."""
    balancing = [None, [[], 160, 65_537, 125], None, 0, None, None]
    value = snapshot(clusters=[cluster(endpoints(count), lb={"ring_hash": RING_HASH, "maglev": MAGLEV}[lb],
                                       balancing=balancing)])
    with decoded(value, rows=count) as s:
        times: list[int] = []
        s.time_key_picks(PICKS, 0, SECOND, 10 * count)
        benchmark.pedantic(lambda: times.append(s.time_key_picks(PICKS, 0, SECOND, 10 * count)), rounds=10)
        note(benchmark, times, "load_bound")


@COUNTS
@pytest.mark.parametrize("lb", ALGORITHMS)
def test_pick_of_a_level(benchmark, lb, count):
    """Three priorities; half of the first cannot be used, so that the second gets a part."""
    third = count // 3
    balancing = [None, None, None, 0, [700_000, [count - 2 * third, third, third]], None]
    value = snapshot(clusters=[cluster(endpoints(count), lb=ALGORITHMS[lb], balancing=balancing)])
    with decoded(value, rows=count) as s:
        for i in range(0, third, 2):
            s.set_avoid(i, 2**63)
        times: list[int] = []
        s.time_picks(PICKS, 0, SECOND)
        benchmark.pedantic(lambda: times.append(s.time_picks(PICKS, 0, SECOND)), rounds=10)
        note(benchmark, times, "levels")


@COUNTS
@pytest.mark.parametrize("lb", ALGORITHMS)
def test_pick_while_one_in_ten_warms_up(benchmark, lb, count):
    """Those that came last are in the middle of their slow start."""
    balancing = [None, None, [100 * SECOND, 1000, 100_000], 0, None, None]
    value = snapshot(clusters=[cluster(endpoints(count), lb=ALGORITHMS[lb], balancing=balancing)])
    with decoded(value, rows=count) as s:
        for i in range(0, count, 10):
            s.connect_failed(i, 0)
            s.connect_ok(i)
        s.picks(20 * count, now_ns=SECOND)
        times: list[int] = []
        s.time_picks(PICKS, 0, 50 * SECOND)
        benchmark.pedantic(lambda: times.append(s.time_picks(PICKS, 0, 50 * SECOND)), rounds=10)
        note(benchmark, times, "slow_start")


@COUNTS
def test_pick_by_a_session(benchmark, count):
    """The endpoint that a cookie names."""
    balancing = [None, None, None, 0, None, [1, "home", 0, "/", b"s" * 16]]
    with decoded(snapshot(clusters=[cluster(endpoints(count), balancing=balancing)]), rows=count) as s:
        times: list[int] = []
        s.time_names(PICKS)
        benchmark.pedantic(lambda: times.append(s.time_names(PICKS)), rounds=10)
        note(benchmark, times, "sticky")
