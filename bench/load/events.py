"""Server-sent events: `origin PORT` sends them, `client PORT STREAMS EVENTS` notes how long each was on its way.

Every event carries the time it was sent at.  Both programs read the same clock, so the difference is the time
through the proxy, and through the two programs; a run without a proxy gives the latter.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from bench.load import program
from bench.load.percentiles import percentile
from bench.running import Running

PAUSE = 0.01  # between two events of a stream, and before the first


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            path = line.split()[1].decode()
            if not path.startswith("/events/"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                continue
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(int(path.removeprefix("/events/"))):
                await asyncio.sleep(PAUSE)
                event = b"data: %020d\n\n" % time.monotonic_ns()
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (OSError, IndexError, ValueError):
        pass
    finally:
        writer.close()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


class _Heard:
    def __init__(self) -> None:
        self.first: list[int] = []  # nanoseconds, from the origin's write to the client's read
        self.later: list[int] = []
        self.failed = 0


async def _listen(port: int, events: int, delay: float, heard: _Heard) -> None:
    try:
        await asyncio.sleep(delay)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /events/{events} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        if not head.startswith(b"HTTP/1.1 200") or b"chunked" not in head.lower():
            raise ConnectionError(f"no stream: {head[:60]!r}")
        for number in range(events):
            # Chunks may come in other sizes than they were sent; an event ends with an empty line.
            text = await asyncio.wait_for(reader.readuntil(b"\n\n"), 10)
            at = time.monotonic_ns()
            sent = int(text[text.index(b"data: ") + 6 :])
            (heard.later if number else heard.first).append(at - sent)
        await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        heard.failed += 1


async def _ask(port: int, streams: int, events: int) -> None:
    heard = _Heard()
    # One after the other: streams in step would wait for each other in these two programs.
    await asyncio.gather(*(_listen(port, events, number * PAUSE / streams, heard) for number in range(streams)))
    first, later = sorted(heard.first), sorted(heard.later)
    print(json.dumps({
        "events": len(first) + len(later),
        "first_p50": percentile(first, 50) / 1000,
        "later_p50": percentile(later, 50) / 1000,
        "later_p99": percentile(later, 99) / 1000,
        "failed": heard.failed,
    }))  # fmt: skip


def start(folder: Path, core: int) -> Running:
    return program.origin(__name__, folder, core, http=True)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        asyncio.run(_serve(int(sys.argv[2])))
    else:
        asyncio.run(_ask(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
