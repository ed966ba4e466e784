"""Every time-out, to the tick of the wheel: nothing happens before it, and it has happened two ticks later."""

import pytest
from playbook.play import ns

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
TICKS = "9ms"      # two of 4.2 ms


@pytest.fixture
def soon(play):
    """`soon(limit, check)`: passes the limit; `check` holds to the last millisecond before it."""
    def wait(limit, check):
        play.pass_time(limit - 1_000_000)
        check()
        play.pass_time(TICKS)
    return wait


@pytest.mark.parametrize("seconds", [1, 10, 75])
def test_header_timeout(play, soon, seconds):
    play.endpoints("a").listener(header_timeout=f"{seconds}s")
    play.client_sends(GET[:10])
    soon(seconds * 10**9, play.expect_nothing)
    play.expect_answer(408)
    play.expect_counter("header_timeout", 1)
    assert play.ended() == [(408, "DPE")]


def test_header_timeout_is_not_prolonged_by_more_bytes(play):
    play.endpoints("a").listener(header_timeout="10s")
    for i in range(9):
        play.client_sends(GET[i:i + 1])
        play.pass_time("1s")
    play.client_sends(GET[9:10])
    play.pass_time("990ms")
    play.expect_nothing()
    play.pass_time("20ms")
    play.expect_answer(408)


def test_header_timeout_begins_anew_with_each_head(play):
    play.endpoints("a").listener(header_timeout="10s", idle_timeout="60s")
    for _ in range(3):
        play.client_sends(GET[:5])
        play.pass_time("9s")
        play.client_sends(GET[5:])
        (play.fresh() and play.connect("a")) or play.up("a")
        play.answers("a")
        play.expect_answer(200)
        play.pass_time("8s")
    play.first.expect_open()


def test_keepalive_idle_before_the_first_request(play, soon):
    play.endpoints("a").listener(idle_timeout="75s")
    play.client()
    soon(75 * 10**9, play.first.expect_open)
    play.expect_closed()
    play.expect_counter("idle_closed", 1)


def test_keepalive_idle_is_moved_by_every_request(play, soon):
    """The entry stays in its slot while its deadline moves: that must not make it early or late."""
    play.endpoints("a").listener(idle_timeout="5s")
    for i in range(10):
        play.client_sends(GET)
        if i == 0:
            play.connect("a")
        play.answers("a")
        play.expect_answer(200)
        play.pass_time(4 * 10**9 + i * 10**7)
    play.client_sends(GET)
    play.answers("a")
    play.expect_answer(200)
    soon(5 * 10**9, play.first.expect_open)
    play.expect_closed()


def test_no_idle_time_while_an_answer_is_awaited(play):
    play.endpoints("a").listener(idle_timeout="5s", header_timeout="5s", body_timeout="5s")
    play.client_sends(GET)
    play.connect("a")
    play.pass_time("10m")
    play.expect_nothing()
    play.answers("a")
    play.expect_answer(200)


def test_body_timeout(play, soon):
    play.endpoints("a").listener(body_timeout="10s")
    play.client_sends(POST)
    up = play.connect("a")
    play.client_sends(b"12345")
    soon(10 * 10**9, play.expect_nothing)
    play.expect_answer(408)
    assert up.is_closed
    play.expect_counter("body_timeout", 1)
    assert play.ended() == [(408, "SI")]


def test_body_timeout_is_prolonged_by_every_piece(play, soon):
    play.endpoints("a").listener(body_timeout="10s")
    play.client_sends(POST)
    play.connect("a")
    for _ in range(9):
        play.pass_time("9s")
        play.client_sends(b"x")
    soon(10 * 10**9, play.expect_nothing)
    play.expect_answer(408)


def test_body_that_stops_after_the_answer_began_is_cut(play):
    play.endpoints("a").listener(body_timeout="10s")
    play.client_sends(POST + b"12345")
    play.connect("a")
    play.upstream_sends("a", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345")
    play.pass_time("10010ms")
    assert play.first.expect(startswith=b"HTTP/1.1 200 OK").endswith(b"12345")
    play.expect_closed()
    assert play.ended() == [(200, "SI")]


def test_body_timeout_in_the_trailers(play):
    play.endpoints("a").listener(body_timeout="10s")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum:")
    play.connect("a")
    play.pass_time("10010ms")
    play.expect_answer(408)


def test_body_timeout_does_not_blame_a_client_that_is_not_read(play):
    """While a connection is made the body is not read: that is no fault of the client's."""
    play.cluster(connect_timeout="30s").endpoints("a").listener(body_timeout="10s")
    play.client_sends(POST)
    play.pass_time("25s")
    play.expect_nothing()
    play.connect("a")
    play.client_sends(b"1234567890")
    assert play.expect_request("a").body == b"1234567890"
    play.answers("a")
    play.expect_answer(200)


def test_request_timeout(play, soon):
    play.endpoints("a").route(timeout="2s")
    play.client_sends(GET)
    up = play.connect("a")
    soon(2 * 10**9, play.expect_nothing)
    play.expect_answer(504)
    assert up.is_closed
    play.expect_counter("request_timeout", 1)
    play.expect_counter("cluster.x.timeouts", 1)
    assert play.ended() == [(504, "UT")]
    # The next one on this connection has a time of its own.
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)


def test_request_timeout_while_connecting(play):
    play.cluster(connect_timeout="30s").endpoints("a").route(timeout="2s")
    play.client_sends(GET)
    up = play.expect_connect("a")
    play.pass_time("2010ms")
    play.expect_answer(504)
    up.connected()
    assert play.live()["idle"] == 1


def test_request_timeout_in_the_waiting_line(play):
    play.cluster(max_connections=1).endpoints("a").route(timeout="2s")
    play.client_sends(GET)
    play.connect("a")
    second = play.client()
    play.pass_time("1s")
    second.sends(GET)
    play.expect_no_connect()
    play.pass_time("1010ms")
    play.expect_answer(504)
    play.connect("a").answers()
    second.expect_answer(200)


def test_request_timeout_in_the_middle_of_an_answer(play):
    play.endpoints("a").route(timeout="2s")
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
    play.pass_time("2010ms")
    play.first.expect()
    play.expect_closed()
    assert up.is_closed
    assert play.ended() == [(200, "UT")]


def test_linger(play, soon):
    """What still comes behind an early answer is swallowed, for a while."""
    play.endpoints("a").listener(linger="1s")
    play.client_sends(POST + b"12345")
    up = play.connect("a")
    up.answers(413)
    play.expect_answer(413)
    play.first.expect_shut()
    assert up.is_closed
    play.client_sends(b"67890" * 100)
    play.expect_counter("lingered", 1)
    soon(10**9, play.first.expect_shut)
    # The answer was sent in the second that is over now, which gives the client another one.
    play.pass_time("1s")
    play.expect_closed()


def test_linger_ends_with_the_client(play):
    play.endpoints("a")
    play.client_sends(POST)
    play.connect("a").answers(413)
    play.expect_answer(413)
    play.client_closes()
    play.expect_closed()


def test_client_that_does_not_read_its_last_answer(play):
    """The queue does not fit the send buffer, and then nothing moves for the body time."""
    play.endpoints("a").listener(body_timeout="10s", linger="1s")
    play.first.stops_reading(100)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    play.connect("a").answers(body=bytes(5000))
    play.pass_time("9s")
    assert not play.first.is_closed
    play.pass_time("4s")
    assert play.first.is_closed


def test_client_that_reads_its_last_answer_slowly_gets_all_of_it(play):
    play.endpoints("a").listener(body_timeout="10s", linger="1s")
    play.first.stops_reading(100)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    play.connect("a").answers(body=bytes(5000))
    for _ in range(10):
        play.pass_time("9s")
        play.first.reads(300)
    play.first.reads()
    play.expect_answer(200, bytes(5000))
    assert play.first.is_closed


def test_upstream_that_does_not_read_a_body(play):
    play.endpoints("a").listener(body_timeout="10s", buffer_bytes=4096)
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    up = play.connect("a")
    up.stops_reading()
    play.client_sends(bytes(200_000))
    play.pass_time("25s")
    play.expect_answer(504)
    assert up.is_closed


def test_answer_that_nobody_reads(play):
    play.endpoints("a").listener(body_timeout="10s", buffer_bytes=4096)
    play.client_sends(GET)
    up = play.connect("a")
    play.first.stops_reading(1000)
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", bytes(60_000))
    play.pass_time("9s")
    assert not play.first.is_closed
    # Something was sent in the first ten seconds, nothing in the second ones.
    play.pass_time("12s")
    assert play.first.is_closed and up.is_closed
    assert play.ended() == [(200, "SI")]


def test_stream_idle(play):
    """It is looked for once in its time: found between once and twice."""
    play.endpoints("a").listener(stream_idle="10s")
    play.client_sends(GET)
    up = play.connect("a")
    play.pass_time("9990ms")
    play.expect_nothing()
    play.pass_time("10020ms")
    play.expect_answer(504)
    assert up.is_closed
    play.first.expect_open()
    play.expect_counter("stream_idle", 1)
    assert play.ended() == [(504, "SI")]


@pytest.mark.parametrize(("listener", "route", "least", "most"), [
    (0, "10s", "9990ms", "10020ms"), ("1h", "10s", "9990ms", "10020ms"), ("1s", "10s", "9990ms", "10020ms")])
def test_stream_idle_of_a_route(play, listener, route, least, most):
    play.endpoints("a").listener(stream_idle=listener).route("/", stream_idle=ns(route))
    play.client_sends(GET)
    play.connect("a")
    play.pass_time(least)
    play.expect_nothing()
    play.pass_time(most)
    play.expect_answer(504)
    play.first.expect_open()
    play.expect_counter("stream_idle", 1)


def test_stream_idle_of_a_route_counts_from_the_end_of_the_body(play):
    play.endpoints("a").listener(stream_idle="1h").route("/", stream_idle=ns("10s"))
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n")
    play.connect("a")
    play.pass_time("9s")
    play.client_sends(b"a")
    play.pass_time("9s")
    play.expect_nothing()
    play.pass_time("12s")
    play.expect_answer(504)


def test_stream_idle_while_connecting(play):
    play.cluster(connect_timeout="1h").endpoints("a").listener(stream_idle="10s")
    play.client_sends(GET)
    play.expect_connect("a")
    play.pass_time("21s")
    play.expect_answer(504)


def test_stream_idle_in_the_middle_of_an_answer(play):
    play.endpoints("a").listener(stream_idle="10s")
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    for _ in range(5):
        play.pass_time("9s")
        up.sends(b"x")
    play.first.expect_open()
    assert play.first.unseen.endswith(b"xxxxx")
    play.pass_time("21s")
    assert play.first.is_closed and up.is_closed
    play.expect_counter("stream_idle", 1)
    assert play.ended() == [(200, "SI")]


def test_stream_idle_begins_anew_with_each_request(play):
    play.endpoints("a").listener(stream_idle="10s", idle_timeout="1m")
    for i in range(6):
        play.client_sends(GET)
        up = play.up("a") if i else play.connect("a")
        play.pass_time("9s")
        up.answers()
        play.expect_answer(200)
    play.pass_time("30s")
    play.first.expect_open()
    play.expect_counter("stream_idle", 0)


def test_stream_idle_of_a_body_that_was_sent_slowly(play):
    play.endpoints("a").listener(stream_idle="10s", body_timeout="1m")
    play.client_sends(POST)
    up = play.connect("a")
    for _ in range(10):
        play.pass_time("30s")
        play.client_sends(b"x")
    play.pass_time("9s")
    up.answers()
    play.expect_answer(200)


def test_stream_idle_is_not_for_tunnels(play):
    play.endpoints("a").listener(stream_idle="10s", tcp_idle="1h")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: u\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: u\r\n\r\n")
    assert play.first.expect_message().status == 101
    play.pass_time("10m")
    play.first.expect_open()


def test_no_stream_idle(play):
    play.endpoints("a").listener(stream_idle=0)
    play.client_sends(GET)
    up = play.connect("a")
    play.pass_time("1h")
    up.answers()
    play.expect_answer(200)


def test_idle_connection_of_the_pool(play, soon):
    play.cluster(idle_timeout="60s").endpoints("a").pool_has("a")
    up = play.up("a")
    soon(60 * 10**9, up.expect_open)
    assert up.is_closed
    assert play.live()["idle"] == 0


def test_idle_time_of_the_pool_begins_with_each_return(play):
    play.cluster(idle_timeout="10s").endpoints("a").pool_has("a")
    up = play.up("a")
    for _ in range(5):
        play.pass_time("9s")
        play.client_sends(GET)
        up.answers()
        play.expect_answer(200)
    play.client_sends(GET)
    play.pass_time("1m")
    up.answers()
    play.expect_answer(200)
    play.pass_time("9s")
    up.expect_open()
    play.pass_time("1010ms")
    assert up.is_closed


def test_tcp_idle(play, soon):
    play.tcp().endpoints("a").listener(tcp_idle="30s")
    play.client()
    up = play.connect("a")
    play.client_sends(b"ping")
    play.pass_time("29s")
    up.sends(b"pong")
    play.pass_time("29s")
    play.first.expect_open()
    play.pass_time("31s")
    assert play.first.is_closed and up.is_closed
    play.expect_counter("tcp_idle_closed", 1)
    assert play.ended() == [(0, "SI")]


def test_time_passes_in_few_turns(play):
    """An idle worker wakes up once a second for its heartbeat, and rarely besides."""
    play.endpoints("a").listener(idle_timeout="1h").pool_has("a")
    play.client()
    before = play.counter("turns")
    play.pass_time("60s")
    assert play.counter("turns") - before < 150
