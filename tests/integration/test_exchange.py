"""One request and its answer: what of them is passed on, byte for byte, and what is not (RFC 9110, RFC 9112)."""

import pytest
from integration.mesh import Mesh, until
from integration.peer import Peer

OWN = b"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-request-id: ID\r\n"


def pair(mesh: Mesh, **listener: object) -> tuple[Peer, Peer]:
    """A client and, over one request, the origin's side of the connection that is reused from now on."""
    origin = mesh.origin()
    mesh.http(origin, **listener)
    client = mesh.connect()
    client.send_request("/first")
    up = origin.accept()
    up.read_request()
    up.answer("1")
    assert client.read_answer().body == b"1"
    return client, up


def test_a_request_and_its_answer_byte_for_byte(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    client.send(
        "GET /a/b?c=d HTTP/1.1\r\nHost: shop.example:80\r\nUser-Agent: me\r\nAccept:  */*  \r\nX-Empty:\r\n\r\n"
    )
    up = origin.accept()
    assert up.read_head().plain == (
        b"GET /a/b?c=d HTTP/1.1\r\nHost: shop.example:80\r\nUser-Agent: me\r\nAccept:  */*  \r\nX-Empty:\r\n"
        + OWN
        + b"\r\n"
    )
    up.send(
        "HTTP/1.1 200 All Right\r\nServer: o\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n"
        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nhello"
    )
    answer = client.read_answer()
    assert answer.head == (
        b"HTTP/1.1 200 All Right\r\nServer: o\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"
    )
    assert answer.body == b"hello"


def test_a_date_is_added_to_an_answer_without_one(mesh: Mesh) -> None:
    client, up = pair(mesh)
    client.send_request()
    up.read_request()
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert client.read_answer().plain == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: DATE\r\n\r\n"


def test_many_requests_on_one_connection_use_one_upstream_connection(mesh: Mesh) -> None:
    client, up = pair(mesh)
    for n in range(20):
        client.send_request(f"/{n}")
        assert up.read_request().target == f"/{n}"
        up.answer(f"answer {n}")
        assert client.read_answer().text == f"answer {n}"
    assert mesh.cluster()["connections_opened"] == 1
    assert mesh.counts("requests", "accepted") == {"requests": 21, "accepted": 1}


def test_the_head_may_come_byte_by_byte(mesh: Mesh) -> None:
    client, up = pair(mesh)
    for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n":
        client.send(bytes([byte]))
    assert up.read_request().get("a") == "b"
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc":
        up.send(bytes([byte]))
    assert client.read_answer().body == b"abc"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "get"]
)
def test_every_method_but_connect_is_passed_on(mesh: Mesh, method: str) -> None:
    client, up = pair(mesh)
    client.send(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert up.read_request().method == method
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert client.read_answer(method).status == 200


def test_connect_is_refused(mesh: Mesh) -> None:
    client, _ = pair(mesh)
    client.send("CONNECT db.example:5432 HTTP/1.1\r\nhost: db.example:5432\r\n\r\n")
    assert client.read_answer().status == 405


# --- answers without a body ---


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n",
    ],
    ids=["length", "chunked", "neither", "error"],
)
def test_head_has_the_fields_and_no_body(mesh: Mesh, answer: bytes) -> None:
    client, up = pair(mesh)
    client.send_request(method="HEAD")
    up.read_request()
    up.send(answer)
    got = client.read_answer("HEAD")
    assert got.status in (200, 404)
    length = b"content-length" in answer
    assert (got.get("content-length") is not None) == length
    # And the connections are where both sides think they are.
    client.send_request("/next")
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n',
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1234\r\n\r\n",
    ],
)
def test_no_body_with_204_and_304(mesh: Mesh, answer: bytes) -> None:
    client, up = pair(mesh)
    client.send_request()
    up.read_request()
    up.send(answer)
    got = client.read_answer()
    assert got.body == b""
    assert got.get("transfer-encoding") is None
    if got.status == 204:
        assert got.get("content-length") is None  # RFC 9110 section 8.6
    elif b"1234" in answer:
        assert got.get("content-length") == "1234"
    client.send_request("/next")
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


# --- interim answers ---


def test_expect_100_continue_passes_through(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    client.send("POST /up HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    up = origin.accept()
    request = up.read_head()
    assert request.get("expect") == "100-continue"
    assert client.has_nothing()  # it is the origin that says go on
    up.send("HTTP/1.1 100 Continue\r\n\r\n")
    client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send("hello")
    up.expect(b"hello")
    up.answer("thanks")
    assert client.read_answer().text == "thanks"
    client.send_request("/next")
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


def test_a_final_answer_instead_of_100_reaches_the_client_which_keeps_its_body(mesh: Mesh) -> None:
    """What may still come of the body would stand where the next request is expected: the connection ends."""
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    client.send("POST /up HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    up = origin.accept()
    up.read_head()
    up.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno")
    answer = client.read_answer()
    assert (answer.status, answer.body) == (417, b"no")
    client.expect_end()
    up.expect_end()


def test_early_hints_pass_through_before_the_answer(mesh: Mesh) -> None:
    client, up = pair(mesh)
    client.send_request()
    up.read_request()
    up.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n")
    client.expect(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")
    up.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    client.expect(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 \r\n\r\n")
    assert client.read_answer().text == "ok"
    assert mesh.cluster()["class_2"] == 2


def test_an_http_1_0_client_sees_no_interim_answer(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("GET / HTTP/1.0\r\n\r\n")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 103 Early Hints\r\n\r\n").answer("ok")
    assert client.read_end().startswith(b"HTTP/1.1 200 OK\r\n")


# --- HTTP/1.0 ---


def test_an_http_1_0_request_goes_upstream_as_1_1(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("GET /old HTTP/1.0\r\nuser-agent: old\r\n\r\n")
    up = origin.accept()
    assert up.read_head().plain == b"GET /old HTTP/1.1\r\nhost:\r\nuser-agent: old\r\n" + OWN + b"\r\n"
    up.answer("ok")
    got = client.read_end()
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert body == b"ok"


def test_an_http_1_0_client_may_keep_the_connection(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    up = None
    for n in range(3):
        client.send(f"GET /{n} HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n")
        up = up or origin.accept()
        request = up.read_request()
        assert (request.target, request.get("connection")) == (f"/{n}", None)
        up.answer(f"answer {n}")
        answer = client.read_answer()
        assert (answer.text, answer.get("connection")) == (f"answer {n}", "keep-alive")


@pytest.mark.parametrize("keep", ["", "connection: keep-alive\r\n"])
def test_an_http_1_0_client_gets_a_chunked_answer_up_to_the_end_of_the_connection(mesh: Mesh, keep: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(f"GET / HTTP/1.0\r\nhost: x\r\n{keep}\r\n")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: t\r\n\r\n").chunk(b"one", b"two")
    up.send("0\r\nt: v\r\n\r\n")
    answer = client.read_answer()
    assert answer.body == b"onetwo"
    assert answer.get("transfer-encoding") is None
    assert answer.get("content-length") is None
    assert answer.get("connection") == "close"


def test_an_http_1_0_origin_ends_its_answer_with_the_connection(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    for n in range(2):
        client.send_request(f"/{n}")
        up = origin.accept()  # a new connection for each
        assert up.read_request().target == f"/{n}"
        up.send(f"HTTP/1.0 200 Fine\r\nx: {n}\r\n\r\nbody {n}")
        up.close()
        answer = client.read_answer()
        assert answer.start == "HTTP/1.1 200 Fine"
        assert (answer.get("transfer-encoding"), answer.text) == ("chunked", f"body {n}")


def test_an_http_1_0_origin_that_keeps_alive_is_used_again(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    client.send_request("/1")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n1")
    assert client.read_answer().text == "1"
    client.send_request("/2")
    assert up.read_request().target == "/2"
    # Without the word the connection is over after this answer.
    up.send("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n2")
    assert client.read_answer().text == "2"
    up.expect_end()
    client.send_request("/3")
    assert origin.accept().read_request().target == "/3"


# --- forms of the target ---


@pytest.mark.parametrize(
    ("sent", "received", "host"),
    [
        ("GET http://shop.example/a?b HTTP/1.1\r\nhost: other", "GET /a?b HTTP/1.1", "shop.example"),
        ("GET http://shop.example:8080 HTTP/1.1\r\nhost: shop.example:8080", "GET / HTTP/1.1", "shop.example:8080"),
        ("GET HTTPS://shop.example?b HTTP/1.1\r\nhost:", "GET /?b HTTP/1.1", "shop.example"),
        ("OPTIONS http://shop.example HTTP/1.1\r\nhost: x", "OPTIONS * HTTP/1.1", "shop.example"),
        ("OPTIONS * HTTP/1.1\r\nhost: x", "OPTIONS * HTTP/1.1", "x"),
        ("OPTIONS / HTTP/1.1\r\nhost: x", "OPTIONS / HTTP/1.1", "x"),
    ],
)
def test_forms_of_the_target(mesh: Mesh, sent: str, received: str, host: str) -> None:
    client, up = pair(mesh)
    client.send(sent, "\r\n\r\n")
    request = up.read_request()
    assert request.start == received
    assert request.get("host") == host
    up.answer()
    assert client.read_answer().status == 200


# --- what belongs to one hop ---


def test_fields_of_one_hop_are_not_passed_on(mesh: Mesh) -> None:
    client, up = pair(mesh)
    client.send(
        "GET / HTTP/1.1\r\nhost: x\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\n"
        "Proxy-Connection: keep-alive\r\nTE: gzip, trailers\r\nUpgrade: nothing\r\nX-Stays: 2\r\n\r\n"
    )
    request = up.read_request()
    assert request.plain == (
        b"GET / HTTP/1.1\r\nhost: x\r\nX-Stays: 2\r\n" + OWN + b"te: trailers\r\nconnection: te\r\n\r\n"
    )
    up.send(
        "HTTP/1.1 200 OK\r\nConnection: x-secret , X-Other\r\nX-Secret: 1\r\nX-Other: 2\r\nKeep-Alive: timeout=5\r\n"
        "Upgrade: h2\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
    )
    assert client.read_answer().head == b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "name", ["host", "content-length", "x-forwarded-for", "x-request-id", "authorization", "cookie"]
)
def test_connection_cannot_take_away_what_others_rely_on(mesh: Mesh, name: str) -> None:
    client, up = pair(mesh)
    client.send(
        f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nauthorization: a\r\ncookie: c\r\nx-request-id: r\r\n"
        f"x-forwarded-for: 10.1.1.1\r\nconnection: close, {name}\r\n\r\nhi"
    )
    request = up.read_request()
    assert request.body == b"hi"
    assert request.get(name) is not None
    up.answer()
    assert client.read_answer().get("connection") == "close"


def test_connection_close_of_the_client_ends_its_side_only(mesh: Mesh) -> None:
    client, up = pair(mesh)
    client.send_request("/", "GET", "connection: close")
    assert up.read_request().get("connection") is None
    up.answer("bye")
    answer = client.read_answer()
    assert (answer.text, answer.get("connection")) == ("bye", "close")
    client.expect_end()
    other = mesh.connect()
    other.send_request("/again")
    assert up.read_request().target == "/again"
    up.answer()
    assert other.read_answer().get("connection") is None


def test_connection_close_of_the_origin_ends_its_side_only(mesh: Mesh) -> None:
    client, up = pair(mesh)
    client.send_request()
    up.read_request()
    up.answer("bye", "200 OK", "connection: close")
    answer = client.read_answer()
    assert (answer.text, answer.get("connection")) == ("bye", None)
    up.expect_end()
    client.send_request("/more")
    again = mesh.origins[0].accept()
    assert again.read_request().target == "/more"
    again.answer("more")
    assert client.read_answer().text == "more"


def test_via_is_added_when_configured(mesh: Mesh) -> None:
    client, up = pair(mesh, via="mesh-1")
    client.send_request("/", "GET", "via: 1.0 before")
    request = up.read_request()
    assert request.all("via") == ["1.0 before", "1.1 mesh-1"]
    up.answer()
    assert client.read_answer().get("via") == "1.1 mesh-1"


def test_client_and_origin_may_close_at_any_quiet_moment(mesh: Mesh) -> None:
    client, up = pair(mesh)
    up.close()
    mesh.until_count("upstream_idle_closed")
    client.send_request("/again")
    fresh = mesh.origins[0].accept()
    assert fresh.read_request().target == "/again"
    fresh.answer()
    assert client.read_answer().status == 200
    client.close()
    mesh.until_gauge("downstream_connections", 0)
    until(lambda: mesh.live()["idle"] == 1)
