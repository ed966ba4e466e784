"""One check against servers that answer in every way: what it finds, and that it holds no more than it may."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from unit.control.test_checkup import spec

from fastmesh.control import check_call
from fastmesh.control.check_call import READ_MOST, Call, CheckSpec, Result, Target, call_of

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def http(method: str = "GET", path: str = "/", host: str = "", headers: list[list[str]] | None = None,
         expected: list[list[int]] | None = None, retriable: list[list[int]] | None = None, body: bytes = b"",
         **more: object) -> CheckSpec:
    return spec(http=[method, path, host, headers or [], expected or [[200, 299]], retriable or [], body], **more)


def tcp(send: bytes = b"", expect: bytes = b"", **more: object) -> CheckSpec:
    return spec(http=None, tcp=[send, expect], **more)


async def check(made: CheckSpec, target: Target,
                kept: socket.socket | None = None) -> tuple[Result, socket.socket | None]:
    done: asyncio.Future[tuple[Call, Result]] = asyncio.get_running_loop().create_future()
    call = call_of(made, target, kept, lambda call, result: done.set_result((call, result)))
    call.begin()
    assert not done.done()
    ended, result = await asyncio.wait_for(done, 20)
    return result, ended.kept


def run(made: CheckSpec, handler: Handler, times: int = 1, path: Path | None = None) -> list[Result]:
    """Checks one after the other, each with the connection that the last one kept."""
    async def main() -> list[Result]:
        if path is not None:
            server = await asyncio.start_unix_server(handler, path)
            target = Target.of(f"unix:{path}")
        else:
            server = await asyncio.start_server(handler, "127.0.0.1", 0)
            target = Target.of(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        found, kept = [], None
        try:
            for _ in range(times):
                result, kept = await check(made, target, kept)
                found.append(result)
        finally:
            if kept is not None:
                kept.close()
            server.close()
            await asyncio.sleep(0)
        return found
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def says(answer: bytes, asked: list[bytes] | None = None, closes: bool = False) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if asked is not None:
                    asked.append(head)
                writer.write(answer)
                await writer.drain()
                if closes or b"connection: close" in head:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
    return handle


@pytest.mark.parametrize("answer", [
    OK, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"HTTP/1.0 200 OK\r\n\r\nold",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"HTTP/1.1 100 Continue\r\n\r\n" + OK])
def test_good_answers(answer: bytes) -> None:
    assert run(http(), says(answer)) == [Result("passed")]


@pytest.mark.parametrize("behind", [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", b"\0\0\0"])
def test_the_first_answer_counts(behind: bytes) -> None:
    assert run(http(body=b"ok", keep_alive=True), says(OK + behind), 3) == [Result("passed")] * 3


def test_what_is_asked() -> None:
    asked: list[bytes] = []
    run(http("POST", "/up?deep=1", "app.example.com:80", [["x-probe", "1"]]), says(OK, asked))
    assert asked == [b"POST /up?deep=1 HTTP/1.1\r\nhost: app.example.com:80\r\nuser-agent: fastmesh-health-check\r\n"
                     b"x-probe: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]
    asked.clear()
    run(http(headers=[["user-agent", "mine"]]), says(OK, asked))
    assert asked[0].count(b"user-agent") == 1 and b"user-agent: mine\r\n" in asked[0]


@pytest.mark.parametrize(("status", "retriable", "is_retriable"), [(503, [], False), (503, [[500, 599]], True),
                                                                  (404, [[500, 599]], False), (301, [], False)])
def test_another_status(status: int, retriable: list[list[int]], is_retriable: bool) -> None:
    answer = b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status
    assert run(http(expected=[[200, 200], [204, 206]], retriable=retriable), says(answer)) == [
        Result("status", f"HTTP {status}, expected 200, 204-206", is_retriable)]


def test_a_switch_of_protocols_is_a_status_too() -> None:
    answer = b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    (result,) = run(http(), says(answer))
    assert (result.kind, result.why) == ("status", "HTTP 101, expected 200-299")


def test_the_answer_to_head_has_no_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
    assert run(http("HEAD", timeout=20.0), says(answer)) == [Result("passed")]


@pytest.mark.parametrize(("body", "is_good"), [
    (b"all is ready here", True), (b"not yet", False), (b"", False), (b"." * 1019 + b"ready", True),
    (b"." * 1020 + b"ready", False)])
def test_what_the_body_says(body: bytes, is_good: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    (result,) = run(http(body=b"ready"), says(answer))
    assert result.kind == ("passed" if is_good else "body")
    if not is_good:
        assert "do not contain 'ready'" in result.why


def test_connection_refused() -> None:
    async def main() -> Result:
        with socket.socket() as taken:      # bound, and nobody listens
            taken.bind(("127.0.0.1", 0))
            result, kept = await check(http(), Target.of(f"127.0.0.1:{taken.getsockname()[1]}"))
            assert kept is None
            return result
    assert asyncio.run(main()) == Result("connect", "connection refused")


def test_no_path_no_connection(tmp_path: Path) -> None:
    async def main() -> Result:
        return (await check(http(), Target.of(f"unix:{tmp_path}/none.sock")))[0]
    assert asyncio.run(main()) == Result("connect", "no such file or directory")


def test_over_a_path(tmp_path: Path) -> None:
    asked: list[bytes] = []
    assert run(http(), says(OK, asked), path=tmp_path / "s") == [Result("passed")]
    assert b"host: localhost\r\n" in asked[0]


def test_no_answer_in_time() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
    assert run(http(timeout=0.05), handle) == [Result("timeout", "no answer within 0.05 s")]


def test_a_body_without_end_is_not_waited_for_as_failure() -> None:
    """The head has come in time, and says that it is well."""
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()
    assert run(http(timeout=0.05), handle) == [Result("passed")]
    (result,) = run(http(timeout=0.05, body=b"never"), handle)
    assert result.kind == "timeout"


def test_no_more_is_read_than_may_be() -> None:
    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            pass
    assert run(http(timeout=20.0), floods) == [Result("passed")]

    async def endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"x: y\r\n" * 1000)
                await writer.drain()
        except ConnectionError:
            pass
    (result,) = run(http(timeout=20.0), endless_head)
    assert result.kind == "answer"
    assert READ_MOST == 65536


@pytest.mark.parametrize(("answer", "kind"), [
    (b"SSH-2.0-OpenSSH\r\n", "answer"), (b"\x15\x03\x01\x00\x02\x02\x28", "answer"), (b"HTTP/1.1 2", "broken"),
    (b"", "broken"), (b"HTTP/1.1 999999 OK\r\n\r\n", "answer")])
def test_what_is_no_answer(answer: bytes, kind: str) -> None:
    (result,) = run(http(), says(answer, closes=True))
    assert result.kind == kind and result.why


def test_a_connection_is_kept_where_that_is_asked_for() -> None:
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await says(OK)(reader, writer)
    assert run(http(keep_alive=True), handle, 5) == [Result("passed")] * 5
    assert count == 1
    assert run(http(), handle, 5) == [Result("passed")] * 5
    assert count == 6


def test_a_kept_one_that_has_closed_meanwhile_says_nothing() -> None:
    assert run(http(keep_alive=True), says(OK, closes=True), 5) == [Result("passed")] * 5


def test_tcp_is_content_with_a_connection() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
    assert run(tcp(timeout=20.0), handle) == [Result("passed")]


@pytest.mark.parametrize(("answer", "kind"), [
    (b"+PONG\r\n", "passed"), (b"hello +PONG", "passed"), (b"-ERR\r\n", "answer"), (b"", "broken"),
    (b"x" * 2000 + b"+PONG", "answer")])
def test_tcp_bytes(answer: bytes, kind: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(6) == b"PING\r\n"
        writer.write(answer)
        writer.close()
    (result,) = run(tcp(b"PING\r\n", b"+PONG"), handle)
    assert result.kind == kind


def test_bytes_that_come_in_pieces_and_too_late() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+PO")
        await reader.read()
        writer.close()
    (result,) = run(tcp(expect=b"+PONG", timeout=0.05), handle)
    assert (result.kind, result.why) == ("answer", "within 0.05 s came b'+PO', and not what is expected")


def test_one_that_is_given_up_tells_nobody() -> None:
    async def main() -> None:
        server = await asyncio.start_server(says(OK), "127.0.0.1", 0)
        told: list[Result] = []
        before = len(os.listdir("/proc/self/fd"))
        call = call_of(http(keep_alive=True), Target.of(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"), None,
                       lambda _, result: told.append(result))
        call.begin()
        call.cancel()
        assert len(os.listdir("/proc/self/fd")) == before
        server.close()
        assert told == []
    asyncio.run(main())


def test_a_machine_without_descriptors_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor(socket.socket):
        def __init__(self, *args: object, **more: object) -> None:
            raise OSError(24, "too many open files")

    async def main() -> Result:
        monkeypatch.setattr(check_call.socket, "socket", Poor)
        return (await check(http(), Target.of("127.0.0.1:1")))[0]
    assert asyncio.run(main()).kind == "unable"


@pytest.mark.parametrize(("text", "port", "family", "address", "shown"), [
    ("127.0.0.1:80", 0, socket.AF_INET, ("127.0.0.1", 80), "127.0.0.1:80"),
    ("127.0.0.1:80", 81, socket.AF_INET, ("127.0.0.1", 81), "127.0.0.1:81"),
    ("[::1]:80", 81, socket.AF_INET6, ("::1", 81), "[::1]:81"),
    ("unix:/run/a.sock", 81, socket.AF_UNIX, "/run/a.sock", "unix:/run/a.sock"),
    ("unix:@a", 0, socket.AF_UNIX, "\0a", "unix:@a")])
def test_where_it_connects_to(text: str, port: int, family: int, address: object, shown: str) -> None:
    assert Target.of(text, port) == (family, address, shown)
