"""Bodies: streamed in both directions, chunked or with a length, never collected; what stops one side stops the
other."""

import hashlib
import threading

import pytest
from integration.mesh import Mesh, elapse, until
from integration.peer import Message, Peer, pattern

BIG = 50 << 20


class Reader(threading.Thread):
    """Reads one message in a thread of its own."""

    def __init__(self, peer: Peer, kind: str) -> None:
        super().__init__(daemon=True)
        self.peer, self.kind = peer, kind
        self.message: Message | None = None
        self.start()

    def run(self) -> None:
        self.message = self.peer.read_request() if self.kind == "request" else self.peer.read_answer()

    def result(self) -> Message:
        self.join(60)
        assert self.message is not None
        return self.message


def begin(mesh: Mesh, head: str, **listener: object) -> tuple[Peer, Peer, Message]:
    """A client that has sent a head, the origin's side, and the head as it came there."""
    origin = mesh.origin()
    mesh.http(origin, **listener)
    client = mesh.connect().send(head)
    up = origin.accept()
    return client, up, up.read_head()


GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


# --- chunks and trailers ---


def test_a_chunked_request_is_passed_on_as_it_comes(mesh: Mesh) -> None:
    client, up, head = begin(mesh, CHUNKED)
    assert head.get("transfer-encoding") == "chunked"
    client.chunk(b"one")
    up.expect(b"3\r\none\r\n")
    client.send('5;ext="1"\r\ntw', "o..\r\n")
    got = Message(b"x\r\n\r\n")
    client.send("0\r\n\r\n")
    up.read_chunked(got)
    assert got.body == b"two.."
    up.answer("done")
    assert client.read_answer().text == "done"


def test_trailers_of_a_request(mesh: Mesh) -> None:
    client, up, head = begin(mesh, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
    assert head.get("trailer") == "x-sum"
    client.chunk(b"body").send("0\r\nx-sum: 1\r\nContent-Length: 9\r\nhost: evil\r\nX-More: 2\r\n\r\n")
    got = Message(b"x\r\n\r\n")
    up.read_chunked(got)
    assert got.trailers == [("x-sum", "1"), ("x-more", "2")]  # fields that may not be trailers are dropped
    up.answer()
    assert client.read_answer().status == 200


def test_trailers_of_an_answer(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, GET)
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n").chunk(b"a", b"bc")
    up.send("0\r\nX-Sum: 7\r\nTransfer-Encoding: chunked\r\n\r\n")
    answer = client.read_answer()
    assert (answer.body, answer.trailers) == (b"abc", [("x-sum", "7")])
    client.send(GET)
    assert up.read_request().target == "/"
    up.answer("next")
    assert client.read_answer().text == "next"


@pytest.mark.parametrize(
    "wire",
    [
        b"0\r\n\r\n",
        b"1\r\na\r\n0\r\n\r\n",
        b"00000\r\n\r\n",
        b"0A\r\n0123456789\r\n0;x\r\n\r\n",
        b"a;b=c;d\r\n0123456789\r\n0\r\n\r\n",
    ],
)
def test_chunks_cut_at_every_byte(mesh: Mesh, wire: bytes) -> None:
    client, up, _ = begin(mesh, CHUNKED)
    for byte in wire:
        client.send(bytes([byte]))
    got = Message(b"x\r\n\r\n")
    up.read_chunked(got)
    assert got.body == b"" or got.body in wire
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for byte in wire:
        up.send(bytes([byte]))
    assert client.read_answer().body == got.body


def test_pieces_arrive_before_the_whole_is_sent(mesh: Mesh) -> None:
    """Neither side's body is collected."""
    client, up, _ = begin(mesh, CHUNKED)
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    answer = client.read_head()
    # When it begins nobody knows that the request will end in time.
    assert (answer.status, answer.get("connection")) == (200, "close")
    for n in range(20):
        piece = b"piece %d" % n
        client.chunk(piece)
        up.expect(b"%x\r\n%s\r\n" % (len(piece), piece))
        up.chunk(piece * 2)
        client.expect(b"%x\r\n%s\r\n" % (len(piece) * 2, piece * 2))
    client.send("0\r\n\r\n")
    up.expect(b"0\r\n\r\n").send("0\r\n\r\n")
    client.expect(b"0\r\n\r\n").expect_end()
    other = mesh.connect().send(GET)
    assert up.read_request().method == "GET"
    up.answer("next")
    assert other.read_answer().text == "next"


def test_an_answer_that_ends_with_its_connection(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, GET)
    up.send("HTTP/1.1 200 OK\r\n\r\n")
    assert client.read_head().get("transfer-encoding") == "chunked"
    up.send(b"abc")
    client.expect(b"3\r\nabc\r\n")
    up.close()
    client.expect(b"0\r\n\r\n")
    client.send(GET)
    again = mesh.origins[0].accept()
    again.read_request()
    again.answer("next")
    assert client.read_answer().text == "next"


# --- big ones ---


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_50_mb_up_and_down(mesh: Mesh, coding: str) -> None:
    data = pattern(BIG)
    chunked = coding == "chunked"
    field = "transfer-encoding: chunked" if chunked else f"content-length: {BIG}"
    client, up, _ = begin(mesh, f"POST /big HTTP/1.1\r\nhost: x\r\n{field}\r\n\r\n")

    def write(peer: Peer) -> None:
        if chunked:
            for at in range(0, BIG, 100_000):
                peer.chunk(data[at : at + 100_000])
            peer.send("0\r\n\r\n")
        else:
            peer.send(data)

    sums = []
    for source, sink in ((client, up), (up, client)):
        if source is up:
            up.send(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n")
            client.read_head()
        writer = threading.Thread(target=write, args=(source,), daemon=True)
        writer.start()
        if chunked:
            got = Message(b"x\r\n\r\n")
            sink.read_chunked(got)
            sums.append(hashlib.sha256(got.body).digest())
        else:
            sums.append(hashlib.sha256(sink.read(BIG)).digest())
        writer.join(30)
    assert sums == [hashlib.sha256(data).digest()] * 2
    client.send(GET)
    up.read_request()
    up.answer("next")
    assert client.read_answer().text == "next"


@pytest.mark.parametrize("coding", ["length", "chunked", "close"])
def test_an_origin_waits_for_a_client_that_reads_slowly(mesh: Mesh, coding: str) -> None:
    size = 24 << 20
    data = pattern(size)
    client, up, _ = begin(mesh, GET)
    up.send(
        "HTTP/1.1 200 OK\r\n"
        + {"length": f"content-length: {size}\r\n", "close": "", "chunked": "transfer-encoding: chunked\r\n"}[coding]
        + "\r\n"
    )
    wire = (
        data
        if coding != "chunked"
        else b"".join(
            b"%x\r\n%s\r\n" % (len(piece), piece) for at in range(0, size, 50_000) for piece in [data[at : at + 50_000]]
        )
    )
    sent = fill(mesh, up, wire)
    # What the sockets of four ends hold, and two buffers of the proxy: far less than the whole.
    assert sent < 16 << 20
    assert mesh.count("read_paused") >= 1
    assert mesh.more_blocks() < 300  # most of them in io_uring's rings
    writer = threading.Thread(
        target=lambda: (up.send(wire[sent:], b"0\r\n\r\n" if coding == "chunked" else b""), up.shut()), daemon=True
    )
    writer.start()
    assert client.read_answer().body == data
    writer.join(10)


def test_a_client_waits_for_an_origin_that_reads_slowly(mesh: Mesh) -> None:
    size = 24 << 20
    data = pattern(size)
    client, up, _ = begin(mesh, f"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")
    sent = fill(mesh, client, data)
    assert sent < 16 << 20
    assert mesh.count("read_paused") >= 1
    assert mesh.more_blocks() < 300  # most of them in io_uring's rings
    writer = threading.Thread(target=client.send, args=(data[sent:],), daemon=True)
    writer.start()
    assert up.read(size) == data
    writer.join(10)
    up.answer("done")
    assert client.read_answer().text == "done"


def fill(mesh: Mesh, peer: Peer, wire: bytes) -> int:
    """Sends until nothing moves any more: not here, and not in the worker."""
    sent, seen = 0, (-1, -1)
    while True:
        sent += peer.send_all_it_takes(wire[sent:])
        now = (sent, mesh.count("bytes_sent") + mesh.count("bytes_received") + mesh.cluster()["bytes_received"])
        if now == seen:
            return sent
        seen = now
        for _ in range(5):  # turns of the worker, each of which may move something
            mesh.live()


def test_a_slow_reader_does_not_cost_others_anything(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    slow = mesh.connect().send(GET)
    up = origin.accept()
    up.read_head()
    up.send(f"HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n")
    fill(mesh, up, pattern(BIG))
    for n in range(10):
        quick = mesh.connect().send_request(f"/{n}")
        if n == 0:
            other = origin.accept()
        assert other.read_request().target == f"/{n}"
        other.answer("quick")
        assert quick.read_answer().text == "quick"
    slow.close()
    assert up.expect_gone() == b""


# --- who ends early ---


def test_an_answer_before_the_request_is_complete(mesh: Mesh) -> None:
    """The answer goes to the client; what it still sends is thrown away, and then the connection ends."""
    client, up, _ = begin(mesh, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n0123456789")
    up.expect(b"0123456789")
    up.answer("too large", "413 Content Too Large")
    answer = client.read_answer()
    assert (answer.status, answer.text) == (413, "too large")
    up.expect_gone()
    client.send(b"x" * 100_000)
    client.expect_end()


def test_an_answer_while_the_client_is_still_sending_fast(mesh: Mesh) -> None:
    """The answer is not lost in a reset, although the client sends much more than is read."""
    size = 8 << 20
    client, up, _ = begin(mesh, f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")
    writer = threading.Thread(target=lambda: client.sock.sendall(b"x" * size), daemon=True)
    writer.start()
    up.read(100_000)
    up.answer("enough", "413 Content Too Large", "connection: close")
    up.close()  # unread bytes: a reset follows the answer
    answer = client.read_answer()
    assert (answer.status, answer.text) == (413, "enough")
    writer.join(20)


def test_a_local_answer_to_a_request_with_a_body_is_not_lost(mesh: Mesh) -> None:
    mesh.configure(
        {
            "listeners": [
                {"name": "web", "routes": [{"match": {"prefix": "/"}, "response": {"status": 403, "body": "no"}}]}
            ]
        }
    )
    size = 4 << 20
    client = mesh.connect().send(f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")
    writer = threading.Thread(target=lambda: client.sock.sendall(b"x" * size), daemon=True)
    writer.start()
    answer = client.read_answer()
    assert (answer.status, answer.text, answer.get("connection")) == (403, "no", "close")
    writer.join(20)
    client.expect_end()
    assert mesh.count("lingered") == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_ends_its_side_while_it_waits_has_left(mesh: Mesh, begun: bool) -> None:
    """As one does that has given up: its kernel says no more than that it will send nothing."""
    client, up, _ = begin(mesh, "GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    if begun:
        up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"half")
        client.read_until(b"half\r\n")
    client.shut()
    up.expect_gone()
    client.expect_gone()
    assert mesh.count("downstream_reset") == 1


def test_a_client_that_leaves_while_it_waits_for_a_connection_makes_room(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_connections": 1})
    first = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    second = mesh.connect().send("GET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
    until(lambda: mesh.cluster()["pending"] == 1)
    second.shut()
    until(lambda: mesh.cluster()["pending"] == 0)
    second.expect_gone()
    up.answer("1")
    assert first.read_answer().text == "1"
    assert up.has_nothing()


def test_a_client_may_end_its_side_after_the_request(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, half_close=True)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello").shut()
    up = origin.accept()
    assert up.read_request().body == b"hello"
    assert up.has_nothing()
    data = pattern(3 << 20)
    threading.Thread(target=up.answer, args=(data,), daemon=True).start()
    answer = client.read_answer()
    assert answer.body == data
    client.expect_end()


def test_a_request_and_the_end_of_its_side_while_connecting(mesh: Mesh) -> None:
    """The body and the end may be here before there is anybody to send them to."""
    waiting = mesh.origin()
    mesh.http(waiting, cluster={"max_connections": 1}, half_close=True)
    first = mesh.connect().send(GET)
    up = waiting.accept()
    up.read_request()
    body = pattern(30_000)
    second = mesh.connect().send(f"POST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n")
    until(lambda: mesh.cluster()["pending"] == 1)
    second.send(body).shut()
    until(lambda: mesh.count("bytes_received") > 10_000)
    mesh.live()
    up.answer("1")
    assert first.read_answer().text == "1"
    again = up.read_request()
    assert (again.target, again.body) == ("/2", body)
    up.answer("2")
    assert second.read_answer().text == "2"
    second.expect_end()


def test_a_client_that_ends_its_side_within_a_request_is_not_served(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello")
    client.shut()
    assert up.expect_gone() == b"hello"
    client.expect_gone()
    assert mesh.count("downstream_reset") == 1


def test_an_answer_cut_off_within_its_length_ends_the_client_connection(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, GET)
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    client.read_head()
    client.expect(b"half")
    up.close()
    client.expect_end()
    assert mesh.count("upstream_reset") == 1


def test_a_chunked_answer_cut_off_has_no_last_chunk(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, GET)
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"half").send(b"5\r\nab")
    client.read_head()
    client.expect(b"4\r\nhalf\r\n2\r\nab\r\n")
    up.close()
    client.expect_end()


def test_an_http_1_0_client_learns_of_a_cut_by_a_reset(mesh: Mesh) -> None:
    """An orderly end would say that the body is complete."""
    client, up, _ = begin(mesh, "GET / HTTP/1.0\r\nhost: x\r\n\r\n")
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"half")
    client.read_head()
    client.expect(b"half")
    up.close()
    assert client.expect_reset() == b""


def test_a_reset_of_the_origin_within_an_answer_until_the_end_is_no_end(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, GET)
    up.send("HTTP/1.1 200 OK\r\n\r\nabc")
    client.read_head()
    client.expect(b"3\r\nabc\r\n")
    up.reset()
    client.expect_end()  # without a last chunk


def test_a_last_answer_reaches_a_client_that_reads_late(mesh: Mesh) -> None:
    """The connection closes after this answer, and part of it waits in the proxy for longer than the linger time."""
    origin = mesh.origin()
    mesh.http(origin, limits={"requests_per_connection": 1}, timeouts={"linger": "50ms"})
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    data = pattern(12 << 20)
    writer = threading.Thread(target=up.answer, args=(data,), daemon=True)
    writer.start()
    assert client.read_head().get("connection") == "close"
    got = client.ahead
    client.ahead = b""
    while mesh.count("lingered") == 0:
        got += client.sock.recv(20_000)
    elapse(0.25)
    got += client.read(len(data) - len(got))
    assert got == data
    client.expect_end()
    writer.join(10)


def test_the_same_with_a_client_that_asked_for_the_end_and_has_ended_its_side(mesh: Mesh) -> None:
    client, up, _ = begin(mesh, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", timeouts={"linger": "50ms"})
    data = pattern(12 << 20)
    writer = threading.Thread(target=up.answer, args=(data,), daemon=True)
    writer.start()
    got = client.read_until(b"\r\n\r\n")[:0]
    while mesh.cluster()["bytes_received"] < len(data):
        got += client.read(20_000)
    client.shut()
    elapse(0.25)
    got += client.read(len(data) - len(got))
    assert got == data
    client.expect_end()
    writer.join(10)
