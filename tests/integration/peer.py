"""Both ends of the proxy under byte control: plain sockets that send exactly these bytes and expect exactly those."""

import contextlib
import os
import re
import select
import socket
import struct
from pathlib import Path
from typing import Self

# Seconds that anything may take before a test fails.
PATIENCE = 40.0 if os.environ.get("FASTMESH_SANITIZED") else 8.0

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DATE = re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
                   rb"\d\d:\d\d:\d\d GMT")


class Message:
    """A request or an answer as it came over the wire, read with a strictness of its own."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        first, *lines = head[:-4].split(b"\r\n")
        self.start = first.decode("latin-1")
        self.fields: list[tuple[str, str]] = []
        for line in lines:
            name, colon, value = line.partition(b":")
            assert colon and name and not name[-1:].isspace(), f"not a header field: {line!r}"
            assert b"\n" not in value and b"\r" not in value, f"not a header field: {line!r}"
            self.fields.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))
        self.body = b""
        self.chunks: list[bytes] = []
        self.trailers: list[tuple[str, str]] = []

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    @property
    def status(self) -> int:
        assert self.start.startswith("HTTP/1.1 "), self.start
        return int(self.start[9:12])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def plain(self) -> bytes:
        """The head with what differs each time written as ID and DATE."""
        return _DATE.sub(b"DATE", _UUID.sub(b"ID", self.head))

    def __repr__(self) -> str:
        return f"<{self.plain!r} + {len(self.body)} bytes>"


class Peer:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ahead = b""            # received and not yet asked for

    # --- sending ---

    def send(self, *pieces: bytes | str) -> Self:
        for piece in pieces:
            self.sock.sendall(piece.encode() if isinstance(piece, str) else piece)
        return self

    def send_all_it_takes(self, data: bytes) -> int:
        """Sends until the connection takes no more for now. Returns how many bytes went."""
        self.sock.setblocking(False)
        sent = 0
        try:
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(PATIENCE)
        return sent

    def chunk(self, *pieces: bytes) -> Self:
        return self.send(*(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces))

    def answer(self, body: bytes | str = b"", status: str = "200 OK", *fields: str) -> Self:
        """A whole answer with its length."""
        body = body.encode() if isinstance(body, str) else body
        lines = "".join(f"{field}\r\n" for field in fields)
        return self.send(f"HTTP/1.1 {status}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body)

    def shut(self) -> Self:
        """Ends the sending direction."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    # --- receiving ---

    def _more(self) -> bool:
        piece = self.sock.recv(1 << 18)
        self.ahead += piece
        return bool(piece)

    def read(self, n: int) -> bytes:
        """Exactly n bytes."""
        pieces, have = [self.ahead], len(self.ahead)
        while have < n:
            piece = self.sock.recv(1 << 18)
            assert piece, f"the connection ended after {have} of {n} bytes: {b''.join(pieces)[-200:]!r}"
            pieces.append(piece)
            have += len(piece)
        whole = b"".join(pieces)
        self.ahead = whole[n:]
        return whole[:n]

    def read_until(self, mark: bytes) -> bytes:
        """All up to `mark`, and with it."""
        while mark not in self.ahead:
            assert self._more(), f"the connection ended before {mark!r}: {self.ahead[-200:]!r}"
        at = self.ahead.index(mark) + len(mark)
        found, self.ahead = self.ahead[:at], self.ahead[at:]
        return found

    def read_end(self) -> bytes:
        """All that comes until the orderly end."""
        pieces = [self.ahead]
        self.ahead = b""
        while piece := self.sock.recv(1 << 18):
            pieces.append(piece)
        return b"".join(pieces)

    def expect(self, data: bytes) -> Self:
        got = self.read(len(data))
        assert got == data
        return self

    def expect_end(self) -> None:
        """The other side has closed in order, and nothing stood before the end."""
        rest = self.read_end()
        assert rest == b"", rest[:500]

    def expect_reset(self) -> bytes:
        """The other side breaks the connection. Returns what came before."""
        got = self.ahead
        self.ahead = b""
        try:
            while piece := self.sock.recv(1 << 18):
                got += piece
        except ConnectionResetError:
            return got
        raise AssertionError(f"ended in order after {got[-200:]!r}")

    def expect_gone(self) -> bytes:
        """The other side has ended, in order or not. Returns what came before."""
        got = self.ahead
        self.ahead = b""
        with contextlib.suppress(ConnectionError):
            while piece := self.sock.recv(1 << 18):
                got += piece
        return got

    def expect_gone_or(self, data: bytes) -> bytes:
        """Either exactly these bytes come, or the end without any."""
        with contextlib.suppress(ConnectionError):
            while len(self.ahead) < len(data) and self._more():
                pass
        got, self.ahead = self.ahead[:len(data)], self.ahead[len(data):]
        assert got in (data, b""), got
        return got

    def becomes_readable(self, seconds: float = 0.2) -> bool:
        """Something comes, bytes or an end, within a short time. Only for telling which of several peers it is."""
        return bool(self.ahead or select.select([self.sock], [], [], seconds)[0])

    def is_ended(self) -> bool:
        """What is here to be read is the end."""
        return not self.ahead and self.sock.recv(1, socket.MSG_PEEK) == b""

    def has_nothing(self) -> bool:
        """Nothing is here to be read, not even an end. True says little about what may come."""
        return not self.ahead and not select.select([self.sock], [], [], 0)[0]

    # --- messages ---

    def read_head(self) -> Message:
        return Message(self.read_until(b"\r\n\r\n"))

    def read_chunked(self, into: Message) -> None:
        while True:
            line = self.read_until(b"\r\n")
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
            size = int(line, 16)
            if size == 0:
                break
            into.chunks.append(self.read(size))
            self.expect(b"\r\n")
        into.body = b"".join(into.chunks)
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            name, _, value = line[:-2].partition(b":")
            into.trailers.append((name.decode().lower(), value.strip().decode()))

    def read_request(self) -> Message:
        """A request with its body."""
        found = self.read_head()
        length, coding = found.get("content-length"), found.get("transfer-encoding")
        assert length is None or coding is None
        if coding is not None:
            assert coding == "chunked"
            self.read_chunked(found)
        elif length is not None:
            found.body = self.read(int(length))
        return found

    def read_answer(self, method: str = "GET") -> Message:
        """An answer with its body, which may reach to the end of the connection. Interim ones are returned too."""
        found = self.read_head()
        length, coding = found.get("content-length"), found.get("transfer-encoding")
        assert length is None or coding is None
        if method == "HEAD" or found.status < 200 or found.status in (204, 304):
            return found
        if coding is not None:
            assert coding == "chunked"
            self.read_chunked(found)
        elif length is not None:
            found.body = self.read(int(length))
        else:
            found.body = self.read_end()
        return found

    def ask(self, path: str = "/", method: str = "GET", *fields: str, body: bytes = b"") -> Message:
        """A request and its answer."""
        self.send_request(path, method, *fields, body=body)
        return self.read_answer(method)

    def send_request(self, path: str = "/", method: str = "GET", *fields: str, body: bytes = b"") -> Self:
        lines = "".join(f"{field}\r\n" for field in ("host: x", *fields))
        if body or method in ("POST", "PUT"):
            lines += f"content-length: {len(body)}\r\n"
        return self.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)


class Origin:
    """A listening socket that takes a connection when the test says so. Until then connections wait in its backlog."""

    def __init__(self, family: str = "4", directory: Path | None = None, backlog: int = 128, port: int = 0) -> None:
        self.peers: list[Peer] = []
        if family == "unix":
            assert directory is not None
            self.sock = socket.socket(socket.AF_UNIX)
            path = directory / f"origin-{id(self):x}.sock"
            self.sock.bind(str(path))
            self.address = f"unix:{path}"
        elif family == "6":
            self.sock = socket.socket(socket.AF_INET6)
            self.sock.bind(("::1", port))
            self.address = f"[::1]:{self.sock.getsockname()[1]}"
        else:
            self.sock = socket.socket()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(("127.0.0.1", port))
            self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        if backlog >= 0:
            self.sock.listen(backlog)
        self.sock.settimeout(PATIENCE)

    @property
    def port(self) -> int:
        port: int = self.sock.getsockname()[1]
        return port

    def accept(self) -> Peer:
        sock, _ = self.sock.accept()
        self.peers.append(Peer(sock))
        return self.peers[-1]

    def has_connection(self) -> bool:
        """Somebody stands in the backlog."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def has_connection_soon(self, *others: Peer) -> bool:
        """Somebody comes here, and not to one of the others."""
        ready = select.select([self.sock, *(peer.sock for peer in others)], [], [], PATIENCE)[0]
        assert ready
        return self.sock in ready

    def refuse(self) -> None:
        """From now on connections are refused; those that exist go on."""
        self.sock.close()

    def close(self) -> None:
        self.sock.close()
        for peer in self.peers:
            peer.close()


def connect(address: tuple[str, int] | str, source: str | None = None) -> Peer:
    """A client's connection."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if source:
            sock.bind((source, 0))
    sock.settimeout(PATIENCE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return Peer(sock)


def pattern(n: int, seed: int = 1) -> bytes:
    """n bytes that a piece lost, doubled or moved would change."""
    block = b"".join(struct.pack("<IQ", i * 2654435761 & 0xFFFFFFFF, i + seed) for i in range(5461))   # about 64 KiB
    return (block * (n // len(block) + 1))[:n]


def drop_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
