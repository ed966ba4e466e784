"""Packets between control and a worker: one msgpack map each, with file descriptors beside it.

The socket is a SOCK_SEQPACKET pair, so that a packet arrives whole or not at all. Imported by both
sides. A worker pays for each import: `_socket` instead of `socket` saves it 1 MB, no `typing` 2 MB.
"""

from __future__ import annotations

import array
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET, socket
from os import close

import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Message = dict[str, Any]
else:
    Message = dict

MAX_PACKET = 65536      # bytes
MAX_FDS = 200           # per packet; the kernel allows 253


class BadPacket(ValueError):
    """The peer sent something that is no packet of this protocol."""


def send(sock: socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one packet. The descriptors stay open here. Raises BlockingIOError when the peer reads nothing."""
    packed = msgpack.packb(message)
    if len(packed) > MAX_PACKET or len(fds) > MAX_FDS:
        raise BadPacket(f"a packet of {len(packed)} bytes and {len(fds)} descriptors is too large")
    beside = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([packed], beside)


def receive(sock: socket) -> tuple[Message, list[int]] | None:
    """One packet and its descriptors, which the caller owns; None when the peer has closed.

    Raises BlockingIOError when there is none, BadPacket for anything but a map with an "op".
    """
    packed, beside, flags, _ = sock.recvmsg(MAX_PACKET, CMSG_SPACE(MAX_FDS * 4), MSG_CMSG_CLOEXEC)
    if not packed:
        return None
    fds: list[int] = []
    for level, kind, raw in beside:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(raw[:len(raw) - len(raw) % numbers.itemsize])
            fds.extend(numbers)
    try:
        if flags & (MSG_TRUNC | MSG_CTRUNC):
            raise BadPacket("cut off by the kernel: too large, or too many open descriptors")
        message = msgpack.unpackb(packed, strict_map_key=False)
        if not isinstance(message, dict) or not isinstance(message.get("op"), str):
            raise BadPacket("not a map with an op")
    except ValueError as bad:
        for fd in fds:
            close(fd)
        raise bad if isinstance(bad, BadPacket) else BadPacket(str(bad)) from None
    return message, fds


def arrived(sock: socket) -> Iterator[Message | None]:
    """What has come from a peer that has no descriptors to give; those that come all the same are closed.

    Ends when there is no more. Last comes None when the peer has closed its end, or talks nonsense.
    """
    while True:
        try:
            packet = receive(sock)
        except BlockingIOError:
            return
        except (OSError, BadPacket):
            packet = None
        if packet is None:
            yield None
            return
        message, fds = packet
        for fd in fds:
            close(fd)
        yield message
