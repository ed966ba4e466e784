"""An upstream with a socket, for a real proxy."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from fastmesh.testing.message import BadMessage, Incomplete, read
from fastmesh.testing.upstream import Answer, Answers, Asked, Cluster

RST = struct.pack("ii", 1, 0)


class Origin(Cluster):
    """Answers, fails and remembers what it was asked as the upstreams of a kit do, on a port of 127.0.0.1.

    It always takes connections: of the ways to fail, those that concern connects are resets here. A `Proxy` has one; a
    test that needs a second upstream makes it, and closes it.
    """

    port: int
    """Where it listens, at 127.0.0.1."""
    address: str
    """`127.0.0.1:` and its port."""

    def __init__(self, name: str = "origin") -> None:
        super().__init__(name, 0)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._idle: set[socket.socket] = set()
        self._over = threading.Event()
        self._door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._door.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.endpoints = [self.address]
        self._thread = threading.Thread(target=self._accept, name=f"origin {self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends every connection, and its threads."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()
        with self._lock:
            still = list(self._open)
        for line in still:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _does(self, what: Answers | str, times: int | None) -> Cluster:
        with self._lock:
            if isinstance(what, str):
                # A failure of a connection that was used before is not held against an endpoint.
                for line in self._idle:
                    with contextlib.suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)
            return super()._does(what, times)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(line)
            threading.Thread(target=self._serve, args=(line,), name=f"origin {self.port} serves", daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        unread = b""
        try:
            while True:
                try:
                    message, n = read(unread, is_over=False)
                except Incomplete:
                    with self._lock:
                        if not unread:
                            self._idle.add(line)
                    more = line.recv(65_536)
                    with self._lock:
                        self._idle.discard(line)
                    if not more:
                        return
                    unread += more
                    continue
                unread = unread[n:]
                with self._lock:
                    asked = Asked(message, self.name, self.address)
                    what = self.asked(asked)
                if not self._do(line, asked.method, what):
                    return
        except (OSError, BadMessage, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(line)
                self._idle.discard(line)
            line.close()

    def _do(self, line: socket.socket, method: str, what: Answer | str) -> bool:
        """True while the connection goes on."""
        if isinstance(what, Answer):
            if what.after > 0 and self._over.wait(what.after):
                return False
            *pieces, last = what.pieces(method)
            for piece in pieces:
                line.sendall(piece)
            with self._lock:
                self._idle.add(line)    # before whoever waits for the answer can have it
            line.sendall(last)
            return True
        if what == "silence":
            self._over.wait()
        elif what == "protocol":
            line.sendall(b"what is this?\r\n\r\n")
        elif what == "cut":
            line.sendall(b"HTTP/1.1 200 Answer\r\ncontent-length: 10\r\n\r\nhalf")
        else:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        return False
