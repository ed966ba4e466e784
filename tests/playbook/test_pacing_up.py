"""Requests that faults slow down: how fast their bodies go up, and that what waits is bounded and lost with nobody."""

from playbook.play import Play, Upstream

from fastmesh import Filter, Request

POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


class Gives(Filter):
    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return chunk


def begun(play: Play, size: int, sent: int | None = None) -> Upstream:
    """The request is there, or so much of its body."""
    play.client_sends(POST % size + b"x" * (size if sent is None else sent))
    return play.connect("a")


def body_of(up: Upstream) -> bytes:
    return up.expect().partition(b"\r\n\r\n")[2]


def test_a_body_goes_at_the_bandwidth(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=10_000)
    up = begun(play, 20_000)
    got = len(body_of(up))
    assert got == 500                # a twentieth of a second
    for _ in range(19):
        play.pass_time("100ms")
        more = len(up.expect())
        assert 400 <= more <= 1600, (got, more)
        got += more
    assert 18_000 <= got < 20_000
    play.pass_time("150ms")
    assert got + len(up.expect()) == 20_000
    up.answers(200, b"thanks")
    play.expect_answer(200, b"thanks")
    play.expect_counter("fault_slowed_requests", 1)
    play.expect_counter("fault_slowed", 0)
    assert play.ended() == [(200, "DI")]
    # The connections go on.
    assert play.live()["idle"] == 1


def test_the_client_is_read_no_faster(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=10_000)
    up = begun(play, 1_000_000, 0)
    for _ in range(20):
        play.client_sends(b"x" * 16_384)
    assert not play.first.socket.is_receiving
    up.expect()
    play.pass_time("1s")
    assert 8_000 <= len(up.expect()) <= 12_000
    play.client_resets()
    up.expect_closed()


def test_a_chunked_one(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=10_000)
    play.client_sends(CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n3e8\r\n" + b"b" * 1000 + b"\r\n0\r\n\r\n")
    up = play.connect("a")
    play.pass_time("150ms")
    assert not up.unseen.endswith(b"0\r\n\r\n")
    play.pass_time("150ms")
    assert up.expect_request().body == b"a" * 1000 + b"b" * 1000
    up.answers()
    play.expect_answer(200)
    assert play.live()["idle"] == 1


def test_trailers_come_behind_it(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=1_000)
    play.client_sends(CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\nx-sum: 1\r\n\r\n")
    up = play.connect("a")
    play.pass_time("900ms")
    assert b"x-sum" not in up.unseen
    play.pass_time("200ms")
    made = up.expect_request()
    assert made.body == b"a" * 1000 and made.trailers == [("x-sum", "1")]
    up.answers()
    play.expect_answer(200)
    assert play.live()["idle"] == 1


def test_trailers_bring_what_filters_have_given(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=1_000).filter(Gives())
    play.client_sends(CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\nx-sum: 1\r\n\r\n")
    up = play.connect("a")
    play.pass_time("1100ms")
    made = up.expect_request()
    assert made.body == b"a" * 1000 and made.trailers == [("x-sum", "1")]


def test_an_answer_that_does_not_wait_for_the_rest(play: Play) -> None:
    """Its connection is in the middle of a message: nobody else gets it."""
    play.endpoints("a").fault(request_bandwidth=1_000)
    up = begun(play, 4_000)
    up.expect()
    up.answers(413, b"too much")
    play.expect_answer(413, b"too much")
    up.expect_closed()
    play.client_sends(POST % 4 + b"next")
    again = play.connect("a")
    play.pass_time("100ms")
    assert again.expect_request().body == b"next"


def test_an_upstream_that_does_not_read(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=1_000_000).listener(body_timeout="60s", buffer_bytes=8192)
    up = begun(play, 400_000, 0)
    up.stops_reading()
    play.client_sends(b"x" * 100_000)
    play.pass_time("2s")
    play.client_sends(b"x" * 100_000)
    play.pass_time("2s")
    up.reads()
    play.client_sends(b"x" * 200_000)
    for _ in range(10):
        play.pass_time("100ms")
    assert up.expect_request().body == b"x" * 400_000


def test_a_further_attempt_begins_anew(play: Play) -> None:
    play.endpoints("a", "b").fault(request_bandwidth=1_000).retrying(attempts=2, faults=1 << 3)
    play.client_sends(PUT % 1_000 + b"y" * 1_000)
    up = play.connect()
    play.pass_time("500ms")
    assert 400 < len(body_of(up)) < 700
    up.resets()
    other = play.connect()
    assert len(body_of(other)) == 50
    play.pass_time("1s")
    assert len(other.expect()) == 950
    other.answers()
    play.expect_answer(200)


def test_the_client_leaves_while_its_body_waits(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=1_000)
    up = begun(play, 4_000)
    up.expect()
    play.client_resets()
    up.expect_closed()
    assert play.ended() == [(0, "DI,DC")]


def test_the_time_of_the_request_counts(play: Play) -> None:
    play.endpoints("a").route(timeout="1s").fault(request_bandwidth=1_000)
    begun(play, 4_000)
    play.pass_time("1100ms")
    play.expect_answer(504)
    assert play.ended() == [(504, "UT,DI")]


def test_both_ways_and_the_smallest(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=100_000, bandwidth=1_000).fault(request_bandwidth=1_000)
    up = begun(play, 1_000)
    play.pass_time("900ms")
    assert len(body_of(up)) < 1_000
    play.pass_time("200ms")
    up.expect()
    up.answers(200, b"z" * 500)
    play.pass_time("400ms")
    assert play.ended() == []
    play.pass_time("200ms")
    play.expect_answer(200, b"z" * 500)


def test_nothing_to_slow_down(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=16)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a").answers()
    play.expect_answer(200)
    play.expect_counter("fault_slowed_requests", 0)


class Doubles(Filter):
    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return chunk + chunk


def test_what_filters_make_of_it_is_slowed_down(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=10_000).filter(Doubles())
    play.client_sends(CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n")
    up = play.connect("a")
    play.pass_time("150ms")
    assert not up.unseen.endswith(b"0\r\n\r\n")
    play.pass_time("150ms")
    assert up.expect_request().body == b"a" * 2000


def test_the_worker_stops_while_a_body_waits(play: Play) -> None:
    play.endpoints("a").fault(request_bandwidth=1_000)
    begun(play, 4_000).expect()
