"""TCP listeners: every byte, every end, in both directions, and nothing else."""

import hashlib
import threading

import pytest
from integration.mesh import Mesh, elapse, until
from integration.peer import Peer, pattern

FAMILIES = ["4", "6", "unix"]


def pair(mesh: Mesh, **listener: object) -> tuple[Peer, Peer]:
    origin = mesh.origin()
    mesh.tcp(origin, **listener)
    return mesh.connect(), origin.accept()


@pytest.mark.parametrize("down", FAMILIES)
@pytest.mark.parametrize("up", FAMILIES)
def test_addresses_of_every_kind(mesh: Mesh, down: str, up: str) -> None:
    origin = mesh.origin(up)
    mesh.tcp(origin, family=down)
    client, server = mesh.connect(), origin.accept()
    client.send(b"there")
    server.expect(b"there").send(b"back")
    client.expect(b"back")
    client.shut()
    server.expect_end()
    server.close()
    client.expect_end()


def test_the_server_may_speak_first(mesh: Mesh) -> None:
    client, server = pair(mesh)
    server.send(b"220 ready\r\n")
    client.expect(b"220 ready\r\n").send(b"HELO x\r\n")
    server.expect(b"HELO x\r\n")


def test_nothing_is_added_or_taken(mesh: Mesh) -> None:
    client, server = pair(mesh)
    data = bytes(range(256)) * 3
    for n in (1, 2, 3, 255, 256, 257, 600):
        client.send(data[:n])
        server.expect(data[:n]).send(data[-n:])
        client.expect(data[-n:])
    assert client.has_nothing()
    assert server.has_nothing()


@pytest.mark.parametrize("size", [4_095, 4_096, 16_383, 16_384, 16_385, 65_536, 1_000_000, 1_048_577])
def test_messages_around_the_borders_of_copying_and_splicing(mesh: Mesh, size: int) -> None:
    client, server = pair(mesh)
    for n in range(3):
        data = pattern(size, n)
        writer = threading.Thread(target=client.send, args=(data,), daemon=True)
        writer.start()
        assert server.read(size) == data
        writer.join(10)
        writer = threading.Thread(target=server.send, args=(data,), daemon=True)
        writer.start()
        assert client.read(size) == data
        writer.join(10)
        for small in (b"a", b"bc") * 12:         # and back to copying
            client.send(small)
            server.expect(small).send(small)
            client.expect(small)


def test_100_mb_both_ways_at_once(mesh: Mesh) -> None:
    client, server = pair(mesh)
    size = 100 << 20
    there, back = pattern(size), pattern(size, 5)
    sums: dict[str, bytes] = {}

    def read(name: str, peer: Peer) -> None:
        total = hashlib.sha256()
        left = size
        while left:
            piece = peer.sock.recv(min(1 << 18, left))
            assert piece
            total.update(piece)
            left -= len(piece)
        sums[name] = total.digest()

    threads = [threading.Thread(target=client.send, args=(there,), daemon=True),
               threading.Thread(target=server.send, args=(back,), daemon=True),
               threading.Thread(target=read, args=("there", server), daemon=True),
               threading.Thread(target=read, args=("back", client), daemon=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sums == {"there": hashlib.sha256(there).digest(), "back": hashlib.sha256(back).digest()}
    assert mesh.more_blocks() < 300
    client.shut()
    server.expect_end()


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_closed_connections_go_on_in_the_other_direction(mesh: Mesh, first: str) -> None:
    client, server = pair(mesh)
    early, late = (client, server) if first == "client" else (server, client)
    data = pattern(300_000)
    threading.Thread(target=lambda: early.send(data).shut(), daemon=True).start()
    assert late.read_end() == data
    for n in range(20):
        late.send(b"still %02d" % n)
        early.expect(b"still %02d" % n)
    threading.Thread(target=lambda: late.send(data).shut(), daemon=True).start()
    assert early.read_end() == data
    until(lambda: mesh.live()["relays"] == 0)


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("state", ["quiet", "after bytes", "after splicing", "other half closed", "own half closed"])
def test_a_reset_is_passed_on(mesh: Mesh, who: str, state: str) -> None:
    client, server = pair(mesh)
    one, other = (client, server) if who == "client" else (server, client)
    other.send(b"x")
    one.expect(b"x")        # the relay has begun
    if state == "after bytes":
        one.send(b"y")
        other.expect(b"y")
    elif state == "after splicing":
        threading.Thread(target=one.send, args=(pattern(500_000),), daemon=True).start()
        other.read(500_000)
    elif state == "other half closed":
        other.shut()
        one.expect_end()
    elif state == "own half closed":
        one.shut()
        other.expect_end()
    one.reset()
    if state == "own half closed":
        # Reading tells nothing more; the reset shows when something is sent.
        until(lambda: mesh.live()["relays"] == 0)
        with pytest.raises(ConnectionError):
            for _ in range(100):
                other.send(b"z")
                elapse(0.01)
    else:
        assert other.expect_reset() == b""
    until(lambda: mesh.live()["relays"] == 0)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_by_one_who_does_not_read(mesh: Mesh, who: str) -> None:
    """The other side's bytes wait for room when the reset comes."""
    client, server = pair(mesh)
    one, other = (client, server) if who == "client" else (server, client)
    data = pattern(32 << 20)
    sent = other.send_all_it_takes(data)
    seen = -1
    while seen != sent:
        seen = sent
        for _ in range(5):
            mesh.live()
        sent += other.send_all_it_takes(data[sent:])
    assert sent < len(data)
    one.reset()
    until(lambda: mesh.live()["relays"] == 0)
    with pytest.raises(ConnectionError):
        while True:
            other.send(b"z" * 1000)
            elapse(0.005)


def test_back_pressure(mesh: Mesh) -> None:
    client, server = pair(mesh)
    data = pattern(128 << 20)
    sent = client.send_all_it_takes(data)
    seen = -1
    while seen != sent:
        seen = sent
        for _ in range(5):
            mesh.live()
        sent += client.send_all_it_takes(data[sent:])
    assert sent < 100 << 20          # four sockets' buffers, and one pipe
    assert mesh.more_blocks() < 300
    threading.Thread(target=lambda: client.send(data[sent:]).shut(), daemon=True).start()
    assert server.read_end() == data


def test_a_connection_on_which_nothing_moves_ends(mesh: Mesh) -> None:
    client, server = pair(mesh, timeouts={"tcp_idle": "100ms"})
    client.send(b"a")
    server.expect(b"a")
    client.expect_end()
    server.expect_end()
    assert mesh.count("tcp_idle_closed") == 1


def test_movement_in_one_direction_keeps_it_open(mesh: Mesh) -> None:
    client, server = pair(mesh, timeouts={"tcp_idle": "150ms"})
    for _ in range(10):
        elapse(0.05)
        client.send(b"a")
        server.expect(b"a")
    assert mesh.count("tcp_idle_closed") == 0


def test_a_refused_connect_is_a_reset_for_the_client(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.tcp(origin)
    origin.refuse()
    with pytest.raises(ConnectionResetError):
        mesh.connect().read(1)      # it may come even before connect() has returned
    assert mesh.count("connect_failed") == 1


def test_a_refused_connect_moves_on_to_the_next_endpoint(mesh: Mesh) -> None:
    bad, good = mesh.origin(), mesh.origin()
    mesh.tcp(bad, good, cluster={"load_balancer": "round_robin"})
    bad.refuse()
    for n in range(4):
        client = mesh.connect().send(b"%d" % n)
        good.accept().expect(b"%d" % n)
        client.close()
    assert mesh.count("connect_failed") == 1        # and was avoided afterwards


def test_bytes_sent_before_the_upstream_is_there_are_not_lost(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.tcp(origin, cluster={"max_connections": 1})
    first = mesh.connect()
    server = origin.accept()
    second = mesh.connect()
    until(lambda: mesh.cluster()["pending"] == 1)
    second.send(b"all of it").shut()
    first.close()
    server.expect_end()
    server.close()
    again = origin.accept()
    assert again.read_end() == b"all of it"
    again.send(b"answer").close()
    assert second.read_end() == b"answer"


def test_a_client_that_leaves_while_it_waits(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.tcp(origin, cluster={"max_connections": 1})
    first = mesh.connect()
    server = origin.accept()
    for _ in range(5):
        mesh.connect().reset()
    mesh.connect().send(b"patient")
    first.close()
    server.close()
    # Those who left may or may not have been noticed before their turn came.
    for _ in range(7):
        again = origin.accept()
        if (got := again.expect_gone_or(b"patient")) == b"patient":
            break
    assert got == b"patient"


def test_connections_are_counted(mesh: Mesh) -> None:
    client, server = pair(mesh)
    client.send(b"12345")
    server.expect(b"12345").send(b"123")
    client.expect(b"123")
    assert mesh.cluster()["active"] == 1
    client.close()
    server.close()
    until(lambda: mesh.cluster()["active"] == 0)
    row = mesh.cluster()
    assert (row["requests"], row["bytes_sent"], row["bytes_received"]) == (1, 5, 3)
