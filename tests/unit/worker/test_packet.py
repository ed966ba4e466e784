"""Packets between control and a worker."""

import os
import socket
from collections.abc import Iterator

import msgpack
import pytest

from fastmesh.worker.packet import MAX_FDS, MAX_PACKET, BadPacket, receive, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_packet_arrives_with_its_descriptors(pair: Pair) -> None:
    read, write = os.pipe()
    send(pair[0], {"op": "listen", "ids": [7]}, (write,))
    packet = receive(pair[1])
    assert packet is not None
    message, fds = packet
    assert message == {"op": "listen", "ids": [7]}
    assert len(fds) == 1
    assert not os.get_inheritable(fds[0])
    os.write(fds[0], b"through the copy")
    assert os.read(read, 100) == b"through the copy"
    for fd in (read, write, *fds):
        os.close(fd)


def test_nothing_there_and_the_end(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        receive(pair[1])
    pair[0].close()
    assert receive(pair[1]) is None


def test_the_most_descriptors_that_a_packet_takes(pair: Pair) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    send(pair[0], {"op": "listen"}, (null,) * MAX_FDS)
    packet = receive(pair[1])
    assert packet is not None
    assert len(packet[1]) == MAX_FDS
    for fd in packet[1]:
        os.close(fd)
    with pytest.raises(BadPacket):
        send(pair[0], {"op": "listen"}, (null,) * (MAX_FDS + 1))
    os.close(null)


def test_too_large_a_packet_is_not_sent(pair: Pair) -> None:
    with pytest.raises(BadPacket):
        send(pair[0], {"op": "x", "fill": b"x" * MAX_PACKET})


@pytest.mark.parametrize("raw", [b"\xc1", b"\x93", msgpack.packb(5), msgpack.packb({"no": "op"}),
                                 msgpack.packb({"op": 5}), b"x" * (MAX_PACKET + 10)])
def test_nonsense_is_refused_and_its_descriptors_are_closed(pair: Pair, raw: bytes) -> None:
    before = len(os.listdir("/proc/self/fd"))
    null = os.open("/dev/null", os.O_RDONLY)
    socket.send_fds(pair[0], [raw], [null])
    with pytest.raises(BadPacket):
        receive(pair[1])
    os.close(null)
    assert len(os.listdir("/proc/self/fd")) == before
