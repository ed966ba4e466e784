"""Filter hosts as control keeps them: real processes, without a worker."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fastmesh.control import host
from fastmesh.control.filter_hosts import FilterHosts
from fastmesh.control.host import HostFailed
from fastmesh.control.isolated import Isolated
from fastmesh.control.process import package_paths
from fastmesh.filters.blob import pack
from fastmesh.filters.protocol import CALL, DONE, PHASES
from fastmesh.observe.journal import Journal

SOURCE = """
from fastmesh import Filter

class Here(Filter):
    def on_request(self, request):
        request.headers["x-here"] = request.path

class Never(Filter):
    def start(self):
        raise LookupError("nothing there")

class Gone(Filter):
    def start(self):
        import os
        os._exit(7)
"""
HEAD = ["GET", "/p", "", "/p", "x", "http", "1.1", None, 0, False, [], ["127.0.0.1", 1, "web", 1]]


class Control:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "journal"
        self.journal = Journal(os.open(self.log, os.O_WRONLY | os.O_CREAT))
        self.sent: list[tuple[dict[str, Any], int]] = []
        self.events: list[dict[str, Any]] = []
        self.restarts = 0

    def begin(self) -> FilterHosts:
        made = FilterHosts(0, package_paths("fastmesh", "msgpack"), self.journal, self.send,
                           lambda slot, event: self.events.append(event), -1, None)
        made.on_restart = self.count
        return made

    def count(self) -> None:
        self.restarts += 1

    def send(self, message: dict[str, Any], fds: tuple[int, ...]) -> None:
        self.sent.append((message, os.dup(fds[0])))

    def snapshot(self, cls: str, key: str = "a") -> tuple[Isolated, tuple[int, int, int]]:
        (self.directory / "f.py").write_text(SOURCE)
        blob = pack({"slots": [{
            "row": 0, "name": "here", "kind": "file", "module": f"fastmesh_file_{key}", "qualname": cls,
            "file": str(self.directory / "f.py"), "fingerprint": key, "settings": {}, "phases": {"on_request": "def"},
            "needs": None, "timeout_ns": 10**9, "isolated": True}], "places": ["f.yaml:1:1: filters[0].use"],
            "files": {key: SOURCE}, "paths": []})
        fd = os.memfd_create("snapshot")
        os.write(fd, b"12345" + blob)
        return Isolated(key, ("here",), 1.0), (fd, 5, len(blob))


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))


async def until(condition: Callable[[], Any]) -> None:
    while not condition():      # noqa: ASYNC110  (what it looks at is another process)
        await asyncio.sleep(0.01)


def call(fd: int) -> Any:
    """What a host answers to one call, through the worker's end of its line."""
    with socket.socket(fileno=os.dup(fd)) as line:
        line.setblocking(True)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 20, 0))
        line.sendall(msgpack.packb((CALL, 1, 0, 0, PHASES.index("on_request"), HEAD, None, None, None)))
        unpacker = msgpack.Unpacker()
        unpacker.feed(line.recv(65536))
        return next(unpacker)


def test_it_answers_and_ends_with_its_line(control: Control) -> None:
    async def work() -> None:
        hosts = control.begin()
        number, fds = await hosts.prepare(*control.snapshot("Here"))
        reply = await asyncio.to_thread(call, fds[0])
        assert reply[:2] == [DONE, 1] and reply[2] == [[0, 0, "x-here", "/p"]]
        hosts.settle(number)
        assert hosts.current is not None and hosts.current.is_alive
        # The same filters again: the same host.
        assert await hosts.prepare(*control.snapshot("Here")) == (number, ())
        hosts.settle(number)
        hosts.end()
        await hosts.gone()
        assert control.restarts == 0
    run(work)


@pytest.mark.parametrize(("cls", "says"), [("Never", "nothing there"), ("Gone", "exit status 7"), ("No", "has no")])
def test_filters_that_cannot_be_had(control: Control, cls: str, says: str) -> None:
    async def work() -> None:
        hosts = control.begin()
        with pytest.raises(HostFailed, match=says):
            await hosts.prepare(*control.snapshot(cls))
        hosts.keep()
        await hosts.gone()
        assert hosts.current is None
    run(work)


def test_one_that_takes_too_much_memory_is_replaced(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        hosts = control.begin()
        number, fds = await hosts.prepare(*control.snapshot("Here"))
        workers_end = os.dup(fds[0])
        hosts.settle(number)
        with monkeypatch.context() as patch:
            patch.setattr(host, "MEMORY_MOST", 1 << 20)
            await until(lambda: control.restarts)
        await until(lambda: control.sent)
        message, fd = control.sent[0]
        assert message == {"op": "filter_host", "number": number}
        assert (await asyncio.to_thread(call, fd))[0] == DONE
        assert "1 are allowed" in control.log.read_text()
        os.close(fd)
        os.close(workers_end)
        hosts.end()
        hosts.kill()
        await hosts.gone()
    run(work)


def test_a_snapshot_that_is_refused_leaves_the_host_that_there_was(control: Control) -> None:
    async def work() -> None:
        hosts = control.begin()
        number, fds = await hosts.prepare(*control.snapshot("Here"))
        workers_end = os.dup(fds[0])
        hosts.settle(number)
        first = hosts.current
        other, fds = await hosts.prepare(*control.snapshot("Here", "b"))
        assert other != number and fds and len(hosts.processes) == 2
        hosts.keep()
        await until(lambda: len(hosts.processes) == 1)
        assert hosts.current is first and hosts.number == number and control.restarts == 0
        os.close(workers_end)
        hosts.end()
        hosts.kill()
        await hosts.gone()
    run(work)


