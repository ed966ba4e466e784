"""TCP messages of 1 MiB: `origin PORT` answers, `client PORT DIRECTION CONNECTIONS SECONDS BYTES` asks and counts.

A client sends 16 bytes, direction and length.  `down`: the origin sends that many bytes.  `up`: the client sends them
and the origin answers 16 bytes.  `both`: they go up and come back.  The programs copy as any service does; the
proxy's CPU is what is measured, so their own cost only makes them slower.
"""

import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from bench.load import program
from bench.running import Running

REQUEST = struct.Struct("<8sQ")
MIB = 1 << 20


def _receive(connection: socket.socket, block: memoryview, length: int) -> bool:
    while length:
        got = connection.recv_into(block, min(length, len(block)))
        if not got:
            return False
        length -= got
    return True


def _answer(connection: socket.socket) -> None:
    block = memoryview(bytearray(MIB))
    with connection:
        while _receive(connection, block, REQUEST.size):
            direction, length = REQUEST.unpack_from(block)
            if direction.startswith((b"up", b"both")) and not _receive(connection, block, length):
                return
            if direction.startswith((b"down", b"both")):
                connection.sendall(block[:length])
            else:
                connection.sendall(REQUEST.pack(b"done", length))


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


class _Asker(threading.Thread):
    def __init__(self, port: int, direction: bytes, until: float, length: int) -> None:
        super().__init__()
        self.messages = self.failed = 0
        self._port, self._direction, self._until, self._length = port, direction, until, length

    def run(self) -> None:
        block = memoryview(bytearray(self._length))
        sends, receives = self._direction in (b"up", b"both"), self._direction in (b"down", b"both")
        request = REQUEST.pack(self._direction, self._length)
        try:
            with socket.create_connection(("127.0.0.1", self._port)) as connection:
                while time.monotonic() < self._until:
                    connection.sendall(request)
                    if sends:
                        connection.sendall(block)
                    if not _receive(connection, block, self._length if receives else REQUEST.size):
                        raise ConnectionError("closed within a message")
                    self.messages += 1
        except OSError:
            self.failed += 1


def _ask(port: int, direction: str, connections: int, seconds: float, length: int) -> None:
    start = time.monotonic()
    askers = [_Asker(port, direction.encode(), start + seconds, length) for _ in range(connections)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    messages = sum(asker.messages for asker in askers)
    ways = 2 if direction == "both" else 1
    print(json.dumps({
        "bytes": messages * length * ways,
        "seconds": time.monotonic() - start,
        "failed": sum(asker.failed for asker in askers),
    }))  # fmt: skip


def start(folder: Path, core: int) -> Running:
    return program.origin(__name__, folder, core, http=False)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        _serve(int(sys.argv[2]))
    else:
        _ask(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
