"""Further attempts by the rule of a route: what is tried again, what it costs, and what upstreams are told of it."""

from typing import Any

import pytest
from playbook.play import Play
from playbook.test_retry_after import expect_attempt

from fastmesh import Filter, Request, Retry
from fastmesh.observe.families import RETRIED_FOR

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
CONNECT, RESET, PROTOCOL, TIMEOUT = 1 << 1 | 1 << 2, 1 << 3, 1 << 4, 1 << 6
COUNT = "x-envoy-attempt-count"


def marked(count: str, request: bytes = GET) -> bytes:
    return request.replace(b"\r\n\r\n", f"\r\n{COUNT}: {count}\r\n\r\n".encode(), 1)


def expect_reasons(play: Play, **counts: int) -> None:
    for reason in RETRIED_FOR:
        play.expect_counter(f"cluster.x.retried_{reason}", counts.get(reason, 0))


# --- what is tried again ------------------------------------------------------------------------------------------

def test_an_answer_that_is_named(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[429, 503])
    play.client_sends(GET)
    play.connect("a").answers(429)
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    assert play.ended() == [(200, "")]
    expect_reasons(play, status=1)
    play.expect_counter("cluster.x.retry_success", 1)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_answer_that_is_not_named(play: Play, status: int) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], headers=["x-again"])
    play.client_sends(GET)
    play.connect("a").answers(status, b"this", fields=["x-agai: 1"])
    play.first.expect_answer(status, b"this")
    expect_reasons(play)


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_an_answer_with_a_field_that_is_named(play: Play, status: int) -> None:
    play.endpoints("a", "b").retrying(headers=["x-other", "x-again"])
    play.client_sends(GET)
    play.connect("a").sends(f"HTTP/1.1 {status} Said\r\nX-Again: \r\n".encode()
                            + (b"\r\n" if status == 204 else b"content-length: 0\r\n\r\n"))
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    expect_reasons(play, status=1)


def test_interim_answers_are_none(play: Play) -> None:
    play.endpoints("a", "b").retrying(headers=["x-again"])
    play.client_sends(GET)
    play.connect("a").sends(b"HTTP/1.1 103 Early\r\nx-again: 1\r\n\r\n")
    play.expect_no_connect()
    play.up("a").answers(body=b"a")
    play.first.expect_message(False)
    play.first.expect_answer(200, b"a")


def test_a_connection_that_is_lost(play: Play) -> None:
    play.endpoints("a", "b").retrying(faults=RESET)
    play.client_sends(GET)
    play.connect("a").resets()
    play.connect("b").answers()
    play.first.expect_answer(200)
    expect_reasons(play, reset=1)


def test_one_that_is_lost_and_not_named(play: Play) -> None:
    """The rule has the say in the place of the settings, which would try it again."""
    play.endpoints("a", "b").retrying(statuses=[503])
    play.client_sends(GET)
    play.connect("a").resets()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert play.ended() == [(503, "UC")]


def test_what_is_no_http(play: Play) -> None:
    play.endpoints("a", "b").retrying(faults=PROTOCOL)
    play.client_sends(GET)
    play.connect("a").sends(b"hello\r\n\r\n")
    play.connect("b").answers()
    play.first.expect_answer(200)
    expect_reasons(play, protocol=1)


def test_an_attempt_that_takes_too_long(play: Play) -> None:
    """Its endpoint stands still: the next one answers, and nobody has seen an error."""
    play.endpoints("a", "b").retrying(faults=TIMEOUT, each="200ms")
    play.client_sends(GET)
    slow = play.connect("a")
    play.pass_time("180ms")
    play.expect_no_connect()
    play.pass_time("50ms")
    slow.expect_request()
    slow.expect_closed()
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    assert play.ended() == [(200, "")]
    expect_reasons(play, timeout=1)
    play.expect_counter("cluster.x.try_timeouts", 1)


def test_the_limit_of_an_attempt_covers_its_connect(play: Play) -> None:
    play.endpoints("a", "b").retrying(faults=TIMEOUT, each="200ms")
    play.client_sends(POST)
    play.expect_connect("a")
    play.pass_time("230ms")
    play.connect("b").expect_request("POST")
    play.up("b").answers()
    play.first.expect_answer(200)


def test_the_last_attempt_that_takes_too_long(play: Play) -> None:
    play.endpoints("a", "b").retrying(faults=TIMEOUT, each="200ms")
    play.client_sends(GET)
    for name in "ab":
        play.connect(name)
        play.pass_time("230ms")
    play.first.expect_answer(504)
    assert play.ended() == [(504, "UT,URX")]
    play.expect_counter("cluster.x.retry_limit_exceeded", 1)


def test_the_whole_requests_time_goes_on(play: Play) -> None:
    play.endpoints("a", "b").route(timeout="300ms").retrying(attempts=8, faults=TIMEOUT, each="200ms")
    play.client_sends(GET)
    play.connect("a")
    play.pass_time("230ms")
    play.connect("b")
    play.pass_time("100ms")
    play.expect_no_connect()
    play.first.expect_answer(504)
    assert play.ended() == [(504, "UT")]


def test_other_endpoints_come_first(play: Play) -> None:
    play.endpoints("a", "b", "c").retrying(attempts=4, statuses=[503])
    play.client_sends(GET)
    for name in "abc":
        play.connect(name).answers(503)
    fresh = play.fresh()
    assert fresh is not None and fresh.socket.peer != "10.0.0.3:80"      # not the one that has failed just now
    play.connect().answers(body=b"at last")
    play.first.expect_answer(200, b"at last")


def test_what_asks_to_be_left_alone_is(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], wait="25s")
    play.client_sends(GET)
    play.connect("a").answers(503, fields=["retry-after: 4"])
    expect_attempt(play, "b", 4000, 6000).answers()
    play.first.expect_answer(200)
    play.expect_counter("cluster.x.retry_waits", 1)


def test_a_pause_with_jitter(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], backoff="1s", backoff_max="1s")
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.expect_no_connect()
    play.pass_time("1010ms")
    play.connect("b").answers()
    play.first.expect_answer(200)


# --- what may be sent twice ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(("non_idempotent", "again"), [(False, False), (True, True)])
def test_a_post_is_sent_once_unless_it_is_asked_for(play: Play, non_idempotent: bool, again: bool) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], faults=RESET, non_idempotent=non_idempotent)
    play.client_sends(POST)
    play.connect("a").answers(503, b"a")
    if again:
        assert play.connect("b").expect_message().body == b"body"
        play.up("b").answers()
    play.first.expect_answer(200 if again else 503)


@pytest.mark.parametrize(("size", "again"), [(65_536, True), (65_537, False)])
def test_a_body_that_is_kept(play: Play, size: int, again: bool) -> None:
    play.endpoints("a", "b").retrying(statuses=[503])
    play.client_sends(f"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + bytes(size))
    play.connect("a").answers(503)
    if again:
        assert len(play.connect("b").expect_message().body) == size
        play.up("b").answers()
    play.first.expect_answer(200 if again else 503)


@pytest.mark.parametrize("request_bytes", [GET, POST])
@pytest.mark.parametrize("attempts", [1, 2])
def test_failed_connects_go_elsewhere_in_any_case(play: Play, request_bytes: bytes, attempts: int) -> None:
    """As the settings say, at once and for nothing; the rule names something else, or nothing."""
    play.endpoints("a", "b", "c").retrying(attempts=attempts, statuses=[503], backoff="60s", backoff_max="60s")
    play.budget = [0, 0]
    play.client_sends(request_bytes)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.connect("c").answers()
    play.first.expect_answer(200)
    expect_reasons(play, connect=2)
    assert play.ended() == [(200, "")]


def test_all_refuse(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503])
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.expect_no_connect()
    play.first.expect_answer(503)
    assert play.ended() == [(503, "UF,URX")]


def test_a_rule_that_names_failed_connects_goes_on_beyond_the_settings(play: Play) -> None:
    play.cluster(avoid_base="1ms", avoid_max="1ms").endpoints("a").retrying(attempts=3, faults=CONNECT)
    play.client_sends(GET)
    for _ in range(2):
        play.expect_connect("a").refused()
        play.pass_time("2ms")
    play.connect("a").answers()
    play.first.expect_answer(200)
    expect_reasons(play, connect=2)


# --- what it costs ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("budget", "granted"), [([0, 0], 0), ([200_000, 0], 2), ([1_000_000, 0], 10), ([0, 1], 10)])
def test_the_budget_of_the_cluster(play: Play, budget: list[int], granted: int) -> None:
    """Ten requests that all fail; the budget counts over ten seconds."""
    play.endpoints("a", "b").retrying(statuses=[503])
    play.budget = budget
    first = 0
    for _ in range(10):
        play.client_sends(GET)
        play.connect().answers(503, fields=["connection: close"])
        if play.counter("cluster.x.retries") > first:
            first += 1
            play.connect().answers(200, fields=["connection: close"])
            play.first.expect_answer(200)
        else:
            play.first.expect_answer(503)
    assert play.counter("cluster.x.retries") == granted
    play.expect_counter("cluster.x.retry_overflow", 10 - granted)
    assert [flags for _, flags in play.ended()].count("UO") == 10 - granted


# --- what upstreams are told, and what clients say ----------------------------------------------------------------

def test_upstreams_are_told_which_attempt_it_is(play: Play) -> None:
    play.endpoints("a", "b", "c").retrying(attempts=3, statuses=[503])
    play.client_sends(GET)
    for number, name in enumerate("abc", 1):
        up = play.connect(name)
        assert up.expect_request()[COUNT] == str(number)
        up.answers(503 if number < 3 else 200)
    play.first.expect_answer(200)


def test_a_connection_that_was_closed_while_idle_is_no_attempt(play: Play) -> None:
    play.endpoints("a").retrying(statuses=[503])
    play.pool_has("a")
    play.client_sends(GET)
    play.asked().closes()
    assert play.connect("a").expect_request()[COUNT] == "1"
    play.up("a").answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize(("rule", "came", "told"), [
    (None, None, None), (None, "3", "3"), ({"told": False}, None, None), ({"told": False}, "2", "2"),
    ({"told": True}, "1", "1"), ({"told": True}, "3", "3"), ({"told": True}, "0", "1"), ({"told": True}, "many", "1"),
    ({"told": True}, "99999999999999999999", "9999")])
def test_what_came_goes_on(play: Play, rule: dict[str, Any] | None, came: str | None, told: str | None) -> None:
    play.endpoints("a")
    if rule is not None:
        play.retrying(statuses=[503], **rule)
    play.client_sends(marked(came) if came else GET)
    assert play.connect("a").expect_request()[COUNT] == told
    play.up("a").answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("count", "again"), [("1", True), ("2", False), ("7", False), ("0", True), ("x", True)])
def test_only_one_proxy_tries_again(play: Play, told: bool, count: str, again: bool) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], told=told)
    play.client_sends(marked(count))
    play.connect("a").answers(503)
    if again:
        play.connect("b").answers()
    play.expect_no_connect()
    play.first.expect_answer(200 if again else 503)


def test_unless_it_is_asked_for(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503], of_retries=True)
    play.client_sends(marked("2"))
    play.connect("a").answers(503)
    assert play.connect("b").expect_request()[COUNT] == "3"
    play.up("b").answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize(("count", "again"), [("1", True), ("2", False)])
def test_nor_do_the_settings_after_a_lost_connection(play: Play, count: str, again: bool) -> None:
    play.endpoints("a", "b")
    play.client_sends(marked(count))
    play.connect("a").resets()
    if again:
        play.connect("b").answers()
    play.expect_no_connect()
    play.first.expect_answer(200 if again else 503)


def test_failed_connects_of_a_further_attempt_go_elsewhere(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503])
    play.client_sends(marked("2"))
    play.expect_connect("a").refused()
    play.connect("b").answers()
    play.first.expect_answer(200)


# --- beside filters -----------------------------------------------------------------------------------------------

class Looks(Filter):
    """Writes down the rule that holds, and sets another one when it is told to."""

    def __init__(self, rule: Any = ...) -> None:
        self.rule = rule
        self.seen: list[Any] = []

    def on_route(self, request: Request) -> None:
        self.seen.append(request.retry)
        if self.rule is not ...:
            request.retry = self.rule


def test_filters_see_the_rule_of_the_route(play: Play) -> None:
    filter_ = Looks()
    play.endpoints("a", "b").filter(filter_)
    play.retrying(attempts=3, faults=RESET | TIMEOUT, statuses=[409], each="500ms", backoff="25ms",
                  backoff_max="250ms", wait="25s")
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    assert filter_.seen == [Retry(3, {"connect-failure", "reset", "timeout", 409}, per_try_timeout=0.5)]
    assert play.reports == []


@pytest.mark.parametrize("rule", [None, Retry(on={"reset"})])
def test_the_rule_of_a_filter_goes_before(play: Play, rule: Retry | None) -> None:
    play.endpoints("a", "b").filter(Looks(rule)).retrying(statuses=[503])
    play.client_sends(GET)
    play.connect("a").answers(503)
    play.expect_no_connect()
    play.first.expect_answer(503)
    play.client_sends(POST)
    play.expect_connect("b").refused()
    play.first.expect_answer(503)


class Counts(Filter):
    def on_route(self, request: Request) -> None:
        request.headers[COUNT] = "5"


def test_a_filter_may_say_which_attempt_it_is(play: Play) -> None:
    play.endpoints("a", "b").filter(Counts()).retrying(statuses=[503])
    play.client_sends(GET)
    up = play.connect("a")
    assert up.expect_request().all(COUNT) == ["5"]
    up.answers(503)
    play.expect_no_connect()
    play.first.expect_answer(503)


def test_a_rule_outlives_its_snapshot(play: Play) -> None:
    play.endpoints("a", "b").retrying(statuses=[503])
    play.client_sends(GET)
    up = play.connect("a")
    play.retry = None
    play.apply()
    up.answers(503)
    play.connect("b").answers()
    play.first.expect_answer(200)


GRPC_UNAVAILABLE, GRPC_EXHAUSTED = 1 << 14, 1 << 8
CALL = b"POST /s/M HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 2\r\n\r\nhi"


@pytest.mark.parametrize(("fields", "again"), [
    (["grpc-status: 14"], True), (["Grpc-Status: 8", "content-type: application/grpc"], True),
    (["grpc-status: 0"], False), (["grpc-status: 13"], False), (["grpc-status: 114"], False),
    (["grpc-status: x"], False), (["grpc-status:"], False), (["grpc-status: 1 4"], False),
    (["grpc-status: 4294967310"], False), ([], False)])
def test_a_call_of_grpc_that_ends_with_its_head(play: Play, fields: list[str], again: bool) -> None:
    play.endpoints("a", "b").retrying(grpc=GRPC_UNAVAILABLE | GRPC_EXHAUSTED, non_idempotent=True)
    play.client_sends(CALL)
    play.connect("a").expect_request()
    play.answers("a", 200, b"", fields)
    if not again:
        play.expect_answer(200)
        play.expect_no_connect()
        return
    assert play.connect("b").expect_request().body == b"hi"
    play.answers("b", 200, b"", ["grpc-status: 0"])
    assert play.expect_answer(200)["grpc-status"] == "0"
    play.expect_counter("cluster.x.retry_success", 1)


def test_the_last_call_of_grpc_is_the_answer(play: Play) -> None:
    play.endpoints("a", "b").retrying(grpc=GRPC_UNAVAILABLE, non_idempotent=True)
    play.client_sends(CALL)
    for name in ("a", "b"):
        play.connect(name).expect_request()
        play.answers(name, 200, b"", ["grpc-status: 14", f"x-from: {name}"])
    answer = play.expect_answer(200)
    assert (answer["grpc-status"], answer["x-from"]) == ("14", "b")
    assert play.ended() == [(200, "URX")]


def test_a_status_of_grpc_counts_in_a_good_answer_only(play: Play) -> None:
    play.endpoints("a", "b").retrying(grpc=GRPC_UNAVAILABLE, non_idempotent=True)
    play.client_sends(CALL)
    play.connect("a")
    play.answers("a", 404, b"", ["grpc-status: 14"])
    play.expect_answer(404)
