"""Turns: in order, in proportion, interleaved."""

from itertools import pairwise

import pytest

from probes.wire import ROUND_ROBIN, cluster, decoded, endpoints, snapshot


def rotation(weights: list[int], seed: int = 1):
    return decoded(snapshot(clusters=[cluster(endpoints(len(weights), weights), lb=ROUND_ROBIN)]), seed)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_equal_weights_take_turns_in_order(count):
    with rotation([3] * count) as s:
        picks = [s.pick() for _ in range(3 * count)]
    assert all((later - earlier) % count == 1 % count for earlier, later in pairwise(picks))


def test_equal_weights_begin_anywhere():
    """Workers that start together do not all send their first request to the same endpoint."""
    first = set()
    for seed in range(200):
        with rotation([1] * 10, seed) as s:
            first.add(s.pick())
    assert first == set(range(10))


def test_unequal_weights_begin_anywhere():
    first = [0] * 4
    for seed in range(2000):
        with rotation([1, 2, 3, 4], seed) as s:
            first[s.pick()] += 1
    # The schedule is entered at a random moment: roughly in proportion to weight.
    assert all(100 * weight < count < 300 * weight for count, weight in zip(first, [1, 2, 3, 4], strict=True))


@pytest.mark.parametrize("weights", [[1, 2], [5, 1, 1], [1, 2, 3, 4], [80, 15, 5], [7, 7, 7, 1], [1000, 1, 999],
                                     [*range(1, 60)]])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_cycle_of_the_sum_of_weights_is_exact(weights, seed):
    with rotation(weights, seed) as s:
        for _ in range(4):
            assert s.picks(sum(weights)) == weights


@pytest.mark.parametrize("seed", range(20))
def test_turns_of_one_endpoint_are_evenly_spaced(seed):
    """Weight 3 of 4 gives a a a b at worst, never two b or four a in a row; a heavy one never waits for all others."""
    with rotation([3, 1], seed) as s:
        line = "".join("ab"[s.pick()] for _ in range(400))
    assert "bb" not in line and "aaaa" not in line
    with rotation([50] + [1] * 50, seed) as s:
        picks = [s.pick() for _ in range(1000)]
    light_run = heavy_run = longest_light = longest_heavy = 0
    for pick in picks:
        light_run, heavy_run = (0, heavy_run + 1) if pick == 0 else (light_run + 1, 0)
        longest_light, longest_heavy = max(longest_light, light_run), max(longest_heavy, heavy_run)
    assert longest_light <= 3 and longest_heavy <= 3


def test_any_run_of_picks_stays_near_its_share():
    weights = [1, 2, 4, 8, 16]
    with rotation(weights) as s:
        picks = [s.pick() for _ in range(310)]
    for i, weight in enumerate(weights):
        for start in range(len(picks) - 62):
            window = picks[start:start + 62].count(i)
            assert abs(window - 2 * weight) <= 1


def test_extreme_weights():
    with rotation([1, 2**31]) as s:
        counts = s.picks(200_000)
    assert counts[0] <= 1 and sum(counts) == 200_000
    with rotation([2**31, 2**31 - 1, 2**30]) as s:
        counts = s.picks(500_000)
    assert [round(count / 1000) for count in counts] == [200, 200, 100]


def test_a_million_picks_keep_the_proportion():
    weights = [97, 3, 250, 1]
    with rotation(weights) as s:
        counts = s.picks(351 * 5000)
    assert all(abs(count - 5000 * weight) <= 1 for count, weight in zip(counts, weights, strict=True))


@pytest.mark.parametrize(("count", "most"), [(70, 10), (70, 100_000), (1000, 3), (1000, 2**31)])
def test_turns_are_where_the_weights_put_them(rng, count, most):
    """After any number of picks each has had its share of them, but for the turn that it waits for."""
    weights = [rng.randrange(1, most + 1) for _ in range(count)]
    had = [0] * count
    with decoded(snapshot(clusters=[cluster(endpoints(count, weights), lb=ROUND_ROBIN)]), rows=count) as s:
        s.pick()
        for done in range(200, 20 * count, 200):
            had = [a + b for a, b in zip(had, s.picks(200), strict=True)]
            assert sum(had) == done
            assert all(abs(n - done * weight / sum(weights)) <= 2 for n, weight in zip(had, weights, strict=True))


def test_many_that_come_back_at_once_take_turns_as_before():
    weights = [1 + i % 3 for i in range(600)]
    with decoded(snapshot(clusters=[cluster(endpoints(600, weights), lb=ROUND_ROBIN)]), rows=600) as s:
        for i in range(590):
            s.set_avoid(i, 1000)
        assert sum(s.picks(5000, now_ns=1)[:590]) == 0
        s.picks(12_000, now_ns=1000)
        assert all(abs(n - weight * 10) <= 2 for n, weight in zip(s.picks(12_000, now_ns=1000), weights, strict=True))
        # Together, by other weights.
        for i in range(590):
            s.set_avoid(i, 3000)
        s.picks(5000, now_ns=2000)
        s.weigh(weights[::-1])
        s.picks(12_000, now_ns=3000)
        assert all(abs(n - weight * 10) <= 2
                   for n, weight in zip(s.picks(12_000, now_ns=3000), weights[::-1], strict=True))


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1, 2, 3, 4]])
def test_an_avoided_endpoint_is_left_out_and_the_rest_keep_their_shares(weights):
    with rotation(weights) as s:
        s.set_avoid(2, 1000)
        rest = [weights[i] if i != 2 else 0 for i in range(4)]
        for _ in range(3):
            s.picks(sum(rest), now_ns=999)
        assert s.picks(sum(rest) * 10, now_ns=999) == [10 * weight for weight in rest]


def test_an_endpoint_that_comes_back_is_not_paid_for_its_absence():
    weights = [1, 2, 1]
    with rotation(weights) as s:
        s.set_avoid(1, 1000)
        s.picks(10_000, now_ns=999)
        # At 1000 the avoidance is over.
        counts = s.picks(400, now_ns=1000)
        assert abs(counts[1] - 200) <= 2 and abs(counts[0] - 100) <= 2


@pytest.mark.parametrize("seed", range(10))
def test_a_heavy_endpoint_that_comes_back_has_its_turn_soon(seed):
    weights = [100] + [1, 2] * 50
    with rotation(weights, seed) as s:
        s.set_avoid(0, 1000)
        s.picks(500, now_ns=999)
        # Its turns are 2.5 picks apart.
        assert 0 in [s.pick(now_ns=1000) for _ in range(6)]


def test_an_avoidance_that_ends_early_is_noticed():
    with rotation([1, 2, 1, 5, 5, 5]) as s:
        for i in range(5):
            s.set_avoid(i, 10**15)
        assert s.picks(100, now_ns=1) == [0, 0, 0, 0, 0, 100]
        s.set_avoid(1, 0)
        assert s.picks(1000, now_ns=1)[1] > 200


def test_a_tried_endpoint_keeps_its_turn():
    """What one request has tried already is nobody else's concern."""
    with rotation([1, 3]) as s:
        for _ in range(40):
            assert s.pick(tried=[1]) == 0
            assert s.pick(tried=[0]) == 1
        s.picks(40)
        assert s.picks(400) == [100, 300]


def test_the_schedule_survives_whatever_is_asked(rng):
    """Against a model that only knows what may be picked."""
    weights = [rng.choice([1, 2, 3, 100, 2**31]) for _ in range(40)]
    with rotation(weights) as s:
        until = [0] * 40
        now = 0
        for _ in range(20_000):
            now += rng.randrange(3)
            if rng.random() < 0.2:
                i = rng.randrange(40)
                until[i] = rng.choice([0, now, now + 1, now + 50, now + 1000])
                s.set_avoid(i, until[i])
            tried = rng.sample(range(40), rng.choice([0, 0, 0, 1, 2, 17, 39]))
            usable = {i for i in range(40) if until[i] <= now and i not in tried}
            pick = s.pick(now_ns=now, tried=tried, ops_only=True)
            assert pick in usable if usable else pick is None
        # Once nothing is avoided, shares are back.
        for i in range(40):
            s.set_avoid(i, 0)
        counts = s.picks(200_000, now_ns=now)
    heavy = [count for count, weight in zip(counts, weights, strict=True) if weight == 2**31]
    assert max(heavy) - min(heavy) <= 2
