"""Answers that faults slow down: how fast their bodies go, and that what waits is bounded and lost with nobody."""

from playbook.play import Play, Upstream

from fastmesh import Filter, Request, Response

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def head(play: Play, said: bytes) -> Upstream:
    """The answer has begun."""
    play.client_sends(GET)
    up = play.connect("a")
    up.expect_request()
    up.sends(b"HTTP/1.1 200 OK\r\n" + said + b"\r\n\r\n")
    return up


def test_a_body_goes_at_the_bandwidth(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=10_000)
    up = head(play, b"content-length: 20000")
    play.first.expect(startswith=b"HTTP/1.1 200")
    up.sends(b"x" * 20_000)
    got = len(play.first.expect())
    assert got == 500                # a twentieth of a second
    for _ in range(19):
        play.pass_time("100ms")
        more = len(play.first.expect())
        assert 400 <= more <= 1600, (got, more)
        got += more
    assert 18_000 <= got < 20_000
    play.pass_time("150ms")
    assert got + len(play.first.expect()) == 20_000
    play.expect_counter("fault_slowed", 1)
    assert play.ended() == [(200, "DI")]
    # The connections go on.
    play.client_sends(GET)
    up.expect_request()


def test_a_small_one_too(play: Play) -> None:
    """It is the whole body that takes its time, however it comes."""
    play.endpoints("a").fault(bandwidth=16)
    up = head(play, b"content-length: 32")
    up.sends(b"x" * 32)
    play.pass_time("1900ms")
    assert play.ended() == []
    play.pass_time("150ms")
    play.first.expect_answer(200, b"x" * 32)


def test_upstream_is_read_no_faster(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=10_000)
    up = head(play, b"content-length: 1000000")
    up.sends(*[b"x" * 16_384] * 20)
    assert play.counter("read_paused") >= 1
    play.first.expect()
    play.pass_time("1s")
    assert 8_000 <= len(play.first.expect()) <= 12_000
    play.client_resets()
    up.expect_closed()


def test_a_chunked_one(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=10_000)
    up = head(play, b"transfer-encoding: chunked")
    up.sends(b"3e8\r\n" + b"a" * 1000 + b"\r\n", b"3e8\r\n" + b"b" * 1000 + b"\r\n0\r\n\r\n")
    play.pass_time("150ms")
    assert play.ended() == []
    play.pass_time("150ms")
    assert play.first.expect_answer(200).body == b"a" * 1000 + b"b" * 1000


def test_trailers_are_not_lost(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nte: trailers\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n" + b"a" * 1000
                            + b"\r\n0\r\nx-sum: 1\r\n\r\n")
    made = play.first.expect_answer(200)
    assert made.body == b"a" * 1000 and made.trailers == [("x-sum", "1")]


def test_one_that_ends_with_its_connection(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=10_000)
    up = head(play, b"x-a: b")
    up.sends(b"x" * 2000)
    up.closes()
    play.pass_time("150ms")
    assert play.ended() == []
    play.pass_time("150ms")
    assert play.first.expect_answer(200).body == b"x" * 2000


def test_a_client_that_does_not_read(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000_000).listener(body_timeout="60s", buffer_bytes=8192)
    up = head(play, b"content-length: 400000")
    play.first.stops_reading()
    up.sends(b"x" * 100_000)
    play.pass_time("2s")
    up.sends(b"x" * 100_000)
    play.pass_time("2s")
    play.first.reads()
    up.sends(b"x" * 200_000)
    for _ in range(10):
        play.pass_time("100ms")
    assert play.first.expect_answer(200).body == b"x" * 400_000


def test_the_upstream_breaks_off(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000)
    up = head(play, b"content-length: 4000")
    up.sends(b"x" * 2000)
    up.resets()
    play.pass_time("1900ms")
    assert play.ended() == []        # what had come before is the client's
    play.pass_time("200ms")
    assert play.ended() == [(200, "UC,DI")]


def test_the_time_of_the_request_ends(play: Play) -> None:
    play.endpoints("a").route(timeout="1s").fault(bandwidth=1_000)
    head(play, b"content-length: 4000").sends(b"x" * 4000)
    play.pass_time("1100ms")
    assert play.ended() == [(200, "UT,DI")]


def test_the_client_leaves_while_its_answer_waits(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000)
    head(play, b"content-length: 4000").sends(b"x" * 4000)
    play.client_resets()
    assert play.ended() == [(200, "DI,DC")]


def test_the_smallest_holds_and_answers_here_are_not_slowed(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=100_000).fault(bandwidth=1_000).fault(bandwidth=10_000)
    head(play, b"content-length: 1000").sends(b"x" * 1000)
    play.pass_time("900ms")
    assert play.ended() == []
    play.pass_time("200ms")
    play.first.expect_answer(200)
    play.fault(status=418).apply()
    play.client_sends(GET)
    play.first.expect_answer(418)
    play.expect_counter("fault_slowed", 1)


def test_nothing_to_slow_down(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=16)
    up = head(play, b"content-length: 0")
    play.first.expect_answer(200, b"")
    play.client_sends(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    play.first.expect_answer(200, has_body=False)


class Doubles(Filter):
    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes:
        return chunk + chunk


def test_what_filters_make_of_it_is_slowed_down(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=10_000).filter(Doubles())
    head(play, b"transfer-encoding: chunked").sends(b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n")
    play.pass_time("150ms")
    assert play.ended() == []
    play.pass_time("150ms")
    assert play.first.expect_answer(200).body == b"a" * 2000


def test_a_drain_waits_for_it(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000)
    head(play, b"content-length: 2000").sends(b"x" * 2000)
    play.drain()
    play.pass_time("2100ms")
    assert play.first.expect_answer(200).body == b"x" * 2000


def test_the_worker_stops_while_an_answer_waits(play: Play) -> None:
    play.endpoints("a").fault(bandwidth=1_000)
    head(play, b"content-length: 4000").sends(b"x" * 4000)


