"""What results make of one endpoint: no sockets, no time."""

from time import monotonic

import pytest

from fastmesh.control.check_call import PASSED, CheckSpec, Result, Target
from fastmesh.control.checkup import HEALTHY, UNCHECKED, UNHEALTHY, Checkup

FAILED = Result("connect", "connection refused")
STATUS = Result("status", "HTTP 503, expected 200-299", is_retriable=False)
RETRIABLE = Result("status", "HTTP 503, expected 200-299", is_retriable=True)
UNABLE = Result("unable", "too many open files")


def spec(**more: object) -> CheckSpec:
    record = {"http": ["GET", "/", "", [], [[200, 299]], [], b""], "tcp": None, "port": 0, "addresses": {},
              "timeout": 1.0, "interval": 10.0, "unhealthy_interval": 20.0, "edge_interval": 2.0, "jitter": 0.0,
              "healthy": 2, "unhealthy": 3, "keep_alive": False, "end_ejection": True}
    return CheckSpec.of({**record, **more})


def checkup(state: str = UNCHECKED, **more: object) -> Checkup:
    return Checkup("app", 0, "127.0.0.1:80", 0, Target.of("127.0.0.1:80"), spec(**more), state=state)


def take(one: Checkup, *results: Result) -> list[str]:
    one.began = monotonic()
    return [verdict.kind if verdict is not None else "" for verdict in map(one.take, results)]


def test_one_that_is_new_needs_one_success_and_nobody_is_told() -> None:
    one = checkup()
    verdict = one.take(PASSED)
    assert verdict is not None and verdict.kind == HEALTHY and not verdict.is_news
    assert one.state == HEALTHY


def test_one_that_is_new_and_fails_is_out_either_way() -> None:
    one = checkup()
    assert take(one, FAILED, FAILED) == ["check_failed", ""]
    assert one.state == UNCHECKED
    assert take(one, FAILED) == [UNHEALTHY]
    assert take(one, PASSED, PASSED) == ["", HEALTHY]


def test_one_that_fails_at_first_and_then_passes_is_told_of() -> None:
    one = checkup()
    one.take(FAILED)
    verdict = one.take(PASSED)
    assert verdict is not None and (verdict.kind, verdict.is_news) == (HEALTHY, True)


def test_three_failures_in_a_row_are_one_change() -> None:
    one = checkup(HEALTHY)
    assert take(one, FAILED, FAILED, PASSED, FAILED, FAILED) == ["check_failed", "", "", "check_failed", ""]
    verdict = one.take(FAILED)
    assert verdict is not None and (verdict.kind, verdict.times) == (UNHEALTHY, 3)
    assert verdict.why == "connection refused (3 failures in a row)"
    assert take(one, FAILED, FAILED) == ["", ""]


def test_a_failure_begins_the_successes_anew() -> None:
    one = checkup(UNHEALTHY)
    assert take(one, PASSED, FAILED, PASSED, PASSED) == ["", "", "", HEALTHY]


def test_another_status_fails_it_at_once() -> None:
    one = checkup(HEALTHY)
    verdict = one.take(STATUS)
    assert verdict is not None and (verdict.kind, verdict.why) == (UNHEALTHY, "HTTP 503, expected 200-299")


def test_a_retriable_one_is_one_failure() -> None:
    one = checkup(HEALTHY)
    assert take(one, RETRIABLE, RETRIABLE, RETRIABLE) == ["check_failed", "", UNHEALTHY]


def test_what_this_machine_could_not_do_says_nothing() -> None:
    one = checkup(HEALTHY)
    assert take(one, *[UNABLE] * 10) == [""] * 10
    assert (one.state, one.failures, one.made) == (HEALTHY, 0, 0)
    assert one.to_dict()["last"] == "unable"


@pytest.mark.parametrize(("state", "results", "seconds"), [
    (HEALTHY, [PASSED, PASSED], 10.0), (HEALTHY, [FAILED], 2.0), (HEALTHY, [FAILED, PASSED], 10.0),
    (UNHEALTHY, [FAILED], 20.0), (UNHEALTHY, [PASSED], 2.0), (UNCHECKED, [FAILED], 2.0), (HEALTHY, [UNABLE], 2.0)])
def test_each_state_has_its_interval(state: str, results: list[Result], seconds: float) -> None:
    one = checkup(state)
    take(one, *results)
    assert one.next_after() == seconds


def test_the_second_check_of_many_is_spread_over_the_interval() -> None:
    waits = []
    for _ in range(400):
        one = checkup()
        take(one, PASSED)
        waits.append(one.next_after())
    assert 0 <= min(waits) < 1 and 9 < max(waits) <= 10 and 4 < sum(waits) / 400 < 6


def test_jitter_only_adds() -> None:
    one = checkup(HEALTHY, jitter=0.5)
    take(one, PASSED, PASSED)
    waits = [one.next_after() for _ in range(400)]
    assert min(waits) >= 10 and 14 < max(waits) <= 15
