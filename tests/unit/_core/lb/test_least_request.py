"""The less loaded of two; all of them while they are few; a schedule when weights differ."""

import pytest

from probes.wire import LEAST_REQUEST, cluster, decoded, endpoints, snapshot


def least(weights: list[int], seed: int = 1):
    return decoded(snapshot(clusters=[cluster(endpoints(len(weights), weights), lb=LEAST_REQUEST)]), seed)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_few_the_idlest_is_always_found(count):
    with least([1] * count) as s:
        for idle in range(count):
            for i in range(count):
                s.set_active(i, 0 if i == idle else 1)
            assert s.picks(50)[idle] == 50


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 100])
def test_equal_loads_share_evenly(count):
    with least([1] * count) as s:
        counts = s.picks(20_000 * count)
    assert all(abs(each - 20_000) < 900 for each in counts)


def test_of_many_the_less_loaded_of_two_wins():
    """Load i on endpoint i: of n endpoints the k-th is the better of two distinct draws (n-1-k)/C(n,2) of the time."""
    n = 10
    with least([1] * n) as s:
        for i in range(n):
            s.set_active(i, i)
        counts = s.picks(450_000)
    assert counts[n - 1] == 0
    for k in range(n - 1):
        assert abs(counts[k] - 10_000 * (n - 1 - k)) < 1200


def test_an_idle_endpoint_among_busy_ones_gets_its_draws():
    n = 20
    with least([1] * n) as s:
        for i in range(1, n):
            s.set_active(i, 5)
        # In 2/n of all pairs.
        assert abs(s.picks(100_000)[0] - 10_000) < 600


def test_two_draws_keep_the_queues_short():
    """500 requests in flight on 100 endpoints: 5 each, and never far from it (random alone reaches 15 and more)."""
    with least([1] * 100) as s:
        counts = s.picks(50_000, hold=500)
        assert max(counts) - min(counts) < 60


@pytest.mark.parametrize("weights", [[95, 5], [1, 2, 3, 4], [10, 1, 1, 1, 1, 1]])
def test_idle_endpoints_of_unequal_weight_are_asked_by_weight(weights):
    """A canary of weight 5 gets its requests even when nobody is busy."""
    with least(weights) as s:
        assert s.picks(10 * sum(weights)) == [10 * weight for weight in weights]


def test_load_shifts_weighted_shares():
    """A turn comes every (active + 1) / weight: three in flight make a weight of 4 count as 1."""
    with least([4, 1]) as s:
        s.set_active(0, 3)
        s.picks(20)
        counts = s.picks(1000)
        assert abs(counts[0] - 500) <= 2


def test_under_load_shares_follow_the_root_of_weights():
    """What a turn every (active + 1) / weight comes to when all answer equally fast: active is the share again."""
    weights = [1, 4, 9, 16]
    with least(weights) as s:
        s.picks(3000, hold=1000)
        counts = s.picks(100_000, hold=1000)
    assert all(abs(count - 10_000 * root) < 600 for count, root in zip(counts, [1, 2, 3, 4], strict=True))


@pytest.mark.parametrize("active", [4095, 4096, 2**15, 2**20 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("weights", [[5, 4, 4], [1, 2, 2], [2**31, 1, 1]])
def test_a_hung_endpoint_of_unequal_weight_is_starved(active, weights):
    with least(weights) as s:
        s.set_active(0, active)
        s.picks(10)
        share = weights[0] / 4096 / (weights[1] + weights[2])
        assert s.picks(8000)[0] <= 20 + 8000 * share / (1 + share)
        s.set_active(0, 0)
        # At most one stretched turn later it is back.
        s.picks(3 * 4096)
        assert s.picks(sum(weights) if sum(weights) < 100 else 100)[0] >= min(weights[0], 90)


@pytest.mark.parametrize("weights", [[1] * 3, [1] * 30, [1, 2, 3], [1, 2] * 15])
def test_avoided_and_tried_ones_are_left_out(weights):
    n = len(weights)
    with least(weights) as s:
        for i in range(0, n, 2):
            s.set_avoid(i, 100)
        for _ in range(500):
            assert s.pick(now_ns=99, tried=[], ops_only=True) % 2 == 1
        odd = list(range(1, n, 2))
        for left in odd:
            tried = [i for i in odd if i != left]
            for _ in range(20):
                assert s.pick(now_ns=99, tried=tried, ops_only=True) == left
        assert s.pick(now_ns=99, tried=odd, ops_only=True) is None


def test_load_that_comes_and_goes_leaves_the_turns_as_they_were():
    """All turns become longer a thousandfold, and short again."""
    weights = [1 + i % 5 for i in range(300)]
    with decoded(snapshot(clusters=[cluster(endpoints(300, weights), lb=LEAST_REQUEST)]), rows=300) as s:
        for active in (0, 1000, 5000, 7, 0):
            for i in range(300):
                s.set_active(i, active)
            s.picks(9000)
            counts = s.picks(9000)
            assert all(abs(n - 10 * weight) <= 2 for n, weight in zip(counts, weights, strict=True)), active
