"""Which failures a rule is about, how long it pauses, and how many attempts a budget gives."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh import Retry
from probes.retry_probe import FAULTS, Window, names, pauses, spreads

SECOND = 10**9
NO_ANSWER = {"connect", "connect_timeout", "reset", "protocol", "timeout"}


# --- which failures -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("on", "faults", "statuses"), [
    ({"connect-failure"}, {"connect", "connect_timeout"}, set()),
    ({"reset"}, {"reset"}, set()),
    ({"protocol-error"}, {"protocol"}, set()),
    ({"timeout"}, {"timeout"}, set()),
    ({"gateway-error"}, NO_ANSWER, {502, 503, 504}),
    ({"5xx"}, NO_ANSWER, set(range(500, 600))),
    ({"retriable-4xx"}, set(), {409}),
    ({400, 463, 464, 599}, set(), {400, 463, 464, 599}),
    ({"reset", 429}, {"reset"}, {429}),
])
def test_what_a_rule_is_about(on, faults, statuses):
    rule = Retry(on=on, per_try_timeout=1.0)
    assert {fault for fault in FAULTS if fault != "status" and names(rule, fault)} == faults
    assert {status for status in range(700) if names(rule, "status", status)} == statuses


# --- the pause ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("n", "most"), [(1, 0.025), (2, 0.075), (3, 0.175), (4, 0.25), (7, 0.25)])
def test_the_pause_is_anything_up_to_what_doubles(n, most):
    found = pauses(Retry(), n, seed=n, count=4000)
    assert min(found) >= 0 and max(found) < most
    assert min(found) < most * 0.01 and max(found) > most * 0.99
    assert abs(sum(found) / len(found) - most / 2) < most * 0.02


def test_no_pause():
    assert set(pauses(Retry(backoff=0), 3, seed=1, count=100)) == {0}


def test_the_longest_pause_is_kept_for_the_longest_base():
    assert max(pauses(Retry(attempts=8, backoff=60.0, backoff_max=60.0), 7, seed=1, count=1000)) < 60.0


@pytest.mark.parametrize(("left", "most"), [(1e6, 2.0), (4.0, 2.0), (1.0, 0.5)])
def test_those_who_were_told_the_same_come_back_one_by_one(left, most):
    found = spreads(4.0, left, seed=3, count=4000)
    assert 0 <= min(found) < most * 0.01 and most * 0.99 < max(found) < most
    assert abs(sum(found) / len(found) - most / 2) < most * 0.02


def test_a_wait_that_takes_all_the_time_is_not_prolonged():
    assert set(spreads(4.0, 0.0, seed=3, count=100)) == {0.0}


# --- the budget ---------------------------------------------------------------------------------------------------

def spent(window: Window, now: int) -> int:
    n = 0
    while window.spend(now):
        n += 1
        assert n < 100_000
    return n


def test_without_traffic_there_are_ten_a_second():
    window = Window()
    assert spent(window, 1000 * SECOND) == 100
    for second in range(1001, 1010):
        assert spent(window, second * SECOND) == 0
    assert spent(window, 1010 * SECOND) == 100


def test_a_steady_trickle_is_never_refused():
    window = Window()
    for tenth in range(2000):
        assert window.spend(1000 * SECOND + tenth * SECOND // 10)


def test_a_fifth_of_the_requests():
    window = Window()
    for _ in range(1000):
        window.earn(1000 * SECOND)
    assert spent(window, 1005 * SECOND) == 100 + 200
    assert spent(window, 1009 * SECOND) == 0


def test_requests_are_forgotten_after_ten_seconds():
    window = Window()
    for _ in range(1000):
        window.earn(1000 * SECOND)
    assert spent(window, 1010 * SECOND) == 100


def test_requests_that_are_all_tried_again_grow_by_a_fifth():
    window = Window()
    made = 0
    for i in range(60_000):
        now = 1000 * SECOND + i * SECOND // 1000          # 1,000 a second, for a minute
        window.earn(now)
        made += window.spend(now)
    assert 60_000 * 0.2 <= made <= 60_000 * 0.2 + 100 * 6 + 100


def test_refusing_takes_nothing():
    window = Window()
    spent(window, 1000 * SECOND)
    before = window.sum(1000 * SECOND)
    assert not window.spend(1000 * SECOND) and window.sum(1000 * SECOND) == before


@given(st.lists(st.tuples(st.integers(0, 25 * 10**8), st.integers(-50, 50)), max_size=60))
def test_the_window_is_what_a_list_says(steps):
    window = Window()
    kept = deque()
    now = 1000 * SECOND
    for wait, n in steps:
        now += wait
        window.add(now, n)
        kept.append((now // SECOND, n))
        while kept[0][0] <= now // SECOND - 10:
            kept.popleft()
        assert window.sum(now) == sum(n for _, n in kept)


def test_a_clock_that_stands_still_or_jumps():
    window = Window()
    rng = random.Random(7)
    now = 0
    for _ in range(1000):
        now += rng.choice([0, 0, 1, SECOND, 3600 * SECOND, 10**17])
        window.add(now)
        assert 0 < window.sum(now) <= 1000


@pytest.mark.parametrize(("share", "rate", "granted"), [
    (0, 0, 0), (0, 3, 30), (10_000, 0, 10), (1_000_000, 0, 1000), (500_000, 100_000, 1_000_500)])
def test_another_share_and_another_rate(share, rate, granted):
    window = Window()
    for _ in range(1000):
        window.earn(1000 * SECOND, share)
    found = 0
    while window.spend(1000 * SECOND, rate):
        found += 1
    assert found == granted
