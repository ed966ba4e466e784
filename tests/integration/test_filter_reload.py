"""A filter in place whose file changes while requests are under way."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Callers, Origin, Sidecar, ask, cluster, free_port, http_listener, until

Start = Callable[..., Sidecar]

FILTER = """
import sys

from fastmesh import Filter, Response

VERSION = {version}
BALLAST = bytearray(b"x" * {ballast})
BORN = len(BALLAST)


class Versioned(Filter):
    journal: str

    def on_request(self, request):
        request.headers["x-asked-by"] = str(VERSION)
        request.state["version"] = VERSION
        if request.path == "/modules":
            files = [name for name in sys.modules if name.startswith("fastmesh_file_")]
            return Response(200, text=str(len(files)))

    def on_response(self, request, response):
        response.headers["x-answered-by"] = str(VERSION)

    def on_complete(self, request, outcome):
        if request.path == "/held":
            with open(self.journal, "a") as journal:
                journal.write(f"{{VERSION}} {{request.state['version']}} {{outcome.status}}\\n")
"""


class Held:
    """An upstream that answers "/held" when it is told to, and says who had seen the request."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.has_asked = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._accept = threading.Thread(target=self._run)
        self._accept.start()

    def _run(self) -> None:
        while True:
            try:
                one, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(one)
            self._threads.append(threading.Thread(target=self._serve, args=(one,)))
            self._threads[-1].start()

    def _serve(self, one: socket.socket) -> None:
        with one, one.makefile("rb") as lines:
            while line := lines.readline():
                seen = ""
                while (field := lines.readline()) not in (b"\r\n", b""):
                    if field.lower().startswith(b"x-asked-by:"):
                        seen = field.partition(b":")[2].decode().strip()
                if b"/held" in line:
                    self.has_asked.set()
                    self.may_answer.wait(30)
                one.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {len(seen)}\r\n\r\n{seen}".encode())

    def close(self) -> None:
        self.may_answer.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._accept.join()
        # The proxy keeps its connections for the next request.
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RD)
        for thread in self._threads:
            thread.join()


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.close()


class Case:
    def __init__(self, sidecar: Start, directory: Path, upstream: str) -> None:
        self.file, self.journal, self.port = directory / "versioned.py", directory / "journal", free_port()
        self.journal.touch()
        self.upstream = upstream
        self.write(1)
        self.proxy = sidecar(self.config())

    def config(self) -> dict[str, Any]:
        uses = [{"use": f"{self.file}:Versioned", "journal": str(self.journal)}]
        return {"drain_timeout": "5s", "listeners": [http_listener(self.port, "app", filters=uses)],
                "clusters": [cluster("app", self.upstream)]}

    def write(self, version: int, ballast: int = 0) -> None:
        self.file.write_text(FILTER.format(version=version, ballast=ballast))

    def becomes(self, version: int, ballast: int = 0) -> None:
        self.write(version, ballast)
        self.proxy.reload()


def test_an_exchange_ends_with_the_version_that_it_began_with(sidecar: Start, held: Held, tmp_path: Path) -> None:
    case = Case(sidecar, tmp_path, held.address)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ask(case.port, "/held")))
    waiting.start()
    assert held.has_asked.wait(10)
    case.becomes(2)
    now = ask(case.port, "/")
    assert (now.text, now.headers["x-answered-by"]) == ("2", "2")
    # Both are there as long as the old one has something to do.
    assert ask(case.port, "/modules").text == "2"
    assert case.journal.read_text() == "" and answers == []
    held.may_answer.set()
    waiting.join(10)
    assert (answers[0].text, answers[0].headers["x-answered-by"]) == ("1", "1")
    until(lambda: case.journal.read_text() == "1 1 200\n", "on_complete of the old version")
    until(lambda: ask(case.port, "/modules").text == "1", "the old version is gone")


def test_a_version_that_cannot_be_imported_changes_nothing(sidecar: Start, held: Held, tmp_path: Path) -> None:
    held.may_answer.set()
    case = Case(sidecar, tmp_path, held.address)
    case.file.write_text("raise ValueError('half written')\n")
    refused = case.proxy.admin("/reload", "POST")
    assert refused.status == 400 and "versioned.py:1: ValueError: half written" in refused.text
    assert ask(case.port, "/").headers["x-answered-by"] == "1" and ask(case.port, "/modules").text == "1"


def resident(pid: int) -> int:
    """Bytes of memory of its own that a process has."""
    with open(f"/proc/{pid}/statm") as statm:     # noqa: PTH123
        _, rss, shared, *_ = statm.read().split()
    return (int(rss) - int(shared)) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif("FASTMESH_SANITIZED" in os.environ, reason="its allocator keeps what was given back")
def test_fifty_versions_under_load(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    """No request fails, and nothing is left of a version that is over: each has a MiB of its own."""
    case = Case(sidecar, tmp_path, origin.address)
    (pid,) = case.proxy.worker_pids()
    with Callers(case.port) as callers:
        for version in range(2, 12):
            case.becomes(version, 1 << 20)
        callers.more(20)
        until(lambda: ask(case.port, "/modules").text == "1", "only one version is there")
        before = resident(pid)
        for version in range(12, 52):
            case.becomes(version, 1 << 20)
        callers.more(100)
    assert callers.failures == []
    assert ask(case.port, "/").headers["x-answered-by"] == "51"
    until(lambda: ask(case.port, "/modules").text == "1", "only one version is there")
    assert case.proxy.worker_pids() == [pid]
    grown = resident(pid) - before
    assert grown < 12 << 20, f"{grown >> 20} MiB more after 40 versions"
