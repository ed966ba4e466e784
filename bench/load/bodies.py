"""Large bodies: `origin PORT` sends as many bytes as the path says, `slow PORT BYTES` reads them in bursts.

The reader takes 4 MiB, sleeps 20 ms, and has a small receive window: whoever sends to it must wait for it, and a
proxy that collects bodies shows it.
"""

import json
import re
import socket
import sys
import threading
import time
from pathlib import Path

from bench.running import Running, free_port

BURST = 4 << 20
PAUSE = 0.02
WINDOW = 64 << 10


def _answer(connection: socket.socket) -> None:
    block = memoryview(bytes(1 << 20))
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            while lines.readline().strip():
                pass
            found = re.match(rb"GET /(\d*) ", line)
            length = int(found[1] or b"0") if found else 0
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
            while length:
                length -= connection.send(block[:length])


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


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
    port = free_port()
    origin = Running("origin", [sys.executable, "-m", __name__, "origin", str(port)], port, core, folder / "log")
    origin.wait_ready(http=True)
    return origin


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        _serve(int(sys.argv[2]))
    else:
        _read_slowly(int(sys.argv[2]), int(sys.argv[3]))
