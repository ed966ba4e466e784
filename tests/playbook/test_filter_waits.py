"""Filters that wait: sleeps and signals in every phase, clients that leave meanwhile, and what must not be awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playbook.play import Play

from fastmesh import (
    Cancelled,
    Connection,
    Filter,
    FilterTimeout,
    Headers,
    Outcome,
    Request,
    Response,
    Signal,
    UpstreamError,
    sleep,
)
from fastmesh.worker import overdue

GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\nx-one: 1\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
MS = 10**6


class Slow(Filter):
    """Waits in the phases that it is told to."""

    def __init__(self, *where: str) -> None:
        self.where = where
        self.seen: list[str] = []

    async def pause(self, where: str) -> None:
        if where in self.where:
            await sleep(0.1)
        self.seen.append(where)

    async def on_connection(self, connection: Connection) -> None:
        await self.pause("connection")

    async def on_request(self, request: Request) -> None:
        before = request.headers.get("x-one", "")
        await self.pause("request")
        request.headers["x-seen"] = before + request.path

    async def on_route(self, request: Request) -> None:
        await self.pause("route")

    async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
        await self.pause("request_chunk")
        return chunk.upper()

    async def on_response(self, request: Request, response: Response) -> None:
        await self.pause("response")
        response.headers["x-seen"] = request.headers["x-seen"]

    async def on_response_chunk(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes:
        await self.pause("response_chunk")
        return chunk.upper()

    async def on_complete(self, request: Request, outcome: Outcome) -> None:
        await self.pause("complete")


PHASES = ("request", "route", "request_chunk", "response", "response_chunk", "complete")


@pytest.mark.parametrize("where", [(), *((phase,) for phase in PHASES), PHASES])
@pytest.mark.parametrize("at", ["listener", "route"])
def test_waiting_in_any_phase(play: Play, where: tuple[str, ...], at: str) -> None:
    slow = Slow(*where)
    play.endpoints("a").filter(slow, at=at)
    play.client_sends(POST + b"hello", b"world")
    for _ in range(30):
        if play.fresh():
            play.connect()
        play.pass_time("110ms")
    up = play.up()
    request = up.expect_request("POST /up")
    assert request.body == b"HELLOWORLD" and request["x-seen"] == "/up"
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", b"world")
    for _ in range(30):
        play.pass_time("110ms")
    answer = play.first.expect_answer(200, b"HELLOWORLD")
    assert answer["x-seen"] == "/up" and play.reports == []
    assert {"request", "route", "request_chunk", "response", "response_chunk", "complete"} <= set(slow.seen)
    play.client_sends(GET)
    for _ in range(30):
        play.pass_time("110ms")
    play.asked().answers(200, b"abc")
    for _ in range(30):
        play.pass_time("110ms")
    play.first.expect_answer(200, b"ABC")


def test_nothing_goes_on_before_the_wait_is_over(play: Play) -> None:
    play.endpoints("a").filter(Slow("request"))
    play.client_sends(GET)
    play.pass_time("50ms")
    play.expect_no_connect()
    play.pass_time("60ms")
    play.connect("a").expect_request("GET /a?b=c")


def test_other_clients_are_served_meanwhile(play: Play) -> None:
    class First(Filter):
        async def on_request(self, request: Request) -> None:
            if "x-one" in request.headers:
                await sleep(10)

    play.endpoints("a").filter(First())
    play.client_sends(GET)
    other = play.client()
    other.sends(b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect().answers()
    other.expect_answer(200)


def test_an_answer_that_ends_while_a_filter_waits_is_whole(play: Play) -> None:
    play.endpoints("a").filter(Slow("response"))
    play.client_sends(GET)
    play.pass_time("10ms")
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    up.closes()
    play.first.expect_nothing()
    play.pass_time("110ms")
    play.first.expect_answer(200, b"ABC")


def test_an_upstream_that_breaks_while_a_filter_waits(play: Play) -> None:
    play.endpoints("a").filter(Slow("response"))
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    up.resets()
    play.pass_time("110ms")
    got = play.first.expect()
    assert got.startswith(b"HTTP/1.1 200") and not got.endswith(b"0\r\n\r\n")
    play.first.expect_closed()


@pytest.mark.parametrize("where", ["request", "route", "request_chunk", "response", "response_chunk"])
def test_a_client_that_leaves_ends_the_wait(play: Play, where: str) -> None:
    ended: list[BaseException] = []
    outcomes: list[Outcome] = []

    class Watch(Slow):
        async def pause(self, at: str) -> None:
            try:
                await super().pause(at)
            except BaseException as error:
                ended.append(error)
                raise

        async def on_complete(self, request: Request, outcome: Outcome) -> None:
            outcomes.append(outcome)

    play.endpoints("a").filter(Watch(where))
    play.client_sends(POST + b"hello")
    if play.fresh():
        up = play.connect()
        if where.startswith("response"):
            up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
    play.first.resets()
    assert len(outcomes) == 1 and play.reports == []
    assert [type(error) for error in ended] == [Cancelled]


def test_a_wait_that_is_too_long(play: Play) -> None:
    class Long(Filter):
        async def on_request(self, request: Request) -> None:
            try:
                await sleep(10)
            except FilterTimeout:
                request.state["late"] = True
                raise

    play.endpoints("a").filter(Long(), timeout_ns=200 * MS, on_error="closed")
    play.client_sends(GET)
    play.pass_time("190ms")
    play.first.expect_nothing()
    play.pass_time("20ms")
    play.first.expect_answer(503)
    assert "FilterTimeout" in play.reports[0][2]


class Trails(Filter):
    """Thinks about the trailers of both directions at the same time, as long as it is told to."""

    def __init__(self) -> None:
        self.signals: dict[str, Signal[None]] = {}
        self.seen: list[str] = []

    async def think(self, where: str, trailers: Headers) -> None:
        self.signals[where] = Signal()
        await self.signals[where]
        self.seen.append(f"{where}: {trailers['x-sum']}")
        trailers["x-seen"] = trailers["x-sum"]

    async def on_request_trailers(self, request: Request, trailers: Headers) -> None:
        await self.think("request", trailers)

    async def on_response_trailers(self, request: Request, trailers: Headers) -> None:
        await self.think("answer", trailers)


@pytest.mark.parametrize("is_early", [False, True])
def test_trailers_of_both_directions_at_a_time(play: Play, is_early: bool) -> None:
    trails = Trails()
    play.endpoints("a").filter(trails)
    play.client_sends(b"POST /up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n")
    up = play.connect()
    rest = [lambda: play.client_sends(b"0\r\nx-sum: in\r\n\r\n"), lambda: up.sends(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n", b"0\r\nx-sum: out\r\n\r\n")]
    for comes in reversed(rest) if is_early else rest:
        comes()
    for where in ("request", "answer"):
        trails.signals[where].finish()
        play.settle()
    assert trails.seen == ["request: in", "answer: out"]
    assert play.first.expect_answer(200, b"b").trailers == [("x-sum", "out"), ("x-seen", "out")]
    assert play.reports == []


class Stubborn(Filter):
    """Does not let anything end it."""

    def __init__(self) -> None:
        self.n = 0

    async def wait(self) -> None:
        while self.n < 5:
            self.n += 1
            try:
                await sleep(60)
            except BaseException:
                continue

    async def on_request(self, request: Request) -> None:
        await self.wait()


def test_a_filter_that_catches_the_end_of_its_timeout_is_ended(play: Play) -> None:
    play.endpoints("a").filter(Stubborn(), timeout_ns=200 * MS, on_error="closed")
    play.client_sends(GET)
    play.pass_time("210ms")
    play.first.expect_nothing()         # it may have something to put away
    play.pass_time("260ms")
    play.first.expect_answer(503)
    assert [what for what, _, _ in play.reports] == ["error"] and "caught the end" in play.reports[0][2]


def test_a_connection_is_not_held_by_one_who_catches_the_end(play: Play) -> None:
    class Door(Stubborn):
        async def on_connection(self, connection: Connection) -> None:
            await self.wait()

    play.endpoints("a").filter(Door(), at="listener", timeout_ns=200 * MS)
    play.client_sends(GET)
    play.pass_time("470ms")
    play.connect("a").answers(200, b"let in")
    play.first.expect_answer(200, b"let in")


def test_what_is_put_away_after_the_timeout_has_its_time(play: Play) -> None:
    seen: list[str] = []

    class Tidy(Filter):
        async def on_request(self, request: Request) -> None:
            try:
                await sleep(60)
            finally:
                await sleep(0.1)
                seen.append("put away")

    play.endpoints("a").filter(Tidy(), timeout_ns=200 * MS, on_error="closed")
    play.client_sends(GET)
    play.pass_time("210ms")
    assert seen == []
    play.pass_time("110ms")
    play.first.expect_answer(503)
    assert seen == ["put away"] and "waited for longer" in play.reports[0][2]


def test_a_wait_that_is_too_long_and_goes_on(play: Play) -> None:
    class Patient(Filter):
        async def on_request(self, request: Request) -> None:
            try:
                await sleep(10)
            except FilterTimeout:
                request.headers["x-late"] = "1"

    play.endpoints("a").filter(Patient(), timeout_ns=200 * MS)
    play.client_sends(GET)
    play.pass_time("210ms")
    assert play.connect("a").expect_request()["x-late"] == "1"


def test_the_request_timeout_ends_a_filter_that_waits_for_its_answer(play: Play) -> None:
    play.endpoints("a").route("/", timeout="50ms").filter(Slow("response"))
    play.client_sends(GET)
    play.connect("a").answers()
    play.pass_time("60ms")
    play.first.expect_nothing()     # on_response sees the answer of the proxy's own as well, and waits again
    play.pass_time("110ms")
    play.first.expect_answer(504)


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(1)])
def test_what_belongs_to_an_event_loop_is_refused_with_advice(play: Play, wait: Callable[[], Awaitable[None]]) -> None:
    class Wrong(Filter):
        async def on_request(self, request: Request) -> None:
            await wait()

    play.endpoints("a").filter(Wrong(), on_error="closed")
    play.client_sends(GET)
    play.first.expect_answer(503)
    text = play.reports[0][2]
    assert "isolated" in text or "no running event loop" in text


def test_a_signal_resumes(play: Play) -> None:
    signal: Signal[str] = Signal()
    early: Signal[str] = Signal()
    early.finish("early")

    class Listen(Filter):
        async def on_request(self, request: Request) -> None:
            request.headers["x-a"] = await early
            request.headers["x-b"] = await signal

    play.endpoints("a").filter(Listen())
    play.client_sends(GET)
    play.expect_no_connect()
    assert signal.is_waited_for and not early.is_waited_for
    signal.finish("late")
    play.settle()
    request = play.connect("a").expect_request()
    assert (request["x-a"], request["x-b"]) == ("early", "late")
    signal.finish("again")      # nobody waits any more
    play.settle()


def test_a_signal_that_fails(play: Play) -> None:
    signal: Signal[None] = Signal()

    class Listen(Filter):
        async def on_request(self, request: Request) -> Response | None:
            try:
                await signal
            except LookupError as error:
                return Response(404, text=str(error.args[0]))
            return None

    play.endpoints("a").filter(Listen())
    play.client_sends(GET)
    signal.fail(LookupError("gone"))
    play.settle()
    play.first.expect_answer(404, b"gone")


def test_each_wait_can_be_awaited_once(play: Play) -> None:
    class Twice(Filter):
        async def on_request(self, request: Request) -> None:
            once = sleep(0.01)
            await once
            await once

    play.endpoints("a").filter(Twice(), on_error="closed")
    play.client_sends(GET)
    play.pass_time("20ms")
    play.first.expect_answer(503)
    assert "can be awaited once" in play.reports[0][2]


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e9, "1"])
def test_sleeps_are_bounded(seconds: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        sleep(seconds)


def test_a_connection_waits_to_be_let_in(play: Play) -> None:
    play.endpoints("a").filter(Slow("connection"), at="listener")
    client = play.client()
    client.sends(GET)
    play.expect_no_connect()
    play.pass_time("110ms")
    play.connect("a").answers()
    client.expect_answer(200)


def test_a_connection_is_closed_after_a_wait(play: Play) -> None:
    class Ask(Filter):
        async def on_connection(self, connection: Connection) -> bool:
            await sleep(1)
            return False

    play.endpoints("a").filter(Ask(), at="listener")
    play.client()
    play.pass_time("990ms")
    play.first.expect_nothing()
    play.pass_time("110ms")
    play.first.expect_closed()


class Ask(Filter):
    """Thinks about each connection for a while, and says what became of that."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def on_connection(self, connection: Connection) -> None:
        try:
            await sleep(1)
        except Cancelled:
            self.seen.append("cancelled")
            raise
        self.seen.append("let in")


def in_flight(play: Play) -> int:
    return play.stage.listener_row(0)["active"]


@pytest.mark.parametrize("before", [b"", GET, GET[:5]])
def test_a_client_that_resets_while_its_connection_waits_is_noticed_at_once(play: Play, before: bytes) -> None:
    """Whatever it has said before."""
    ask = Ask()
    play.endpoints("a").filter(ask, at="listener")
    client = play.client()
    if before:
        client.sends(before)
    play.pass_time("10ms")
    assert ask.seen == [] and in_flight(play) == 1
    client.resets()
    assert ask.seen == ["cancelled"] and in_flight(play) == 0
    play.pass_time("2s")
    play.expect_no_connect()
    assert ask.seen == ["cancelled"]


def test_a_client_that_ends_without_a_word_has_left(play: Play) -> None:
    ask = Ask()
    play.endpoints("a").filter(ask, at="listener")
    client = play.client()
    play.pass_time("10ms")
    client.closes()
    assert ask.seen == ["cancelled"] and in_flight(play) == 0
    # And one that was gone before it was asked about.
    play.client().closes()
    assert ask.seen == ["cancelled"] * 2 and in_flight(play) == 0


def test_a_client_that_ends_behind_its_request_is_heard(play: Play) -> None:
    """With bytes unread an end of one side says nothing: the request is taken, and then its listener decides."""
    ask = Ask()
    play.half_close = True
    play.endpoints("a").filter(ask, at="listener")
    client = play.client()
    client.sends(GET)
    client.closes()
    play.pass_time("990ms")
    assert ask.seen == [] and in_flight(play) == 1
    play.pass_time("20ms")
    play.connect("a").answers()
    client.expect_answer(200)
    assert ask.seen == ["let in"]
    # Without half_close, by one that is gone altogether later on.
    client = play.client()
    client.sends(GET)
    client.closes()
    play.pass_time("100ms")
    client.resets()
    assert ask.seen == ["let in", "cancelled"]


def test_where_one_end_is_passed_on_alone_it_is_no_leaving(play: Play) -> None:
    ask = Ask()
    play.half_close = True
    play.endpoints("a").filter(ask, at="listener")
    client = play.client()
    client.closes()
    play.pass_time("100ms")
    assert ask.seen == [] and in_flight(play) == 1
    client.resets()
    assert ask.seen == ["cancelled"] and in_flight(play) == 0


def test_a_client_that_resets_after_it_was_let_in(play: Play) -> None:
    """The look at its end is over with the wait: it is read as any other."""
    ask = Ask()
    play.endpoints("a").filter(ask, at="listener")
    client = play.client()
    play.pass_time("1100ms")
    assert ask.seen == ["let in"]
    client.sends(GET)
    play.connect("a").expect_request("GET /")
    client.resets()
    assert in_flight(play) == 0


def test_a_worker_ends_while_a_connection_waits(play: Play) -> None:
    """Without a drain: what waits is cancelled while there is still a clock."""
    seen: list[str] = []

    class Ask(Filter):
        async def on_connection(self, connection: Connection) -> None:
            try:
                await sleep(60)
            except Cancelled:
                seen.append("cancelled")
                raise

    play.endpoints("a").filter(Ask(), at="listener")
    play.client()
    play.pass_time("10ms")
    play.abandon()
    assert seen == ["cancelled"]


def test_errors_of_the_upstream_are_thought_over(play: Play) -> None:
    class Think(Filter):
        async def on_upstream_error(self, request: Request, error: UpstreamError) -> bool:
            await sleep(0.1)
            return True

        async def on_retry(self, request: Request, attempt: int) -> None:
            await sleep(0.1)

    play.endpoints("a", "b").filter(Think())
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_no_connect()
    play.pass_time("110ms")
    play.expect_no_connect()
    play.pass_time("110ms")
    play.connect("b").answers(500)
    play.pass_time("250ms")
    play.connect("b").answers(200, b"ok")      # "a" is avoided for a while
    play.first.expect_answer(200, b"ok")


def test_streams_wait_between_pieces(play: Play) -> None:
    class Drip(Filter):
        async def on_response_stream(self, request: Request, response: Response,
                                     chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                for i in range(len(chunk)):
                    await sleep(0.01)
                    yield chunk[i:i + 1]

    play.endpoints("a").filter(Drip())
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc", b"def")
    for _ in range(12):
        play.pass_time("20ms")
    play.first.expect_answer(200, b"abcdef")


def test_a_stream_that_waits_and_then_takes_the_next_piece(play: Play) -> None:
    class Gather(Filter):
        async def on_request_stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            gathered = b""
            async for chunk in chunks:
                await sleep(0.01)
                gathered += chunk
            yield gathered

    play.endpoints("a").filter(Gather(), timeout_ns=200 * MS)
    play.client_sends(POST + b"hello")
    up = play.connect("a")
    play.pass_time("20ms")
    play.pass_time("300ms")         # waiting for the client is not the filter's time
    play.client_sends(b"world")
    play.pass_time("20ms")
    assert up.expect_request().body == b"helloworld" and play.reports == []


def test_an_answer_behind_a_filter_that_waits_and_a_client_that_does_not_read(play: Play) -> None:
    play.listener(buffer_bytes=4096).endpoints("a").filter(Slow("response_chunk"))
    play.client_sends(GET)
    up = play.connect("a")
    play.first.stops_reading()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n" + b"a" * 10_000)
    for _ in range(10):
        play.pass_time("110ms")
    assert not up.socket.is_receiving
    play.first.reads()
    for _ in range(10):
        play.pass_time("110ms")
    up.sends(b"a" * 30_000)
    for _ in range(30):
        play.pass_time("110ms")
    play.first.expect_answer(200, b"A" * 40_000)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_filter_that_refuses_to_end(play: Play) -> None:
    class Stubborn(Filter):
        async def on_request(self, request: Request) -> None:
            while True:
                try:
                    await sleep(1)
                except BaseException:
                    pass

    play.endpoints("a").filter(Stubborn())
    play.client_sends(GET)
    play.client_resets()
    assert play.stage.error is None


def test_on_complete_may_wait_after_the_exchange(play: Play) -> None:
    done: list[int] = []

    class After(Filter):
        async def on_complete(self, request: Request, outcome: Outcome) -> None:
            await sleep(0.1)
            done.append(outcome.status)

    play.endpoints("a").filter(After())
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    assert done == []
    play.pass_time("110ms")
    assert done == [200]


# --- filters that do not come back ----------------------------------------------------------------

def hang_in_python(request: Request) -> None:
    while True:
        pass


def hang_in_a_sleep(request: Request) -> None:
    time.sleep(60)


def hang_and_swallow(request: Request) -> None:
    for _ in range(3):
        try:
            while True:
                pass
        except Exception:
            raise AssertionError("not among the exceptions that code in general catches") from None


@pytest.mark.parametrize("hang", [hang_in_python, hang_in_a_sleep, hang_and_swallow])
def test_a_filter_that_hangs_is_interrupted(play: Play, hang: Callable[[Request], None]) -> None:
    class Hang(Filter):
        def on_request(self, request: Request) -> None:
            hang(request)

    overdue.watch()
    play.endpoints("a").filter(Hang(), budget_ns=1 * MS, on_error="closed")
    before = time.monotonic()
    play.client_sends(GET)
    play.first.expect_answer(503)
    assert time.monotonic() - before < 20      # of the 60 s that one of them asked for; the others never end
    assert any(what == "error" and "FilterTimeout" in text for what, _, text in play.reports)


def test_a_filter_that_is_quick_is_left_alone(play: Play) -> None:
    class Quick(Filter):
        def on_request(self, request: Request) -> None:
            request.headers["x"] = "1"

    overdue.watch()
    play.endpoints("a").filter(Quick(), budget_ns=1 * MS)
    end = time.monotonic() + 0.3        # some ticks long
    while time.monotonic() < end:
        play.client_sends(GET)
        up = play.connect() if play.fresh() else play.asked()
        up.expect_request()
        up.answers()
        play.first.expect_answer(200)
    assert not [text for what, _, text in play.reports if what == "error"]


def test_a_phase_that_waits_is_one_call(play: Play) -> None:
    play.endpoints("a").filter(Slow("request", "response", "response_chunk", "complete"))
    play.client_sends(GET)
    play.pass_time("110ms")
    play.connect().answers(200, b"abc")
    play.pass_time("500ms")
    play.pass_time("500ms")
    play.first.expect_answer(200, b"ABC")
    play.pass_time("110ms")
    calls = play.stage.filter_calls(0)
    assert {name: n for name, n in calls.items() if n} == {
        "request": 1, "route": 1, "response": 1, "response_body": 2, "complete": 1}


@pytest.mark.parametrize("how", ["leaves", "waits"])
def test_trailers_wait_while_another_attempt_is_thought_over(play: Play, how: str) -> None:
    """Both look at the request, each for itself."""
    class Both(Filter):
        async def wait(self, what: str, seconds: float) -> None:
            seen.append(what)
            try:
                await sleep(seconds)
                seen.append(f"{what} end")
            except Cancelled:
                seen.append(f"{what} cancelled")
                raise

        async def on_request_trailers(self, request: Request, trailers: Headers) -> None:
            await self.wait("trailers", 0.1)

        async def on_retry(self, request: Request, attempt: int) -> None:
            await self.wait("retry", 0.2)

        def on_complete(self, request: Request, outcome: Outcome) -> None:
            seen.append("complete")

    seen: list[str] = []
    play.endpoints("a", "b").retrying(statuses=[503]).filter(Both())
    play.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n")
    up = play.connect("a")
    play.client_sends(b"0\r\nx-t: 1\r\n\r\n")
    up.answers(503)
    assert seen == ["trailers", "retry"]
    if how == "leaves":
        play.abandon()
        assert seen[2:] == ["trailers cancelled", "retry cancelled", "complete"]
        return
    play.pass_time("110ms")
    assert seen[2:] == ["trailers end"]
    play.pass_time("110ms")
    again = play.connect("b")
    assert again.expect_request().body == b"ab"
    again.answers(200, b"ok")
    play.first.expect_answer(200, b"ok")
    assert seen[2:] == ["trailers end", "retry end", "complete"]
