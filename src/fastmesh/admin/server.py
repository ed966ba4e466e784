"""HTTP/1.1 for operators and for Prometheus, on uvloop and httptools.

Small on purpose, and bounded in everything: connections, size of a head, time to send one, time to take an
answer. A request that a web page could have sent is refused, see `gate`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import httptools

MAX_CONNECTIONS = 64
MAX_HEAD = 16384        # bytes
MAX_BODY = 65536        # bytes; no request here needs one, but some clients send one
HEAD_SECONDS = 10.0
IDLE_SECONDS = 60.0     # between two requests
SEND_SECONDS = 30.0     # for a client to take a full buffer
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 409: "Conflict", 413: "Content Too Large", 431: "Request Header Fields Too Large",
           500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)       # names in lower case; the last one counts

    @property
    def segments(self) -> list[str]:
        return [part for part in self.path.split("/") if part]


@dataclass(slots=True)
class Response:
    status: int = 200
    content_type: str = TEXT
    body: bytes | Iterable[str] = b""       # pieces of text are sent as they are made
    allow: str = ""                         # with 405


Answer = Callable[[Request], Awaitable[Response]]


def plain(status: int, text: str) -> Response:
    return Response(status, TEXT, text.encode())


def gate(request: Request, is_loopback: bool) -> Response | None:
    """Refuse what a web page in the operator's browser could send; None lets the request pass.

    The server has no password. On loopback the browser is the only stranger that reaches it: by a name that a
    foreign DNS server points to 127.0.0.1 (so the Host must be an address or localhost), or by a form or script
    of another site (so Origin and Sec-Fetch-Site must not name one). Where the operator has opened the server
    to a network, monitoring may use a name.
    """
    host = request.headers.get("host", "")
    is_monitoring = request.method in ("GET", "HEAD") and request.path in ("/ready", "/live", "/metrics")
    if host and not _is_address(host) and (is_loopback or not is_monitoring):
        return plain(403, f"host {host!r} is refused: use an IP address or localhost\n")
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return plain(403, "requests from other origins are refused\n")
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return plain(403, "requests from other sites are refused\n")
    return None


def _is_address(host: str) -> bool:
    """An IP address or localhost, with or without a port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    if name.lower() == "localhost":
        return True
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except (OSError, ValueError):
            continue
        return True
    return False


class Server:
    """Accepts connections and hands their requests to `answer`."""

    def __init__(self, answer: Answer, is_loopback: bool) -> None:
        self.answer = answer
        self.is_loopback = is_loopback
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket, which is closed with the server."""
        loop = asyncio.get_running_loop()
        make = lambda: Connection(self)     # noqa: E731
        if sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(make, sock=sock)
        else:
            self._server = await loop.create_server(make, sock=sock)

    def close(self) -> None:
        """Stop accepting; connections that are answering finish, the others are closed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.leave()

    async def drain(self, seconds: float) -> None:
        """Close, and give the answers on their way so long to leave."""
        self.close()
        end = asyncio.get_running_loop().time() + seconds
        while self.connections and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Connection(asyncio.Protocol):
    """One client. Requests are answered in order, one at a time; while one is answered nothing is read."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_leaving = False
        self._waiting: list[tuple[Request, bool]] = []
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._body_size = 0
        self._has_begun = False
        self._refused = 0

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport, they only behave like one.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(262144)
        if len(self._server.connections) >= MAX_CONNECTIONS:
            transport.write(_head(Response(503, TEXT), 0, False))
            transport.close()
            return
        self._server.connections.add(self)
        self._arm(HEAD_SECONDS)

    def data_received(self, received: bytes) -> None:
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade:
            # The request is answered as if it had not asked for another protocol; what follows it is not read.
            self._is_leaving = True
        except httptools.HttpParserError:
            self._refuse(self._refused or 400)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._disarm()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._transport = None

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- httptools' side ---

    def on_message_begin(self) -> None:
        self._reset()
        self._has_begun = True
        self._arm(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._measure(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(len(name) + len(value) + 4)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > MAX_BODY:
            self._stop_parsing(413)

    def on_message_complete(self) -> None:
        self._disarm()
        try:
            url = httptools.parse_url(self._url)
            path = (url.path or b"/").decode("ascii")
            query = (url.query or b"").decode("ascii")
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._stop_parsing(400)
            return
        method = self._parser.get_method().decode("ascii")
        request = Request(method, path, query, self._headers)
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._has_begun = False
        if self._task is None:
            if self._transport is not None:
                self._transport.pause_reading()
            self._task = self._loop.create_task(self._work())

    # --- answering ---

    async def _work(self) -> None:
        """Answer what has come in, then read on."""
        try:
            while self._waiting:
                request, keep_alive = self._waiting.pop(0)
                keep_alive = keep_alive and not self._is_leaving
                await self._reply(request, keep_alive)
                if not keep_alive:
                    self._close()
                    return
        except TimeoutError:
            self._abort()
            return
        finally:
            self._task = None
        if self._transport is not None:
            self._arm(IDLE_SECONDS)
            self._transport.resume_reading()

    async def _reply(self, request: Request, keep_alive: bool) -> None:
        response = gate(request, self._server.is_loopback)
        if response is None:
            try:
                response = await self._server.answer(request)
            except Exception as error:
                response = plain(500, f"internal error: {type(error).__name__}: {error}\n")
        is_head = request.method == "HEAD"
        if isinstance(response.body, bytes):
            self._write(_head(response, len(response.body), keep_alive))
            if not is_head:
                await self._send(response.body)
            return
        self._write(_head(response, None, keep_alive))
        if is_head:
            return
        for piece in response.body:
            encoded = piece.encode()
            if encoded:
                await self._send(b"%x\r\n%b\r\n" % (len(encoded), encoded))
            await asyncio.sleep(0)      # whoever else the loop serves goes on between two pieces
        self._write(b"0\r\n\r\n")

    async def _send(self, body: bytes) -> None:
        self._write(body)
        if not self._writable.is_set():
            async with asyncio.timeout(SEND_SECONDS):
                await self._writable.wait()

    def _write(self, what: bytes) -> None:
        if self._transport is not None:
            self._transport.write(what)

    def _refuse(self, status: int) -> None:
        """Answer what cannot be understood, and close."""
        if self._transport is not None and self._task is None:
            self._transport.pause_reading()
            self._write(_head(Response(status), 0, False))
        self._close()

    def _measure(self, more: int) -> None:
        self._head_size += more
        if self._head_size > MAX_HEAD:
            self._stop_parsing(431)

    def _stop_parsing(self, status: int) -> None:
        """Called within a callback of the parser: it stops, and `data_received` answers with `status`."""
        self._refused = status
        raise ValueError(status)

    def leave(self) -> None:
        """Close when nothing is being answered, else after that."""
        self._is_leaving = True
        if self._task is None:
            self._close()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._on_time)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        if self._has_begun:
            self._refuse(408)
        else:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _head(response: Response, length: int | None, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}",
             f"content-type: {response.content_type}",
             "transfer-encoding: chunked" if length is None else f"content-length: {length}",
             "cache-control: no-store", "x-content-type-options: nosniff"]
    if response.allow:
        lines.append(f"allow: {response.allow}")
    if not keep_alive:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


