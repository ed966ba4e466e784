"""Limits of clusters when the clock is set on by a day, or back by an hour: what they know then is of no known age."""

from typing import Any

import pytest

from fastmesh._core.play.balancer import Balancer
from fastmesh.config.adaptive import Adaptive, Admission
from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.wire import SECOND

MS = 1_000_000
START = 10_000 * SECOND
DAY, BACK = 86_400 * SECOND, -3_600 * SECOND
JUMPS = pytest.mark.parametrize("jump", [DAY, BACK], ids=["a day on", "an hour back"])


def made(**cluster: Any) -> Balancer:
    keys = "".join(f", {key}: {value}" for key, value in cluster.items())
    text = f"listeners: []\nclusters: [{{name: app, endpoints: ['127.0.0.1:1', '127.0.0.1:2']{keys}}}]\n"
    return Balancer(compile(load_text(text, "f", {}).config, 1, Registry(), 1024)[0], 2, 7)


def busy(b: Balancer, took: int, now: int, seconds: int = 10) -> int:
    """As many are in flight as may be, each for so long. When it is over."""
    end = now + seconds * SECOND
    while now < end:
        n = 0
        while b.refuses(now) is None and n < 2_000:
            b.begin()
            n += 1
        now += took
        for _ in range(n):
            b.end()
            b.answered(200, took, now)
    return now


def test_adaptive_concurrency_shrinks_when_it_takes_longer() -> None:
    """What the next test is to be compared with."""
    b = made(adaptive="{}")
    now = busy(b, 20 * MS, START)
    before = b.limit
    busy(b, 100 * MS, now, 5)
    assert b.limit < before / 2


@JUMPS
def test_adaptive_concurrency_forgets_how_fast_it_was(jump: int) -> None:
    b = made(adaptive="{}")
    now = busy(b, 20 * MS, START)
    before = b.limit
    busy(b, 100 * MS, now + jump, 5)
    assert b.limit > before / 2


@JUMPS
def test_admission_forgets_what_failed(jump: int) -> None:
    b = made(admission="{}")
    for _ in range(1_000):
        b.answered(503, MS, START)
    assert [b.refuses(START) for _ in range(200)].count("admission") > 100
    now = START + jump
    assert [b.refuses(now) for _ in range(200)] == [None] * 200
    # And goes by what fails from then on, for as long as it says.
    for _ in range(1_000):
        b.answered(503, MS, now)
    assert [b.refuses(now) for _ in range(200)].count("admission") > 100
    assert [b.refuses(now + 3_600 * SECOND) for _ in range(200)] == [None] * 200


@JUMPS
def test_limits_count_what_is_there_whatever_the_time(jump: int) -> None:
    b = made(max_requests=3)
    for now in (START, START + jump, START):
        assert b.refuses(now) is None
        for _ in range(3):
            b.begin()
        assert b.refuses(now) == b.refuses(now + jump) == "max_requests"
        for _ in range(3):
            b.end()


def test_the_sections_are_on_by_their_names() -> None:
    assert Adaptive() and Admission()
