"""Connecting: refused, too slow, moved on to another endpoint, avoided for a while."""

import pytest
from playbook.play import ECONNREFUSED, SECOND, address_of

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
ENETUNREACH, ETIMEDOUT = 101, 110


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_refused_moves_on_to_the_next_endpoint(play, request_bytes):
    """Nothing was sent, so any method may go elsewhere."""
    play.endpoints("a", "b")
    play.client_sends(request_bytes)
    play.expect_connect("a").refused()
    play.connect("b").expect_request()
    play.answers("b", body=b"b")
    play.expect_answer(200, b"b")
    play.expect_counter("retry_connect", 1)
    play.expect_counter("cluster.x.connect_failed", 1)
    play.expect_counter("endpoint.a.connect_failures", 1)
    play.expect_counter("endpoint.a.failures", 1)
    play.expect_counter("endpoint.b.failures", 0)
    assert play.ended() == [(200, "")]


def test_all_refuse(play):
    play.endpoints("a", "b", "c")
    play.client_sends(GET)
    for name in "abc":
        play.expect_connect(name).refused()
    play.expect_no_connect()
    play.expect_answer(503)
    assert play.ended() == [(503, "UF,URX")]
    play.expect_counter("retry_connect", 2)


def test_single_endpoint_is_tried_once(play):
    play.endpoints("a")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_no_connect()
    play.expect_answer(503)


def test_no_more_attempts_than_allowed(play):
    play.cluster(max_connect_attempts=2).endpoints("a", "b", "c")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.expect_no_connect()
    play.expect_answer(503)


def test_no_endpoint_at_all(play):
    play.client_sends(GET)
    play.expect_no_connect()
    play.expect_answer(503)
    play.expect_counter("no_endpoint", 1)
    assert play.ended() == [(503, "UH")]


@pytest.mark.parametrize("err", [ECONNREFUSED, ENETUNREACH, ETIMEDOUT])
def test_connect_that_fails_by_the_call_itself(play, err):
    """As on loopback and on Unix sockets: no waiting between the call and its answer."""
    play.endpoints("a", "b")
    play.stage.at_once = {address_of("a"): err}
    play.client_sends(GET)
    play.expect_connect("a")
    play.connect("b").answers()
    play.expect_answer(200)
    play.expect_counter("connect_timeout" if err == ETIMEDOUT else "connect_failed", 1)


def test_connect_that_succeeds_by_the_call_itself(play):
    play.endpoints("a")
    play.stage.at_once = {address_of("a"): 0}
    play.client_sends(POST)
    play.expect_connect("a").expect_request("POST /")
    play.answers("a")
    play.expect_answer(200)


def test_connect_timeout(play):
    play.cluster(connect_timeout="250ms").endpoints("a", "b")
    play.client_sends(GET)
    slow = play.expect_connect("a")
    play.pass_time("249ms")
    play.expect_no_connect()
    play.pass_time("10ms")
    assert slow.is_closed
    play.connect("b").answers()
    play.expect_answer(200)
    play.expect_counter("connect_timeout", 1)
    play.expect_counter("cluster.x.connect_timeout", 1)


def test_all_are_too_slow(play):
    play.endpoints("a", "b")
    play.client_sends(GET)
    play.expect_connect("a")
    play.pass_time("1010ms")
    play.expect_connect("b")
    play.pass_time("1010ms")
    play.expect_answer(504)
    assert play.ended() == [(504, "UF,URX")]


def test_failed_endpoint_is_avoided_and_tried_again_later(play):
    play.cluster(avoid_base="1s").endpoints("a", "b")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.connect("b").answers()
    play.expect_answer(200)
    play.up("b").closes()
    for _ in range(4):
        play.client_sends(GET)
        play.connect("b").answers()
        play.expect_answer(200)
        play.up("b").closes()
    # 1 s, give or take a fifth.
    play.pass_time("1200ms")
    names = set()
    for _ in range(2):
        play.client_sends(GET)
        up = play.connect()
        names.add(up.socket.peer)
        up.answers()
        play.expect_answer(200)
        up.closes()
    assert names == {address_of("a"), address_of("b")}


def test_the_only_endpoint_is_never_avoided(play):
    play.endpoints("a")
    for _ in range(3):
        play.client_sends(GET)
        play.expect_connect("a").refused()
        play.expect_answer(503)
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)
    play.expect_counter("endpoint.a.avoid_until_ns", 0)


def test_avoidance_doubles_up_to_its_limit(play):
    play.cluster(avoid_base="1s", avoid_max="5s").endpoints("a")
    for expected in (1, 2, 4, 5, 5):
        play.client_sends(GET)
        play.expect_connect("a").refused()
        play.expect_answer(503)
        left = play.counter("endpoint.a.avoid_until_ns") - play.stage.now_ns
        assert 0.8 * expected * SECOND <= left <= 1.2 * expected * SECOND
        play.pass_time("7s")


def test_failures_of_one_moment_count_once(play):
    play.cluster(avoid_base="1s").endpoints("a")
    clients = [play.client() for _ in range(8)]
    for client in clients:
        client.sends(GET)
    slow = [play.expect_connect("a") for _ in clients]
    for up in slow:
        up.refused()
    for client in clients:
        client.expect_answer(503)
    assert play.counter("endpoint.a.avoid_until_ns") - play.stage.now_ns <= 1.2 * SECOND
    play.expect_counter("endpoint.a.connect_failures", 8)


def test_all_avoided_are_better_than_none(play):
    play.endpoints("a", "b")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.expect_answer(503)
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)


def test_success_ends_the_avoidance(play):
    play.cluster(avoid_base="10s").endpoints("a", "b")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_connect("b").refused()
    play.expect_answer(503)
    play.client_sends(GET)
    up = play.connect()
    up.answers()
    play.expect_answer(200)
    up.closes()
    name = "a" if up.socket.peer == address_of("a") else "b"
    play.expect_counter(f"endpoint.{name}.avoid_until_ns", 0)


def test_body_waits_for_the_connection_and_all_of_it_arrives(play):
    play.endpoints("a", "b")
    play.client_sends(POST[:-4], b"bo")
    play.expect_connect("a").refused()
    play.client_sends(b"dy")
    up = play.connect("b")
    assert up.expect_request("POST").body == b"body"


def test_client_that_leaves_meanwhile_leaves_its_connection_to_the_next(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.expect_connect("a")
    play.client_resets()
    up.connected()
    assert not up.is_closed and play.live()["idle"] == 1
    second = play.client()
    second.sends(GET)
    play.expect_no_connect()
    up.expect_request("GET /")
    up.answers()
    second.expect_answer(200)


def test_client_that_leaves_does_not_spare_a_slow_connect(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.expect_connect("a")
    play.client_resets()
    play.pass_time("1100ms")
    assert up.is_closed


@pytest.mark.parametrize("broken", [False, True])
def test_connection_that_breaks_in_the_moment_it_is_made(play, broken):
    play.endpoints("a")
    client = play.client()
    client.sends(GET)
    up = play.expect_connect("a")
    with play.batch():
        up.connected()
        (up.resets if broken else up.closes)()
    play.expect_no_connect()
    client.expect_answer(503)
    assert play.ended() == [(503, "UC")]


def test_connected_sockets_do_not_wait_to_fill_segments(play):
    play.endpoints("a")
    play.client_sends(GET)
    assert play.connect("a").socket.has_nodelay and play.first.socket.has_nodelay
