"""Bad answers: 502, or a cut when the head has gone; never an answer to another request."""

import pytest
from integration.mesh import Mesh, until
from integration.peer import Peer

LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS%\n"
BAD = {
    "nonsense": "nonsense\r\n\r\n",
    "TLS": "\x15\x03\x01\x00\x02\x02\x46" + "x" * 20,
    "HTTP/0.9": "<html>hello</html>\r\n",
    "another version": "HTTP/2.0 200 OK\r\n\r\n",
    "a status of two digits": "HTTP/1.1 20 OK\r\n\r\n",
    "a status of four": "HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": "HTTP/1.1 099 No\r\n\r\n",
    "bare LFs": "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "both lengths": "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "a bad length": "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    "another coding": "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
    "a folded line": "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
    "NUL": "HTTP/1.1 200 OK\r\na: \0\r\ncontent-length: 0\r\n\r\n",
    "a bare CR": "HTTP/1.1 200 OK\r\na: b\rc\r\ncontent-length: 0\r\n\r\n",
    "an interim answer with a body": "HTTP/1.1 100 Continue\r\ncontent-length: 4\r\n\r\nevil",
    "an endless head": "HTTP/1.1 200 OK\r\n" + "a: " + "b" * 70_000,
    "too many fields": "HTTP/1.1 200 OK\r\n" + "a: b\r\n" * 300 + "\r\n",
    "interim answers without end": "HTTP/1.1 102 Processing\r\n\r\n" * 40,
}


def begin(mesh: Mesh) -> tuple[Peer, Peer]:
    origin = mesh.origin()
    mesh.http(origin, log=LOG)
    client = mesh.connect().send_request("/bad")
    up = origin.accept()
    up.read_request()
    return client, up


def next_is_right(mesh: Mesh, client: Peer) -> None:
    client.send_request("/next")
    up = mesh.origins[0].accept()
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_head(mesh: Mesh, kind: str) -> None:
    client, up = begin(mesh)
    up.send(BAD[kind].encode("latin-1"))
    answer = client.read_answer()
    while answer.status == 102:
        answer = client.read_answer()
    assert answer.status == 502
    up.expect_gone()
    assert mesh.logged() == ["502 UPE"]
    assert mesh.count("upstream_protocol") == 1
    next_is_right(mesh, client)


@pytest.mark.parametrize(
    "piece", ["H", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"]
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_half_a_head(mesh: Mesh, piece: str, how: str) -> None:
    client, up = begin(mesh)
    up.send(piece)
    # The piece must have arrived, or a reset would overtake it.
    until(lambda: mesh.cluster()["bytes_received"] >= len(piece))
    getattr(up, how)()
    assert client.read_answer().status in (502, 503)
    next_is_right(mesh, client)


@pytest.mark.parametrize(
    "chunk", ["x\r\n", "3\r\nabcd\r\n", "-1\r\n", "\r\n", "3\nabc\r\n", "fffffffffffffffff\r\n", "0\r\na b: c\r\n\r\n"]
)
def test_a_bad_chunk_cuts_the_answer(mesh: Mesh, chunk: str) -> None:
    client, up = begin(mesh)
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"good")
    client.read_head()
    client.expect(b"4\r\ngood\r\n")
    up.send(chunk)
    rest = client.read_end()
    assert rest in (b"", b"3\r\nabc\r\n")
    up.expect_gone()
    assert mesh.logged() == ["200 UPE"]


@pytest.mark.parametrize("extra", ["x", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"])
@pytest.mark.parametrize(
    "status",
    [
        "200 OK\r\ncontent-length: 2\r\n\r\nok",
        "204 No Content\r\n\r\n",
        "304 Not Modified\r\n\r\n",
        "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_more_than_was_announced(mesh: Mesh, status: str, extra: str) -> None:
    client, up = begin(mesh)
    up.send(f"HTTP/1.1 {status}{extra}")
    client.read_answer()
    up.expect_gone()
    next_is_right(mesh, client)


def test_a_body_with_an_answer_to_head(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send_request("/", "HEAD")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert client.read_answer("HEAD").status == 200
    up.expect_gone()
    next_is_right(mesh, client)


def test_an_answer_before_it_was_asked_for(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n")
    up = origin.accept()
    up.read_head()
    up.answer("early")
    assert client.read_answer().text == "early"
    client.send(b"body")
    client.expect_end()
    up.expect_gone()
