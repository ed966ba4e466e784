"""The admin server: HTTP as it should be, and small."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from fastmesh.admin import server as server_module
from fastmesh.admin.server import Request, Response, Server, gate, plain

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(request: Request) -> Response:
    if request.path == "/pieces":
        return Response(200, body=pieces())
    if request.path == "/broken":
        raise LookupError("a bug")
    if request.path == "/large":
        return Response(200, body=b"x" * 5_000_000)
    return plain(200, f"{request.method} {request.path}?{request.query}")


def pieces() -> Iterator[str]:
    yield "one "
    yield ""
    yield "two"


def talk_to(test: Talk, answer: Callable[[Request], Awaitable[Response]] = echo) -> None:
    async def whole() -> None:
        served = Server(answer, True)
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        await served.start(sock)
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        try:
            async with asyncio.timeout(10):
                await test(reader, writer)
        finally:
            writer.close()
            await served.drain(1)

    uvloop.run(whole())


async def answer_of(reader: asyncio.StreamReader, is_head: bool = False) -> tuple[int, dict[str, str], bytes]:
    status = int((await reader.readline()).split()[1])
    headers = {}
    while (line := (await reader.readline()).decode().rstrip()):
        name, _, value = line.partition(": ")
        headers[name] = value
    body = b""
    if is_head:
        pass
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return status, headers, body


def test_keep_alive_and_pipelining_answer_in_order() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(b"GET /%d?a=b HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" % n for n in range(50)))
        for n in range(50):
            assert (await answer_of(reader))[2] == b"GET /%d?a=b" % n
        writer.write(b"GET /last HTTP/1.1\r\nhost: [::1]:1\r\nconnection: close\r\n\r\n")
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""

    talk_to(test)


def test_a_body_in_pieces_is_chunked_and_an_empty_piece_does_not_end_it() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /pieces HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2)
        for _ in range(2):
            assert (await answer_of(reader))[2] == b"one two"

    talk_to(test)


def test_head_has_no_body() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for path in (b"/x", b"/pieces"):
            writer.write(b"HEAD %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
            assert (await answer_of(reader, is_head=True))[0] == 200
        writer.write(b"GET /next HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await answer_of(reader))[2] == b"GET /next?"

    talk_to(test)


def test_a_request_byte_by_byte() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answer_of(reader))[2] == b"POST /x?"

    talk_to(test)


def test_a_bug_in_a_page_is_a_500_and_the_connection_lives_on() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /broken HTTP/1.1\r\nhost: localhost\r\n\r\nGET /x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        status, _, body = await answer_of(reader)
        assert (status, body) == (500, b"internal error: LookupError: a bug\n")
        assert (await answer_of(reader))[0] == 200

    talk_to(test)


@pytest.mark.parametrize(("raw", "status"), [
    (b"\0\1\2\3\r\n\r\n", 400),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 4000 + b"\r\n", 431),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000, 413),
    (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
])
def test_what_cannot_be_understood_is_refused(raw: bytes, status: int) -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        assert (await reader.read()).startswith(b"HTTP/1.1 %d " % status)

    talk_to(test)


def test_an_upgrade_is_not_taken_up() -> None:
    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nmore of another protocol")
        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""

    talk_to(test)


def test_a_head_that_does_not_come_is_408_and_silence_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.1)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HT")
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    talk_to(slow)
    talk_to(silent)


def test_a_client_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SEND_SECONDS", 0.1)

    async def test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()        # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.transport.resume_reading()       # type: ignore[attr-defined]
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(5_000_000)

    talk_to(test)


@pytest.mark.parametrize(("headers", "passes"), [
    ({"host": "127.0.0.1:15000"}, True),
    ({"host": "127.0.0.1"}, True),
    ({"host": "localhost:15000"}, True),
    ({"host": "LOCALHOST"}, True),
    ({"host": "[::1]:15000"}, True),
    ({"host": "[::1]"}, True),
    ({"host": "10.1.2.3:15000"}, True),
    ({}, True),
    ({"host": "evil.example"}, False),
    ({"host": "127.0.0.1.evil.example"}, False),
    ({"host": "localhost.evil.example:15000"}, False),
    ({"host": "127.0.0.1", "origin": "http://evil.example"}, False),
    ({"host": "127.0.0.1", "origin": "null"}, False),
    ({"host": "127.0.0.1:15000", "origin": "http://127.0.0.1:15000"}, True),
    ({"host": "127.0.0.1", "sec-fetch-site": "cross-site"}, False),
    ({"host": "127.0.0.1", "sec-fetch-site": "same-origin"}, True),
])
def test_the_gate(headers: dict[str, str], passes: bool) -> None:
    refusal = gate(Request("GET", "/stats", headers=headers), is_loopback=True)
    assert (refusal is None) is passes
    assert refusal is None or refusal.status == 403


def test_monitoring_may_use_a_name_where_the_api_is_open() -> None:
    named = {"host": "shop-sidecar:15000"}
    assert gate(Request("GET", "/metrics", headers=named), is_loopback=False) is None
    assert gate(Request("GET", "/metrics", headers=named), is_loopback=True) is not None
    assert gate(Request("GET", "/config", headers=named), is_loopback=False) is not None
    assert gate(Request("POST", "/drain", headers=named), is_loopback=False) is not None
