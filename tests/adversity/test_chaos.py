"""Clients and origins that reset, stall, split and half-close at random, by a seed. Answers
that arrive whole are right,
and at the end the worker holds nothing."""

import random
import socket
import threading
from contextlib import suppress

import pytest
from integration.mesh import Mesh, until
from integration.peer import Origin, Peer, connect, pattern

DATA = pattern(400_000)


def body_of(number: int) -> bytes:
    return DATA[number % 1000 :][: number * 7919 % 200_000]


class WildOrigin(threading.Thread):
    """Answers each request with the body of its number, unless it does something else."""

    def __init__(self, origin: Origin, seed: int) -> None:
        super().__init__(daemon=True)
        self.origin, self.seed = origin, seed
        self.threads: list[threading.Thread] = []
        self.start()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.origin.sock.accept()
                self.seed += 1
                thread = threading.Thread(target=self.serve, args=(Peer(sock), random.Random(self.seed)), daemon=True)
                self.threads.append(thread)
                thread.start()

    def serve(self, peer: Peer, chance: random.Random) -> None:
        try:
            with suppress(OSError, AssertionError, ValueError):
                while True:
                    request = peer.read_request()
                    self.one(peer, chance, int(request.target.strip("/")))
        finally:
            peer.close()

    def one(self, peer: Peer, chance: random.Random, number: int) -> None:
        body, what = body_of(number), chance.random()
        if what < 0.04:
            peer.reset()
            raise OSError
        if what < 0.08:
            raise OSError
        if what < 0.12:
            peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body) + 1}\r\n\r\n", body[: len(body) // 2])
            raise OSError
        if what < 0.15:
            peer.send("HTTP/1.1 nonsense\r\n\r\n")
            return
        if what < 0.2:
            peer.send("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        if chance.random() < 0.5:
            wire = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        else:
            pieces, at = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"], 0
            while at < len(body):
                piece = body[at : at + chance.choice((1, 100, 5_000, 70_000))]
                pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
                at += len(piece)
            wire = b"".join(pieces) + b"0\r\n\r\n"
        send_split(peer, wire, chance)
        if chance.random() < 0.1:
            raise OSError


def send_split(peer: Peer, wire: bytes, chance: random.Random) -> None:
    at, most = 0, chance.choice((3, 50, 5_000, 1 << 20))
    for _ in range(40):
        size = chance.randint(1, most)
        peer.send(wire[at : at + size])
        at += size
    peer.send(wire[at:])


def client(mesh: Mesh, seed: int, wrong: list[str], good: list[int]) -> None:
    chance = random.Random(seed)
    for _ in range(12):
        with suppress(OSError, AssertionError):
            peer = connect(mesh.addresses["web"])
            try:
                for _ in range(chance.randint(1, 8)):
                    talk(peer, chance, wrong, good)
            finally:
                peer.reset() if chance.random() < 0.3 else peer.close()


def talk(peer: Peer, chance: random.Random, wrong: list[str], good: list[int]) -> None:
    number = chance.randint(1, 100_000)
    what = chance.random()
    if what < 0.3:
        size = chance.choice((0, 10, 3_000, 150_000))
        wire = f"POST /{number} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + DATA[:size]
    elif what < 0.45:
        head = f"PUT /{number} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        wire = (head + "5\r\nhello\r\n0\r\nt: v\r\n\r\n").encode()
    else:
        wire = f"GET /{number} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    if chance.random() < 0.06:
        wire = wire[: chance.randint(1, len(wire))]
        peer.send(wire)
        raise OSError
    if chance.random() < 0.06:
        at = chance.randrange(len(wire))
        wire = wire[:at] + bytes([chance.randrange(256)]) + wire[at + 1 :]
        peer.send(wire)
        peer.sock.settimeout(0.2)
        peer.expect_gone()
        raise OSError
    send_split(peer, wire, chance)
    if chance.random() < 0.05:
        peer.reset()
        raise OSError
    if chance.random() < 0.1:
        peer.shut()
    answer = peer.read_answer()
    while answer.status < 200:
        answer = peer.read_answer()
    if answer.status == 200:
        good.append(number)
        if answer.body != body_of(number):
            wrong.append(f"seed of the answer to {number}: {len(answer.body)} bytes instead of {len(body_of(number))}")
    elif answer.status not in (400, 502, 503):
        wrong.append(f"{answer.status} to {number}")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_everybody_misbehaves(mesh: Mesh, seed: int) -> None:
    origins = [mesh.origin() for _ in range(3)]
    mesh.http(
        *origins,
        cluster={"max_connections": 4} if seed == 2 else {},
        timeouts={"linger": "50ms"},
        log="%REQ(:PATH)% %RESPONSE_CODE%\n",
    )
    wild = [WildOrigin(origin, seed * 1000) for origin in origins]
    wrong: list[str] = []
    good: list[int] = []
    threads = [threading.Thread(target=client, args=(mesh, seed * 100 + n, wrong, good), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert len(good) > 100
    for origin in origins:
        with suppress(OSError):
            origin.sock.shutdown(socket.SHUT_RDWR)
    for one in wild:
        one.join(10)
    until(lambda: mesh.live()["streams"] == 0)


def test_reloads_while_everybody_misbehaves(mesh: Mesh) -> None:
    """Listeners, clusters and endpoints come and go under the connections that use them."""
    origins = [mesh.origin() for _ in range(3)]
    wild = [WildOrigin(origin, 77) for origin in origins]
    mesh.http(*origins)
    kept = mesh.addresses["web"]
    wrong: list[str] = []
    good: list[int] = []
    threads = [threading.Thread(target=client, args=(mesh, 900 + n, wrong, good), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    n = 0
    while any(thread.is_alive() for thread in threads):
        n += 1
        names = ["web"] + (["more"] if n % 2 else [])
        mesh.configure(
            {
                "listeners": [
                    {"name": name, "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]} for name in names
                ],
                "clusters": [{"name": "app", "endpoints": [o.address for o in origins[n % 3 :] or origins]}],
            }
        )
        assert mesh.addresses["web"] == kept
        if n % 2:
            with suppress(OSError):
                mesh.connect("more").send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").reset()
    assert n > 5
    assert wrong == []
    for origin in origins:
        with suppress(OSError):
            origin.sock.shutdown(socket.SHUT_RDWR)
    for one in wild:
        one.join(10)
