"""Who is an outlier, by the compiled arithmetic: the clock and the random numbers are the test's."""

from collections.abc import Callable
from typing import Any

import pytest

from fastmesh._core.mem.health import REASONS
from fastmesh._core.play.balancer import CONNECT, ERROR, GATEWAY, GOOD, TIMEOUT, Balancer
from fastmesh.config.outlier import Outlier
from fastmesh.snapshot.outlier import outlier_record
from probes.wire import SECOND, cluster, endpoints, pack, snapshot

START = 1_000 * SECOND
MS = 1_000_000
Made = Callable[..., Balancer]


def made(count: int, beside: Balancer | None = None, **outlier: Any) -> Balancer:
    record = outlier_record(Outlier.model_validate({"jitter": "0%", "ramp": "0", **outlier}))
    found = endpoints(count)
    for i, row in enumerate(found):
        row[0] = i
    return Balancer(pack(snapshot(clusters=[cluster(found, outlier=record)])), count, 7, beside)


def out(b: Balancer, count: int) -> list[int]:
    return [i for i in range(count) if b.ejection(i)[0]]


def fail(b: Balancer, at: int, times: int, seen: int = GATEWAY, now: int = START) -> None:
    for _ in range(times):
        b.judge(at, seen, 0, now)


@pytest.mark.parametrize(("seen", "key"), [
    (ERROR, "server_errors"), (GATEWAY, "gateway_errors"), (TIMEOUT, "timeouts")])
def test_so_many_in_a_row(seen: int, key: str) -> None:
    others = {k: 0 for k in ("server_errors", "gateway_errors", "timeouts", "connect_failures") if k != key}
    b = made(3, **{key: 4}, **others)
    fail(b, 1, 3, seen)
    assert out(b, 3) == []
    fail(b, 1, 1, seen)
    assert out(b, 3) == [1]
    assert b.ejection(1) == (START + 30 * SECOND, 1, REASONS.index(key))


def test_a_good_answer_forgives_them() -> None:
    b = made(3)
    for _ in range(10):
        fail(b, 0, 4)
        b.judge(0, GOOD, MS, START)
    assert out(b, 3) == []


def test_an_error_of_the_application_is_no_gateway_error() -> None:
    b = made(3, server_errors=0)
    for _ in range(10):
        fail(b, 0, 4)
        fail(b, 0, 1, ERROR)
    assert out(b, 3) == []


def test_connects_that_fail_together_count_once() -> None:
    b = made(3, connect_failures=2)
    for _ in range(10):
        b.connect_failed(0, START)
        b.judge(0, CONNECT, 0, START)
    assert out(b, 3) == []
    b.connect_failed(0, START + 10 * SECOND)
    b.judge(0, CONNECT, 0, START + 10 * SECOND)
    assert out(b, 3) == [0]


def test_what_two_workers_see_is_added_up() -> None:
    one = made(3)
    other = made(3, beside=one)
    fail(one, 2, 3)
    fail(other, 2, 2)
    assert out(one, 3) == out(other, 3) == [2]
    for b in (one, other):
        picked = {b.pick(START) for _ in range(12)}
        assert picked == {0, 1}


def test_nobody_is_watched_when_it_is_off() -> None:
    b = made(3, enabled=False)
    fail(b, 0, 50)
    assert out(b, 3) == []


@pytest.mark.parametrize(("count", "most", "expected"), [
    (1, "34%", 0), (1, "100%", 0), (2, "34%", 1), (3, "34%", 1), (6, "34%", 2), (10, "34%", 3), (10, "0%", 1),
    (4, "100%", 3), (10, "50%", 5)])
def test_how_many_may_be_out(count: int, most: str, expected: int) -> None:
    b = made(count, max_ejected=most)
    for round_ in range(3):
        for i in range(count):
            fail(b, i, 20, now=START + round_ * 2 * SECOND)
    assert len(out(b, count)) == expected


def test_a_dry_run_ejects_nobody() -> None:
    b = made(3, dry_run=True)
    fail(b, 0, 100)
    assert out(b, 3) == []


def test_part_of_the_ejections() -> None:
    b = made(400, max_ejected="100%", enforce="25%")
    for i in range(400):
        fail(b, i, 5)
    assert 70 <= len(out(b, 400)) <= 130


# --- out, asked, in again ---

def test_one_request_asks_and_only_one() -> None:
    one = made(3)
    other = made(3, beside=one)
    fail(one, 1, 5)
    now = START + 30 * SECOND
    assert {b.pick(now - 1) for b in (one, other) for _ in range(12)} == {0, 2}
    assert one.pick(now) == 1 and one.has_probed
    for b in (one, other):
        for _ in range(12):
            assert b.pick(now) != 1 and not b.has_probed
    one.judge(1, GOOD, MS, now, True)
    assert out(one, 3) == []
    assert {one.pick(now) for _ in range(12)} == {other.pick(now) for _ in range(12)} == {0, 1, 2}


def test_a_probe_that_fails_doubles_the_time_up_to_the_most() -> None:
    b = made(3, base="10s", max="25s")
    fail(b, 1, 5)
    now, times = START, []
    for _ in range(4):
        until, _, _ = b.ejection(1)
        times.append((until - now) // SECOND)
        now = until
        assert b.pick(now) == 1 and b.has_probed
        b.judge(1, TIMEOUT, 0, now, True)
    assert times == [10, 20, 25, 25]
    assert b.ejection(1)[2] == REASONS.index("probe")


def test_what_was_under_way_says_nothing() -> None:
    b = made(3)
    fail(b, 1, 5)
    before = b.ejection(1)
    b.judge(1, GOOD, MS, START + SECOND)
    fail(b, 1, 20, now=START + SECOND)
    assert b.ejection(1) == before


def test_a_probe_that_is_given_up_is_made_again() -> None:
    b = made(3)
    fail(b, 1, 5)
    now = START + 30 * SECOND
    assert b.pick(now) == 1
    b.give_up_probe(1)
    assert b.pick(now) == 1 and b.has_probed


def test_a_probe_whose_worker_died_is_made_again() -> None:
    one = made(3)
    other = made(3, beside=one)
    fail(one, 1, 5)
    now = START + 30 * SECOND
    assert one.pick(now) == 1
    assert 1 not in {other.pick(now + 30 * SECOND - 1) for _ in range(12)}
    assert other.pick(now + 30 * SECOND) == 1 and other.has_probed


def test_health_is_rewarded() -> None:
    """Each window without an ejection forgives one of the past."""
    b = made(3, base="10s", interval="10s")
    now = START
    fail(b, 1, 5, now=now)
    for _ in range(3):
        now = b.ejection(1)[0]
        assert b.pick(now) == 1
        b.judge(1, GATEWAY, 0, now, True)
    now = b.ejection(1)[0]
    assert b.pick(now) == 1
    b.judge(1, GOOD, MS, now, True)
    now += 20 * SECOND
    fail(b, 1, 5, now=now)
    assert b.ejection(1)[:2] == (now + 30 * SECOND, 3)      # 4 in a row, less 2, and one more


def test_jitter_spreads_them() -> None:
    b = made(50, jitter="50%", max_ejected="100%")
    for i in range(49):
        fail(b, i, 5)
    times = [(b.ejection(i)[0] - START) / SECOND for i in range(49)]
    assert all(30 <= t <= 45 for t in times)
    assert max(times) - min(times) > 10


def test_it_warms_up() -> None:
    b = made(4, ramp="10s")
    fail(b, 1, 5)
    now = START + 30 * SECOND
    assert b.pick(now) == 1
    b.judge(1, GOOD, MS, now, True)
    at_first = [b.pick(now + SECOND) for _ in range(400)].count(1)
    later = [b.pick(now + 9 * SECOND) for _ in range(400)].count(1)
    after = [b.pick(now + 11 * SECOND) for _ in range(400)].count(1)
    assert at_first < 40 < later < 110
    assert after == 100


# --- windows ---

def window(b: Balancer, good: list[int], bad: list[int], now: int = START, took: int = MS) -> None:
    """So many requests of each kind to each endpoint; then the window ends."""
    b.judge(0, GOOD, took, now)         # the first begins it
    for i, (well, ill) in enumerate(zip(good, bad, strict=True)):
        for k in range(max(well, ill)):
            if k < ill:
                b.judge(i, ERROR, took, now + SECOND)
            if k < well:
                b.judge(i, GOOD, took, now + SECOND)
        for _ in range(16):
            b.judge(i, GOOD, took, now + SECOND)
    b.judge(0, GOOD, took, now + 10 * SECOND)


def test_one_that_is_worse_than_the_others() -> None:
    b = made(6, server_errors=0, failure_percentage={"threshold": "0%"})
    window(b, [200] * 6, [2, 2, 2, 60, 2, 2])
    assert out(b, 6) == [3]
    assert b.ejection(3)[2] == REASONS.index("success_rate")


def test_one_failure_among_the_perfect_is_none() -> None:
    """It is two standard deviations away, however few failures there are."""
    b = made(5, failure_percentage={"threshold": "0%"})
    window(b, [200] * 5, [0, 0, 3, 0, 0])
    assert out(b, 5) == []


@pytest.mark.parametrize(("count", "good", "bad"), [
    (4, 200, 60),       # too few endpoints
    (6, 60, 20),        # too few requests
])
def test_too_little_to_compare_with(count: int, good: int, bad: int) -> None:
    b = made(count, server_errors=0, failure_percentage={"threshold": "0%"})
    window(b, [good] * count, [0, bad, *[0] * (count - 2)])
    assert out(b, count) == []


def test_one_that_fails_most_of_the_time() -> None:
    b = made(3, server_errors=0, success_rate={"factor": "0"})
    window(b, [100, 2, 100], [0, 200, 0])
    assert out(b, 3) == [1]
    assert b.ejection(1)[2] == REASONS.index("failure_percentage")


def test_a_window_with_a_pause_before_it_is_not_judged() -> None:
    b = made(3, server_errors=0, success_rate={"factor": "0"})
    b.judge(0, GOOD, MS, START)
    for i, seen in enumerate((GOOD, ERROR, GOOD)):
        for _ in range(200):
            b.judge(i, seen, MS, START + SECOND)
    b.judge(0, GOOD, MS, START + 21 * SECOND)
    assert out(b, 3) == []


def test_one_that_is_late() -> None:
    b = made(3, latency={"factor": "3", "min_requests": 20})
    b.judge(0, GOOD, MS, START)
    for i, took in enumerate((50, 50, 200)):
        for _ in range(32):
            b.judge(i, GOOD, took * MS, START + SECOND)
    b.judge(0, GOOD, MS, START + 10 * SECOND)
    assert out(b, 3) == [2]
    assert b.ejection(2)[2] == REASONS.index("latency")


def test_the_same_seed_does_the_same() -> None:
    def run() -> list[tuple[int, int, int]]:
        b = made(20, jitter="50%", enforce="50%")
        for i in range(20):
            fail(b, i, 5, now=START + i * SECOND)
        return [b.ejection(i) for i in range(20)]
    assert run() == run()


# --- a clock that is set on or back -----------------------------------------------------------------------------------

JUMPS = pytest.mark.parametrize("jump", [86_400 * SECOND, -3_600 * SECOND], ids=["a day on", "an hour back"])
LATER = 10_000 * SECOND     # there is an hour before it


@JUMPS
def test_one_that_is_out_is_asked_once_when_the_clock_jumps(jump: int) -> None:
    b = made(3)
    fail(b, 1, 5, now=LATER)
    assert out(b, 3) == [1] and 1 not in {b.pick(LATER) for _ in range(20)}
    now = LATER + jump
    picks = [(b.pick(now), b.has_probed) for _ in range(200)]
    assert picks.count((1, True)) == 1 and (1, False) not in picks
    b.judge(1, ERROR, 0, now, True)
    assert b.ejection(1)[0] == now + 60 * SECOND
    # From here on it goes by the clock as it is.
    assert 1 not in {b.pick(now + 59 * SECOND) for _ in range(20)}
    assert [b.pick(now + 60 * SECOND) for _ in range(20)].count(1) == 1
    b.judge(1, GOOD, MS, now + 60 * SECOND, True)
    assert out(b, 3) == []


@JUMPS
def test_windows_begin_anew_when_the_clock_jumps(jump: int) -> None:
    b = made(6, server_errors=0, failure_percentage={"threshold": "0%"})
    b.judge(0, GOOD, MS, LATER)
    for _ in range(200):
        b.judge(3, ERROR, MS, LATER + SECOND)
    # What came before is of no known length, and nobody is judged by it.
    for i in range(6):
        for _ in range(200):
            b.judge(i, GOOD, MS, LATER + jump)
    assert out(b, 6) == []
    window(b, [200] * 6, [2, 2, 2, 60, 2, 2], now=LATER + jump + SECOND)
    b.judge(0, GOOD, MS, LATER + jump + 30 * SECOND)
    assert out(b, 6) in ([3], [])       # as the window's end falls
    window(b, [200] * 6, [2, 2, 2, 60, 2, 2], now=LATER + jump + 31 * SECOND)
    assert out(b, 6) == [3]


def test_as_many_are_out_as_may_be_when_the_clock_is_set_back() -> None:
    """That nobody looked again for a second does not become an hour."""
    b = made(3)
    fail(b, 0, 5, now=LATER)
    fail(b, 1, 5, now=LATER)
    assert out(b, 3) == [0]
    now = LATER - 3_600 * SECOND
    assert [b.pick(now) for _ in range(50)].count(0) == 1
    b.judge(0, GOOD, MS, now, True)
    fail(b, 1, 5, now=now)
    assert out(b, 3) == [1]


def test_a_dry_run_tells_again_when_the_clock_is_set_back() -> None:
    b = made(3, dry_run=True)
    for now in (LATER, LATER - 3_600 * SECOND, LATER + 86_400 * SECOND):
        fail(b, 0, 50, now=now)
        assert out(b, 3) == []
