"""Every limit and time-out: the right answer, the counter, the flag in the log, and nobody else affected."""

import socket
import threading

import pytest
from integration.mesh import Mesh, elapse, until
from integration.peer import Peer, pattern

LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"
GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def refused(client: Peer, status: int) -> None:
    """A local answer that says why and ends the connection."""
    answer = client.read_answer()
    assert (answer.status, answer.get("connection"), answer.get("server")) == (status, "close", "fastmesh")
    client.expect_end()


def served(mesh: Mesh, client: Peer | None = None, request: str = GET) -> None:
    """The proxy still serves."""
    client = client or mesh.connect()
    client.send(request)
    up = mesh.origins[0].accept()
    up.read_request()
    up.answer("served")
    assert client.read_answer().text == "served"


# --- sizes ---


def test_the_request_line(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), limits={"request_line": "300B"}, log=LOG)
    line = "GET /{} HTTP/1.1"
    fits = line.format("a" * (300 - len(line) + 2))
    assert len(fits) == 300
    served(mesh, request=f"{fits}\r\nhost: x\r\n\r\n")
    mesh.logged()
    too_long = mesh.connect().send(line.format("a" * (301 - len(line) + 2)), "\r\nhost: x\r\n\r\n")
    refused(too_long, 414)
    assert mesh.logged() == ["414 DPE request_line_too_long"]
    endless = mesh.connect().send("GET /" + "a" * 400)  # its end is not waited for
    refused(endless, 414)
    assert mesh.count("uri_too_long") == 2


@pytest.mark.parametrize("chunk", [10_000, 100])
def test_the_head(mesh: Mesh, chunk: int) -> None:
    mesh.http(mesh.origin(), limits={"head": "2KiB", "request_line": "1KiB"}, log=LOG)
    start = "GET / HTTP/1.1\r\nhost: x\r\na: "
    served(mesh, request=start + "b" * (2048 - len(start) - 4) + "\r\n\r\n")
    mesh.logged()
    client = mesh.connect()
    wire = start + "b" * (2049 - len(start) - 4) + "\r\n\r\n"
    for at in range(0, len(wire), chunk):
        client.send(wire[at : at + chunk])
    refused(client, 431)
    assert mesh.logged() == ["431 DPE request_headers_too_large"]
    assert mesh.count("head_too_large") == 1


def test_the_largest_head_passes(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, limits={"head": "63KiB"}, log="%REQ(:METHOD)% %REQ(:PATH)%\n")
    start = "GET / HTTP/1.1\r\nhost: x\r\n"
    line = "x-{:02d}: " + "v" * 1000 + "\r\n"
    lines = "".join(line.format(n) for n in range(63))
    last = "z: " + "z" * (64512 - len(start) - len(lines) - 3 - 4) + "\r\n\r\n"
    wire = start + lines + last
    assert len(wire) == 64512
    client = mesh.connect().send(wire)
    up = origin.accept()
    request = up.read_request()
    assert len(request.fields) == 65 + 3
    # And the largest head of an answer.
    answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n" + lines
    answer += "z: " + "z" * (65535 - len(answer) - 3 - 4) + "\r\n\r\n"
    up.send(answer, "ok")
    got = client.read_answer()
    assert (got.text, len(got.fields)) == ("ok", 65 + 1)
    client.send(GET)
    up.read_request()
    up.answer("next")
    assert client.read_answer().text == "next"
    # What the proxy adds does not push it out of the log.
    assert mesh.logged(2) == ["GET /", "GET /"]


def test_the_number_of_fields(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), limits={"header_count": 5}, log=LOG)
    served(mesh, request="GET / HTTP/1.1\r\nhost: x\r\n" + "a: b\r\n" * 4 + "\r\n")
    mesh.logged()
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\n" + "a: b\r\n" * 5 + "\r\n")
    refused(client, 431)
    assert mesh.logged() == ["431 DPE too_many_headers"]
    assert mesh.count("too_many_fields") == 1


def test_the_number_of_trailers(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, limits={"header_count": 5})
    client = mesh.connect().send(
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + "a: b\r\n" * 6 + "\r\n"
    )
    refused(client, 400)
    assert b"\r\n\r\n0\r\n" not in origin.accept().expect_gone()


# --- time ---


def test_a_head_that_does_not_come_in_time(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), timeouts={"header": "80ms"}, log=LOG)
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost:")
    refused(client, 408)
    assert mesh.logged() == ["408 DPE request_header_timeout"]
    assert mesh.count("header_timeout") == 1


def test_a_head_that_comes_in_drops(mesh: Mesh) -> None:
    """Each byte in time, the whole too late: the time runs from the first byte."""
    mesh.http(mesh.origin(), timeouts={"header": "200ms"})
    client = mesh.connect()

    def drip() -> None:
        try:
            for byte in b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000:
                client.send(bytes([byte]))
                elapse(0.02)
        except OSError:
            pass

    threading.Thread(target=drip, daemon=True).start()
    assert client.read_answer().status == 408


def test_a_second_head_that_does_not_come_in_time(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), timeouts={"header": "80ms"})
    client = mesh.connect()
    served(mesh, client, GET + "GET /half")
    refused(client, 408)


def test_an_empty_connection_is_no_head(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), timeouts={"header": "30ms"})
    client = mesh.connect()
    elapse(0.1)
    served(mesh, client)


def test_a_body_that_stops(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "80ms"}, log=LOG)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234")
    up = origin.accept()
    up.read_head()
    refused(client, 408)
    assert mesh.logged() == ["408 SI stream_idle_timeout"]
    assert up.expect_gone() == b"01234"
    assert mesh.count("body_timeout") == 1


def test_a_body_that_stops_after_the_answer_has_begun(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "80ms"}, log=LOG)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n01234")
    up = origin.accept()
    up.read_head()
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    assert client.read_head().status == 200
    assert client.expect_gone() == b"abc"
    up.expect_gone()
    assert mesh.logged() == ["200 SI stream_idle_timeout"]


def test_a_body_that_comes_slowly_but_comes(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "200ms"})
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
    up = origin.accept()
    up.read_head()
    for _ in range(10):
        client.send(b"x")
        up.expect(b"x")
        elapse(0.04)
    up.answer()
    assert client.read_answer().status == 200


def test_an_upstream_that_does_not_read(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "500ms"}, log=LOG)
    size = 64 << 20
    client = mesh.connect().send(f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n")
    up = origin.accept()
    up.read_head()
    threading.Thread(target=_send_what_goes, args=(client, size), daemon=True).start()
    assert client.read_answer().status == 504
    assert mesh.logged() == ["504 SI stream_idle_timeout"]


def _send_what_goes(peer: Peer, size: int) -> None:
    try:
        for _ in range(size >> 16):
            peer.send(b"x" * 65536)
    except OSError:
        pass


def test_a_client_that_does_not_read(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "100ms"}, log=LOG)
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    up.send(f"HTTP/1.1 200 OK\r\ncontent-length: {64 << 20}\r\n\r\n")
    threading.Thread(target=_send_what_goes, args=(up, 64 << 20), daemon=True).start()
    assert mesh.logged() == ["200 SI stream_idle_timeout"]
    assert mesh.count("body_timeout") == 1
    until(lambda: mesh.live()["connections"] == 0)
    with pytest.raises(ConnectionResetError):
        client.read(64 << 20)


def test_a_client_that_reads_slowly_but_reads(mesh: Mesh) -> None:
    """What it takes in one period is far less than what must be free for the kernel to say that there is room."""
    origin = mesh.origin()
    mesh.http(origin, timeouts={"body_idle": "1s"})
    data = pattern(16 << 20)
    client = mesh.connect()
    # The kernel tells the sender of free room in steps of a sixteenth of this.
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    client.send(GET)
    up = origin.accept()
    up.read_request()
    threading.Thread(target=up.answer, args=(data,), daemon=True).start()
    client.read_until(b"\r\n\r\n")
    got = []
    for _ in range(60):
        got.append(client.read(24 << 10))
        elapse(0.05)
    got.append(client.read(len(data) - sum(map(len, got))))
    assert b"".join(got) == data
    assert mesh.count("body_timeout") == 0


def test_a_keep_alive_connection_that_is_idle(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), timeouts={"keepalive_idle": "80ms"})
    client = mesh.connect()
    served(mesh, client)
    client.expect_end()  # without an answer: nothing was asked
    mesh.connect().expect_end()
    assert mesh.count("idle_closed") == 2


@pytest.mark.parametrize("where", ["listener", "route"])
def test_an_answer_that_takes_too_long(mesh: Mesh, where: str) -> None:
    origin = mesh.origin()
    route = {"match": {"prefix": "/"}, "cluster": "app", **({"timeout": "80ms"} if where == "route" else {})}
    mesh.configure(
        {
            "listeners": [
                {"name": "web", "routes": [route], "timeouts": {"request": "80ms" if where == "listener" else "1h"}}
            ],
            "clusters": [{"name": "app", "endpoints": [origin.address]}],
            "access_log": {"format": "text", "template": LOG},
        }
    )
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    answer = client.read_answer()
    assert (answer.status, answer.get("connection")) == (504, None)
    assert mesh.logged() == [f"504 UT response_timeout{{{where}}}"]
    up.expect_gone()
    served(mesh, client)
    assert mesh.cluster()["timeouts"] == 1


def test_a_route_may_have_no_time_limit_where_the_listener_has_one(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [{"match": {"prefix": "/"}, "cluster": "app", "timeout": 0}],
                    "timeouts": {"request": "30ms"},
                }
            ],
            "clusters": [{"name": "app", "endpoints": [origin.address]}],
        }
    )
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    elapse(0.15)
    up.answer("late")
    assert client.read_answer().text == "late"


def test_the_time_of_an_answer_runs_from_the_end_of_the_request(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"request": "150ms"}, log=LOG)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
    up = origin.accept()
    up.read_head()
    for _ in range(10):
        client.send(b"x")
        up.expect(b"x")
        elapse(0.03)
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    client.read_head()
    assert client.expect_gone() == b"ab"  # too late for an answer of its own
    assert mesh.logged() == ["200 UT response_timeout{listener}"]


def test_waiting_for_a_connection_counts_too(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"request": "100ms"}, cluster={"max_connections": 1}, log=LOG)
    clients = [mesh.connect().send(GET) for _ in range(2)]
    up = origin.accept()
    up.read_request()
    for client in clients:
        assert client.read_answer().status == 504
    assert mesh.logged(2) == ["504 UT response_timeout{listener}"] * 2


# --- numbers ---


def test_more_connections_than_a_listener_may_have(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), limits={"connections": 2})
    first, second = mesh.connect(), mesh.connect()
    third = mesh.connect()
    third.expect_gone()
    assert mesh.count("shed_connections") == 1
    assert mesh.listener()["shed"] == 1
    first.close()
    until(lambda: mesh.listener()["active"] == 1)
    served(mesh, second)
    mesh.connect().send(GET)
    until(lambda: mesh.listener()["active"] == 2)


def test_more_connections_than_the_worker_may_have(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.configure(
        {
            "max_connections": 3,
            "listeners": [
                {"name": name, "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]} for name in ("web", "more")
            ],
            "clusters": [{"name": "app", "endpoints": [origin.address]}],
        }
    )
    kept = [mesh.connect("web"), mesh.connect("web"), mesh.connect("more")]
    mesh.until_gauge("downstream_connections", 3)
    mesh.connect("more").expect_gone()
    mesh.connect("web").expect_gone()
    assert mesh.count("shed_connections") == 2
    served(mesh, kept[2])


def test_requests_of_a_connection(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, limits={"requests_per_connection": 3})
    client = mesh.connect().send(GET * 4)
    up = origin.accept()
    for n in range(3):
        up.read_request()
        up.answer(str(n))
    answers = [client.read_answer() for _ in range(3)]
    assert [answer.get("connection") for answer in answers] == [None, None, "close"]
    client.expect_end()
    assert up.has_nothing()
    assert mesh.count("requests_limit_closed") == 1


def test_the_buffer_decides_when_a_sender_waits(mesh: Mesh) -> None:
    origin = mesh.origin()
    for size in (4 << 10, 1 << 20):
        mesh.http(origin, limits={"buffer": f"{size}B"})
        client = mesh.connect().send(GET)
        up = origin.accept()
        up.read_request()
        up.send(f"HTTP/1.1 200 OK\r\ncontent-length: {64 << 20}\r\n\r\n")
        threading.Thread(target=_send_what_goes, args=(up, 64 << 20), daemon=True).start()
        mesh.until_count("read_paused")
        client.reset()
        up.expect_gone()
        mesh.before = mesh.process.counters()


# --- what the answers say ---


def test_local_answers_explain_themselves_where_that_is_allowed(mesh: Mesh) -> None:
    origin = mesh.origin()
    origin.refuse()
    mesh.http(origin, plain_answers=True)
    answer = mesh.connect().ask()
    assert answer.status == 503
    assert answer.text == "the upstream refused the connection"
    bad = mesh.connect().send("GET / HTTP/1.1\r\nhost : x\r\n\r\n").read_answer()
    assert (bad.status, bad.get("content-type")) == (400, "text/plain; charset=utf-8")
    assert "colon" in bad.text or "name" in bad.text


def test_local_answers_say_little_otherwise(mesh: Mesh) -> None:
    origin = mesh.origin()
    origin.refuse()
    mesh.http(origin)
    answer = mesh.connect().ask()
    assert answer.text == "Service Unavailable"
    assert answer.plain == (
        b"HTTP/1.1 503 Service Unavailable\r\ndate: DATE\r\nserver: fastmesh\r\n"
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: 19\r\n\r\n"
    )


def test_a_local_answer_to_head_has_no_body(mesh: Mesh) -> None:
    origin = mesh.origin()
    origin.refuse()
    mesh.http(origin)
    client = mesh.connect()
    for _ in range(2):
        answer = client.ask(method="HEAD")
        assert (answer.status, answer.get("content-length")) == (503, "19")


def test_an_upstream_that_does_not_answer(mesh: Mesh) -> None:
    """Neither the client's fault nor a request timeout: nothing moves. The client's connection goes on."""
    origin = mesh.origin()
    mesh.http(origin, timeouts={"stream_idle": "100ms", "body_idle": "1h"}, log=LOG)
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    assert client.read_answer().status == 504
    up.expect_end()
    assert mesh.logged() == ["504 SI stream_idle_timeout"]
    assert (mesh.count("stream_idle"), mesh.count("body_timeout"), mesh.count("request_timeout")) == (1, 0, 0)
    served(mesh, client)


def test_an_answer_that_stands_still_is_cut(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, timeouts={"stream_idle": "200ms"}, log=LOG)
    client = mesh.connect().send(GET)
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    assert client.read_head().status == 200
    client.expect(b"half")
    client.expect_end()
    up.expect_end()
    assert mesh.logged() == ["200 SI stream_idle_timeout"]
    assert mesh.count("stream_idle") == 1
