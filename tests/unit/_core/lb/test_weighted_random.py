"""Random picks: proportions within what chance allows, for fixed seeds."""

from itertools import pairwise

import pytest

from probes.wire import RANDOM, cluster, decoded, endpoints, snapshot


def lottery(weights: list[int], seed: int = 1):
    return decoded(snapshot(clusters=[cluster(endpoints(len(weights), weights), lb=RANDOM)]), seed)


def is_plausible(counts: list[int], weights: list[int]) -> bool:
    """Pearson's chi-square below six standard deviations of its own distribution."""
    picks, total = sum(counts), sum(weights)
    assert all(count == 0 for count, weight in zip(counts, weights, strict=True) if weight == 0)
    expected = [picks * weight / total for weight in weights]
    chi2 = sum((count - want)**2 / want for count, want in zip(counts, expected, strict=True) if want)
    freedom = sum(1 for want in expected if want) - 1
    return chi2 < freedom + 6 * (2 * freedom)**0.5 + 10


WEIGHTS = [[1] * 10, [1, 2], [1, 2, 3, 4], [100, 1, 1], [10] * 30 + [1] * 30, [*range(1, 200)], [2**31] * 3]


@pytest.mark.parametrize("weights", WEIGHTS, ids=len)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shares_follow_weights(weights, seed):
    with lottery(weights, seed) as s:
        assert is_plausible(s.picks(200_000), weights)


def test_the_check_itself_can_fail():
    with lottery([1, 1, 1, 1]) as s:
        assert not is_plausible(s.picks(200_000), [100, 100, 100, 108])


def test_extreme_weights():
    with lottery([1, 2**31]) as s:
        assert s.picks(100_000) == [0, 100_000]
    with lottery([1] * 999 + [2**31]) as s:
        assert sum(s.picks(100_000)[:999]) <= 2


def test_picks_are_independent():
    with lottery([1, 1]) as s:
        line = [s.pick() for _ in range(20_000)]
    repeats = sum(a == b for a, b in pairwise(line))
    assert abs(repeats - 10_000) < 500


@pytest.mark.parametrize("avoided", [[0], [0, 1, 2], list(range(9)), list(range(1, 200)),
                                     [i for i in range(200) if i not in (0, 7, 11)]])
def test_what_is_left_keeps_its_shares(avoided):
    """With most endpoints avoided, draws give up and all are looked at: shares stay the same."""
    weights = [3, *range(1, 200)]
    with lottery(weights) as s:
        for i in avoided:
            s.set_avoid(i, 10)
        left = [0 if i in avoided else weight for i, weight in enumerate(weights)]
        assert is_plausible(s.picks(100_000, now_ns=9), left)


def test_seeds_decide():
    with lottery([1] * 50) as s:
        s.seed(7)
        once = [s.pick() for _ in range(20)]
        s.seed(7)
        assert [s.pick() for _ in range(20)] == once
        s.seed(8)
        assert [s.pick() for _ in range(20)] != once
