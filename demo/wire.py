"""Just enough HTTP/1.1 for the demonstration: GET and POST, keep-alive, bodies of either framing.

The client repeats nothing and hides nothing. A proxy that closes a connection under a request is noticed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

HEAD_LIMIT = 32 * 1024


@dataclass(slots=True)
class Message:
    """A request or an answer. `first` is its first line, names of fields are in lower case."""

    first: str
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self._second)

    @property
    def path(self) -> str:
        return self._second

    @property
    def _second(self) -> str:
        words = self.first.split(" ", 2)
        if len(words) < 2:
            raise ValueError(f"not HTTP: {self.first[:100]!r}")
        return words[1]


async def read_message(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    message = Message(first, {name.lower(): value.strip() for name, _, value in pairs})
    if message.fields.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            message.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")  # no trailers are asked for
    elif length := int(message.fields.get("content-length", "0")):
        message.body = await reader.readexactly(length)
    return message


def write_message(writer: asyncio.StreamWriter, message: Message) -> None:
    fields = message.fields | {"content-length": str(len(message.body))}
    head = "\r\n".join([message.first, *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    writer.write(head.encode("latin-1") + message.body)


async def serve(port: int, answer: Callable[[Message], Awaitable[Message]]) -> asyncio.Server:
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                write_message(writer, await answer(await read_message(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the other side is done with this connection, or this process is
        finally:
            writer.close()

    return await asyncio.start_server(on_connection, "127.0.0.1", port, limit=HEAD_LIMIT, backlog=1024)


class Client:
    """Connections to one address, used in turn so that none of them grows old."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.popleft()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()  # the proxy said goodbye while nothing was in flight
        return await asyncio.open_connection("127.0.0.1", self.port, limit=HEAD_LIMIT)

    async def request(self, path: str, host: str, method: str = "GET", **fields: str) -> Message:
        """Send one request and wait for its answer; OSError, EOFError or ValueError when there is none."""
        reader, writer = await self._connection()
        is_kept = False
        try:
            named = {name.replace("_", "-"): value for name, value in fields.items()}
            write_message(writer, Message(f"{method} {path} HTTP/1.1", {"host": host} | named))
            answer = await read_message(reader)
            is_kept = answer.fields.get("connection", "").lower() != "close"
        finally:
            if is_kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
