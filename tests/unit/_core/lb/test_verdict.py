"""Endpoints that do not pass control's checks get nothing, whatever picks."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from fastmesh._core.lb.verdict import BAD, GOOD, NOT_YET, Verdicts
from fastmesh._core.mem.health import LAYOUT
from fastmesh._core.play.balancer import FAILS, GATEWAY, PASSES, Balancer
from fastmesh.config.outlier import Outlier
from fastmesh.observe.health import HealthFile
from fastmesh.snapshot.outlier import outlier_record
from probes.wire import ALGORITHMS, RING_HASH, ROUND_ROBIN, SECOND, cluster, endpoints, pack, snapshot

START = 1_000 * SECOND
ALL = pytest.mark.parametrize("lb", ALGORITHMS.values(), ids=ALGORITHMS)


def made(count: int, lb: int = ROUND_ROBIN, checks: int = 1, outlier: list[int] | None = None,
         balancing: list[Any] | None = None) -> Balancer:
    found = endpoints(count)
    for i, row in enumerate(found):
        row[0] = i
    return Balancer(pack(snapshot(clusters=[
        cluster(found, lb=lb, checks=checks, outlier=outlier, balancing=balancing)])), count, 7)


def picked(b: Balancer, now: int = START, picks: int = 400, key: bool = False) -> set[int | None]:
    found: set[int | None] = set()
    for i in range(picks):
        at = b.pick(now, i * 0x9E3779B97F4A7C15 % 2**64 if key else None)
        found.add(at)
        if at is not None:
            b.leave(at)
    return found


def say(b: Balancer, *verdicts: int) -> None:
    for at, verdict in enumerate(verdicts):
        b.check(at, verdict)


@ALL
def test_only_those_that_pass_are_picked(lb: int) -> None:
    b = made(4, lb)
    say(b, PASSES, FAILS, PASSES, NOT_YET)
    assert picked(b) == picked(b, key=True) == {0, 2}
    b.check(1, PASSES)
    b.check(0, FAILS)
    assert picked(b) == picked(b, key=True) == {1, 2}


@ALL
@pytest.mark.parametrize("count", [1, 3])
def test_when_none_passes_nobody_is_asked(lb: int, count: int) -> None:
    b = made(count, lb)
    assert picked(b) == {None}
    say(b, *[FAILS] * count)
    assert picked(b) == {None}
    b.check(0, PASSES)
    assert picked(b) == {0}


@ALL
def test_all_are_asked_in_panic(lb: int) -> None:
    b = made(4, lb, balancing=[None, None, None, 500_000, None, None])
    say(b, PASSES, FAILS, FAILS, FAILS)
    assert picked(b, picks=2_000) == {0, 1, 2, 3}
    b.check(1, PASSES)
    assert picked(b, START + SECOND) == {0, 1}


def test_without_checks_nothing_that_is_written_counts() -> None:
    b = made(3, checks=0, outlier=outlier_record(Outlier()))
    say(b, FAILS, NOT_YET, FAILS)
    assert picked(b) == {0, 1, 2}


@ALL
def test_the_next_priority_takes_over_with_the_next_pick(lb: int) -> None:
    b = made(4, lb, balancing=[None, None, None, 0, [700_000, [2, 2]], None])
    say(b, *[PASSES] * 4)
    assert picked(b) == {0, 1}
    b.check(0, FAILS)
    b.check(1, FAILS)
    assert picked(b) == {2, 3}
    b.check(1, PASSES)
    assert 1 in picked(b)


def test_bounded_load_steps_around_them() -> None:
    b = made(8, RING_HASH, balancing=[None, [[], 160, 65537, 125], None, 0, None, None])
    say(b, *[PASSES] * 4, *[FAILS] * 4)
    assert picked(b, key=True) == {0, 1, 2, 3}


def test_it_is_not_probed_while_it_fails() -> None:
    """Ejected and found dead: no client's request asks it."""
    b = made(3, outlier=outlier_record(Outlier.model_validate({"jitter": "0%", "ramp": "0"})))
    say(b, PASSES, PASSES, PASSES)
    picked(b)
    for _ in range(5):
        b.judge(0, GATEWAY, 0, START)
    assert picked(b) == {1, 2}
    b.check(0, FAILS)
    late = START + 100 * SECOND
    assert picked(b, late) == {1, 2}
    b.check(0, PASSES)
    # The ejection is over, and it is asked again by one request.
    assert b.pick(late) == 0 and b.has_probed


def test_the_last_that_passes_is_asked_though_it_is_ejected() -> None:
    b = made(3, outlier=outlier_record(Outlier.model_validate({"jitter": "0%", "ramp": "0"})))
    say(b, PASSES, FAILS, FAILS)
    picked(b)
    for _ in range(5):
        b.judge(0, GATEWAY, 0, START)
    assert b.ejection(0)[0]
    assert picked(b) == {0}


def test_one_that_recovers_warms_up_and_one_that_is_new_does_not() -> None:
    b = made(2, outlier=outlier_record(Outlier.model_validate({"ramp": "10s"})))
    say(b, PASSES, PASSES)

    def share(now: int) -> float:
        counts = [0, 0]
        for _ in range(2_000):
            at = b.pick(now)
            assert at is not None
            counts[at] += 1
            b.leave(at)
        return counts[0] / 2_000
    assert abs(share(START) - 0.5) < 0.05
    b.check(0, FAILS)
    assert share(START + SECOND) == 0
    b.check(0, PASSES)
    assert 0 < share(START + 2 * SECOND) < 0.2
    assert abs(share(START + 13 * SECOND) - 0.5) < 0.05


@pytest.fixture
def file() -> Iterator[HealthFile]:
    made_file = HealthFile()
    yield made_file
    made_file.close()


def word(file: HealthFile, row: int, place: int) -> int:
    at = LAYOUT["endpoints"] + row * LAYOUT["endpoint_stride"] + 8 * place
    return int.from_bytes(os.pread(file.fd, 8, at), "little")


def test_control_writes_what_workers_read(file: HealthFile) -> None:
    v = Verdicts(file.fd)
    assert v.claim(3, "app", 7, "127.0.0.1:80")
    assert (v.said(7), file.cluster(3)["epoch"]) == (NOT_YET, 0)
    v.say(3, 7, BAD, START)
    assert (v.said(7), file.cluster(3)["epoch"]) == (BAD, 1)
    v.say(3, 7, GOOD, START)
    assert (v.said(7), file.cluster(3)["epoch"]) == (GOOD, 2)
    # The same endpoint keeps what is known, another one begins anew.
    assert v.claim(3, "app", 7, "127.0.0.1:80") and v.said(7) == GOOD
    assert v.claim(3, "app", 7, "127.0.0.1:81") and v.said(7) == NOT_YET
    assert v.claim(3, "app", 7, "unix:/run/app.sock") and v.claim(3, "app", 7, "[::1]:80")


def test_who_has_no_row_of_its_own_is_told_so(file: HealthFile) -> None:
    v = Verdicts(file.fd)
    assert not v.claim(3, "app", LAYOUT["endpoint_rows"] - 1, "127.0.0.1:80")
    assert not v.claim(LAYOUT["cluster_rows"] - 1, "app", 3, "127.0.0.1:80")
    for row in (LAYOUT["endpoint_rows"] - 1, 1 << 40):
        with pytest.raises(IndexError):
            v.say(0, row, BAD, START)
    with pytest.raises(ValueError, match="is no address"):
        v.claim(3, "app", 7, "example.com:80")
    with pytest.raises(TypeError):
        v.__reduce__()


def test_nothing_is_ended_that_has_not_begun(file: HealthFile) -> None:
    v = Verdicts(file.fd)
    v.claim(0, "app", 0, "127.0.0.1:80")
    assert v.ejected_at(0) == 0
    v.end_ejection(0, 0, START)
    assert file.changes() == []
