"""A worker takes a large snapshot in pieces, and gives one back in pieces: requests are answered in between."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

import msgpack
import pytest

from fastmesh._core.worker import SnapshotRefused, Worker
from fastmesh.control.snapshot import sealed
from tests.probes import wire

MANY = 65_536
ASKED = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@contextlib.contextmanager
def serving() -> Iterator[tuple[Worker, socket.socket]]:
    """With a connection that has been accepted."""
    worker = Worker("epoll", -1, -1, 0)
    listening = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listening.getsockname())
    client.setblocking(False)
    try:
        worker.add_listener(0, listening.detach())
        worker.apply(large(1, 0, 1))
        for _ in range(3):
            client.send(ASKED)
            worker.run(20)
        assert answers(client) == [b"1"] * 3
        yield worker, client
    finally:
        client.close()
        worker.close()


def large(version: int, first: int, count: int, lb: int = wire.ROUND_ROBIN) -> bytes:
    """Says its version to whoever asks."""
    route = wire.route(status=200, body=b"%d" % version, content_type="text/plain")
    rows = [wire.endpoint(0, ip=bytes([10, *(first + i).to_bytes(3, "big")]), text=f"e{i}") for i in range(count)]
    return wire.pack(wire.snapshot([wire.listener([route])], [wire.cluster(rows, lb=lb)], version=version))


def answers(client: socket.socket) -> list[bytes]:
    """The bodies of what has come."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while part := client.recv(65_536):
            found += part
    return [head.rpartition(b"\r\n\r\n")[2] for head in found.split(b"HTTP/1.1 200")[1:]]


@pytest.mark.parametrize("lb", [wire.ROUND_ROBIN, 5, 6])
def test_requests_are_answered_while_a_large_one_is_taken_in(lb):
    """Nothing but `apply` runs here: the answer is one of its breaths."""
    balancing = [None, [[], 100, 65_537, 0], None, 0, None, None]
    with serving() as (worker, client):
        client.send(ASKED)
        packed = large(2, 0, MANY, lb)
        if lb != wire.ROUND_ROBIN:
            whole = msgpack.unpackb(packed)
            whole[5][0][16] = balancing
            packed = wire.pack(whole)
        worker.apply(packed)
        assert answers(client) == [b"1"]      # by the one before
        client.send(ASKED)
        worker.run(50)
        assert answers(client) == [b"2"]


def test_large_ones_leave_one_after_another():
    with serving() as (worker, client):
        for version in range(2, 8):
            worker.apply(large(version, version * MANY // 2, MANY))
            client.send(ASKED)
            worker.run(50)
            assert answers(client) == [b"%d" % version]
            if version % 3 == 0:
                worker.run(100)
    # And whatever still is on its way goes with the worker: a build with a sanitizer looks.


def test_a_large_one_that_is_refused_leaves_the_one_before():
    with serving() as (worker, client):
        broken = large(2, 0, MANY)
        with pytest.raises(SnapshotRefused):
            worker.apply(broken[:-1])
        client.send(ASKED)
        worker.run(100)
        assert answers(client) == [b"1"]
        worker.apply(large(3, 7, MANY))
        client.send(ASKED)
        worker.run(50)
        assert answers(client) == [b"3"]


def test_one_is_read_where_control_has_put_it():
    with serving() as (worker, client):
        packed = large(2, 0, 3)
        fd = sealed("test", packed + b"filters")
        worker.apply_sealed(fd, len(packed))
        client.send(ASKED)
        worker.run(50)
        assert answers(client) == [b"2"]
        os.close(fd)        # it was the caller's all the time


@pytest.mark.parametrize(("seals", "size", "why"), [
    (0, None, "Operation not permitted"),
    (fcntl.F_SEAL_SHRINK, None, "Operation not permitted"),
    (fcntl.F_SEAL_WRITE, None, "Operation not permitted"),
    (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK, 0, "Invalid argument"),
    (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK, 100_000, "Invalid argument"),
])
def test_what_may_change_or_end_while_it_is_read_is_refused(seals, size, why):
    with serving() as (worker, client):
        packed = large(2, 0, 3)
        fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, packed)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            with pytest.raises(SnapshotRefused, match=f"what came is something else: {why}"):
                worker.apply_sealed(fd, len(packed) if size is None else size)
        finally:
            os.close(fd)
        client.send(ASKED)
        worker.run(50)
        assert answers(client) == [b"1"]


def test_what_is_no_memory_of_that_kind_is_refused():
    with serving() as (worker, _), open("/dev/zero", "rb") as file:     # noqa: PTH123
        with pytest.raises(SnapshotRefused, match="Invalid argument"):
            worker.apply_sealed(file.fileno(), 10)
        with pytest.raises(SnapshotRefused, match="Bad file descriptor"):
            worker.apply_sealed(-1, 10)
