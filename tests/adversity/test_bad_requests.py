"""What is ambiguous is refused with 400 and the end of the connection, and no byte of it is passed on."""

import pytest
from integration.mesh import Mesh

CHUNKED = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
EVIL = "GET /evil HTTP/1.1\r\nhost: x\r\n\r\n"

HEADS = {
    "both lengths": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n"
    "\r\n0\r\n\r\n",
    "two lengths": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    "the same length twice": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    "a list of lengths": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4, 4\r\n\r\nabcd",
    "a negative length": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "a length with a sign": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +4\r\n\r\nabcd",
    "a length in hex": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x4\r\n\r\nabcd",
    "an empty length": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length:\r\n\r\n",
    "a huge length": "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551617\r\n\r\n",
    "another coding": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
    "gzip, chunked": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n",
    "xchunked": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": "GET / HTTP/1.1\r\nhost: x\r\ncontent-length : 4\r\n\r\nabcd",
    "a tab before the colon": "GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": "GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
    "a folded coding": "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a space before the first field": "GET / HTTP/1.1\r\n host: x\r\n\r\n",
    "a bare CR in a value": "GET / HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n",
    "a bare LF in a value": "GET / HTTP/1.1\r\nhost: x\r\na: b\nc: d\r\n\r\n",
    "bare LFs": "GET / HTTP/1.1\nhost: x\n\n",
    "a bare LF at the end": "GET / HTTP/1.1\r\nhost: x\r\n\n",
    "CR CR LF": "GET / HTTP/1.1\r\nhost: x\r\na: b\r\r\n\r\n",
    "NUL in a value": "GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n",
    "NUL in a name": "GET / HTTP/1.1\r\nhost: x\r\na\0: b\r\n\r\n",
    "NUL in the target": "GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n",
    "no name": "GET / HTTP/1.1\r\nhost: x\r\n: b\r\n\r\n",
    "no colon": "GET / HTTP/1.1\r\nhost: x\r\nnonsense\r\n\r\n",
    "a name that is no token": "GET / HTTP/1.1\r\nhost: x\r\na(b): c\r\n\r\n",
    "a method that is no token": "G[T / HTTP/1.1\r\nhost: x\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    "a host that is none": "GET / HTTP/1.1\r\nhost: x/y\r\n\r\n",
    "a host with a user": "GET / HTTP/1.1\r\nhost: a@x\r\n\r\n",
    "HTTP/0.9": "GET /\r\n\r\n",
    "two spaces": "GET  / HTTP/1.1\r\nhost: x\r\n\r\n",
    "words behind the version": "GET / HTTP/1.1 x\r\nhost: x\r\n\r\n",
    "a fragment": "GET /#x HTTP/1.1\r\nhost: x\r\n\r\n",
    "a target that is no path": "GET x HTTP/1.1\r\nhost: x\r\n\r\n",
    "http in lower case": "GET / http/1.1\r\nhost: x\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "white space first": " GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "empty lines first": "\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
}

BODIES = {
    "no size": "\r\nabc\r\n0\r\n\r\n",
    "not hex": "g\r\nabc\r\n0\r\n\r\n",
    "a sign": "+3\r\nabc\r\n0\r\n\r\n",
    "0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "a space before": " 3\r\nabc\r\n0\r\n\r\n",
    "a space within": "3 0\r\nabc\r\n0\r\n\r\n",
    "a bare LF behind the size": "3\nabc\r\n0\r\n\r\n",
    "a huge size": "ffffffffffffffffff\r\nabc\r\n",
    "too much": "3\r\nabcd\r\n0\r\n\r\n",
    "too little": "3\r\nab\r\n0\r\n\r\n",
    "a bare LF behind the chunk": "3\r\nabc\n0\r\n\r\n",
    "a bare LF in an extension": "3;a\nb\r\nabc\r\n0\r\n\r\n",
    "a bare CR in an extension": "3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": "3;\0\r\nabc\r\n0\r\n\r\n",
    "an endless size line": "3;" + "a" * 300 + "\r\nabc\r\n0\r\n\r\n",
    "a bad trailer": "0\r\na b: c\r\n\r\n",
    "a folded trailer": "0\r\na: b\r\n c\r\n\r\n",
    "a bare LF at the end": "0\r\n\n",
}


def wire(text: str) -> bytes:
    return text.encode("latin-1")


@pytest.mark.parametrize("kind", HEADS)
def test_a_bad_head(mesh: Mesh, kind: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    other = mesh.connect().send_request("/other")
    up = origin.accept()
    up.read_request()
    client = mesh.connect().send(wire(HEADS[kind]), EVIL)
    answer = client.read_answer()
    assert (answer.status, answer.get("connection")) == (400, "close")
    client.expect_end()
    assert not origin.has_connection()
    assert up.has_nothing()
    up.answer("fine")  # the others have not noticed
    assert other.read_answer().text == "fine"
    assert mesh.count("bad_request") == 1


@pytest.mark.parametrize("kind", ["both lengths", "two lengths", "bare LFs", "a folded line", "NUL in a value"])
def test_a_bad_head_byte_by_byte(mesh: Mesh, kind: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    for byte in wire(HEADS[kind]):
        client.send(bytes([byte]))
    assert client.read_answer().status == 400
    client.expect_end()
    assert not origin.has_connection()


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/3.0", "HTTP/1.2"])
def test_another_version(mesh: Mesh, version: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(f"GET / {version}\r\nhost: x\r\n\r\n", EVIL)
    assert client.read_answer().status == 505
    client.expect_end()
    assert not origin.has_connection()


@pytest.mark.parametrize("kind", BODIES)
def test_a_bad_chunk(mesh: Mesh, kind: str) -> None:
    """The origin may have the head and good chunks by then, but never an end, and nothing of what follows."""
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(CHUNKED)
    up = origin.accept()
    up.read_head()
    client.send(wire(BODIES[kind]), EVIL)
    assert client.read_answer().status == 400
    client.expect_end()
    got = up.expect_gone()
    assert got in (b"", b"3\r\nabc\r\n", b"3\r\nab\r\r\n")
    assert not origin.has_connection()


@pytest.mark.parametrize("kind", ["not hex", "too much", "a bad trailer"])
def test_a_bad_chunk_after_the_answer_has_begun(mesh: Mesh, kind: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(CHUNKED)
    up = origin.accept()
    up.read_head()
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"begun")
    client.read_head()
    client.expect(b"5\r\nbegun\r\n")
    client.send(wire(BODIES[kind]), EVIL)
    assert client.expect_gone() == b""  # cut: no last chunk
    up.expect_gone()
    assert not origin.has_connection()
