"""Bodies of any length: `origin PORT` gives and takes them, `client PORT DIRECTION CONNECTIONS SECONDS BYTES` counts.

`down`: GET /N is answered by N bytes with content-length.  `chunked`: GET /chunked/N, in chunks of 16 KiB.  `up`: POST
with N bytes, answered once all are there.  Each connection finishes at least one, however long it takes.

`slow PORT BYTES` reads a body in bursts: it takes 4 MiB, sleeps 20 ms, and has a small receive window, so that whoever
sends to it must wait for it, and a proxy that collects bodies shows it.
"""

import io
import json
import re
import socket
import sys
import threading
import time
from pathlib import Path

from bench.load import program
from bench.running import Running

BURST = 4 << 20
PAUSE = 0.02
WINDOW = 64 << 10
MIB = 1 << 20
CHUNK = 16 << 10


def _answer(connection: socket.socket) -> None:
    block = memoryview(bytearray(MIB))
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            sent = 0
            while field := lines.readline().strip():
                name, _, value = field.partition(b":")
                if name.lower() == b"content-length":
                    sent = int(value)
            if not _drop(lines, block, sent):
                return
            found = re.match(rb"\w+ /(chunked/)?(\d*) ", line)
            length = int(found[2] or b"0") if found else 0
            if found and found[1]:
                _send_chunked(connection, length)
                continue
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
            while length:
                length -= connection.send(block[:length])


def _drop(lines: io.BufferedReader, block: memoryview, length: int) -> bool:
    while length:
        got = lines.readinto(block[: min(length, MIB)])
        if not got:
            return False
        length -= got
    return True


def _send_chunked(connection: socket.socket, length: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (CHUNK, bytes(CHUNK))
    while length:
        part = min(length, CHUNK)
        connection.sendall(chunk if part == CHUNK else b"%x\r\n%s\r\n" % (part, bytes(part)))
        length -= part
    connection.sendall(b"0\r\n\r\n")


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


class _Asker(threading.Thread):
    def __init__(self, port: int, direction: str, until: float, length: int) -> None:
        super().__init__()
        self.bodies = self.failed = 0
        self._port, self._direction, self._until, self._length = port, direction, until, length

    def run(self) -> None:
        block = memoryview(bytearray(MIB))
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection.makefile("rb") as lines:
                    while not self.bodies or time.monotonic() < self._until:
                        self._ask(connection, block)
                        self._hear(lines, block)
                        self.bodies += 1
        except (OSError, ValueError):
            self.failed += 1

    def _ask(self, connection: socket.socket, block: memoryview) -> None:
        if self._direction != "up":
            path = f"/chunked/{self._length}" if self._direction == "chunked" else f"/{self._length}"
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
            return
        head = f"POST / HTTP/1.1\r\nhost: bench\r\ncontent-length: {self._length}\r\n\r\n".encode()
        if self._length <= MIB:
            connection.sendall(head + block[: self._length])
            return
        connection.sendall(head)
        left = self._length
        while left:
            left -= connection.send(block[: min(left, MIB)])

    def _hear(self, lines: io.BufferedReader, block: memoryview) -> None:
        status = lines.readline()
        fields = {}
        while field := lines.readline().strip():
            name, _, value = field.partition(b":")
            fields[name.lower()] = value.strip()
        if not status.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"answered {status!r}")
        got = 0
        if fields.get(b"transfer-encoding") == b"chunked":
            while length := int(lines.readline(), 16):
                if not _drop(lines, block, length) or lines.readline() != b"\r\n":
                    raise ValueError("a chunk is not complete")
                got += length
            lines.readline()
        else:
            got = int(fields[b"content-length"])
            if not _drop(lines, block, got):
                raise ValueError("the body is not complete")
        if got != (0 if self._direction == "up" else self._length):
            raise ValueError(f"{got} bytes came")


def _ask(port: int, direction: str, connections: int, seconds: float, length: int) -> None:
    begun = time.monotonic()
    askers = [_Asker(port, direction, begun + seconds, length) for _ in range(connections)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    bodies = sum(asker.bodies for asker in askers)
    print(json.dumps({
        "bodies": bodies,
        "bytes": bodies * length,
        "seconds": time.monotonic() - begun,
        "failed": sum(asker.failed for asker in askers),
    }))  # fmt: skip


def _read_slowly(port: int, length: int) -> None:
    block = memoryview(bytearray(BURST))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /%d HTTP/1.1\r\nhost: bench\r\n\r\n" % length)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        missing = length
        while missing:
            burst = min(BURST, missing)
            while burst:
                got = connection.recv_into(block, burst)
                if not got:
                    break
                burst -= got
                missing -= got
            if burst:
                break
            time.sleep(PAUSE)
    print(json.dumps({"failed": int(missing > 0 or not head.startswith(b"HTTP/1.1 200"))}))


def start(folder: Path, core: int) -> Running:
    return program.origin(__name__, folder, core, http=True)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        _serve(int(sys.argv[2]))
    elif sys.argv[1] == "client":
        _ask(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
    else:
        _read_slowly(int(sys.argv[2]), int(sys.argv[3]))
