"""The cheaper of two: by response time and requests in flight, where failures may count as slow."""

import math

import pytest

from probes.wire import (
    FAILURE_AWARE_EWMA,
    PEAK_EWMA,
    SECOND,
    cluster,
    decoded,
    endpoints,
    snapshot,
)

MS = SECOND // 1000
BOTH = pytest.mark.parametrize("lb", [PEAK_EWMA, FAILURE_AWARE_EWMA])


def ewma(weights: list[int], lb: int = PEAK_EWMA, settings: list[int] | None = None, seed: int = 1):
    """`settings`: decay, initial, penalty, the most of a Retry-After."""
    balancing = None if settings is None else [settings, None, None, 0, None, None]
    return decoded(snapshot(clusters=[cluster(endpoints(len(weights), weights), lb=lb, balancing=balancing)]), seed,
                   rows=max(1, len(weights)))


# --- what an endpoint costs ---

@BOTH
def test_a_slow_answer_counts_at_once_and_quick_ones_are_believed_step_by_step(lb):
    with ewma([1] * 3, lb, [10 * SECOND, 30 * MS, 5 * SECOND, 300 * SECOND]) as s:
        now = SECOND
        s.observe(0, 2 * MS, now_ns=now)
        assert s.live_of(0)["cost"] == 2 * MS
        s.observe(0, 500 * MS, now_ns=now)
        assert s.live_of(0)["cost"] == 500 * MS
        for _ in range(30):
            before = s.live_of(0)["cost"]
            now += SECOND
            s.observe(0, 2 * MS, now_ns=now)
            kept = math.exp(-0.1)
            assert s.live_of(0)["cost"] == pytest.approx(max(before * kept + 2 * MS * (1 - kept), 2 * MS), rel=0.01)
        assert s.live_of(0)["cost"] < 30 * MS


@pytest.mark.parametrize("waited", [0, 1, MS, 5 * SECOND, 10 * SECOND, 33 * SECOND, 1000 * SECOND, 10**18])
def test_without_news_a_cost_fades(waited):
    with ewma([1] * 3) as s:
        s.observe(0, SECOND, now_ns=SECOND)
        s.observe(0, 1, "left", now_ns=SECOND + waited)
        expected = SECOND * math.exp(-waited / (10 * SECOND))
        if expected > 1:
            # Whoever left after so short a time has told nothing.
            assert s.live_of(0)["cost"] == SECOND
            s.observe(0, 0, now_ns=SECOND + waited)
            assert s.live_of(0)["cost"] == pytest.approx(expected, rel=0.01)
        else:
            assert s.live_of(0)["cost"] == 1


@BOTH
def test_a_clock_that_goes_back_makes_nothing_dearer(lb):
    with ewma([1] * 3, lb) as s:
        s.observe(0, 10 * MS, now_ns=100 * SECOND)
        for now in (99 * SECOND, 0, 100 * SECOND):
            s.observe(0, MS, now_ns=now)
            assert MS <= s.live_of(0)["cost"] <= 11 * MS
            assert s.live_of(0)["cost_at"] == 100 * SECOND


@BOTH
def test_who_left_had_waited_at_least_so_long(lb):
    with ewma([1] * 3, lb) as s:
        s.observe(0, 10 * MS, now_ns=SECOND)
        s.observe(0, 3 * MS, "left", now_ns=SECOND)
        assert s.live_of(0)["cost"] == 10 * MS
        s.observe(0, 700 * MS, "left", now_ns=SECOND)
        assert s.live_of(0)["cost"] == 700 * MS


@pytest.mark.parametrize(("took", "wait", "cost"), [
    (MS, 0, 5 * SECOND), (7 * SECOND, 0, 7 * SECOND), (MS, SECOND, SECOND), (MS, 40 * SECOND, 40 * SECOND),
    (MS, 10**6 * SECOND, 300 * SECOND), (2 * SECOND, SECOND, 2 * SECOND)])
def test_a_failure_counts_as_slow(took, wait, cost):
    with ewma([1] * 3, FAILURE_AWARE_EWMA) as s:
        s.observe(0, took, "failed", wait, SECOND)
        assert s.live_of(0)["cost"] == pytest.approx(cost, rel=1e-7)


def test_without_that_a_failure_is_as_quick_as_it_came():
    with ewma([1] * 3, PEAK_EWMA) as s:
        s.observe(0, MS, "failed", 100 * SECOND, SECOND)
        assert s.live_of(0)["cost"] == MS


# --- who is picked ---

@BOTH
@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_few_the_cheapest_is_always_found(lb, count):
    with ewma([1] * count, lb) as s:
        for i in range(count):
            s.observe(i, (i + 1) * 10 * MS, now_ns=SECOND)
        assert s.picks(50, now_ns=SECOND)[0] == 50
        s.set_active(0, 1)
        # Two requests of 10 ms are as dear as one of 20 ms, but for the margin, which is for the one with less to do.
        assert s.picks(50, now_ns=SECOND)[1] == 50


@BOTH
def test_of_many_the_cheaper_of_two_wins(lb):
    """Of n endpoints the k-th cheapest is the better of two distinct draws (n-1-k)/C(n,2) of the time."""
    n = 10
    with ewma([1] * n, lb) as s:
        for i in range(n):
            s.observe(i, (i + 1) * MS, now_ns=SECOND)
        counts = s.picks(450_000, now_ns=SECOND)
    assert counts[n - 1] == 0
    for k in range(n - 1):
        assert abs(counts[k] - 10_000 * (n - 1 - k)) < 1200


@BOTH
def test_what_was_never_measured_is_measured_by_one_request(lb):
    with ewma([1] * 3, lb) as s:
        s.observe(0, 2 * MS, now_ns=SECOND)
        s.observe(1, 2 * MS, now_ns=SECOND)
        assert s.picks(50, now_ns=SECOND)[2] == 50
        s.set_active(2, 1)
        assert s.picks(50, now_ns=SECOND)[2] == 0
        s.set_active(0, 40)
        s.set_active(1, 40)
        # Were it as slow as `initial` it would still be the better one.
        assert s.picks(50, now_ns=SECOND)[2] == 50


@BOTH
def test_a_slow_endpoint_is_asked_again_when_its_cost_has_faded(lb):
    with ewma([1] * 3, lb) as s:
        for i in range(3):
            s.observe(i, 500 * MS if i == 0 else 2 * MS, now_ns=SECOND)
        now = SECOND
        while s.picks(30, now_ns=now)[0] == 0:
            assert now < 200 * SECOND
            now += SECOND
            for i in (1, 2):
                s.observe(i, 2 * MS, now_ns=now)
        # 500 ms fade to 2 ms in 55 s.
        assert 45 * SECOND < now < 65 * SECOND


@BOTH
def test_after_a_quiet_night_requests_are_shared_out(lb):
    """All times have faded, each to another nothing: who has least to do is taken, not who has faded most."""
    with ewma([1] * 10, lb) as s:
        for i in range(10):
            s.observe(i, (1 + 50 * i) * MS, now_ns=SECOND)
        counts = s.picks(2000, now_ns=8 * 3600 * SECOND, hold=500)
    assert min(counts) > 150 and max(counts) < 250


@BOTH
@pytest.mark.parametrize("weights", [[95, 5], [1, 2, 3, 4], [10, 1, 1, 1, 1, 1]])
def test_equal_endpoints_share_by_weight(lb, weights):
    with ewma(weights, lb) as s:
        for i in range(len(weights)):
            s.observe(i, 5 * MS, now_ns=SECOND)
        total = sum(weights)
        counts = s.picks(10_000 * len(weights), now_ns=SECOND)
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count / sum(counts) - weight / total) < 0.01


@BOTH
@pytest.mark.parametrize(("took", "least", "most"), [(MS, 0.085, 0.11), (100 * MS, 0.0015, 0.004)])
def test_a_weight_is_what_a_share_cannot_run_away_from(lb, took, least, most):
    """A canary of 5 %: at most 9.75 % when it is quicker, at least 0.25 % when it is slower."""
    with ewma([95, 5], lb) as s:
        s.observe(0, 10 * MS, now_ns=SECOND)
        s.observe(1, took, now_ns=SECOND)
        counts = s.picks(100_000, now_ns=SECOND)
    assert least < counts[1] / 100_000 < most


@BOTH
def test_load_is_in_proportion_to_weight(lb):
    """800 requests in flight on weights 3 and 1, both equally quick: 600 and 200."""
    with ewma([3, 1], lb) as s:
        for i in range(2):
            s.observe(i, 5 * MS, now_ns=SECOND)
        counts = s.picks(40_000, now_ns=SECOND, hold=800)
    assert abs(counts[0] - 30_000) < 600


def test_one_that_fails_at_once_attracts_no_requests():
    for lb, most in ((FAILURE_AWARE_EWMA, 0), (PEAK_EWMA, 200)):
        with ewma([1] * 20, lb) as s:
            for i in range(20):
                s.observe(i, 20 * MS, now_ns=SECOND)
            s.observe(7, MS // 2, "failed", now_ns=60 * SECOND)
            for i in range(20):
                if i != 7:
                    s.observe(i, 20 * MS, now_ns=60 * SECOND)
            count = s.picks(1000, now_ns=60 * SECOND)[7]
        assert count <= most
        # The plain one sends it what it can: whenever it is drawn.
        assert lb == FAILURE_AWARE_EWMA or count > 50


# --- sizes and weights that nobody has in mind ---

@BOTH
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 10_000])
@pytest.mark.parametrize("weight", [1, 2**31])
@pytest.mark.parametrize("odd", [1, 2, 2**31])
def test_any_size_and_weight(lb, count, weight, odd):
    weights = [weight] * count
    if count:
        weights[0] = odd
    with ewma(weights, lb) as s:
        for _ in range(20):
            pick = s.pick(now_ns=SECOND)
            assert (pick is None) == (count == 0)
        if count:
            for i in range(min(count, 10)):
                s.observe(i, 2**60, "failed", 2**60, 2**60)
                s.set_active(i, 2**32 - 1)
            assert sum(s.picks(200, now_ns=2**61)) == 200
            assert all(math.isfinite(s.live_of(i)["cost"]) for i in range(min(count, 10)))


@BOTH
@pytest.mark.parametrize("settings", [[0, 0, 0, 0], [1, 0, 0, 0], [2**60, 2**60, 2**60, 2**60]])
def test_any_settings(lb, settings):
    with ewma([1, 2, 3], lb, settings) as s:
        for now in (0, 1, 2, 2**62):
            for outcome in ("answered", "failed", "left"):
                s.observe(0, 5, outcome, 7, now)
                assert math.isfinite(s.live_of(0)["cost"]) and s.live_of(0)["cost"] >= 0
            assert sum(s.picks(50, now_ns=now)) == 50
