"""Listening sockets: opened together or not at all, and steered."""

import os
import random
import socket
from collections import Counter
from pathlib import Path

import pytest

from fastmesh.control.owner import owner_of, owners_of_path, owners_of_port
from fastmesh.control.snapshot import Address, ListenerSpec
from fastmesh.control.sockets import (
    NO_NEWCOMERS,
    SO_ATTACH_FILTER,
    CannotListen,
    SocketShelf,
    _attach,
    steering_program,
)


def tcp(port: int, host: str = "127.0.0.1", listener_id: int = 0) -> ListenerSpec:
    family, text = (6, f"[{host}]:{port}") if ":" in host else (4, f"{host}:{port}")
    address: Address = {"family": family, "host": host, "port": port, "path": "", "text": text}
    return ListenerSpec(listener_id, f"l{listener_id}", address, "http", "outbound", 64)


def unix(path: Path, listener_id: int = 0) -> ListenerSpec:
    address: Address = {"family": 1, "host": "", "port": 0, "path": str(path), "text": f"unix:{path}"}
    return ListenerSpec(listener_id, f"l{listener_id}", address, "http", "outbound", 64)


def free_port() -> int:
    """A port on which nobody listens, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(12_000, 20_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def kernel_takes_filters() -> bool:
    """Some kernels do so from root alone; then newcomers are let in to the end, and nothing else changes."""
    with socket.socket() as probe:
        return _attach(probe, SO_ATTACH_FILTER, NO_NEWCOMERS)


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def shelf() -> SocketShelf:
    return SocketShelf()


def test_one_socket_per_slot_and_one_per_path(shelf: SocketShelf, tmp_path: Path) -> None:
    before = open_fds()
    specs = [tcp(free_port()), tcp(free_port(), "::1", 1), unix(tmp_path / "s", 2)]
    shelf.prepare(specs, 3).commit(specs)
    assert [len(shelf.bound[s.address["text"]].sockets) for s in specs] == [3, 3, 1]
    assert len({shelf.socket_of(specs[0], slot) for slot in range(3)}) == 3
    assert len({shelf.socket_of(specs[2], slot) for slot in range(3)}) == 1
    sock = shelf.bound[specs[1].address["text"]].sockets[0]
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert not sock.getblocking()
    assert not sock.get_inheritable()
    shelf.close()
    assert open_fds() == before
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_opened_is_named_and_nothing_stays_behind(shelf: SocketShelf, tmp_path: Path) -> None:
    good, taken = free_port(), free_port()
    text = tmp_path / "text"
    text.write_text("mine")
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        before = open_fds()
        with pytest.raises(CannotListen) as caught:
            shelf.prepare([tcp(good), tcp(taken, listener_id=1), unix(text, 2), tcp(80, "198.51.100.1", 3),
                           unix(tmp_path / "no" / "such", 4)], 2)
        assert open_fds() == before
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"listener l1: cannot listen on 127.0.0.1:{taken}: in use by ")
    assert "not a socket" in lines[1]
    assert lines[2] == ("listener l3: cannot listen on 198.51.100.1:80: "
                        "no network interface of this machine has this address")
    assert "No such file" in lines[3]
    assert shelf.bound == {}
    assert text.read_text() == "mine"
    with socket.socket() as free:
        free.bind(("127.0.0.1", good))


def test_a_cancelled_change_leaves_what_was(shelf: SocketShelf, tmp_path: Path) -> None:
    old, new = tcp(free_port()), tcp(free_port(), listener_id=1)
    shelf.prepare([old], 1).commit([old])
    before = open_fds()
    change = shelf.prepare([old, new, unix(tmp_path / "s", 2)], 3)
    change.listen()
    change.cancel()
    assert open_fds() == before
    assert list(shelf.bound) == [old.address["text"]]
    assert not (tmp_path / "s").exists()
    socket.create_connection(("127.0.0.1", old.address["port"])).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", new.address["port"]))
    shelf.close()


def test_nobody_is_let_in_before_the_change_listens(shelf: SocketShelf) -> None:
    spec = tcp(free_port())
    change = shelf.prepare([spec], 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", spec.address["port"]))
    change.listen()
    socket.create_connection(("127.0.0.1", spec.address["port"])).close()
    change.commit([spec])
    shelf.close()


def test_an_address_may_widen_to_all_interfaces(shelf: SocketShelf) -> None:
    """The new address includes the old one, which is still open while the change is prepared."""
    port = free_port()
    old, new = tcp(port), tcp(port, "0.0.0.0")
    shelf.prepare([old], 2).commit([old])
    change = shelf.prepare([new], 2)
    change.listen()
    change.commit([new])
    socket.create_connection(("127.0.0.1", port)).close()
    shelf.close()


def test_a_file_that_somebody_else_made_meanwhile_is_not_removed(shelf: SocketShelf, tmp_path: Path) -> None:
    path = tmp_path / "s"
    shelf.prepare([unix(path)], 1).commit([unix(path)])
    path.unlink()
    path.write_text("somebody else's")
    shelf.close()
    assert path.read_text() == "somebody else's"


def accepted_by(shelf: SocketShelf, spec: ListenerSpec, connections: int) -> Counter[int]:
    """Which slots' sockets get new connections."""
    clients = [socket.create_connection(("127.0.0.1", spec.address["port"])) for _ in range(connections)]
    found: Counter[int] = Counter()
    for slot, sock in enumerate(shelf.bound[spec.address["text"]].sockets):
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                break
            found[slot] += 1
    for client in clients:
        client.close()
    return found


@pytest.mark.parametrize("slots", [[0], [1, 2], [0, 3], [3]])
def test_connections_go_where_they_are_steered(shelf: SocketShelf, slots: list[int]) -> None:
    spec = tcp(free_port())
    shelf.prepare([spec], 4).commit([spec])
    assert set(accepted_by(shelf, spec, 48)) == {0, 1, 2, 3}
    shelf.steer(slots)
    assert set(accepted_by(shelf, spec, 48)) == set(slots)
    shelf.steer([])         # nobody serves: they wait wherever they are
    assert set(accepted_by(shelf, spec, 48)) == set(slots)
    shelf.steer([0, 1, 2, 3])
    assert set(accepted_by(shelf, spec, 48)) == {0, 1, 2, 3}
    shelf.close()


def test_what_waits_in_a_slot_stays_there(shelf: SocketShelf) -> None:
    spec = tcp(free_port())
    shelf.prepare([spec], 2).commit([spec])
    shelf.steer([1])
    client = socket.create_connection(("127.0.0.1", spec.address["port"]))
    shelf.steer([0])
    server, _ = shelf.bound[spec.address["text"]].sockets[1].accept()
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"
    client.close()
    server.close()
    shelf.close()


def test_newcomers_are_turned_away_and_what_waits_is_kept(shelf: SocketShelf) -> None:
    for host in ("127.0.0.1", "::1"):
        spec = tcp(free_port(), host)
        shelf.prepare([spec], 1).commit([spec])
        bound = shelf.bound[spec.address["text"]]
        waiting = socket.create_connection((host, spec.address["port"]))
        bound.turn_away()
        if kernel_takes_filters():
            with pytest.raises(TimeoutError):
                socket.create_connection((host, spec.address["port"]), timeout=0.2)
        server, _ = bound.sockets[0].accept()
        waiting.sendall(b"let in before")
        assert server.recv(100) == b"let in before"
        with pytest.raises(BlockingIOError):
            bound.sockets[0].accept()
        bound.let_in()
        socket.create_connection((host, spec.address["port"]), timeout=5).close()
        bound.let_in()      # twice is no harm
        waiting.close()
        server.close()
    shelf.close()


def test_a_steering_program_is_short_enough_for_the_most_workers() -> None:
    program = steering_program(range(256))
    assert len(program) < 4096
    assert program[-1] == (6, 0, 0, 0)


def test_owners_are_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        assert [o.pid for o in owners_of_port(sock.getsockname()[1])] == [os.getpid()]
        assert [o.pid for o in owners_of_path(str(tmp_path / "s"))] == [os.getpid()]
    me = owner_of(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert not me.is_orphan_worker
    assert owner_of(2**22 + 1) is None
