"""Weights that are given while a cluster is in use, in place of those of its endpoints."""

import random
from collections import Counter

import pytest

from probes.wire import (
    FAILURE_AWARE_EWMA,
    LEAST_REQUEST,
    PEAK_EWMA,
    RANDOM,
    ROUND_ROBIN,
    cluster,
    decoded,
    endpoints,
    snapshot,
)

ALL = pytest.mark.parametrize("lb", [ROUND_ROBIN, RANDOM, LEAST_REQUEST, PEAK_EWMA, FAILURE_AWARE_EWMA])
EXACT = pytest.mark.parametrize("lb", [ROUND_ROBIN, LEAST_REQUEST])
TOP = 2**30


def one_cluster(weights, lb, seed=1):
    return decoded(snapshot(clusters=[cluster(endpoints(len(weights), weights), lb=lb)]), seed, rows=len(weights))


def is_about(counts, weights):
    """Within a twentieth of what they should be, and of all; of 0, nothing."""
    total, picks = sum(weights), sum(counts)
    return all(abs(count - picks * weight / total) <= picks / 50 and (weight > 0 or count == 0)
               for count, weight in zip(counts, weights, strict=True))


@ALL
@pytest.mark.parametrize("before", [[1, 1, 1, 1], [4, 1, 2, 1]])
@pytest.mark.parametrize("given", [[1, 2, 3, 4], [TOP, TOP // 2, 1, TOP], [5, 5, 5, 5], [0, 1, 0, 3], [0, 0, 7, 0]])
def test_shares_follow_what_is_given(lb, before, given):
    with one_cluster(before, lb) as s:
        s.picks(17)
        assert s.weigh(given)
        assert is_about(s.picks(40_000), given)


@ALL
def test_and_those_of_the_configuration_come_back(lb):
    with one_cluster([1, 3], lb) as s:
        s.weigh([3, 1])
        assert is_about(s.picks(20_000), [3, 1])
        assert s.weigh(None)
        assert is_about(s.picks(20_000), [1, 3])
        s.weigh([3, 1])
        assert s.weigh([0, 0])
        assert is_about(s.picks(20_000), [1, 3])


@ALL
def test_what_changes_nothing_says_so(lb):
    with one_cluster([1, 3], lb) as s:
        assert not s.weigh(None) and not s.weigh([0, 0])
        assert s.weigh([2, 5]) and not s.weigh([2, 5])


@ALL
def test_no_endpoints(lb):
    with one_cluster([], lb) as s:
        assert not s.weigh([]) and not s.weigh(None)
        assert s.pick() is None


@EXACT
@pytest.mark.parametrize("every", [1, 3, 10])
def test_turns_go_on_where_they_were(lb, every):
    """Weights come again and again, the same ratios each time: shares are as exact as without."""
    with one_cluster([1, 1, 1], lb) as s:
        got = Counter()
        for i in range(900 // every):
            s.weigh([1 << (10 + i % 5), 2 << (10 + i % 5), 3 << (10 + i % 5)])
            got.update(dict(enumerate(s.picks(every))))
        assert all(abs(got[at] - want) <= 3 for at, want in enumerate([150, 300, 450]))


@EXACT
def test_weights_that_drift(lb):
    """Each of two is the heavier one for half of the time: in the end both had as much."""
    rng = random.Random(7)
    with one_cluster([1, 1], lb) as s:
        got = [0, 0]
        for i in range(2_000):
            s.weigh([rng.randrange(1, TOP), 1] if i % 2 else [1, rng.randrange(1, TOP)])
            got = [a + b for a, b in zip(got, s.picks(5), strict=True)]
    assert sum(got) == 10_000 and abs(got[0] - got[1]) < 500


@ALL
def test_an_endpoint_without_a_weight_is_no_way_out(lb):
    """Not even where all others are avoided or were tried."""
    with one_cluster([1, 1, 1], lb) as s:
        s.weigh([1, 0, 2])
        s.set_avoid(0, 100)
        s.set_avoid(2, 50)
        assert s.pick(now_ns=10) == 2
        assert s.pick(now_ns=10, tried=[2]) == 0
        assert s.pick(now_ns=10, tried=[0, 2]) is None
        assert {s.pick(now_ns=200) for _ in range(50)} == {0, 2}


@ALL
def test_avoided_ones_are_stepped_around_after_a_change(lb):
    with one_cluster([1] * 6, lb) as s:
        s.weigh([1, 2, 3, 4, 5, 6])
        for i in (1, 3):
            s.set_avoid(i, 1_000)
        assert set(range(6)) - {1, 3} == {s.pick(now_ns=5) for _ in range(200)}
        s.weigh([6, 5, 4, 3, 2, 1])
        counts = s.picks(20_000, now_ns=6)
        assert counts[1] == counts[3] == 0 and is_about(counts, [6, 0, 4, 0, 2, 1])
        counts = s.picks(50_000, now_ns=2_000)
        assert is_about(counts, [6, 5, 4, 3, 2, 1])


@ALL
def test_any_order_of_events(lb):
    """Weights, avoidances and picks in any order: a pick is never one that may not be, and never none without need."""
    for seed in range(30):
        rng = random.Random(seed)
        n = rng.choice([1, 2, 3, 5, 17, 64])
        with one_cluster([rng.randrange(1, 9) for _ in range(n)], lb, seed) as s:
            weights, avoided, now = [1] * n, [0] * n, 0
            for _ in range(300):
                now += rng.randrange(3)
                what = rng.randrange(10)
                if what == 0:
                    given = [rng.choice([0, 1, rng.randrange(1, TOP + 1)]) for _ in range(n)]
                    s.weigh(given)
                    weights = given if any(given) else [1] * n
                elif what == 1:
                    s.weigh(None)
                    weights = [1] * n
                elif what == 2:
                    at = rng.randrange(n)
                    avoided[at] = now + rng.randrange(20)
                    s.set_avoid(at, avoided[at])
                else:
                    tried = rng.sample(range(n), rng.randrange(min(n, 3) + 1)) if what > 7 else []
                    pick = s.pick(now_ns=now, tried=tried)
                    left = [at for at in range(n) if weights[at] and at not in tried]
                    if n == 1 and not tried:
                        assert pick == 0
                        continue
                    assert (pick is None) == (not left)
                    if pick is not None:
                        assert pick in left
                        assert avoided[pick] <= now or all(avoided[at] > now for at in left)


def test_what_was_learned_of_endpoints_outlives_their_weights():
    with one_cluster([1, 1], PEAK_EWMA) as s:
        s.observe(0, 10**6, now_ns=10)
        s.observe(1, 10**9, now_ns=10)
        s.weigh([1, 3])
        # Of two draws by weight one is enough for the quicker one: 1 - (3/4)^2.
        quick, slow = s.picks(40_000, now_ns=20)
        assert abs(quick / (quick + slow) - 7 / 16) < 0.02
        s.weigh([3, 3])
        assert s.picks(100, now_ns=20) == [100, 0]
