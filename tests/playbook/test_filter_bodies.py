"""Bodies on their way through filters: piece by piece, whole, and as streams, in both directions."""

from collections.abc import AsyncIterator, Callable

import pytest
from playbook.play import Play

from fastmesh import Filter, Headers, Request, Response, Signal

POST = b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Upper(Filter):
    """Changes pieces in both directions."""

    def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        return chunk.upper() + (b"!" if last else b"")

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes:
        return chunk.upper() + (b"?" if last else b"")


def test_pieces_are_changed_both_ways(play: Play) -> None:
    play.endpoints("a").filter(Upper())
    play.client_sends(POST + b"hello", b"world")
    up = play.connect()
    request = up.expect_request("POST /up")
    assert request.body == b"HELLOWORLD!" and request.is_chunked and request["content-length"] is None
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab", b"cdef")
    answer = play.first.expect_answer(200, b"ABCDEF?")
    assert answer.is_chunked and answer["content-length"] is None and play.reports == []
    play.client_sends(GET)          # the connection is in good order
    play.asked().answers(200, b"x")
    play.first.expect_answer(200, b"X?")


def test_pieces_that_are_only_looked_at_keep_their_length(play: Play) -> None:
    seen: list[tuple[bytes, bool]] = []

    class Look(Filter):
        changes_body = False

        def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> None:
            seen.append((chunk, last))

    play.endpoints("a").filter(Look(), changes_body=False)
    play.client_sends(POST + b"hello", b"world")
    request = play.connect().expect_request()
    assert request["content-length"] == "10" and request.body == b"helloworld"
    assert b"".join(chunk for chunk, _ in seen) == b"helloworld" and [last for _, last in seen][-1] is True
    assert [last for _, last in seen].count(True) == 1


def test_who_said_it_changes_nothing_and_does_fails(play: Play) -> None:
    class Liar(Filter):
        def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            return chunk + b"more"

    play.endpoints("a").filter(Liar(), changes_body=False, on_error="closed")
    play.client_sends(POST + b"helloworld")
    play.connect()
    play.first.expect_answer(503)
    assert "changes_body is False" in play.reports[0][2]


class Same(Filter):
    """A generator that says it changes nothing, and gives what it is told to for what it takes."""

    changes_body = False

    def __init__(self, gives: Callable[[bytes], list[bytes]], takes: int = 99) -> None:
        self.gives, self.takes = gives, takes

    async def pass_on(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for piece in self.gives(chunk):
                yield piece
            self.takes -= 1
            if not self.takes:
                return

    def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self.pass_on(chunks)

    def on_response_stream(self, request: Request, response: Response,
                           chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self.pass_on(chunks)


@pytest.mark.parametrize("takes", [1, 99])
def test_a_stream_that_changes_nothing_may_cut_it_elsewhere_and_leave_the_rest(play: Play, takes: int) -> None:
    play.endpoints("a").filter(Same(lambda chunk: [chunk[:2], b"", chunk[2:]], takes), changes_body=False)
    play.client_sends(POST + b"hello", b"world")
    up = play.connect()
    request = up.expect_request()
    assert request["content-length"] == "10" and request.body == b"helloworld"
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nsome", b" answer")
    answer = play.first.expect_answer(200, b"some answer")
    assert answer["content-length"] == "11" and play.reports == []


@pytest.mark.parametrize("on_error", ["open", "closed", "skip"])
@pytest.mark.parametrize("gives", [lambda chunk: [chunk, b"more"], lambda chunk: [chunk.upper()], lambda chunk: [],
                                   lambda chunk: [chunk[1:]]], ids=["more", "other", "nothing", "less"])
def test_a_stream_that_said_it_changes_nothing_and_does_is_cut(play: Play, on_error: str,
                                                               gives: Callable[[bytes], list[bytes]]) -> None:
    """The length that was said stays true of what is sent, both ways, or the connection ends."""
    play.endpoints("a").filter(Same(gives), changes_body=False, on_error=on_error, at="route")
    play.client_sends(POST + b"hello", b"world")
    up = play.connect()
    sent = up.expect()
    assert len(sent.partition(b"\r\n\r\n")[2]) < 10 and b"helloworld".startswith(sent.partition(b"\r\n\r\n")[2])
    assert up.is_closed
    play.first.expect_answer(503)
    assert "changes_body is False" in play.reports[0][2]


@pytest.mark.parametrize("gives", [lambda chunk: [chunk, b"more"], lambda chunk: []], ids=["more", "nothing"])
def test_an_answer_whose_stream_said_it_changes_nothing_and_does_is_cut(
        play: Play, gives: Callable[[bytes], list[bytes]]) -> None:
    play.endpoints("a").filter(Same(gives), changes_body=False)
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nsome", b" answer")
    body = bytes(play.first.socket.wire).partition(b"\r\n\r\n")[2]
    assert len(body) < 11 and b"some answer".startswith(body) and play.first.socket.is_closed
    assert "changes_body is False" in play.reports[0][2]


def test_a_stream_that_changes_nothing_holds_so_much_and_no_more(play: Play) -> None:
    play.endpoints("a").filter(Same(lambda chunk: []), changes_body=False, body_limit=20)
    play.client_sends(b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")
    play.connect()
    for _ in range(5):
        play.client_sends(b"0123456789")
    play.first.expect_answer(503)
    assert "holds more than its body_limit" in play.reports[0][2]


class Slow(Filter):
    """A shadow that thinks about pieces when all others are done, and one that thinks about trailers."""

    def __init__(self) -> None:
        self.signals: list[Signal[None]] = []
        self.asked: list[str] = []

    async def think(self, what: str) -> None:
        self.asked.append(what)
        self.signals.append(Signal())
        await self.signals[-1]

    def finish(self) -> None:
        signals, self.signals = self.signals, []
        for signal in signals:
            signal.finish()


class SlowPieces(Slow):
    async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> None:
        await self.think("piece")

    async def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> None:
        await self.think("piece of the answer")


class SlowTrailers(Slow):
    async def on_request_trailers(self, request: Request, trailers: Headers) -> None:
        await self.think("trailers")

    async def on_response_trailers(self, request: Request, trailers: Headers) -> None:
        await self.think("trailers of the answer")


def test_a_body_ends_once_however_late_a_shadow_of_it_is(play: Play) -> None:
    slow = SlowPieces()
    play.endpoints("a").filter(Upper()).filter(slow, shadow=True)
    play.client_sends(CHUNKED + b"1\r\na\r\n0\r\n\r\n")
    up = play.connect()
    assert up.expect_request().body == b"A!"
    while slow.signals:
        slow.finish()
        play.settle()
    assert up.unseen == b""         # where a second end would be the beginning of the next request
    up.sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n", b"0\r\n\r\n")
    play.first.expect_answer(200, b"B?")
    play.client_sends(GET)
    play.asked().answers(200, b"x")
    play.first.expect_answer(200, b"X?")


def test_trailers_are_asked_about_once_however_late_a_shadow_of_the_body_is(play: Play) -> None:
    slow, trails = SlowPieces(), SlowTrailers()
    play.endpoints("a").filter(slow, shadow=True).filter(trails)
    play.client_sends(CHUNKED + b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")
    up = play.connect()
    while slow.signals:
        slow.finish()
        play.settle()
    assert trails.asked == ["trailers"]
    trails.finish()
    play.settle()
    request = up.expect_request()
    assert request.body == b"a" and request.trailers == [("x-sum", "1")] and play.reports == []


class Hold(Filter):
    """Holds everything back until the end."""

    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes:
        held = request.state.setdefault("held", [])
        held.append(chunk)
        return b"|".join(held) if last else b""


def test_pieces_may_be_held_and_dropped(play: Play) -> None:
    play.endpoints("a").filter(Hold())
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n")
    play.first.expect_answer(200, b"ab|c|")


class Whole(Filter):
    def on_request_body(self, request: Request, body: bytes) -> bytes | Response | None:
        if body == b"forbidden!":
            return Response(422, text="no\n")
        request.headers["x-size"] = len(body)
        return None if body == b"as it is.." else body[::-1] + b"."

    def on_response_body(self, request: Request, response: Response, body: bytes) -> bytes:
        response.headers["x-size"] = len(body)
        return body[::-1]


def test_a_whole_body_before_the_upstream_is_chosen(play: Play) -> None:
    play.endpoints("a").filter(Whole())
    play.client_sends(POST + b"01234")
    play.expect_no_connect()
    play.client_sends(b"56789")
    up = play.connect()
    request = up.expect_request("POST /up")
    assert request.body == b"9876543210." and request["content-length"] == "11" and request["x-size"] == "10"
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
    play.first.expect(b"")
    up.sends(b"cd")
    answer = play.first.expect_answer(200, b"dcba")
    assert answer["content-length"] == "4" and answer["x-size"] == "4" and not answer.is_chunked


def test_a_whole_chunked_body_gets_a_length(play: Play) -> None:
    play.endpoints("a").filter(Whole())
    play.client_sends(CHUNKED + b"a\r\nas it is..\r\n", b"0\r\n\r\n")
    request = play.connect().expect_request()
    assert request.body == b"as it is.." and request["content-length"] == "10" and not request.is_chunked


def test_a_whole_body_is_answered(play: Play) -> None:
    play.endpoints("a").filter(Whole())
    play.client_sends(POST + b"forbidden!")
    play.first.expect_answer(422, b"no\n")
    play.expect_no_connect()
    play.first.expect_open()


def test_who_waits_for_continue_gets_it_from_a_filter_that_collects(play: Play) -> None:
    play.endpoints("a").filter(Whole())
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n")
    play.first.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    play.client_sends(b"as it is..")
    request = play.connect().expect_request()
    assert request.body == b"as it is.." and request["expect"] is None


@pytest.mark.parametrize("request_", [True, False])
def test_more_than_a_filter_collects(play: Play, request_: bool) -> None:
    play.endpoints("a").filter(Whole(), body_limit=9)
    if request_:
        play.client_sends(POST + b"01234", b"56789")
        play.first.expect_answer(413)
        play.expect_no_connect()
        return
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789")
    play.first.expect_answer(502)


def test_the_same_request_goes_to_another_endpoint_with_its_whole_body(play: Play) -> None:
    play.endpoints("a", "b").filter(Whole())
    play.client_sends(b"PUT /up HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nas it is..")
    play.expect_connect("a").refused()
    assert play.connect("b").expect_request("PUT").body == b"as it is.."


class Lines(Filter):
    """Doubles lines, whatever pieces they come in."""

    async def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        kept = b""
        async for chunk in chunks:
            *whole, kept = (kept + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
                yield line + b"\n"
        yield kept

    async def on_response_stream(self, request: Request, response: Response,
                                 chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        n = 0
        async for chunk in chunks:
            n += len(chunk)
            yield chunk
        yield b"%d" % n


@pytest.mark.parametrize("cut", range(1, 10))
def test_streams_both_ways_at_every_cut(play: Play, cut: int) -> None:
    play.endpoints("a").filter(Lines())
    body = b"ab\ncde\nfgh"
    play.client_sends(POST + body[:cut], body[cut:])
    up = play.connect()
    assert up.expect_request().body == b"ab\nab\ncde\ncde\nfgh"
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + body[:cut], body[cut:])
    play.first.expect_answer(200, body + b"10")
    assert play.reports == []


def test_a_chain_of_kinds(play: Play) -> None:
    play.endpoints("a").filter(Upper()).filter(Lines()).filter(Whole())
    play.client_sends(POST + b"ab\ncde\nfgh")
    up = play.connect()
    assert up.expect_request().body == b"AB\nAB\nCDE\nCDE\nFGH!"[::-1] + b"."
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxyz")
    # The other way round on the way out: whole, then the stream, then pieces.
    play.first.expect_answer(200, b"ZYX3?")


def test_a_stream_that_ends_early_cuts_the_body(play: Play) -> None:
    class First(Filter):
        async def on_response_stream(self, request: Request, response: Response,
                                     chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk[:3]
                yield b"[cut]"
                return

    play.endpoints("a").filter(First())
    play.client_sends(GET)
    up = play.connect()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234", b"56789")
    play.first.expect_answer(200, b"012[cut]")
    assert up.is_closed                # nobody wants the rest
    play.client_sends(GET)
    play.connect().answers(200, b"next")
    play.first.expect_answer(200, b"nex[cut]")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_are_not_asked_about_it(play: Play, status: int) -> None:
    play.endpoints("a").filter(Upper())
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 %d X\r\n\r\n" % status)
    play.first.expect_answer(status)
    play.client_sends(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.asked().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    play.first.expect_answer(200, has_body=False)
    play.client_sends(GET)
    play.asked().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    play.first.expect_answer(200, b"")


def test_an_answer_that_ends_with_its_connection(play: Play) -> None:
    play.endpoints("a").filter(Upper())
    play.client_sends(GET)
    up = play.connect()
    up.sends(b"HTTP/1.1 200 OK\r\n\r\nabc", b"def")
    up.closes()
    play.first.expect_answer(200, b"ABCDEF?")


def test_a_client_of_http_1_0(play: Play) -> None:
    play.endpoints("a").filter(Upper())
    play.client_sends(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n")
    play.connect().answers(200, b"abc")
    answer = play.first.expect_answer(200, b"ABC?")
    assert not answer.is_chunked
    play.first.expect_closed()


def test_trailers_are_seen_and_changed(play: Play) -> None:
    class Tail(Filter):
        def on_request_trailers(self, request: Request, trailers: Headers) -> None:
            trailers["x-sum"] = trailers["x-sum"] + "1"

        def on_response_trailers(self, request: Request, trailers: Headers) -> None:
            trailers.discard("x-secret")
            trailers["x-more"] = "2"

    play.endpoints("a").filter(Tail())
    play.client_sends(CHUNKED + b"1\r\na\r\n0\r\nx-sum: 0\r\n\r\n")
    up = play.connect()
    assert up.expect_request().trailers == [("x-sum", "01")]
    up.sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nx-secret: s\r\nx-a: b\r\n\r\n")
    assert play.first.expect_answer(200, b"b").trailers == [("x-a", "b"), ("x-more", "2")]


def test_trailers_behind_a_filtered_body(play: Play) -> None:
    play.endpoints("a").filter(Upper())
    play.client_sends(CHUNKED + b"1\r\na\r\n0\r\nx-sum: 0\r\n\r\n")
    up = play.connect()
    request = up.expect_request()
    assert request.body == b"A!" and request.trailers == [("x-sum", "0")]


# --- errors in the middle -------------------------------------------------------------------------


@pytest.mark.parametrize("result", [7, "text", Response(200), memoryview(b"other")])
@pytest.mark.parametrize("on_error", ["open", "skip"])
def test_a_piece_of_which_something_wrong_was_made_passes_as_it_came(play: Play, on_error: str,
                                                                     result: object) -> None:
    class Wrong(Filter):
        changes_body = False

        def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
            return result if chunk else None     # type: ignore[return-value]

    play.endpoints("a").filter(Wrong(), on_error=on_error, changes_body=False)
    for _ in range(2):                          # and the connection can be used again
        play.client_sends(GET)
        up = play.up() if play.fresh() is None else play.connect()
        up.expect_request()
        up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nsome", b" answer")
        play.first.expect_answer(200, b"some answer")
    assert play.reports

class Fail(Filter):
    def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes:
        if b"bad" in chunk:
            raise ValueError("bad")
        return chunk.upper()


@pytest.mark.parametrize(("on_error", "body"), [("open", b"Abad"), ("skip", b"Abad")])
def test_an_error_in_a_piece_that_is_forgiven(play: Play, on_error: str, body: bytes) -> None:
    play.endpoints("a").filter(Fail(), on_error=on_error)
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na", b"bad", b"z")
    play.first.expect_answer(200, body + (b"Z" if on_error == "open" else b"z"))


def test_an_error_in_a_piece_that_is_not_forgiven_cuts_the_answer(play: Play) -> None:
    play.endpoints("a").filter(Fail(), on_error="closed")
    play.client_sends(GET)
    up = play.connect()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na", b"bad")
    got = play.first.expect()
    assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"\r\n1\r\nA\r\n")
    play.first.expect_closed()
    up.expect_request()
    up.expect_closed()


def test_a_stream_that_fails_after_it_has_taken_something_is_cut_even_when_open(play: Play) -> None:
    class Lose(Filter):
        async def on_response_stream(self, request: Request, response: Response,
                                     chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                raise ValueError
                yield chunk

    play.endpoints("a").filter(Lose(), on_error="open")
    play.client_sends(GET)
    play.connect().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde")
    got = play.first.expect()
    assert got.startswith(b"HTTP/1.1 200") and not got.endswith(b"0\r\n\r\n")
    play.first.expect_closed()


def test_a_generator_without_end_is_stopped(play: Play) -> None:
    class Endless(Filter):
        async def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            while True:
                yield b""

    play.endpoints("a").filter(Endless(), on_error="closed")
    play.client_sends(POST + b"helloworld")
    play.connect()
    play.first.expect_answer(503)
    assert any("more pieces in one go" in text for _, _, text in play.reports)


def test_a_generator_that_gives_more_than_the_upstream_takes_waits(play: Play) -> None:
    given = []

    class Much(Filter):
        async def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            for i in range(1000):
                given.append(i)
                yield b"x" * 10_000
            async for _ in chunks:
                pass

    play.listener(buffer_bytes=65_536).endpoints("a").filter(Much())
    play.client_sends(POST)
    up = play.expect_connect()
    up.stops_reading()
    up.connected()
    play.client_sends(b"helloworld")
    assert len(given) < 20
    up.reads()
    assert len(given) == 1000
    assert len(up.expect_request().body) == 10_000_000


def test_an_answer_is_held_back_by_a_client_that_does_not_read(play: Play) -> None:
    play.listener(buffer_bytes=4096).endpoints("a").filter(Upper())
    play.client_sends(GET)
    up = play.connect()
    play.first.stops_reading()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n" + b"a" * 10_000)
    assert not up.socket.is_receiving
    play.first.reads()
    up.sends(b"a" * 30_000)
    play.first.expect_answer(200, b"A" * 40_000 + b"?")


def test_shadows_of_bodies_change_nothing(play: Play) -> None:
    seen: list[bytes] = []

    class Spy(Upper):
        def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            seen.append(chunk)
            return b"other"

    play.endpoints("a").filter(Spy(), shadow=True)
    play.client_sends(POST + b"helloworld")
    up = play.connect()
    assert up.expect_request().body == b"helloworld" and seen == [b"helloworld", b""]
    up.answers(200, b"abc")
    play.first.expect_answer(200, b"abc")
