"""Attempts beside the first: when they begin, whose answer counts, and that nothing is left whatever comes first."""

import pytest
from playbook.play import Play, Upstream

from fastmesh import Filter, Request
from probes import wire

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
COUNT = "x-envoy-attempt-count"
CONNECT, RESET, TIMEOUT = 1 << 1 | 1 << 2, 1 << 3, 1 << 6
HOST, ATTEMPTS = 15, 22             # fields of the access log


def hedged(play: Play, request: bytes = GET, **rule: object) -> tuple[Upstream, Upstream]:
    """Two attempts of one request, both sent and neither answered."""
    play.hedging(**{"delay": "100ms", **rule})
    if not play.clusters["x"]["endpoints"]:
        play.endpoints("a", "b", "c")
    play.client_sends(request)
    a = play.connect("a")
    play.pass_time("90ms")
    play.expect_no_connect()
    play.pass_time("20ms")
    b = play.connect("b")
    assert a.expect_request().line == b.expect_request().line
    return a, b


def sent(play: Play) -> Upstream:
    """Where one more attempt has gone, on a connection that there was or on one of its own."""
    up = play.connect() if play.fresh() else play.asked()
    up.expect_request()
    return up


def expect_counts(play: Play, sent: int, won: int, lost: int, refused: int = 0) -> None:
    play.expect_counter("cluster.x.hedges", sent)
    play.expect_counter("cluster.x.hedge_won", won)
    play.expect_counter("cluster.x.hedge_lost", lost)
    play.expect_counter("cluster.x.hedge_overflow", refused)


# --- when, and who wins ---------------------------------------------------------------------------------------------

def test_the_second_wins(play: Play) -> None:
    a, b = hedged(play)
    play.expect_counter("cluster.x.active", 2)
    play.expect_counter("endpoint.b.active", 1)
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")
    a.expect_closed()
    b.expect_open()
    expect_counts(play, 1, 1, 0)
    assert play.ended() == [(200, "")]
    play.expect_counter("endpoint.a.failures", 0)
    play.expect_counter("endpoint.a.active", 0)
    play.expect_counter("cluster.x.active", 0)
    play.expect_counter("cluster.x.retries", 0)


def test_the_first_wins(play: Play) -> None:
    a, b = hedged(play)
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    b.expect_closed()
    a.expect_open()
    expect_counts(play, 1, 0, 1)
    play.expect_counter("endpoint.b.failures", 0)


def test_an_answer_in_time_is_alone(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    play.connect("a").answers(body=b"a")
    play.first.expect_answer(200, b"a")
    play.pass_time("200ms")
    play.expect_no_connect()
    expect_counts(play, 0, 0, 0)


def test_the_connection_of_the_winner_is_used_again(play: Play) -> None:
    _, b = hedged(play)
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")
    play.endpoints("b").apply()
    play.client_sends(GET)
    play.expect_no_connect()
    b.expect_request()
    b.answers(body=b"again")
    play.first.expect_answer(200, b"again")


def test_up_to_four_beside_each_other(play: Play) -> None:
    play.endpoints("a", "b", "c", "d", "e")
    a, b = hedged(play, attempts=4)
    play.pass_time("110ms")
    c = play.connect("c")
    play.pass_time("110ms")
    d = play.connect("d")
    play.pass_time("300ms")
    play.expect_no_connect()
    assert [c.expect_request()[COUNT], d.expect_request()[COUNT]] == ["3", "4"]
    c.answers(body=b"c")
    play.first.expect_answer(200, b"c")
    for up in (a, b, d):
        up.expect_closed()
    expect_counts(play, 3, 1, 2)


def test_with_one_endpoint_there_is_none(play: Play) -> None:
    play.endpoints("a").hedging(delay="100ms")
    play.client_sends(GET)
    play.connect("a").expect_request()
    play.pass_time("300ms")
    play.expect_no_connect()
    play.answers("a")
    play.first.expect_answer(200)
    expect_counts(play, 0, 0, 0)


def test_a_connect_that_takes_long_is_hedged_too(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.expect_connect("a")
    play.pass_time("110ms")
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    # It is finished for whoever comes next.
    a.connected().expect_open()
    expect_counts(play, 1, 1, 0)


def test_upstreams_are_told_which_attempt_it_is(play: Play) -> None:
    play.hedging(delay="100ms").endpoints("a", "b")
    play.client_sends(GET)
    a = play.connect("a")
    play.pass_time("110ms")
    b = play.connect("b")
    assert [a.expect_request()[COUNT], b.expect_request()[COUNT]] == ["1", "2"]



# --- what is not hedged ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("request_", [
    POST, GET.replace(b"\r\n\r\n", f"\r\n{COUNT}: 2\r\n\r\n".encode(), 1),
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"],
    ids=["post", "retry", "upgrade"])
def test_what_is_not(play: Play, request_: bytes) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(request_)
    play.connect("a").expect_request()
    play.pass_time("300ms")
    play.expect_no_connect()
    expect_counts(play, 0, 0, 0)


def test_a_post_where_it_is_said(play: Play) -> None:
    _, b = hedged(play, POST, non_idempotent=True)
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")


def test_a_body_goes_to_both(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    a = play.connect("a")
    play.pass_time("300ms")
    play.expect_no_connect()       # it is the client that takes the time
    play.client_sends(b"6\r\nsecond\r\n0\r\n\r\n")
    play.pass_time("110ms")
    b = play.connect("b")
    assert a.expect_request().body == b.expect_request().body == b"firstsecond"
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")


def test_a_body_that_is_not_kept(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 65537\r\n\r\n")
    play.connect("a")
    play.client_sends(b"x" * 65537)
    play.pass_time("300ms")
    play.expect_no_connect()
    play.answers("a")
    play.first.expect_answer(200)
    expect_counts(play, 0, 0, 0)


def test_the_budget(play: Play) -> None:
    """One in two requests, and none besides."""
    play.endpoints("a", "b").hedging(delay="100ms", share=500_000, rate=0)
    hedges = 0
    for _ in range(4):
        client = play.client()
        client.sends(GET)
        up = sent(play)
        play.pass_time("110ms")
        if play.counter("cluster.x.hedges") > hedges:
            hedges += 1
            up = sent(play)
        up.answers()
        client.expect_answer(200)
        client.closes()
    assert play.counter("cluster.x.hedges") + play.counter("cluster.x.hedge_overflow") == 4
    assert 1 <= play.counter("cluster.x.hedges") <= 2


@pytest.mark.parametrize("limit", ["max_requests", "max_pending"])
def test_never_beyond_a_limit_of_the_cluster(play: Play, limit: str) -> None:
    play.cluster(**{limit: 1}).endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.connect("a")
    a.expect_request()
    if limit == "max_pending":
        play.client().sends(GET)
        play.expect_connect("b")       # and stays connecting
    play.pass_time("110ms")
    play.expect_no_connect()
    assert play.counter("cluster.x.hedge_overflow") >= 1
    play.expect_counter("cluster.x.hedges", 0)
    a.answers()
    play.first.expect_answer(200)


def test_never_to_an_endpoint_that_is_avoided(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    b = play.connect("b")
    b.expect_request()
    b.answers()
    play.first.expect_answer(200)
    play.client_sends(GET)
    b.expect_request()
    play.pass_time("300ms")
    play.expect_no_connect()
    expect_counts(play, 0, 0, 0)
    b.answers()
    play.first.expect_answer(200)


def test_it_never_stands_in_line(play: Play) -> None:
    play.cluster(max_connections=1).endpoints("a", "b").hedging(delay="100ms")
    other = play.client()
    other.sends(GET)
    play.connect("a").expect_request()
    play.client().sends(GET)
    play.connect("b").expect_request()
    play.pass_time("110ms")
    play.expect_no_connect()
    expect_counts(play, 0, 0, 0, refused=2)


# --- what fails while another is under way --------------------------------------------------------------------------

def test_the_first_is_lost_and_the_second_answers(play: Play) -> None:
    a, b = hedged(play)
    a.resets()
    play.expect_nothing()
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")
    expect_counts(play, 1, 1, 0)
    play.expect_counter("endpoint.a.failures", 1)


def test_the_second_is_lost_and_the_first_answers(play: Play) -> None:
    a, b = hedged(play)
    b.resets()
    play.expect_nothing()
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    expect_counts(play, 1, 0, 1)
    play.expect_counter("endpoint.b.failures", 1)


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_error_waits_for_the_other(play: Play, first: str) -> None:
    a, b = hedged(play)
    bad, good = (a, b) if first == "a" else (b, a)
    bad.answers(500, b"bad")
    play.expect_nothing()
    good.answers(200, b"good")
    play.first.expect_answer(200, b"good")
    expect_counts(play, 1, *((1, 0) if first == "a" else (0, 1)))


def test_the_last_error_is_the_answer(play: Play) -> None:
    a, b = hedged(play)
    a.answers(500, b"first")
    b.answers(502, b"second")
    play.first.expect_answer(502, b"second")
    play.expect_no_connect()


def test_an_answer_that_is_tried_again_waits_for_the_other(play: Play) -> None:
    play.retrying(statuses=[429])
    a, b = hedged(play)
    a.answers(429)
    play.expect_nothing()
    b.answers(429)
    c = play.connect("c")           # both have failed: the rule for further attempts has the say
    assert c.expect_request()[COUNT] == "3"
    c.answers(body=b"c")
    play.first.expect_answer(200, b"c")
    play.expect_counter("cluster.x.retry_success", 1)


def test_both_are_lost(play: Play) -> None:
    play.retrying(faults=RESET, attempts=1)
    a, b = hedged(play)
    b.resets()
    a.resets()
    play.first.expect_answer(503)
    assert play.ended() == [(503, "UC")]
    expect_counts(play, 1, 0, 1)


def test_the_second_is_refused(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.connect("a")
    play.pass_time("110ms")
    play.expect_connect("b").refused()
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    expect_counts(play, 1, 0, 1)


def test_the_first_is_refused_while_the_second_connects(play: Play) -> None:
    """What connects for the one is the other's from then on."""
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.expect_connect("a")
    play.pass_time("110ms")
    b = play.expect_connect("b")
    a.refused()
    play.expect_counter("cluster.x.pending", 1)
    b.connected().answers(body=b"b")
    play.first.expect_answer(200, b"b")
    play.expect_counter("cluster.x.pending", 0)
    expect_counts(play, 1, 1, 0)


def test_what_became_the_first_fails_by_itself(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.expect_connect("a")
    play.pass_time("110ms")
    b = play.expect_connect("b")
    a.refused()
    b.refused()
    play.first.expect_answer(503)
    expect_counts(play, 1, 0, 1)


def test_each_attempt_has_its_time(play: Play) -> None:
    play.retrying(faults=TIMEOUT, each="300ms")
    a, b = hedged(play)
    play.pass_time("210ms")
    a.expect_closed()
    b.expect_open()
    play.expect_nothing()
    play.expect_no_connect()
    play.pass_time("110ms")
    b.expect_closed()
    play.connect("c").answers(body=b"c")
    play.first.expect_answer(200, b"c")
    play.expect_counter("cluster.x.try_timeouts", 2)


def test_the_second_has_its_time(play: Play) -> None:
    """The first is not slow by the rule: its time began anew with another connection."""
    play.cluster(connect_timeout="10s").retrying(faults=TIMEOUT, each="300ms")
    a, b = hedged(play, delay="100ms")
    play.pass_time("160ms")
    a.answers(500)                   # b is the only one now
    play.expect_nothing()
    play.pass_time("160ms")
    b.expect_closed()
    play.connect("c").answers()
    play.first.expect_answer(200)


# --- any order of events --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("first", ["a", "b"])
def test_half_a_head_loses(play: Play, first: str) -> None:
    a, b = hedged(play)
    slow, fast = (a, b) if first == "a" else (b, a)
    slow.sends(b"HTTP/1.1 200 OK\r\nx-half")
    fast.sends(b"HTTP/1.1 200 O", b"K\r\ncontent-length: 4\r\n", b"\r\nfa", b"st")
    play.first.expect_answer(200, b"fast")
    slow.expect_closed()
    assert play.ended() == [(200, "")]


@pytest.mark.parametrize("first", ["a", "b"])
def test_both_answer_in_one_turn(play: Play, first: str) -> None:
    a, b = hedged(play)
    with play.batch():
        for up in ((a, b) if first == "a" else (b, a)):
            up.answers(body=b"ok")
    play.first.expect_answer(200, b"ok")
    assert play.ended() == [(200, "")]
    assert [a.is_closed, b.is_closed].count(True) == 1
    play.client_sends(GET)
    play.pass_time("10ms")


@pytest.mark.parametrize("how", ["answers", "resets", "closes"])
def test_one_answers_and_the_other_ends_in_one_turn(play: Play, how: str) -> None:
    a, b = hedged(play)
    with play.batch():
        a.answers(503) if how == "answers" else getattr(a, how)()
        b.answers(body=b"b")
    play.first.expect_answer(200, b"b")


def test_a_head_byte_by_byte(play: Play) -> None:
    _, b = hedged(play)
    for byte in b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok":
        b.sends(bytes([byte]))
    play.first.expect_answer(200, b"ok")


def test_interim_answers(play: Play) -> None:
    """The first one's go to the client; what is sent beside brings none."""
    a, b = hedged(play)
    b.sends(b"HTTP/1.1 103 Early\r\nx-from: b\r\n\r\n")
    play.expect_nothing()
    a.sends(b"HTTP/1.1 103 Early\r\nx-from: a\r\n\r\n")
    assert play.first.expect_message(False)["x-from"] == "a"
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")


def test_who_has_begun_to_answer_is_waited_for(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    play.connect("a").sends(b"HTTP/1.1 102 Processing\r\n\r\n")
    play.pass_time("300ms")
    play.expect_no_connect()
    play.answers("a")
    play.first.expect_message(False)
    play.first.expect_answer(200)


def test_too_many_interim_answers_beside(play: Play) -> None:
    a, b = hedged(play)
    b.sends(b"HTTP/1.1 103 Early\r\n\r\n" * 17)
    b.expect_closed()
    a.answers()
    play.first.expect_answer(200)


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_what_is_no_answer_beside(play: Play, said: bytes) -> None:
    a, b = hedged(play)
    b.sends(said)
    b.expect_closed()
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    expect_counts(play, 1, 0, 1)


def test_the_client_leaves(play: Play) -> None:
    a, b = hedged(play)
    play.client_resets()
    a.expect_closed()
    b.expect_closed()
    expect_counts(play, 1, 0, 1)
    play.expect_counter("cluster.x.active", 0)
    play.expect_counter("endpoint.a.failures", 0)
    play.expect_counter("endpoint.b.failures", 0)


def test_the_client_leaves_while_both_connect(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    a = play.expect_connect("a")
    play.pass_time("110ms")
    b = play.expect_connect("b")
    play.client_resets()
    play.expect_counter("cluster.x.pending", 0)
    a.connected()
    b.connected()


def test_the_request_takes_too_long(play: Play) -> None:
    play.route(timeout="250ms")
    a, b = hedged(play)
    play.pass_time("200ms")
    play.first.expect_answer(504)
    a.expect_closed()
    b.expect_closed()
    assert play.ended() == [(504, "UT")]


def test_the_answer_takes_its_time(play: Play) -> None:
    """A body that is long under way is no reason for anything."""
    play.retrying(faults=TIMEOUT, each="300ms")
    a, b = hedged(play)
    b.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
    a.expect_closed()
    play.pass_time("1s")
    b.sends(b"half")
    play.first.expect_answer(200, b"halfhalf")
    play.expect_no_connect()


def test_the_winner_breaks_off(play: Play) -> None:
    _, b = hedged(play)
    b.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
    b.resets()
    play.first.expect(startswith=b"HTTP/1.1 200")
    assert play.ended() == [(200, "UC")]


def test_a_drain_waits_for_the_answer(play: Play) -> None:
    _, b = hedged(play)
    play.drain()
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")
    play.client_closes()
    play.pass_time("1s")
    assert play.is_drained


def test_a_drain_that_ends_before(play: Play) -> None:
    hedged(play)
    play.drain(grace="50ms")
    play.pass_time("200ms")


def test_the_worker_stops(play: Play) -> None:
    hedged(play)


def test_the_endpoint_is_taken_out_meanwhile(play: Play) -> None:
    a, b = hedged(play)
    play.endpoints("a").apply()
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")
    b.expect_closed()                # no snapshot names it any more
    a.expect_closed()


def test_the_rule_is_taken_out_meanwhile(play: Play) -> None:
    a, b = hedged(play)
    play.hedge = None
    play.apply()
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    b.expect_closed()
    play.client_sends(GET)
    play.pass_time("300ms")
    assert play.counter("cluster.x.hedges") == 1


def test_an_idle_connection_that_was_closed(play: Play) -> None:
    """It is found out before it is used, or costs the attempt beside, and nothing else."""
    play.endpoints("a", "b").pool_has("a", "b")
    play.hedging(delay="100ms").apply()
    play.client_sends(GET)
    up = sent(play)
    play.pass_time("110ms")
    sent(play).closes()
    up.answers(body=b"ok")
    play.first.expect_answer(200, b"ok")
    play.expect_counter("endpoint.a.failures", 0)
    play.expect_counter("endpoint.b.failures", 0)
    expect_counts(play, 1, 0, 1)


def test_two_requests_on_one_connection(play: Play) -> None:
    play.endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET, GET)
    a = play.connect("a")
    play.pass_time("110ms")
    b = play.connect("b")
    b.answers(body=b"1")
    play.first.expect_answer(200, b"1")
    a.expect_request()
    a.expect_closed()
    b.expect_request()
    sent_again = play.asked() if not play.fresh() else play.connect()
    sent_again.answers(body=b"2")
    play.first.expect_answer(200, b"2")


def test_what_loses_is_known_to_be_slow(play: Play) -> None:
    """No failure, but no longer the first choice of who goes by response times."""
    play.cluster(lb=wire.PEAK_EWMA).endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(GET)
    slow = play.connect()
    slow.expect_request()
    play.pass_time("110ms")
    fast = play.connect()
    fast.expect_request()
    fast.answers()
    play.first.expect_answer(200)
    for _ in range(10):
        play.client_sends(GET)
        play.expect_no_connect()
        fast.expect_request()
        fast.answers()
        play.first.expect_answer(200)


def test_the_log_says_how_many_and_who_won(play: Play) -> None:
    play.logged((ATTEMPTS, ""), (HOST, ""))
    _, b = hedged(play)
    b.answers()
    play.first.expect_answer(200)
    assert play.stage.log() == ["2 b"]


# --- by percentile --------------------------------------------------------------------------------------------------

def test_after_what_is_usual(play: Play) -> None:
    play.endpoints("a", "b").hedging(part=900_000, least="5ms")
    for i in range(20):
        play.client_sends(GET)
        up = sent(play)
        play.pass_time("40ms" if i % 2 else "20ms")
        play.expect_no_connect()     # nothing is known yet
        up.answers()
        play.first.expect_answer(200)
    play.client_sends(GET)
    sent(play)
    play.pass_time("30ms")
    play.expect_counter("cluster.x.hedges", 0)
    play.pass_time("30ms")
    play.expect_counter("cluster.x.hedges", 1)


# --- after per_try_timeout ------------------------------------------------------------------------------------------

def test_the_slow_attempt_goes_on(play: Play) -> None:
    play.route(timeout="2s").retrying(faults=TIMEOUT, each="200ms")
    play.endpoints("a", "b").hedging(on_try_timeout=True)
    play.client_sends(GET)
    a = play.connect("a")
    play.pass_time("210ms")
    b = play.connect("b")
    a.expect_request()
    a.expect_open()
    play.expect_counter("cluster.x.try_timeouts", 1)
    play.pass_time("500ms")          # both have the time that the request has
    a.answers(body=b"a")
    play.first.expect_answer(200, b"a")
    b.expect_request()
    b.expect_closed()
    expect_counts(play, 1, 0, 1)


def test_without_a_limit_of_the_request_slow_attempts_are_given_up(play: Play) -> None:
    play.retrying(faults=TIMEOUT, each="200ms", attempts=1)
    play.endpoints("a", "b").hedging(on_try_timeout=True)
    play.client_sends(GET)
    a = play.connect("a")
    play.pass_time("210ms")
    b = play.connect("b")
    play.pass_time("210ms")
    a.expect_request()
    a.expect_closed()
    b.expect_request()
    play.pass_time("10ms")
    play.first.expect_answer(504)
    b.expect_closed()


def test_when_the_budget_is_spent_it_is_tried_again_as_ever(play: Play) -> None:
    play.retrying(faults=TIMEOUT, each="200ms")
    play.endpoints("a", "b").hedging(on_try_timeout=True, share=0, rate=0)
    play.client_sends(GET)
    a = play.connect("a")
    play.pass_time("210ms")
    a.expect_request()
    a.expect_closed()
    play.connect("b").answers(body=b"b")
    play.first.expect_answer(200, b"b")
    expect_counts(play, 0, 0, 0, refused=1)


# --- others who take part -------------------------------------------------------------------------------------------

class Turns(Filter):
    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return bytes(chunk)[::-1]


def test_a_body_that_a_filter_has_made(play: Play) -> None:
    play.filter(Turns()).endpoints("a", "b").hedging(delay="100ms")
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody")
    a = play.connect("a")
    play.pass_time("110ms")
    b = play.connect("b")
    assert a.expect_request().body == b.expect_request().body == b"ydob"
    b.answers(body=b"b")
    play.first.expect_answer(200, b"b")


class Sees(Filter):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_retry(self, request: Request) -> None:
        self.seen.append("retry")

    def on_response(self, request: Request, response: object) -> None:
        self.seen.append(f"response {response.status}")      # type: ignore[attr-defined]


def test_filters_see_the_winner_only(play: Play) -> None:
    sees = Sees()
    play.filter(sees)
    a, b = hedged(play)
    a.answers(500)
    b.answers(201)
    play.first.expect_answer(201)
    assert sees.seen == ["response 201"]


def test_a_delay_comes_first(play: Play) -> None:
    play.endpoints("a", "b").fault(delay="1s").hedging(delay="100ms")
    play.client_sends(GET)
    play.pass_time("500ms")
    play.expect_no_connect()
    play.pass_time("510ms")
    play.connect("a").expect_request()
    play.pass_time("110ms")
    play.connect("b").answers()
    play.first.expect_answer(200)


def test_one_copy_for_a_mirror(play: Play) -> None:
    play.cluster("m").endpoints("m", cluster="m").endpoints("a", "b").route(to="x").mirror("m").hedging(delay="100ms")
    play.client_sends(GET)
    ups = [play.connect(), play.connect()]
    play.pass_time("110ms")
    play.connect("b").answers()
    play.first.expect_answer(200)
    play.expect_counter("mirrored", 1)
    assert len(ups) == 2


def test_a_route_without_is_as_ever(play: Play) -> None:
    play.routes = [wire.route("/", cluster=0)]
    play.endpoints("a", "b")
    play.client_sends(GET)
    assert play.connect("a").expect_request()[COUNT] is None
    play.pass_time("1s")
    play.expect_no_connect()
