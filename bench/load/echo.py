"""Small messages back and forth: `origin PORT` echoes, `client PORT KIND CONNECTIONS SECONDS LENGTH` asks and counts.

KIND is `tcp`, bare bytes, or `websocket`, an upgrade and then one binary frame for each message.  Each connection has
one message under way.  Frames have one length throughout, so that neither side need search for their borders; their
mask is zero, which is a valid one, and spares the programs the work.
"""

import base64
import hashlib
import json
import re
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

from bench.load import program
from bench.running import Running

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
BLOCK = 65536


def accepted(key: bytes) -> bytes:
    """The answer to a Sec-WebSocket-Key, RFC 6455 section 4.2.2."""
    return base64.b64encode(hashlib.sha1(key + MAGIC, usedforsecurity=False).digest())


def frame(payload: bytes, masked: bool) -> bytes:
    """One binary frame; the mask of a client's is zero."""
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        head = struct.pack(">BB", 0x82, mark | len(payload))
    elif len(payload) < 65536:
        head = struct.pack(">BBH", 0x82, mark | 126, len(payload))
    else:
        head = struct.pack(">BBQ", 0x82, mark | 127, len(payload))
    return head + (bytes(4) if masked else b"") + payload


def unframed(block: bytes) -> tuple[bytes, int]:
    """Payload and length of the frame at the front; length 0 when it is not complete."""
    if len(block) < 2:
        return b"", 0
    length, at = block[1] & 0x7F, 2
    if length == 126:
        length, at = int.from_bytes(block[2:4], "big"), 4
    elif length == 127:
        length, at = int.from_bytes(block[2:10], "big"), 10
    mask = b""
    if block[1] & 0x80:
        mask, at = block[at : at + 4], at + 4
    if len(block) < at + length:
        return b"", 0
    payload = block[at : at + length]
    if any(mask):
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return payload, at + length


class _Echo:
    """One connection at the origin."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._kind = ""
        self._rest = b""

    def heard(self) -> bool:
        """Whether it goes on."""
        try:
            got = self.connection.recv(BLOCK)
            if not got:
                return False
            if self._kind == "tcp":
                self.connection.sendall(got)
                return True
            self._rest += got
            if not self._kind:
                self._begin()
            if self._kind == "websocket":
                self._frames()
        except OSError:
            return False
        return True

    def _begin(self) -> None:
        if not self._rest.startswith(b"GET "[: len(self._rest)]):
            self._kind = "tcp"
            self.connection.sendall(self._rest)
        elif b"\r\n\r\n" in self._rest:
            head, _, self._rest = self._rest.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
            if found:
                self._kind = "websocket"
                self.connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + accepted(found[1]) + b"\r\n\r\n"
                )
            else:  # whether it is ready
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def _frames(self) -> None:
        while True:
            payload, length = unframed(self._rest)
            if not length:
                return
            self._rest = self._rest[length:]
            self.connection.sendall(frame(payload, masked=False))


def _serve(port: int) -> None:
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ, _Echo(connection))
            elif not key.data.heard():
                selector.unregister(key.fileobj)
                key.data.connection.close()


def _open(port: int, kind: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "websocket":
        connection.sendall(
            b"GET /echo HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            got = connection.recv(1)
            if not got:
                raise ConnectionError("closed within the handshake")
            head += got
        if not head.startswith(b"HTTP/1.1 101") or accepted(KEY) not in head:
            raise ConnectionError(f"no WebSocket: {head[:60]!r}")
    return connection


def _ask(port: int, kind: str, connections: int, seconds: float, length: int) -> None:
    payload = bytes(range(33, 127)) * (length // 94 + 1)
    message = payload[:length]
    sent = frame(message, masked=True) if kind == "websocket" else message
    wanted = frame(message, masked=False) if kind == "websocket" else message
    selector = selectors.DefaultSelector()
    missing: dict[socket.socket, bytes] = {}
    failed = messages = 0
    for _ in range(connections):
        try:
            connection = _open(port, kind)
        except OSError:
            failed += 1
            continue
        selector.register(connection, selectors.EVENT_READ)
        missing[connection] = wanted
    begun = time.monotonic()
    end = begun + seconds
    for connection in missing:
        connection.sendall(sent)
    under_way = len(missing)
    while under_way:
        ready = selector.select(10)
        if not ready:
            failed += under_way
            break
        for key, _ in ready:
            connection = key.fileobj  # type: ignore[assignment]
            try:
                got = connection.recv(BLOCK)
            except OSError:
                got = b""
            if not got or not missing[connection].startswith(got):
                failed += 1
                under_way -= 1
                selector.unregister(connection)
                continue
            missing[connection] = missing[connection][len(got) :]
            if not missing[connection]:
                messages += 1
                if time.monotonic() < end:
                    missing[connection] = wanted
                    connection.sendall(sent)
                else:
                    under_way -= 1
    print(json.dumps({"messages": messages, "seconds": time.monotonic() - begun, "failed": failed}))


def start(folder: Path, core: int) -> Running:
    return program.origin(__name__, folder, core, http=True)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        _serve(int(sys.argv[2]))
    else:
        _ask(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
