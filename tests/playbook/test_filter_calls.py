"""Calls that filters make through the mesh's clusters."""

import pytest
from playbook.play import Play

from fastmesh import Filter, HeaderError, Outcome, Request, Response
from fastmesh.filters.mesh import CallFailed, Mesh

GET = b"GET /a HTTP/1.1\r\nhost: x\r\nauthorization: me\r\n\r\n"


class Ask(Filter):
    """Asks another cluster whether a request may pass."""

    def __init__(self, **options: object) -> None:
        self.mesh = Mesh()
        self.options = options
        self.failed: list[CallFailed] = []

    async def on_request(self, request: Request) -> Response | None:
        try:
            reply = await self.mesh.post("auth", "/check", json={"who": request.headers["authorization"]},
                                         headers={"x-a": "b"}, **self.options)  # type: ignore[arg-type]
        except CallFailed as failed:
            self.failed.append(failed)
            return Response(failed.status, text=failed.reason)
        if reply.status != 200:
            return Response(403, text=reply.text)
        request.headers["x-user"] = reply.json()["user"] + reply.headers["x-from"]
        return None


def asking(play: Play, **options: object) -> Ask:
    ask = Ask(**options)
    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(ask)
    return ask


def test_a_call_and_its_answer(play: Play) -> None:
    asking(play)
    play.client_sends(GET)
    auth = play.connect("b")
    request = auth.expect_request("POST /check HTTP/1.1")
    assert request.body == b'{"who":"me"}' and request["host"] == "auth" and request["x-a"] == "b"
    assert request["content-type"] == "application/json"
    auth.sends(b"HTTP/1.1 200 OK\r\nx-from: b\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"user\":\"\r\n",
               b"5\r\nann\"}\r\n0\r\n\r\n")
    assert play.connect("a").expect_request("GET /a")["x-user"] == "annb"
    play.up("a").answers()
    play.first.expect_answer(200)
    play.client_sends(GET)          # over the same connections
    play.up("b").expect_request("POST /check")
    play.up("b").answers(401, b"go away")
    play.first.expect_answer(403, b"go away")
    assert play.reports == []


@pytest.mark.parametrize(("how", "status", "reason"), [
    ("refused", 503, "upstream_reset_before_response_started{connection_failure}"),
    ("closes", 503, "upstream_reset_before_response_started{connection_termination}"),
    ("nonsense", 502, "upstream_reset_before_response_started{protocol_error}"),
    ("late", 504, "response_timeout"),
    ("short", 502, "cut"),
    ("large", 502, "too_large"),
    ("large at once", 502, "too_large"),
])
def test_a_call_that_fails(play: Play, how: str, status: int, reason: str) -> None:
    ask = asking(play, timeout=0.1, limit=10)
    play.client_sends(GET)
    if how == "refused":
        play.expect_connect("b").refused()
    else:
        auth = play.connect("b")
    if how == "closes":
        auth.closes()
    elif how == "nonsense":
        auth.sends(b"nonsense\r\n\r\n")
    elif how == "late":
        play.pass_time("110ms")
    elif how == "short":
        auth.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc")
        auth.closes()
    elif how == "large":
        auth.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabcdefghijk")
    elif how == "large at once":
        auth.answers(200, b"a" * 11)
    play.first.expect_answer(status, reason.encode())
    assert (ask.failed[0].status, ask.failed[0].reason) == (status, reason) and "auth" in str(ask.failed[0])
    play.expect_no_connect()


def test_a_client_that_leaves_gives_the_call_up(play: Play) -> None:
    asking(play)
    play.client_sends(GET)
    auth = play.connect("b")
    auth.expect_request("POST /check")
    play.client_resets()
    auth.expect_closed()
    play.expect_no_connect()


def test_a_cluster_that_is_not_there(play: Play) -> None:
    ask = Ask()
    play.endpoints("a").filter(ask)
    play.client_sends(GET)
    play.first.expect_answer(503, b"cluster_not_found")


@pytest.mark.parametrize(("path", "method", "headers", "error"), [
    ("no", "GET", {}, ValueError), ("/a b", "GET", {}, ValueError), ("/é", "GET", {}, ValueError),
    ("/a\r\nx: y", "GET", {}, ValueError), ("/", "GE T", {}, ValueError), ("/", "", {}, ValueError),
    ("/", "GET", {"a\r\nb": "c"}, HeaderError), ("/", "GET", {"a": "b\r\nc: d"}, HeaderError),
    ("/", "GET", {"content-length": "5"}, HeaderError),
])
def test_what_cannot_be_called(play: Play, path: str, method: str, headers: dict[str, str],
                               error: type[Exception]) -> None:
    caught: list[BaseException] = []

    class Try(Filter):
        async def on_request(self, request: Request) -> None:
            try:
                await Mesh().request(method, "x", path, headers=headers)
            except ValueError as wrong:
                caught.append(wrong)

    play.endpoints("a").filter(Try())
    play.client_sends(GET)
    play.connect("a").answers()
    assert [type(wrong) for wrong in caught] == [error]


def test_calls_outside_of_a_worker() -> None:
    with pytest.raises(Exception, match="worker"):
        Mesh().get("x", "/").send(None)


def test_a_call_after_the_exchange(play: Play) -> None:
    class Report(Filter):
        async def on_complete(self, request: Request, outcome: Outcome) -> None:
            await Mesh().post("auth", "/done", body=str(outcome.status))

    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Report())
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    auth = play.connect("b")
    assert auth.expect_request("POST /done").body == b"200"
    auth.answers(204)
