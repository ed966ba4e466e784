"""Upgrade: after 101 the bytes of both sides pass unread; without 101 it is an ordinary exchange (RFC 9110,
7.8)."""

import threading

import pytest
from integration.mesh import Mesh, until
from integration.peer import Peer, pattern

ASK = "GET /chat HTTP/1.1\r\nhost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
YES = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n"


def upgraded(mesh: Mesh, early_client: bytes = b"", early_origin: bytes = b"", **listener: object) -> tuple[Peer, Peer]:
    origin = mesh.origin()
    mesh.http(origin, **listener)
    client = mesh.connect().send(ASK, early_client)
    up = origin.accept()
    request = up.read_head()
    assert request.plain == (
        b"GET /chat HTTP/1.1\r\nhost: x\r\nSec-WebSocket-Key: k\r\nx-forwarded-for: 127.0.0.1\r\n"
        b"x-forwarded-proto: http\r\nx-request-id: ID\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    up.send(YES, early_origin)
    assert client.read_head().head == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    return client, up


def test_bytes_of_both_sides_pass(mesh: Mesh) -> None:
    client, up = upgraded(mesh)
    for n in range(50):
        client.send(f"to origin {n}\n")
        up.expect(f"to origin {n}\n".encode())
        up.send(f"GET / HTTP/1.1 {n}\r\n\r\n")  # nobody reads it as a request
        client.expect(f"GET / HTTP/1.1 {n}\r\n\r\n".encode())
    assert mesh.count("upgrades") == 1


def test_early_bytes_of_both_sides_pass(mesh: Mesh) -> None:
    client, up = upgraded(mesh, b"early from the client", b"early from the origin")
    up.expect(b"early from the client")
    client.expect(b"early from the origin")
    client.send(b"later")
    up.expect(b"later")


@pytest.mark.parametrize("size", [100, 5_000, 70_000, 400_000])
def test_early_bytes_of_any_amount(mesh: Mesh, size: int) -> None:
    data, other = pattern(size), pattern(size, 7)
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect()
    client.send(ASK)
    writer = threading.Thread(target=client.send, args=(data,), daemon=True)
    writer.start()
    up = origin.accept()
    up.read_head()
    writer.join(10)
    up.send(YES.encode() + other)
    client.read_head()
    assert up.read(size) == data
    assert client.read(size) == other
    client.send(b"more").shut()
    up.expect(b"more").expect_end()


def test_a_tunnel_carries_large_amounts_both_ways_at_once(mesh: Mesh) -> None:
    client, up = upgraded(mesh)
    there, back = pattern(20 << 20), pattern(20 << 20, 9)
    writers = [
        threading.Thread(target=peer.send, args=(data,), daemon=True) for peer, data in ((client, there), (up, back))
    ]
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(up.read(len(there))), daemon=True)
    for thread in (*writers, reader):
        thread.start()
    assert client.read(len(back)) == back
    reader.join(20)
    assert got == [there]


def test_the_end_of_one_side_leaves_the_other_open(mesh: Mesh) -> None:
    client, up = upgraded(mesh)
    client.send(b"last").shut()
    up.expect(b"last").expect_end()
    up.send(b"still here")
    client.expect(b"still here")
    up.close()
    client.expect_end()


def test_a_reset_is_passed_on(mesh: Mesh) -> None:
    client, up = upgraded(mesh)
    client.send(b"x")
    up.expect(b"x")
    client.reset()
    assert up.expect_reset() == b""


def test_a_tunnel_on_which_nothing_moves_ends(mesh: Mesh) -> None:
    client, up = upgraded(mesh, timeouts={"tcp_idle": "80ms"})
    client.expect_end()
    up.expect_end()
    assert mesh.count("tcp_idle_closed") == 1


def test_a_tunnel_outlives_the_limits_of_requests(mesh: Mesh) -> None:
    client, up = upgraded(
        mesh,
        timeouts={"body_idle": "20ms", "keepalive_idle": "20ms", "request": "20ms", "header": "20ms"},
        deadlines={"send": False},
    )
    for _ in range(5):
        threading.Event().wait(0.02)
        client.send(b"ping")
        up.expect(b"ping").send(b"pong")
        client.expect(b"pong")


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "426 Upgrade Required", "503 Service Unavailable"])
def test_a_refused_upgrade_is_an_ordinary_answer(mesh: Mesh, status: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(ASK)
    up = origin.accept()
    up.read_head()
    up.answer("no", status, "upgrade: websocket")
    answer = client.read_answer()
    assert (answer.start, answer.text) == (f"HTTP/1.1 {status}", "no")
    client.send_request("/next")
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


def test_early_bytes_after_a_refused_upgrade_are_the_next_request(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(ASK, "GET /next HTTP/1.1\r\nhost: x\r\n\r\n")
    up = origin.accept()
    up.read_head()
    up.answer("no", "403 Forbidden")
    assert client.read_answer().status == 403
    assert up.read_request().target == "/next"
    up.answer("next")
    assert client.read_answer().text == "next"


@pytest.mark.parametrize(
    "head",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n",
    ],
)
def test_h2c_and_half_an_upgrade_are_not_passed_on(mesh: Mesh, head: str) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(f"GET / HTTP/1.1\r\nhost: x\r\n{head}\r\n")
    up = origin.accept()
    request = up.read_head()
    assert {name for name, _ in request.fields} == {"host", "x-forwarded-for", "x-forwarded-proto", "x-request-id"}
    up.answer("plain")
    assert client.read_answer().text == "plain"


def test_a_list_with_h2c_is_not_passed_on_whole(mesh: Mesh) -> None:
    """Otherwise the origin could choose h2c behind the proxy's back."""
    origin = mesh.origin()
    mesh.http(origin)
    mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n")
    request = origin.accept().read_head()
    assert "h2c" not in (request.get("upgrade") or "")


def test_101_that_nobody_asked_for_is_a_bad_answer(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send_request()
    up = origin.accept()
    up.read_request()
    up.send(YES)
    assert client.read_answer().status == 502
    up.expect_gone()
    assert mesh.count("upstream_protocol") == 1


def test_an_upgrade_with_a_body_goes_as_an_ordinary_request(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(
        "POST / HTTP/1.1\r\nhost: x\r\nConnection: upgrade\r\nUpgrade: x\r\ncontent-length: 2\r\n\r\nhi"
    )
    up = origin.accept()
    request = up.read_request()
    assert (request.get("upgrade"), request.body) == (None, b"hi")
    up.answer("ok")
    assert client.read_answer().text == "ok"


def test_an_origin_that_dies_after_101_ends_the_tunnel(mesh: Mesh) -> None:
    client, up = upgraded(mesh)
    up.reset()
    assert client.expect_reset() == b""
    until(lambda: mesh.live()["relays"] == 0)
