"""One check of one endpoint under way: a connection, perhaps a request, and what comes back.

Sockets and callbacks alone: thousands of checks cost no tasks. Everything is bounded: the time, the bytes that are
read, and what is kept of them. What an endpoint says is looked at and shown to nobody but in a short sentence.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EINPROGRESS, EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any, NamedTuple

import httptools

READ_BYTES = 16384
READ_MOST = 65536       # bytes of one answer
AGENT = "fastmesh-health-check"
LOOKED_AT = 1024        # bytes of its body, or of what a TCP server says
OURS = (EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL)    # nothing that the endpoint could help

# How a check ends. `unable`: this process could not make it, which says nothing of the endpoint.
RESULTS = ("passed", "status", "body", "connect", "timeout", "broken", "answer", "unable")


class Result(NamedTuple):
    """How a check ended, and why, for people; nothing where it passed."""

    kind: str           # of RESULTS
    why: str = ""
    is_retriable: bool = True   # it counts as one failure of several


PASSED = Result("passed")


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What is checked in a cluster, and how often. Times are in seconds. ChecksRecord of snapshot/wire."""

    http: tuple[Any, ...] | None
    tcp: tuple[bytes, ...] | None
    port: int
    timeout: float
    interval: float
    unhealthy_interval: float
    edge_interval: float
    jitter: float
    healthy: int
    unhealthy: int
    keep_alive: bool
    end_ejection: bool

    @classmethod
    def of(cls, record: dict[str, Any]) -> "CheckSpec":
        found = {key: value for key, value in record.items() if key != "addresses"}
        for key in ("http", "tcp"):
            found[key] = _frozen(found[key])
        return cls(**found)


class Target(NamedTuple):
    """Where a check connects to."""

    family: int
    address: Any        # as sockets take it
    text: str

    @classmethod
    def of(cls, text: str, port: int = 0) -> "Target":
        """From an address as configurations have it; `port` in place of its own, 0 = that."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            return cls(socket.AF_UNIX, "\0" + path[1:] if path.startswith("@") else path, text)
        host, _, own = text.rpartition(":")
        if host.startswith("["):
            host, chosen = host[1:-1], port or int(own)
            return cls(socket.AF_INET6, (host, chosen), f"[{host}]:{chosen}")
        return cls(socket.AF_INET, (host, port or int(own)), f"{host}:{port or own}")


class Call:
    """From the connect to the result, of which `done` is told once: never before `begin` has returned. The socket is
    closed by then, or is in `kept` for the next check."""

    __slots__ = ("_done", "_fd", "_is_reading", "_is_reused", "_is_writing", "_loop", "_rest", "_socket", "_spec",
                 "_target", "_timer", "_total", "kept")

    def __init__(self, spec: CheckSpec, target: Target, kept: socket.socket | None,
                 done: Callable[["Call", Result], None]) -> None:
        self._spec = spec
        self._target = target
        self._socket = kept
        self._fd = kept.fileno() if kept is not None else -1
        self._is_reused = kept is not None
        self._is_reading = self._is_writing = False
        self._done: Callable[[Call, Result], None] | None = done
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rest = b""
        self._total = 0
        self.kept: socket.socket | None = None

    # --- what kinds of checks differ in ---

    def _request(self) -> bytes:
        """What is sent when the connection stands."""
        return b""

    def _sent(self) -> Result | None:
        """All of it is on its way."""
        return None

    def _take(self, data: bytes) -> Result | None:
        """What comes; a result when it is enough."""
        raise NotImplementedError

    def _ended(self) -> Result:
        """The endpoint closed the connection, or as many bytes have come as are read."""
        raise NotImplementedError

    def _late(self) -> Result:
        return Result("timeout", f"no answer within {self._spec.timeout:g} s")

    def _begin_anew(self) -> None:
        """Another connection takes the place of a kept one that was closed: nothing has come yet."""

    def _may_keep(self) -> bool:
        return False

    # --- the connection ---

    def begin(self) -> None:
        self._timer = self._loop.call_later(self._spec.timeout, self._on_late)
        if self._socket is None:
            self._connect()
        else:
            self._rest = self._request()
            self._write()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._done = None
        self._end(PASSED)

    def _connect(self) -> None:
        try:
            self._socket = socket.socket(self._target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
                                         | socket.SOCK_CLOEXEC)
            self._fd = self._socket.fileno()
            error = self._socket.connect_ex(self._target.address)
        except (OSError, OverflowError) as failure:
            self._loop.call_soon(self._fail, failure.errno if isinstance(failure, OSError) else 0, str(failure))
            return
        if error == EINPROGRESS:
            self._is_writing = True
            self._loop.add_writer(self._fd, self._on_connected)
        elif error:
            self._loop.call_soon(self._fail, error, "")
        else:       # a path
            self._rest = self._request()
            self._write()

    def _fail(self, error: int | None, text: str) -> None:
        """There is no connection."""
        if error in OURS:
            self._end(Result("unable", f"this machine could not make the check: {os.strerror(error or 0)}"))
        else:
            self._end(Result("connect", os.strerror(error).lower() if error else text))

    def _on_connected(self) -> None:
        self._stop_writing()
        assert self._socket is not None
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(error, "")
            return
        self._rest = self._request()
        self._write()

    def _write(self) -> None:
        assert self._socket is not None
        try:
            if self._rest:
                self._rest = self._rest[self._socket.send(self._rest):]
        except BlockingIOError:
            pass
        except OSError as error:
            # From the loop: `begin` may be what is running.
            self._loop.call_soon(self._broke, error)
            return
        if self._rest:
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._fd, self._write)
            return
        self._stop_writing()
        result = self._sent()
        if result is not None:
            self._loop.call_soon(self._end, result)
        elif not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._on_bytes)

    def _on_bytes(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(error)
            return
        if not data:
            if not self._again():
                self._end(self._ended())
            return
        self._total += len(data)
        result = self._take(data)
        if result is None and self._total >= READ_MOST:
            result = self._ended()
        if result is not None:
            self._end(result)

    def _broke(self, error: OSError) -> None:
        if self._done is not None and not self._again():
            self._end(Result("broken", f"the connection broke: {os.strerror(error.errno or 0).lower()}"))

    def _again(self) -> bool:
        """A kept connection that was closed before an answer began says nothing: another one is asked."""
        if not self._is_reused or self._total:
            return False
        self._is_reused = False
        self._let_go()
        self._begin_anew()
        self._connect()
        return True

    def _on_late(self) -> None:
        connecting = self._is_writing and not self._rest
        self._end(Result("timeout", f"no connection within {self._spec.timeout:g} s") if connecting else self._late())

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._fd)

    def _let_go(self) -> None:
        self._stop_writing()
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._fd)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _end(self, result: Result) -> None:
        if self._timer is None:     # it has ended
            return
        self._timer.cancel()
        self._timer = None
        if result is PASSED and self._done is not None and self._spec.keep_alive and self._may_keep():
            self._stop_writing()
            if self._is_reading:
                self._is_reading = False
                self._loop.remove_reader(self._fd)
            self.kept, self._socket = self._socket, None
        self._let_go()
        done, self._done = self._done, None
        if done is not None:
            done(self, result)


class HttpCall(Call):
    """A request. The answer's body is read to its end where that is near: no server sees its answers cut off."""

    __slots__ = ("_body", "_has_ended", "_is_kept_there", "_parser", "_status")

    def __init__(self, spec: CheckSpec, target: Target, kept: socket.socket | None,
                 done: Callable[[Call, Result], None]) -> None:
        super().__init__(spec, target, kept, done)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._body = b""
        self._has_ended = False
        self._is_kept_there = False     # what it says of the connection

    def _request(self) -> bytes:
        assert self._spec.http is not None
        method, path, host, headers = self._spec.http[:4]
        own = () if any(name == "user-agent" for name, _ in headers) else (("user-agent", AGENT),)
        fields = "".join(f"{name}: {value}\r\n" for name, value in (*own, *headers))
        if not host:
            host = "localhost" if self._target.family == socket.AF_UNIX else self._target.text
        keeps = "" if self._spec.keep_alive else "connection: close\r\n"
        length = "content-length: 0\r\n" if method in ("POST", "PUT", "PATCH") else ""
        return f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}{length}{keeps}\r\n".encode("utf-8", "replace")

    # --- what the parser tells ---

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._has_ended:
            # The first answer counts. Who says more than he was asked is not asked again over this connection.
            self._is_kept_there = False
        elif status >= 200 or status == 101:
            self._status = status

    def on_body(self, body: bytes) -> None:
        if not self._has_ended and len(self._body) < LOOKED_AT:
            self._body = (self._body + body)[:LOOKED_AT]

    def on_message_complete(self) -> None:
        if self._has_ended:
            return
        self._has_ended = self._status != 0
        self._is_kept_there = bool(self._parser.should_keep_alive())

    # --- the verdict ---

    def _take(self, data: bytes) -> Result | None:
        assert self._spec.http is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return self._verdict()
        except httptools.HttpParserError as error:
            self._is_kept_there = False
            # Behind a whole answer there may be anything.
            return self._verdict() if self._has_ended else Result("answer", f"what came is no HTTP answer: {error}")
        if self._has_ended or (self._status and self._spec.http[0] == "HEAD"):
            return self._verdict()
        return None

    def _ended(self) -> Result:
        if self._status:
            return self._verdict()
        if self._total >= READ_MOST:
            return Result("answer", f"the head of the answer has more than {READ_MOST >> 10} KiB")
        return Result("broken", "the connection ended before an answer" if not self._total else
                      "the connection ended within the head of the answer")

    def _late(self) -> Result:
        assert self._spec.http is not None
        if self._status and not self._spec.http[6]:
            return self._verdict()
        return super()._late()

    def _verdict(self) -> Result:
        assert self._spec.http is not None
        *_, expected, retriable, wanted = self._spec.http
        status = self._status
        if not _is_in(status, expected):
            return Result("status", f"HTTP {status}, expected {_shown(expected)}", _is_in(status, retriable))
        if wanted and wanted not in self._body:
            return Result("body", f"HTTP {status}, and its first {min(len(self._body), LOOKED_AT):,} bytes do not "
                                  f"contain {wanted[:60].decode('utf-8', 'replace')!r}")
        return PASSED

    def _may_keep(self) -> bool:
        return self._has_ended and self._is_kept_there


class TcpCall(Call):
    """A connection, and bytes over it."""

    __slots__ = ("_seen",)

    def __init__(self, spec: CheckSpec, target: Target, kept: socket.socket | None,
                 done: Callable[[Call, Result], None]) -> None:
        super().__init__(spec, target, kept, done)
        self._seen = b""

    def _request(self) -> bytes:
        assert self._spec.tcp is not None
        return self._spec.tcp[0]

    def _sent(self) -> Result | None:
        assert self._spec.tcp is not None
        return None if self._spec.tcp[1] else PASSED

    def _take(self, data: bytes) -> Result | None:
        assert self._spec.tcp is not None
        self._seen = (self._seen + data)[:LOOKED_AT]
        if self._spec.tcp[1] in self._seen:
            return PASSED
        return self._ended() if len(self._seen) >= LOOKED_AT else None

    def _ended(self) -> Result:
        if not self._seen:
            return Result("broken", "the connection ended, and nothing had come")
        return Result("answer", f"the {len(self._seen):,} bytes that came do not contain what is expected: "
                                f"{self._seen[:40]!r}")

    def _late(self) -> Result:
        if self._seen:
            return Result("answer", f"within {self._spec.timeout:g} s came {self._seen[:40]!r}, and not what is "
                                    "expected")
        return super()._late()

    def _may_keep(self) -> bool:
        assert self._spec.tcp is not None
        return bool(self._spec.tcp[1])


def call_of(spec: CheckSpec, target: Target, kept: socket.socket | None, done: Callable[[Call, Result], None]) -> Call:
    return (HttpCall if spec.http is not None else TcpCall)(spec, target, kept, done)


def _is_in(status: int, ranges: Any) -> bool:
    return any(low <= status <= high for low, high in ranges)


def _shown(ranges: Any) -> str:
    parts = [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
    return ", ".join(parts[:4]) + (" …" if len(parts) > 4 else "")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
