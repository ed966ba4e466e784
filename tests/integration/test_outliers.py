"""Endpoints that are taken out by what is counted in a window, compared with the others, through real processes."""

import itertools
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from time import time
from typing import Any

from integration.harness import Sidecar, ask, free_port, until
from integration.service import Reply, Service
from integration.test_healing import config, events, fails, provoke, state, works

Start = Callable[..., Sidecar]
# What is counted in a row is not looked at.
NOTHING_IN_A_ROW = {"server_errors": 0, "gateway_errors": 0, "connect_failures": 0, "timeouts": 0}


def fails_each(count: int, status: int = 503) -> Callable[[BaseHTTPRequestHandler], Reply]:
    """One of so many requests."""
    numbers = itertools.count(1)
    return lambda _: (status if next(numbers) % count == 0 else 200, {})


def test_one_whose_share_of_good_answers_is_far_below(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good = services("a", "b", "c", "d", "e")
    (bad,) = services("bad")
    bad.reply = fails_each(3)
    port = free_port()
    # As the mean is 94 % and the deviation 12 %, one factor below is 82 %.
    one = sidecar(config(port, [*(g.address for g in good), bad.address], **NOTHING_IN_A_ROW, interval="1s", base="1h",
                         success_rate={"factor": "1", "min_requests": 10},
                         failure_percentage={"threshold": "0%"}))
    found = provoke(port, one, bad.address)
    assert found["outlier"]["reason"] == "success_rate"
    assert not any(state(one, g.address)["ejected"] for g in good)
    (event,) = events(one, "ejected")
    assert "%" in event["text"]
    assert one.metrics()['fastmesh_cluster_ejections_total{cluster="app",reason="success_rate"}'] == 1


def test_one_most_of_whose_answers_are_failures(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    (bad,) = services("bad")
    bad.reply = lambda _: (200, {}) if bad.requests % 10 == 0 else (500, {})
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], **NOTHING_IN_A_ROW, interval="1s",
                         base="1h", success_rate={"factor": "0"},
                         failure_percentage={"threshold": "80%", "min_requests": 10}))
    found = provoke(port, one, bad.address)
    assert found["outlier"]["reason"] == "failure_percentage"
    assert {ask(port, "/").status for _ in range(30)} == {200}


def test_errors_of_the_service_itself_in_a_row(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """500 is no gateway error: seven, not five."""
    good, bad, other = services("good", "bad", "other")
    bad.reply = lambda _: (500, {})
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="1h"))
    statuses = [ask(port, "/").status for _ in range(60)]
    assert statuses.count(500) == 7 == bad.requests
    assert state(one, bad.address)["outlier"]["reason"] == "server_errors"


def test_those_that_go_together_do_not_come_back_together(sidecar: Start,
                                                         services: Callable[..., list[Service]]) -> None:
    good = services(*"abcdefg")
    bad = services("x", "y", "z")
    for each in bad:
        each.reply = fails
    port = free_port()
    one = sidecar(config(port, [s.address for s in (*good, *bad)], base="1h", jitter="50%"))

    def are_out() -> bool:
        ask(port, "/")
        return all(state(one, each.address)["ejected"] for each in bad)
    until(are_out, "all three are ejected", 20)
    times = {event["for_ms"] for event in events(one, "ejected")}
    assert len(times) == 3
    assert all(3_600_000 <= each <= 5_400_000 for each in times)


def test_one_that_has_come_back_has_little_at_first(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="200ms", ramp="1h"))
    provoke(port, one, bad.address)
    bad.reply = works

    def is_back() -> bool:
        ask(port, "/")
        return bool(events(one, "recovered"))
    until(is_back, "it is in again", 20)
    before = bad.requests
    for _ in range(90):
        ask(port, "/")
    # A third is 30; of an hour nothing has passed yet.
    assert bad.requests - before <= 15
    assert state(one, bad.address)["weight_now"] < 1


def test_ejections_that_are_not_enforced_are_told(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], enforce="0%"))
    assert [ask(port, "/").status for _ in range(60)].count(503) == 20
    assert not state(one, bad.address)["ejected"]
    assert {event["what"] for event in events(one, "ejected", "ejection_watched")} == {"ejection_watched"}


def flap(one: Sidecar, port: int, bad: Service, times: int) -> list[dict[str, Any]]:
    """Ill until it is out, well until it is back, so many times. The events of it."""
    for n in range(times):
        bad.reply = fails
        until(lambda n=n: ask(port, "/") and len(events(one, "ejected")) > n, f"ejection {n + 1}", 20, drives=True)
        bad.reply = works
        until(lambda n=n: ask(port, "/") and len(events(one, "recovered")) > n, f"recovery {n + 1}", 20, drives=True)
    return events(one, "ejected")


def test_one_that_is_ill_and_well_in_turn(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """Well for a moment does not make up for it: each time it stays out for longer, and nobody else is touched."""
    good, bad, other = services("good", "bad", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="300ms", interval="1h"))
    told = flap(one, port, bad, 4)
    by_answers = [event["for_ms"] for event in told if event["reason"] == "gateway_errors"]
    assert by_answers == sorted(by_answers)
    assert by_answers[0] == 100 and by_answers[-1] == 300
    assert {event["endpoint"] for event in told} == {bad.address}
    assert {ask(port, "/").text for _ in range(9)} == {"good", "bad", "other"}


def test_one_that_is_ill_now_and_then_is_forgiven(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """After a window without an ejection the next one is as short as the first."""
    good, bad, other = services("good", "bad", "other")
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="10s", interval="200ms"))
    flap(one, port, bad, 1)
    back = time()
    until(lambda: ask(port, "/") and time() > back + 1, "some windows are over", drives=True)
    told = flap(one, port, bad, 2)
    assert [event["for_ms"] for event in told if event["reason"] == "gateway_errors"][1] == 100
