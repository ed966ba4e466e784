"""Where filters send a request, and how often it is tried: `request.split` and `request.retry`."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playbook.play import Play
from playbook.test_filters import Decide

from fastmesh import Filter, Outcome, Request, Response, Retry, UpstreamError, sleep
from fastmesh._core.filter.split import choose
from probes import wire

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"


class Steer(Filter):
    """Says where the route is chosen what a test wants."""

    def __init__(self, call: Callable[[Request], Any]) -> None:
        self.call = call

    def on_route(self, request: Request) -> None:
        self.call(request)


class Tried(Filter):
    """Has each request tried by one rule."""

    def __init__(self, rule: Retry | None) -> None:
        self.rule = rule

    def on_request(self, request: Request) -> None:
        request.retry = self.rule


def at_once(attempts: int = 2, on: Any = ("5xx",), **more: Any) -> Retry:
    return Retry(attempts, on, **{"backoff": 0, **more})


# --- what is tried again ------------------------------------------------------------------------------------------

def test_an_answer_that_is_named_is_none(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on={503})))
    play.client_sends(GET)
    play.connect("a").answers(503, b"sorry")
    play.connect("b").answers(200, b"fine")
    play.first.expect_answer(200, b"fine")
    assert play.ended() == [(200, "")] and play.reports == []
    for name, value in (("retries", 1), ("retry_success", 1), ("retry_limit_exceeded", 0), ("retry_overflow", 0)):
        play.expect_counter(f"cluster.x.{name}", value)


@pytest.mark.parametrize("status", [200, 404, 500, 502])
def test_an_answer_that_is_not_named_is_the_answer(play: Play, status: int) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on={503, "reset"})))
    play.client_sends(GET)
    play.connect("a").answers(status, b"this")
    play.first.expect_answer(status, b"this")
    assert play.ended() == [(status, "")]
    play.expect_counter("cluster.x.retries", 0)


def test_when_all_attempts_are_made_the_last_answer_counts(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(attempts=3)))
    play.client_sends(GET)
    play.connect("a").answers(503, b"first")
    play.connect("b").answers(503, b"second")
    play.connect("a").answers(503, b"third")
    play.expect_no_connect()
    play.first.expect_answer(503, b"third")
    assert play.ended() == [(503, "URX")]
    play.expect_counter("cluster.x.retry_limit_exceeded", 1)
    play.expect_counter("cluster.x.retry_success", 0)


def test_endpoints_that_were_not_tried_come_first_and_never_twice_the_same(play: Play) -> None:
    play.endpoints("a", "b", "c").filter(Tried(at_once(attempts=8)))
    play.client_sends(GET)
    order = ""
    for _ in range(8):
        fresh = play.fresh()
        assert fresh is not None
        order += chr(ord("a") + int(fresh.socket.peer.split(":")[0].rsplit(".")[-1]) - 1)
        play.connect().closes()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert sorted(order[:3]) == ["a", "b", "c"]
    assert all(one != other for one, other in pairwise(order)), order
    assert play.ended() == [(503, "UC,URX")]


def test_a_single_endpoint_is_tried_again(play: Play) -> None:
    play.endpoints("a").filter(Tried(at_once(attempts=3)))
    play.client_sends(GET)
    play.connect("a").resets()
    play.expect_connect("a").refused()
    play.connect("a").answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize(("on", "again"), [({"reset"}, True), ({"5xx"}, True), ({"gateway-error"}, True),
                                           ({"connect-failure"}, False), ({503}, False)])
def test_a_connection_that_is_lost(play: Play, on: set[Any], again: bool) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on=on)))
    play.client_sends(GET)
    play.connect("a").resets()
    if again:
        play.connect("b").answers()
        play.first.expect_answer(200)
    else:
        play.expect_no_connect()
        play.first.expect_answer(503)
        assert play.ended() == [(503, "UC")]
    play.expect_counter("upstream_reset", 1)


@pytest.mark.parametrize(("on", "again"), [({"connect-failure"}, True), ({"5xx"}, True), ({"reset"}, False)])
def test_a_connect_that_fails(play: Play, on: set[Any], again: bool) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on=on)))
    play.client_sends(POST)
    play.expect_connect("a").refused()
    if again:
        play.expect_connect("b").refused()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert play.ended() == [(503, "UF,URX" if again else "UF")]
    play.expect_counter("retry_connect", int(again))


@pytest.mark.parametrize(("on", "again"), [({"protocol-error"}, True), ({"gateway-error"}, True), ({"reset"}, False)])
def test_what_is_no_http(play: Play, on: set[Any], again: bool) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on=on)))
    play.client_sends(GET)
    play.connect("a").sends(b"what is this?\r\n\r\n")
    if again:
        play.connect("b").answers()
    play.first.expect_answer(200 if again else 502)


def test_nothing_is_taken_back(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once()))
    play.client_sends(GET)
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    play.up("a").resets()
    play.expect_no_connect()
    assert play.first.is_closed
    assert play.ended() == [(200, "UC")]


def test_nothing_is_tried_again(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(None))
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_no_connect()
    play.first.expect_answer(503)
    play.client_sends(GET)
    play.connect("b").closes()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert play.ended() == [(503, "UC"), (503, "UF")]


def test_a_connection_that_was_closed_while_idle_is_no_attempt(play: Play) -> None:
    play.endpoints("a").pool_has("a").filter(Tried(None))
    play.apply()
    play.client_sends(GET)
    play.asked().closes()
    play.connect("a").answers()
    play.first.expect_answer(200)
    play.expect_counter("retry_reused", 1)


def test_the_settings_of_the_cluster_go_before_and_behind(play: Play) -> None:
    """Where nothing is said it is as it was."""
    seen: list[Any] = []

    def say(request: Request) -> None:
        seen.append(request.retry)
        request.retry = None
        seen.append(request.retry)
        request.retry = seen[0]
        seen.append(request.retry)

    play.cluster(max_connect_attempts=2).endpoints("a", "b", "c").filter(Steer(say))
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert seen == [Retry(backoff=0), None, Retry(backoff=0)] and play.reports == []


# --- what may be sent twice ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["reset", "503"])
@pytest.mark.parametrize("non_idempotent", [False, True])
def test_what_is_not_idempotent(play: Play, how: str, non_idempotent: bool) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(non_idempotent=non_idempotent)))
    play.client_sends(POST)
    up = play.connect("a")
    assert up.expect_request("POST").body == b"body"
    if how == "reset":
        up.resets()
    else:
        up.answers(503)
    if non_idempotent:
        up = play.connect("b")
        assert up.expect_request("POST").body == b"body"
        up.answers()
    play.expect_no_connect()
    play.first.expect_answer(200 if non_idempotent else 503)


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
@pytest.mark.parametrize("how", ["reset", "503"])
def test_a_body_is_sent_again_and_goes_on(play: Play, cut: int, how: str) -> None:
    play.endpoints("a", "b").filter(Tried(at_once()))
    play.client_sends(PUT[:-4], *([b"body"[:cut]] if cut else []))
    up = play.connect("a")
    if how == "reset":
        up.resets()
    else:
        up.answers(503)
    up = play.connect("b")
    if cut < 4:
        play.first.sends(b"body"[cut:])
    assert up.expect_request("PUT").body == b"body"
    up.answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize(("size", "again"), [(65_536, True), (65_537, False)])
def test_a_body_is_held_up_to_its_limit(play: Play, size: int, again: bool) -> None:
    play.endpoints("a", "b").filter(Tried(at_once()))
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
    up = play.connect("a")
    play.first.sends(b"x" * size)
    assert len(up.expect_request("PUT").body) == size
    up.answers(503)
    if again:
        up = play.connect("b")
        assert len(up.expect_request("PUT").body) == size
        up.answers()
    play.expect_no_connect()
    play.first.expect_answer(200 if again else 503)


def test_trailers_are_not_held(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once()))
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n")
    up = play.connect("a")
    assert up.expect_request().trailers == [("x-sum", "1")]
    up.answers(503)
    play.expect_no_connect()
    play.first.expect_answer(503)


def test_a_body_that_a_filter_has_collected(play: Play) -> None:
    class Upper(Filter):
        def on_request_body(self, request: Request, body: bytes) -> bytes:
            return body.upper()

    play.endpoints("a", "b").filter(Tried(at_once())).filter(Upper())
    play.client_sends(PUT)
    for name, status in (("a", 503), ("b", 200)):
        up = play.connect(name)
        assert up.expect_request("PUT").body == b"BODY"
        up.answers(status)
    play.first.expect_answer(200)


def test_a_piece_that_a_filter_gives_between_two_attempts(play: Play) -> None:
    """What it thought about when the upstream went is for the next one."""
    class Slow(Filter):
        async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            await sleep(0.1)
            return chunk.upper()

    play.endpoints("a", "b").filter(Tried(at_once())).filter(Slow())
    play.client_sends(PUT[:-2])
    play.connect("a").resets()
    slow = play.expect_connect("b")
    play.pass_time("110ms")
    play.first.sends(PUT[-2:])
    slow.connected()
    play.pass_time("500ms")
    up = play.up("b")
    assert up.expect_request("PUT").body == b"BODY"
    up.answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize(("size", "again"), [(3_000_000, True), ((1 << 26) + 1, False)])
def test_large_pieces_between_two_attempts(play: Play, size: int, again: bool) -> None:
    class Blows(Filter):
        async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            await sleep(0.1)
            return b"x" * size if last else b""

    play.endpoints("a", "b").filter(Tried(at_once())).filter(Blows())
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
    play.connect("a")
    play.first.sends(b"body")
    play.up("a").resets()
    slow = play.expect_connect("b")
    play.pass_time("300ms")
    slow.connected()
    if again:
        assert slow.expect_request("PUT").body == b"x" * size
        slow.answers()
    play.first.expect_answer(200 if again else 503)


# --- pauses and times ---------------------------------------------------------------------------------------------

def test_there_is_a_pause_before_the_next_attempt(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(Retry(attempts=3, on={"5xx"}, backoff=1, backoff_max=1)))
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.expect_no_connect()
    play.pass_time("1010ms")
    play.connect("b").answers(503)
    play.expect_no_connect()
    play.pass_time("1010ms")
    play.connect("a").answers()
    play.first.expect_answer(200)


def test_the_request_timeout_goes_on_in_a_pause(play: Play) -> None:
    play.endpoints("a", "b").route(timeout="50ms").filter(Tried(Retry(on={"5xx"}, backoff=60, backoff_max=60)))
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.pass_time("60ms")
    play.first.expect_answer(504)
    assert play.ended() == [(504, "UT")]
    play.pass_time("60s")
    play.expect_no_connect()


def test_a_client_that_leaves_in_a_pause(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(Retry(on={"5xx"}, backoff=60, backoff_max=60)))
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.client_resets()
    play.pass_time("60s")
    play.expect_no_connect()
    assert play.ended() == [(0, "DC")]


def test_an_attempt_that_takes_too_long(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5)))
    play.client_sends(GET)
    slow = play.connect("a")
    play.pass_time("490ms")
    play.expect_no_connect()
    play.pass_time("20ms")
    assert slow.is_closed
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    play.expect_counter("cluster.x.try_timeouts", 1)
    play.expect_counter("endpoint.a.failures", 1)
    play.pass_time("1s")
    play.expect_counter("cluster.x.try_timeouts", 1)


def _picked(play: Play) -> str:
    """To which endpoint the connection goes that is being made."""
    fresh = play.fresh()
    assert fresh is not None
    return "abc"[int(fresh.socket.peer.split(":")[0].rsplit(".")[-1]) - 1]


@pytest.mark.parametrize("ends", ["late", "reset", 503])
def test_a_balancer_hears_of_every_attempt(play: Play, ends: str | int) -> None:
    """The one that failed is the dearest from then on; of the others, who was not asked yet is asked next."""
    play.cluster(lb=wire.FAILURE_AWARE_EWMA).endpoints("a", "b", "c").filter(Tried(at_once(on={"5xx"},
                                                                                         per_try_timeout=0.5)))
    play.client_sends(GET)
    failed = _picked(play)
    first = play.connect()
    if ends == "late":
        play.pass_time("510ms")
    elif ends == "reset":
        first.resets()
    else:
        first.expect_request()
        first.answers(int(ends), fields=["connection: close"])
    second = _picked(play)
    play.connect().answers(fields=["connection: close"])
    play.first.expect_answer(200)
    play.client_sends(GET)
    third = _picked(play)
    play.connect().answers(fields=["connection: close"])
    play.first.expect_answer(200)
    assert {failed, second, third} == set("abc")
    for _ in range(4):
        play.client_sends(GET)
        assert _picked(play) != failed
        play.connect().answers(fields=["connection: close"])
        play.first.expect_answer(200)


@pytest.mark.parametrize(("on", "attempts", "flags"), [({"5xx"}, 2, "UT,URX"), ({"reset"}, 1, "UT")])
def test_attempts_that_all_take_too_long(play: Play, on: set[Any], attempts: int, flags: str) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(on=on, per_try_timeout=0.5)))
    play.client_sends(GET)
    for name in "ab"[:attempts]:
        play.connect(name)
        play.pass_time("510ms")
    play.expect_no_connect()
    play.first.expect_answer(504)
    assert play.ended() == [(504, flags)]


def test_connecting_is_part_of_an_attempt(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5)))
    play.client_sends(POST)       # of which nothing is sent
    slow = play.expect_connect("a")
    play.pass_time("510ms")
    play.connect("b").answers()
    play.first.expect_answer(200)
    slow.connected()              # and is there for the next one
    assert not slow.is_closed


def test_waiting_in_line_is_part_of_an_attempt(play: Play) -> None:
    play.cluster(max_connections=1).endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5)))
    guests = [play.client(), play.client()]
    for guest in guests:
        guest.sends(GET)
    held = [play.connect("a"), play.connect("b")]
    play.client().sends(GET)
    play.pass_time("300ms")
    play.client().sends(GET)
    play.pass_time("300ms")
    for up in held:
        assert up.is_closed
    play.expect_counter("cluster.x.try_timeouts", 3)


def test_a_body_that_takes_its_time_is_not_the_attempts_fault(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5)))
    play.client_sends(PUT[:-2])
    play.connect("a")
    play.pass_time("5s")
    play.expect_no_connect()
    play.first.sends(PUT[-2:])
    play.pass_time("510ms")
    up = play.connect("b")
    assert up.expect_request("PUT").body == b"body"
    up.answers()
    play.first.expect_answer(200)


def test_an_answer_that_has_begun_takes_what_it_takes(play: Play) -> None:
    play.endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5)))
    play.client_sends(GET)
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    play.pass_time("5s")
    play.up("a").sends(b"late")
    play.first.expect_answer(200, b"late")


def test_an_answer_of_the_proxys_own_ends_all_attempts(play: Play) -> None:
    """While filters think about it, too."""
    class Thinks(Filter):
        async def on_response(self, request: Request, response: Response) -> None:
            await sleep(10)

    play.cluster(connect_timeout="30s").endpoints("a", "b").route(timeout="1s")
    play.filter(Tried(at_once(per_try_timeout=5))).filter(Thinks())
    play.client_sends(GET)
    slow = play.expect_connect("a")
    play.pass_time("1100ms")
    slow.connected().expect_nothing()
    play.pass_time("11s")
    play.expect_no_connect()
    play.first.expect_answer(504)


# --- the budget ---------------------------------------------------------------------------------------------------

def run_out(play: Play, most: int = 1000) -> int:
    """Requests that each need a second attempt, until one gets none; how many did."""
    client = play.client()
    for n in range(most):
        client.sends(GET)
        up = play.connect() if play.fresh() else play.asked()
        up.expect_request()
        up.answers(503, b"no")
        if client.unseen:
            client.expect_answer(503, b"no")
            client.closes()
            return n
        up = play.connect() if play.fresh() else play.asked()
        up.expect_request()
        up.answers()
        client.expect_answer(200)
    raise AssertionError("attempts without end")


def test_a_budget_bounds_what_is_tried_again(play: Play) -> None:
    play.endpoints("a").filter(Tried(at_once(on={503})))
    # Each request brings a fifth of an attempt, and takes one: 100 + n / 5 = n.
    assert run_out(play) == 125
    play.expect_counter("cluster.x.retry_overflow", 1)
    assert Counter(play.ended()) == {(200, ""): 125, (503, "UO"): 1}
    play.pass_time("10s")
    assert run_out(play) == 125


def test_filters_draw_on_the_same_budget(play: Play) -> None:
    play.endpoints("a").filter(Decide(True))
    assert run_out(play) == 125
    assert (503, "UO") in play.ended()


def test_a_budget_is_its_clusters(play: Play) -> None:
    play.cluster("y").endpoints("a").endpoints("b", cluster="y")
    play.route("/y", to="y").route("/").filter(Tried(at_once(on={503})))
    run_out(play)
    client = play.client()
    client.sends(b"GET /y HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("b").answers(503)
    client.expect_nothing()
    play.up("b").closes()


def test_an_attempt_that_fails_without_an_answer_is_answered_when_the_budget_is_spent(play: Play) -> None:
    play.endpoints("a").filter(Tried(at_once(on={503, "reset"})))
    run_out(play)
    play.pass_time("1s")
    client = play.client()
    client.sends(GET)
    up = play.connect("a") if play.fresh() else play.asked()
    up.resets()
    if not client.unseen:
        # That one was reused, and is replaced.
        play.connect("a").resets()
    client.expect_answer(503)
    assert (503, "UC,UO") in play.ended()


# --- who decides --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("says", [False, None])
def test_a_filter_that_decides_comes_before_the_rule(play: Play, says: bool | None) -> None:
    decide = Decide(says)
    play.endpoints("a", "b").filter(Tried(at_once())).filter(decide)
    play.client_sends(GET)
    play.connect("a").answers(503)
    if says is None:
        play.connect("b").answers()
    play.expect_no_connect()
    play.first.expect_answer(503 if says is False else 200)
    assert decide.seen == [("status", "a", True)] and decide.tries == ([2] if says is None else [])


def test_a_filter_may_go_beyond_the_rule(play: Play) -> None:
    decide = Decide(True)
    play.endpoints("a", "b").filter(Tried(None)).filter(decide)
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.connect("b").answers()
    play.first.expect_answer(200)
    assert decide.seen == [("connect_failure", "a", True)]


def test_filters_are_told_of_attempts_that_took_too_long(play: Play) -> None:
    decide = Decide(None)
    play.endpoints("a", "b").filter(Tried(at_once(per_try_timeout=0.5))).filter(decide)
    play.client_sends(GET)
    play.connect("a")
    play.pass_time("510ms")
    play.connect("b").answers()
    play.first.expect_answer(200)
    assert decide.seen == [("timeout", "a", True)]


def test_filters_are_asked_about_other_answers_that_are_named(play: Play) -> None:
    decide = Decide(None)
    play.endpoints("a", "b").filter(Tried(at_once(on={429}))).filter(decide)
    play.client_sends(GET)
    play.connect("a").answers(429)
    play.connect("b").answers(404)
    play.first.expect_answer(404)
    assert decide.seen == [("status", "a", True)]


def test_an_answer_that_was_dropped_while_a_filter_thought(play: Play) -> None:
    """Its upstream closes meanwhile; that is not held against the next one."""
    class Thinks(Filter):
        async def on_upstream_error(self, request: Request, error: UpstreamError) -> bool:
            await sleep(0.1)
            return True

        async def on_response(self, request: Request, response: Response) -> None:
            await sleep(0.1)

    play.endpoints("a", "b").filter(Thinks())
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\n")
    up.closes()
    play.pass_time("110ms")
    play.connect("b").sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    play.pass_time("110ms")
    play.up("b").sends(b"fine")
    play.first.expect_answer(200, b"fine")
    assert play.ended() == [(200, "")]


def test_the_last_filter_has_said_it(play: Play) -> None:
    seen: list[Any] = []

    class Look(Filter):
        def on_complete(self, request: Request, outcome: Outcome) -> None:
            seen.append(request.retry)

    play.endpoints("a").filter(Tried(at_once(8)), at="listener").filter(Tried(at_once(5)))
    play.filter(Steer(lambda request: setattr(request, "retry", at_once(1)))).filter(Look())
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert seen == [at_once(1)] and play.ended() == [(503, "")]
    # At the listener there is no route yet.
    assert [what for what, phase, text in play.reports] == ["error"] and "no route is chosen yet" in play.reports[0][2]


@pytest.mark.parametrize("rule", [3, "5xx", Retry, {"attempts": 3}])
def test_what_is_no_rule(play: Play, rule: Any) -> None:
    def say(request: Request) -> None:
        with pytest.raises(TypeError, match="a Retry is allowed, or None for a single attempt"):
            request.retry = rule

    play.endpoints("a").filter(Steer(say))
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    assert play.reports == []


class Late(Filter):
    def on_response(self, request: Request, response: Response) -> None:
        with pytest.raises(RuntimeError, match="on its way already: retry can be changed in on_request and on_route"):
            request.retry = None
        with pytest.raises(RuntimeError, match="on its way already: the cluster can be changed"):
            request.split({"x": 1})


def test_it_is_too_late_for_what_is_sent(play: Play) -> None:
    play.endpoints("a").filter(Late())
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    assert play.reports == []


def test_a_rule_is_kept_as_long_as_its_request(play: Play) -> None:
    """Nobody else holds it."""
    play.endpoints("a", "b").filter(Steer(lambda request: setattr(request, "retry", at_once(3, {503}))))
    play.client_sends(GET)
    for name in "ab":
        play.connect(name).answers(503)
    play.connect("a").answers()
    play.first.expect_answer(200)


# --- weights ------------------------------------------------------------------------------------------------------

def two(play: Play) -> Play:
    return play.cluster("next").endpoints("a").endpoints("b", cluster="next")


def who(play: Play, fields: str = "") -> str:
    """A request; the name of the endpoint that got it."""
    play.first.sends(f"GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode())
    up = play.connect() if play.fresh() else play.asked()
    up.expect_request()
    up.answers()
    play.first.expect_answer(200)
    return chr(ord("a") + int(up.socket.peer.split(":")[0].rsplit(".")[-1]) - 1)


def test_each_request_is_drawn(play: Play) -> None:
    two(play).filter(Steer(lambda request: request.split({"x": 3, "next": 1})))
    found = Counter(who(play) for _ in range(400))
    assert 60 <= found["b"] <= 140 and play.reports == []     # 100 expected, 8.7 the standard deviation


def test_a_key_stays_where_it_is(play: Play) -> None:
    weights = {"x": 50, "next": 50}
    two(play).filter(Steer(lambda request: request.split(weights, by=request.headers.get("x-user"))))
    for i in range(30):
        key = f"user-{i}"
        expected = "a" if choose(weights, key) == "x" else "b"
        assert [who(play, f"x-user: {key}\r\n") for _ in range(2)] == [expected, expected]
    assert play.reports == []


def test_the_name_that_was_chosen_is_told(play: Play) -> None:
    seen: list[Any] = []

    def say(request: Request) -> None:
        seen.append((request.split({"x": 0, "next": 7}), request.cluster))

    two(play).filter(Steer(say))
    assert who(play) == "b" and seen == [("next", "next")]


def test_the_last_split_counts(play: Play) -> None:
    two(play).filter(Steer(lambda request: request.split({"next": 1})))
    play.filter(Steer(lambda request: request.split({"x": 1})))
    assert who(play) == "a"


def test_the_clusters_filters_are_those_of_the_chosen(play: Play) -> None:
    seen: list[Any] = []

    class Here(Filter):
        def on_request(self, request: Request) -> None:
            seen.append(request.cluster)

    two(play).filter(Steer(lambda request: request.split({"next": 1}))).filter(Here(), at="cluster")
    assert who(play) == "b" and seen == ["next"]


@pytest.mark.parametrize(("weights", "by", "says"), [
    ({}, None, "a split of nothing"), ({"x": 0}, None, "all weights of the split are 0"),
    ({"x": -1}, None, "the weight of 'x' is -1"), ({"x": float("nan")}, None, "the weight of 'x' is nan"),
    (["x"], None, "a split by list"), ({"x": 1}, 7, "by=7"), ({7: 1}, None, "7 is no name of a cluster")])
def test_what_is_no_split(play: Play, weights: Any, by: Any, says: str) -> None:
    def say(request: Request) -> None:
        with pytest.raises((ValueError, TypeError)) as caught:
            request.split(weights, by=by)
        assert says in str(caught.value)

    play.endpoints("a").filter(Steer(say))
    assert who(play) == "a" and play.reports == []


def test_a_split_with_a_cluster_that_is_not_there(play: Play) -> None:
    """Also when it would not have been chosen: a mistake is seen at once, not with one request of a hundred."""
    def say(request: Request) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="there is no cluster 'nxet' in the configuration; there are x, next"):
                request.split({"x": 1, "nxet": 0})

    two(play).filter(Steer(say))
    assert who(play) == "a" and play.reports == []


def test_before_there_is_a_route_nothing_is_split(play: Play) -> None:
    class Early(Filter):
        def on_request(self, request: Request) -> None:
            with pytest.raises(RuntimeError, match="no route is chosen yet: set the cluster in on_route"):
                request.split({"x": 1})

    play.endpoints("a").filter(Early(), at="listener")
    assert who(play) == "a" and play.reports == []


def test_clusters_that_move_or_go_in_a_reload(play: Play) -> None:
    """What was found in one snapshot is looked at before it is used in the next."""
    weights = {"x": 0, "next": 1}
    two(play).cluster("third").route(to="x").filter(Steer(lambda request: request.split(weights)))
    assert who(play) == "b"
    play.clusters = {name: play.clusters[name] for name in ("x", "third", "next")}
    play.endpoints("c", cluster="next").apply()
    assert who(play) == "c" and play.reports == []
    del play.clusters["next"]
    play.apply()
    assert who(play) == "a"      # as the route says, for the filter fails open
    assert [what for what, _, _ in play.reports] == ["error"]


def test_a_shadow_neither_splits_nor_tries_again(play: Play) -> None:
    def say(request: Request) -> None:
        request.split({"next": 1})
        request.retry = Retry(8, {"5xx"})

    two(play).filter(Steer(say), shadow=True)
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.first.expect_answer(503)
    (what, _, text), = play.reports
    assert what == "shadow" and "route it in another way" in text and "try it again by another rule" in text
