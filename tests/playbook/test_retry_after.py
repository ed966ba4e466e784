"""A further attempt comes when the answer has asked for it, or there is none."""

from typing import Any

import pytest
from playbook.play import Play, Upstream

from fastmesh import Filter, Request, Retry, UpstreamError, sleep

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
NOON = "date: Sun, 06 Nov 1994 12:00:00 GMT"


class Tried(Filter):
    """Has each request tried by one rule; says more about failures when it is told to."""

    def __init__(self, **rule: Any) -> None:
        self.rule = Retry(**{"on": {429, 503}, "backoff": 0, **rule})

    def on_request(self, request: Request) -> None:
        request.retry = self.rule


class Decides(Tried):
    """Decides by itself, after a while."""

    pause = 0.0

    async def on_upstream_error(self, request: Request, error: UpstreamError) -> bool:
        if self.pause:
            await sleep(self.pause)
        return True


def expect_attempt(play: Play, name: str, least: int, most: int) -> Upstream:
    """Not before `least` ms have passed, and before `most`; the connection is made at once."""
    play.pass_time(f"{least - 10}ms")
    play.expect_no_connect()
    for _ in range(least - 10, most + 20, 100):
        play.pass_time("100ms")
        if play.fresh():
            break
    return play.connect(name)


def expect_waits(play: Play, waits: int, too_late: int = 0) -> None:
    play.expect_counter("cluster.x.retry_waits", waits)
    play.expect_counter("cluster.x.retry_too_late", too_late)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("fields", [
    ["retry-after: 4"], ["Retry-After: Sun, 06 Nov 1994 12:00:04 GMT", NOON]])
def test_the_next_attempt_is_put_off(play: Play, status: int, fields: list[str]) -> None:
    play.endpoints("a", "b").filter(Tried())
    play.client_sends(GET)
    play.connect("a").answers(status, fields=fields)
    expect_attempt(play, "b", 4000, 6000).answers(body=b"b")         # half as much again, at most
    play.first.expect_answer(200, b"b")
    expect_waits(play, 1)
    assert play.ended() == [(200, "")]


@pytest.mark.parametrize("fields", [[], ["retry-after: 0"], ["retry-after: soon"], ["retry-after: -5"],
                                    ["retry-after: Sun, 06 Nov 1994 12:00:04 GMT"],
                                    ["retry-after: Sun, 06 Nov 1994 11:59:59 GMT", NOON]])
def test_what_asks_for_nothing(play: Play, fields: list[str]) -> None:
    play.endpoints("a", "b").filter(Tried())
    play.client_sends(GET)
    play.connect("a").answers(503, fields=fields)
    play.connect("b").answers()
    play.first.expect_answer(200)
    expect_waits(play, 0)


def test_a_rule_that_does_not_listen(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(retry_after_max=0))
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 3600"])
    play.connect("b").answers()
    play.first.expect_answer(200)
    expect_waits(play, 0)


@pytest.mark.parametrize(("asked", "kept"), [(25, True), (26, False), (10**30, False)])
def test_more_than_the_rule_allows_is_the_clients_to_wait(play: Play, asked: int, kept: bool) -> None:
    play.endpoints("a", "b").filter(Tried())
    play.client_sends(GET)
    play.connect("a").answers(503, b"later", fields=[f"retry-after: {asked}"])
    if kept:
        expect_attempt(play, "b", 25_000, 37_500).answers()
    play.expect_no_connect()
    play.first.expect_answer(*((200,) if kept else (503, b"later")))
    assert play.ended() == [(200 if kept else 503, "")]
    expect_waits(play, int(kept), int(not kept))


@pytest.mark.parametrize("bound", ["timeout", "deadline", "idle"])
@pytest.mark.parametrize(("asked", "kept"), [(9, True), (10, False)])
def test_more_than_is_left_of_the_requests_time(play: Play, bound: str, asked: int, kept: bool) -> None:
    play.endpoints("a", "b").filter(Tried())
    get = GET
    if bound == "timeout":
        play.route(timeout="10s")
    elif bound == "deadline":
        play.deadline()
        get = GET[:-2] + b"grpc-timeout: 10S\r\n\r\n"
    else:
        play.listener(stream_idle="10s")
    play.client_sends(get)
    play.connect("a").answers(503, b"later", fields=[f"retry-after: {asked}"])
    if kept:
        expect_attempt(play, "b", 9000, 9500).answers()              # half of what is left is the attempt's
    play.expect_no_connect()
    play.first.expect_answer(*((200,) if kept else (503, b"later")))
    expect_waits(play, int(kept), int(not kept))


def test_what_is_left_gets_less_with_each_attempt(play: Play) -> None:
    play.endpoints("a", "b").route(timeout="10s").filter(Tried(attempts=3))
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    expect_attempt(play, "b", 4000, 6000).answers(503, b"later", fields=["retry-after: 6"])
    play.first.expect_answer(503, b"later")
    expect_waits(play, 1, 1)


def test_what_would_not_be_tried_again_in_any_case_is_not_counted(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(attempts=1))
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 3600"])
    play.first.expect_answer(503)
    play.first.sends(GET.replace(b"GET", b"POST"))
    play.connect("b").answers(503, fields=["retry-after: 3600"])
    play.first.expect_answer(503)
    expect_waits(play, 0)


def test_a_failure_after_one_that_asked_waits_for_nothing(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(attempts=3, on={"reset", 503}))
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    expect_attempt(play, "b", 4000, 6000).resets()
    play.connect("a").answers()
    play.first.expect_answer(200)
    expect_waits(play, 1)


def test_a_client_that_leaves_meanwhile(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried())
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    play.client_resets()
    play.pass_time("10s")
    play.expect_no_connect()
    assert play.ended() == [(0, "DC")]


# --- with a filter that decides -------------------------------------------------------------------------------------

def test_a_filter_that_says_again_waits_as_well(play: Play) -> None:
    play.endpoints("a", "b").filter(Decides())
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    expect_attempt(play, "b", 4000, 6000).answers()
    play.first.expect_answer(200)
    expect_waits(play, 1)


def test_what_a_filter_takes_is_part_of_the_wait(play: Play) -> None:
    filter_ = Decides()
    filter_.pause = 3.0
    play.endpoints("a", "b").filter(filter_)
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    expect_attempt(play, "b", 4000, 4500).answers()
    play.first.expect_answer(200)


def test_a_filter_that_says_again_has_its_way(play: Play) -> None:
    """There is not the time that the answer asks for, and it has seen that."""
    play.endpoints("a", "b").filter(Decides())
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 3600"])
    play.connect("b").answers()
    play.first.expect_answer(200)
    expect_waits(play, 0)
