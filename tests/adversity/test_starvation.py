"""Floods, and a worker that runs out of descriptors: it sheds, does not spin, and comes back."""

import resource
import socket

import pytest
from integration.mesh import Mesh, elapse, until
from integration.peer import Peer, connect

GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def served(mesh: Mesh, client: Peer) -> None:
    client.send(GET)
    up = mesh.origins[0].accept()
    up.read_request()
    up.answer("served")
    assert client.read_answer().text == "served"


def test_out_of_descriptors(own_mesh: Mesh) -> None:
    mesh = own_mesh
    mesh.process.tell("limit", files=256)       # io_uring looks at the limit when it begins to accept
    mesh.http(mesh.origin())
    kept = mesh.connect()
    served(mesh, kept)
    kept.send(GET[:5])                  # between requests it would make room
    mesh.process.tell("hold", most=10_000)
    clients = [mesh.connect() for _ in range(20)]
    mesh.until_count("accept_failed")
    for client in clients:
        client.expect_gone()            # told at once instead of left hanging
    assert mesh.count("shed_connections") >= 20
    turns, cpu = mesh.count("turns"), mesh.process.cpu_seconds
    waiting = [mesh.connect() for _ in range(3)]
    elapse(1.0)
    assert mesh.count("turns") - turns < 500
    assert mesh.process.cpu_seconds - cpu < 0.2
    for client in waiting:
        client.expect_gone()
    kept.send(GET[5:])                  # what is there goes on
    for peer in mesh.origins[0].peers:
        peer.read_request()
        peer.answer("kept")
    assert kept.read_answer().text == "kept"
    mesh.process.tell("release")
    fresh = mesh.connect().send(GET)
    up = mesh.origins[0].peers[0]
    up.read_request()
    up.answer("fresh")
    assert fresh.read_answer().text == "fresh"


def test_no_descriptor_for_the_upstream(own_mesh: Mesh) -> None:
    mesh = own_mesh
    mesh.http(mesh.origin(), log="%RESPONSE_CODE% %RESPONSE_FLAGS%\n")
    client = mesh.connect()
    mesh.until_gauge("downstream_connections", 1)
    mesh.process.tell("limit", files=256)
    mesh.process.tell("hold", most=10_000)
    assert client.ask().status == 503
    assert mesh.logged() == ["503 UF,OM"]
    mesh.process.tell("release")
    served(mesh, client)


def test_a_tunnel_without_descriptors_for_pipes(own_mesh: Mesh) -> None:
    mesh = own_mesh
    origin = mesh.origin()
    mesh.tcp(origin)
    client = mesh.connect()
    up = origin.accept()
    client.send(b"a")
    up.expect(b"a")
    mesh.process.tell("limit", files=256)
    mesh.process.tell("hold", most=10_000)
    data = b"x" * 300_000
    for _ in range(5):
        client.send(data)
        assert up.read(len(data)) == data
    mesh.process.tell("release")


def test_thousands_of_idle_connections(own_mesh: Mesh) -> None:
    """They cost little, and nobody else notices."""
    count = min(2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
    mesh = own_mesh
    mesh.http(mesh.origin())
    served(mesh, mesh.connect())
    before = mesh.process.memory
    crowd = [mesh.connect() for _ in range(count)]
    mesh.until_gauge("downstream_connections", count + 1)
    assert (mesh.process.memory - before) / count < 3_000
    quick = mesh.connect().send(GET)
    up = mesh.origins[0].peers[0]
    up.read_request()
    up.answer("quick")
    assert quick.read_answer().text == "quick"
    for peer in crowd:
        peer.reset()
    mesh.until_gauge("downstream_connections", 2)


def test_heads_that_never_end(mesh: Mesh) -> None:
    mesh.http(mesh.origin(), timeouts={"header": "300ms"})
    crowd = [mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\na:") for _ in range(200)]
    client = mesh.connect()
    served(mesh, client)
    assert {peer.read_answer().status for peer in crowd} == {408}
    assert mesh.count("header_timeout") == 200


def test_connections_that_come_and_go(mesh: Mesh) -> None:
    mesh.http(mesh.origin())
    address = mesh.addresses["web"]
    for n in range(300):
        peer = connect(address)
        if n % 3 == 0:
            peer.send("GET / HT")
        if n % 2:
            peer.reset()
        else:
            peer.close()
    until(lambda: mesh.count("accepted") >= 200)
    served(mesh, mesh.connect())


@pytest.mark.parametrize("pieces", [1, 1000])
def test_tiny_chunks(mesh: Mesh, pieces: int) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    up = origin.accept()
    up.read_head()
    client.send(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert up.read(6 * 20_000 + 5).endswith(b"0\r\n\r\n")
    up.answer()
    assert client.read_answer().status == 200


def test_a_backlog_of_resets(mesh: Mesh) -> None:
    """Connections that are gone before they are accepted."""
    mesh.http(mesh.origin())
    with mesh.frozen():
        for _ in range(50):
            sock = socket.socket()
            sock.connect(mesh.addresses["web"])
            Peer(sock).reset()
        client = mesh.connect().send(GET)
    up = mesh.origins[0].accept()
    up.read_request()
    up.answer("fine")
    assert client.read_answer().text == "fine"
