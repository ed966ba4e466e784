"""What the access log says of requests that go nowhere: their details, and the flag beside them."""

import pytest
from playbook.play import Play

from fastmesh import Filter, Request, Response, sleep

CODE, FLAGS, DETAILS = (5, ""), (6, ""), (7, "")
RESET = 1 << 3
GUEST = {"status": 403, "headers": [("x-role", "guest")]}


@pytest.fixture
def told(play: Play) -> Play:
    return play.endpoints("a").logged(CODE, FLAGS, DETAILS)


@pytest.mark.parametrize(("head", "line"), [
    ("GET /elsewhere HTTP/1.1", "404 NR route_not_found"),
    ("GET /a%2f..%2fadmin HTTP/1.1", "400 DPE path_ambiguous"),
    ("get /form HTTP/1.1", "400 DPE method_ambiguous"),
    ("GET /role HTTP/1.1\r\nx-role: guest\r\nx-role: admin", "400 DPE field_ambiguous"),
    ("GET /%zz HTTP/1.1", "400 DPE path_normalization_failed"),
    ("GET /%00 HTTP/1.1", "400 DPE path_normalization_failed"),
    ("CONNECT x:443 HTTP/1.1", "405 DPE connect_not_supported"),
    ("G@T / HTTP/1.1", "400 DPE http1.codec_error"),
    ("GET / HTTP/1.1\r\nno colon", "400 DPE http1.codec_error"),
    ("POST /a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked", "400 DPE http1.codec_error"),
])
def test_heads_that_go_nowhere(told: Play, head: str, line: str) -> None:
    told.route("/admin").route("/a").route("/form", status=403, methods=["GET"]).route("/role", **GUEST)
    told.client_sends(f"{head}\r\nhost: x\r\n\r\n".encode())
    told.expect_answer(int(line[:3]))
    told.expect_no_connect()
    assert told.stage.log() == [line]


def test_a_body_that_breaks_its_framing(told: Play) -> None:
    told.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n")
    told.connect()
    told.expect_answer(400)
    assert told.stage.log() == ["400 DPE http1.codec_error"]


def test_a_body_that_breaks_its_framing_when_the_answer_has_begun(told: Play) -> None:
    told.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    up = told.connect()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    told.client_sends(b"not a size\r\n")
    assert told.first.expect(startswith=b"HTTP/1.1 200 OK").endswith(b"half")
    told.first.expect_closed()
    assert told.stage.log() == ["200 DPE http1.codec_error"]


def test_more_of_a_body_than_is_kept_between_two_attempts(told: Play) -> None:
    """A filter thinks about a piece while the attempt fails, and makes more of it than 64 MiB."""
    class Grow(Filter):
        async def on_request_chunk(self, request: Request, chunk: bytes, last: bool) -> bytes:
            await sleep(0.1)
            return bytes((1 << 26) + 1)

    told.endpoints("b").retrying(faults=RESET).filter(Grow())
    told.client_sends(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na")
    told.connect().resets()
    next_one = told.expect_connect()
    told.pass_time("200ms")
    next_one.connected()
    told.expect_answer(503)
    assert told.stage.log() == ["503 UC request_body_not_kept"]


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(("has_timeout", "line"), [
    (True, "504 UT response_timeout{route}"), (False, "504 UT response_timeout{listener}")])
def test_whose_time_was_over(told: Play, has_timeout: bool, line: str) -> None:
    told.route("/", timeout="2s", has_timeout=has_timeout)
    told.client_sends(GET)
    told.connect().expect_request()
    told.pass_time("2100ms")
    told.expect_answer(504)
    assert told.stage.log() == [line]


@pytest.mark.parametrize("thinks", [False, True])
def test_the_time_of_a_filter_was_over(told: Play, thinks: bool) -> None:
    class Short(Filter):
        async def later(self, request: Request) -> None:
            await sleep(0.1)
            request.timeout = 1.0

        def on_route(self, request: Request) -> object:
            if thinks:
                return self.later(request)
            request.timeout = 1.0
            return None

    class Looks(Filter):
        def on_route(self, request: Request) -> None:
            assert request.timeout == 1.0

    told.route("/", timeout="1h", has_timeout=True).filter(Short(), name="short").filter(Looks(), name="looks")
    told.client_sends(GET)
    if thinks:
        told.pass_time("200ms")
    told.connect().expect_request()
    told.pass_time("1100ms")
    told.expect_answer(504)
    assert told.stage.log() == ["504 UT response_timeout{filter:short}"]


def test_the_time_that_a_shadow_would_have_set_is_nobodys(told: Play) -> None:
    class Short(Filter):
        def on_route(self, request: Request) -> None:
            request.timeout = 1.0

    told.route("/", timeout="2s", has_timeout=True).filter(Short(), name="short", shadow=True)
    told.client_sends(GET)
    told.connect().expect_request()
    told.pass_time("2100ms")
    told.expect_answer(504)
    assert told.stage.log() == ["504 UT response_timeout{route}"]


@pytest.mark.parametrize("where", ["request", "later", "response"])
def test_which_filter_has_answered(told: Play, where: str) -> None:
    class Says(Filter):
        async def later(self) -> Response:
            await sleep(0.1)
            return Response(403, text="no")

        def on_request(self, request: Request) -> object:
            return Response(403, text="no") if where == "request" else self.later() if where == "later" else None

        def on_response(self, request: Request, response: Response) -> Response | None:
            return Response(403, text="no") if where == "response" else None

    class Sees(Filter):
        def on_response(self, request: Request, response: Response) -> None:
            response.headers["x-seen"] = "1"

    told.filter(Sees(), name="sees", at="listener").filter(Says(), name="says").filter(Sees(), name="behind")
    told.client_sends(GET)
    if where == "response":
        told.connect().answers()
    elif where == "later":
        told.pass_time("200ms")
    answer = told.expect_answer(403, b"no")
    assert answer["x-seen"] == "1"
    assert told.stage.log() == ["403 - filter_answered{says}"]


def test_which_fault_has_answered(told: Play) -> None:
    told.route("/", name="shop").fault(delay="1ms").fault(status=418, share=0).fault(status=503).fault(status=500)
    told.client_sends(GET)
    told.pass_time("10ms")
    told.expect_answer(503)
    assert told.stage.log() == ["503 DI,FI fault_injected{shop/2}"]
