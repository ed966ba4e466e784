"""When a request is hedged, and how often: percentiles of recent times against sorted ones, and the budget."""

import random

import pytest

from fastmesh._core.play.hedging import Hedging

MS, SECOND = 10**6, 10**9
NOW = 1000 * SECOND


def hedging(delay: int = 0, least: int = 0, part: int = 0, share: int = 0, rate: int = 0) -> Hedging:
    return Hedging([2, delay, least, part, share, rate, False, False, True])


def test_a_fixed_delay_is_known_at_once() -> None:
    assert hedging(delay=7 * MS).request(NOW) == 7 * MS


@pytest.mark.parametrize("part", [500_000, 900_000, 950_000, 990_000, 999_900])
@pytest.mark.parametrize("seed", range(3))
def test_a_percentile_is_within_an_eighth(part: int, seed: int) -> None:
    dice = random.Random(seed)
    took = [int(dice.lognormvariate(16, 2)) for _ in range(5000)]
    h = hedging(part=part)
    for each in took:
        h.took(each, NOW)
    exact = sorted(took)[-(-len(took) * part // 1_000_000) - 1]
    assert max(exact, 1 << 14) < h.delay(NOW) <= max(exact * 9 / 8, 18432) + 1


def test_the_shortest_and_the_longest() -> None:
    h = hedging(part=950_000)
    for _ in range(20):
        h.took(0, NOW)
    assert h.delay(NOW) == 18432           # the end of the first bucket
    h = hedging(part=950_000)
    for _ in range(20):
        h.took(2**63, NOW)
    assert h.delay(NOW) > 240 * SECOND


def test_nothing_is_known_before_twenty() -> None:
    h = hedging(part=950_000)
    for _ in range(19):
        h.took(MS, NOW)
        assert h.delay(NOW) == 0
    h.took(MS, NOW)
    assert MS < h.delay(NOW) <= MS * 9 / 8


def test_never_sooner_than_the_least() -> None:
    h = hedging(part=950_000, least=5 * MS)
    assert h.delay(NOW) == 0
    for _ in range(20):
        h.took(MS, NOW)
    assert h.delay(NOW) == 5 * MS


def test_it_follows_the_last_seconds() -> None:
    h = hedging(part=950_000)
    for _ in range(100):
        h.took(MS, NOW)
    for i in range(100):
        h.took(100 * MS, NOW + 6 * SECOND + i)
    assert h.delay(NOW + 6 * SECOND) > 90 * MS
    for _ in range(1000):
        h.took(MS, NOW + 12 * SECOND)
    assert h.delay(NOW + 12 * SECOND) > MS     # 100 of 1,100 are slow: more than one in twenty
    for _ in range(30):
        h.took(MS, NOW + 18 * SECOND)
    assert h.delay(NOW + 18 * SECOND) < 2 * MS
    assert h.delay(NOW + 60 * SECOND) == 0     # nobody has come for long


def test_a_clock_that_jumps_back_is_borne() -> None:
    h = hedging(part=950_000, share=1_000_000)
    for _ in range(30):
        h.request(NOW)
        h.took(MS, NOW)
    h.took(MS, NOW - 100 * SECOND)
    assert h.delay(NOW - 100 * SECOND) > 0
    assert h.spend(NOW - 100 * SECOND)


def test_the_budget_is_a_share_and_some_a_second() -> None:
    h = hedging(delay=1, share=50_000, rate=0)
    assert not h.spend(NOW)
    for _ in range(100):
        h.request(NOW)
    assert [h.spend(NOW) for _ in range(6)] == [True] * 5 + [False]
    assert not h.spend(NOW + 11 * SECOND)
    h = hedging(delay=1, rate=1)
    assert [h.spend(NOW) for _ in range(11)] == [True] * 10 + [False]
    assert h.spend(NOW + 11 * SECOND)
