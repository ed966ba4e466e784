"""Endpoints of TCP listeners are ejected when they refuse, reset or hang up, and come back by way of one connection."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.harness import Sidecar, free_port, until
from integration.peer import Peer, connect

Start = Callable[..., Sidecar]
Act = Callable[[Peer], None]


def echoes(peer: Peer) -> None:
    """Speaks when it is spoken to."""
    while piece := peer.sock.recv(65536):
        peer.send(piece)
    peer.close()


def greets(peer: Peer) -> None:
    peer.send(b"220 ready\r\n")
    echoes(peer)


def resets(peer: Peer) -> None:
    peer.reset()


def hangs_up(peer: Peer) -> None:
    peer.close()


def listens(peer: Peer) -> None:
    """Takes what comes, says nothing, and ends after its client."""
    while peer.sock.recv(65536):
        pass
    peer.close()


class Service:
    """Does with each connection what `act` says when it comes."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.taken = 0
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(128)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.peers: list[Peer] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            sock = self.sock.accept()[0]
            if self._is_over:
                sock.close()
                return
            self.taken += 1
            self.peers.append(Peer(sock))
            threading.Thread(target=self._do, args=(self.act, self.peers[-1]), daemon=True).start()

    @staticmethod
    def _do(act: Act, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            act(peer)

    def close(self) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):
            socket.create_connection(self.sock.getsockname()).close()
        self._thread.join(10)
        self.sock.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
            peer.close()


@pytest.fixture
def services() -> Iterator[Callable[..., list[Service]]]:
    made: list[Service] = []

    def make(*acts: Act) -> list[Service]:
        made.extend(Service(act) for act in acts)
        return made[-len(acts):]

    yield make
    for service in made:
        service.close()


def config(port: int, addresses: list[str], workers: int = 1, avoid: str = "1ms", idle: str = "1h",
           **outlier: Any) -> dict[str, Any]:
    return {
        "workers": workers,
        "listeners": [{"name": "db", "protocol": "tcp", "address": f"127.0.0.1:{port}", "cluster": "db",
                       "timeouts": {"tcp_idle": idle}}],
        "clusters": [{"name": "db", "load_balancer": "round_robin", "endpoints": addresses, "avoid": {"base": avoid},
                      "outlier": {"jitter": "0%", "ramp": "0", "base": "1h", "max": "2h", **outlier}}],
    }


def state(one: Sidecar, address: str) -> dict[str, Any]:
    endpoints = one.admin("/clusters").json[0]["endpoints"]
    found: dict[str, Any] = next(e for e in endpoints if e["address"] == address)
    return found


def events(one: Sidecar, kind: str) -> list[dict[str, Any]]:
    return [e for e in one.admin("/events").json if e["what"] == kind]


def say(port: int, words: bytes = b"hello") -> bytes:
    """A client that says something, waits for as much, and leaves. Returns what it got."""
    with contextlib.suppress(ConnectionError), leaving(port) as peer:      # a reset may come as early as in connect()
        return peer.send(words).expect_gone_or(words)
    return b""


def wait(port: int) -> bytes:
    """A client that waits to be spoken to, and is content with anything. Returns what it got."""
    with contextlib.suppress(ConnectionError), leaving(port) as peer:
        return peer.sock.recv(1000)
    return b""


@contextlib.contextmanager
def leaving(port: int) -> Iterator[Peer]:
    """A connection that is closed at the end of the block."""
    peer = connect(("127.0.0.1", port))
    try:
        yield peer
    finally:
        peer.close()


def come_and_go(port: int) -> None:
    connect(("127.0.0.1", port)).close()


def provoke(one: Sidecar, address: str, call: Callable[[], object]) -> dict[str, Any]:
    """Connections until the endpoint is out; its state then."""
    def is_out() -> dict[str, Any] | None:
        call()
        found = state(one, address)
        return found if found["ejected"] else None
    found: dict[str, Any] = until(is_out, f"{address} is ejected", 20)
    return found


def test_one_that_refuses(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services(echoes, echoes)
    port, closed = free_port(), f"127.0.0.1:{free_port()}"
    one = sidecar(config(port, [good.address, closed, other.address]))
    found = provoke(one, closed, lambda: say(port))
    assert found["outlier"]["reason"] == "connect_failures"
    failed = found["connect_failures"]
    got = [say(port) for _ in range(12)]
    assert set(got) == {b"hello"}
    assert state(one, closed)["connect_failures"] == failed


@pytest.mark.parametrize("act", [resets, hangs_up])
@pytest.mark.parametrize("call", [say, wait])
def test_one_that_accepts_and_does_no_more(sidecar: Start, services: Callable[..., list[Service]], act: Act,
                                           call: Callable[[int], bytes]) -> None:
    well = echoes if call is say else greets
    good, bad, other = services(well, act, well)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address]))
    found = provoke(one, bad.address, lambda: call(port))
    (event,) = events(one, "ejected")
    if act is hangs_up:
        assert bad.taken == 5
        assert event["text"] == f"endpoint {bad.address} is ejected for 3600.0 s: 5 gateway errors in a row"
    else:
        # A reset that comes with the connection itself is that of a failed connect.
        assert event["reason"] in ("gateway_errors", "connect_failures")
    taken = bad.taken
    assert found["failures"] == taken
    assert all(call(port) for _ in range(12))
    assert bad.taken == taken


def test_one_that_breaks_off_when_it_is_asked(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    def takes_and_dies(peer: Peer) -> None:
        peer.sock.recv(1)           # the rest is never read: closing breaks the connection
        peer.close()
    good, bad, other = services(echoes, takes_and_dies, echoes)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address]))
    assert provoke(one, bad.address, lambda: say(port))["outlier"]["reason"] == "gateway_errors"


def test_a_word_ends_the_row(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """What breaks after it has spoken has worked."""
    def speaks_and_breaks(peer: Peer) -> None:
        peer.send(peer.sock.recv(65536))
        peer.sock.recv(65536)
        peer.reset()
    first, second = services(speaks_and_breaks, speaks_and_breaks)
    port = free_port()
    one = sidecar(config(port, [first.address, second.address], gateway_errors=1, server_errors=1))
    for _ in range(10):
        peer = connect(("127.0.0.1", port)).send(b"query")
        peer.expect(b"query").send(b"more")
        assert peer.expect_gone() == b""
        peer.close()
    assert not any(state(one, e.address)["ejected"] for e in (first, second))
    assert not events(one, "ejected") and not events(one, "ejection_refused")


def test_clients_eject_nobody(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """By leaving without a word, whatever the endpoint does then; or in the middle of an exchange."""
    def waits_and_resets(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()
    first, second = services(waits_and_resets, waits_and_resets)
    port = free_port()
    one = sidecar(config(port, [first.address, second.address], gateway_errors=1, server_errors=1))
    for _ in range(10):
        come_and_go(port)
    for service in (first, second):
        service.act = listens
    for _ in range(10):
        connect(("127.0.0.1", port)).send(b"never mind").reset()
    until(lambda: not any(state(one, e.address)["active"] for e in (first, second)), "all have ended")
    assert not events(one, "ejected") and not events(one, "ejection_refused")


def test_one_that_never_speaks(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """Connections that their clients end when they have said something, and that end because nothing moves."""
    first, second = services(listens, listens)
    port, addresses = free_port(), [first.address, second.address]
    one = sidecar(config(port, addresses, gateway_errors=1, server_errors=1))
    for _ in range(6):
        with leaving(port) as peer:
            peer.send(b"a line of a log\n").shut().expect_end()
    one.reload(config(port, addresses, gateway_errors=1, server_errors=1, idle="300ms"))
    for peer in [connect(("127.0.0.1", port)) for _ in range(6)]:
        peer.expect_end()
        peer.close()
    assert first.taken + second.taken == 12
    assert not events(one, "ejected") and not events(one, "ejection_refused")


@pytest.mark.parametrize("act", [echoes, greets, listens])
def test_it_comes_back_by_one_connection(sidecar: Start, services: Callable[..., list[Service]], act: Act) -> None:
    """With its first byte; or, if it never says one, when it has taken what a client had to say."""
    good, bad, other = services(greets, resets, greets)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="200ms"))
    provoke(one, bad.address, lambda: wait(port))

    def has_failed() -> bool:
        wait(port)
        return len(events(one, "ejected")) >= 2
    until(has_failed, "a probe that failed", 20)
    assert events(one, "ejected")[1]["reason"] == "probe"
    bad.act = act

    def is_in() -> bool:
        peer = connect(("127.0.0.1", port)).send(b"hello").shut()
        peer.expect_gone()
        peer.close()
        return not state(one, bad.address)["ejected"]
    until(is_in, "it is in again", 20)
    assert events(one, "recovered")[0]["endpoint"] == bad.address


def test_one_that_stays_is_well(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """A probe whose connection just stays: nothing moves, and nobody ends it."""
    good, bad, other = services(greets, resets, greets)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="100ms"))
    provoke(one, bad.address, lambda: wait(port))
    bad.act = listens
    before, held = bad.taken, []

    def is_probing() -> bool:
        held.append(connect(("127.0.0.1", port)))
        return bad.taken > before
    until(is_probing, "a probe", 20)
    until(lambda: not state(one, bad.address)["ejected"], "it is in again", 30)
    assert bad.taken == before + 1
    for peer in held:
        peer.close()


def test_a_probe_that_nobody_waits_for_is_given_back(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services(greets, resets, greets)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="100ms"))
    provoke(one, bad.address, lambda: wait(port))
    bad.act = listens
    before = bad.taken

    def has_asked_twice() -> bool:
        peer = connect(("127.0.0.1", port)).send(b"x")
        until(lambda: peer.becomes_readable(0.01) or bad.taken > before, "the connection is taken")
        peer.reset()
        return bad.taken >= before + 2
    until(has_asked_twice, "two probes whose clients left", 20)
    assert state(one, bad.address)["ejected"]
    bad.act = greets

    def is_in() -> bool:
        wait(port)
        return not state(one, bad.address)["ejected"]
    until(is_in, "it is in again", 20)


def test_the_other_worker_sees_it(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services(greets, resets, greets)
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], workers=2))
    provoke(one, bad.address, lambda: wait(port))
    taken = bad.taken
    assert len(one.worker_pids()) == 2
    # New connections fall to both workers, by the hash of their ports.
    assert {wait(port) for _ in range(60)} == {b"220 ready\r\n"}
    assert bad.taken == taken
