"""Filters that wait in each phase for each thing that may be awaited, and are cancelled there: by a client that leaves,
by their timeout. All other traffic of the same worker notices nothing."""

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from adversity.test_bad_filters import Neighbour
from integration.harness import Origin, Sidecar, cluster, free_port, until

FILTERS = """
from fastmesh import Filter, Signal, sleep


class Base(Filter):
    journal: str = ""

    def tell(self, word):
        with open(self.journal, "a") as journal:
            journal.write(word + "\\n")

    async def awaited(self, what):
        self.tell("waits")
        try:
            await what
        except BaseException as error:
            self.tell(type(error).__name__)
            raise
"""
CLASS = """

class {name}(Base):
    async def pause(self):
        await self.awaited({awaited})

{phase}
"""

PLAIN = "    async def {name}(self, {arguments}):\n        await self.pause()\n"
STREAM = ("    async def {name}(self, {arguments}):\n        async for chunk in chunks:\n"
          "            await self.pause()\n            yield chunk\n")
PIECES = ("    async def {name}(self, {arguments}):\n        self.tell('waits')\n        try:\n"
          "            async for chunk in chunks:\n                yield chunk\n"
          "        except BaseException as error:\n            self.tell(type(error).__name__)\n            raise\n")
AGAIN = "\n    def on_upstream_error(self, request, error):\n        return True\n"

ARGUMENTS = {
    "on_connection": "connection", "on_request": "request", "on_route": "request",
    "on_request_body": "request, body", "on_request_chunk": "request, chunk, last",
    "on_request_stream": "request, chunks", "on_request_trailers": "request, trailers",
    "on_upstream_error": "request, error", "on_retry": "request, attempt", "on_response": "request, response",
    "on_response_body": "request, response, body", "on_response_chunk": "request, response, chunk, last",
    "on_response_stream": "request, response, chunks", "on_response_trailers": "request, trailers",
    "on_complete": "request, outcome"}
AWAITED = {"sleep": "sleep(60)", "signal": "Signal()", "mesh": "self.mesh.get('silent', '/', timeout=60)"}

HEAD = b"POST /sick HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
END = b"0\r\nx-sum: 1\r\n\r\n"


class Talker:
    """An upstream that answers each request with a piece and, if told so, the end and a trailer."""

    def __init__(self, ends: bool) -> None:
        text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" + (END if ends else b"")

        class Talk(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                seen = b""
                with contextlib.suppress(ConnectionError):
                    while piece := self.request.recv(65536):
                        seen += piece
                        if b"\r\n0\r\n" in seen:
                            self.request.sendall(text)
                            seen = b""

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Kind(NamedTuple):
    """A filter that waits, and how long it may."""

    phase: str
    awaited: str
    timeout: str

    @property
    def name(self) -> str:
        return f"{self.phase}-{self.awaited}-{self.timeout}"

    @property
    def class_name(self) -> str:
        return self.name.title().replace("_", "").replace("-", "")

    @property
    def text(self) -> str:
        shape = PIECES if self.awaited == "pieces" else STREAM if self.phase.endswith("_stream") else PLAIN
        phase = shape.format(name=self.phase, arguments=ARGUMENTS[self.phase])
        return CLASS.format(name=self.class_name, awaited=AWAITED.get(self.awaited, "sleep(60)"),
                            phase=phase + (AGAIN if self.phase == "on_retry" else ""))

    @property
    def upstream(self) -> str:
        """Where nothing listens, for phases that come of that."""
        return "gone" if self.phase in ("on_upstream_error", "on_retry") else \
            "unending" if self.awaited == "pieces" else "ending"


WAITS = [(phase, "sleep") for phase in ARGUMENTS] + [
    (phase, awaited) for phase in ("on_request", "on_response", "on_request_stream", "on_response_stream")
    for awaited in ("signal", "mesh")]

# When on_complete is called there is no client any more that could leave.
LEFT = [*(one for one in WAITS if one[0] not in ("on_connection", "on_complete")), ("on_request_stream", "pieces"),
        ("on_response_stream", "pieces")]
KINDS = [*(Kind(*one, "60s") for one in LEFT), *(Kind("on_connection", one, "60s") for one in AWAITED),
         Kind("on_connection", "sleep", "600ms"), *(Kind(*one, "300ms") for one in WAITS)]


class Ward:
    """A proxy with one worker, and a listener for each kind of filter. All tests of an engine go to it: what one of
    them leaves behind is in the way of the next."""

    def __init__(self, directory: Path, reactor: str) -> None:
        (directory / "waits.py").write_text(FILTERS + "".join(kind.text for kind in KINDS))
        self.directory = directory
        self.origin, self.ending, self.unending = Origin(), Talker(True), Talker(False)
        # It takes connections and never says a word.
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.ports = {kind: free_port() for kind in KINDS}
        self.well = free_port()
        self.proxy = Sidecar(directory, {
            "listeners": [
                *({"name": kind.name, "address": f"127.0.0.1:{port}",
                   "filters": [{"name": kind.name, "use": f"{directory}/waits.py:{kind.class_name}",
                                "on_error": "closed", "timeout": kind.timeout,
                                "journal": str(self.journal_of(kind))}],
                   "routes": [{"match": {"prefix": "/"}, "cluster": kind.upstream}]}
                  for kind, port in self.ports.items()),
                {"name": "well", "address": f"127.0.0.1:{self.well}",
                 "routes": [{"match": {"prefix": "/"}, "cluster": "well"}]}],
            "clusters": [cluster("ending", self.ending.address), cluster("unending", self.unending.address),
                         cluster("gone", f"127.0.0.1:{free_port()}"), cluster("well", self.origin.address),
                         cluster("silent", f"127.0.0.1:{self.silent.getsockname()[1]}")]}, reactor, is_warm=True)
        self.proxy.start()

    def journal_of(self, kind: Kind) -> Path:
        return self.directory / f"{kind.name}.journal"

    def close(self) -> None:
        status = self.proxy.stop()
        for one in (self.origin, self.ending, self.unending, self.silent):
            one.close()
        assert status == 0, self.proxy.log


class Case:
    """One filter that waits, and what it says."""

    def __init__(self, ward: Ward, kind: Kind) -> None:
        self.kind = kind
        self.proxy = ward.proxy
        self.journal = ward.journal_of(kind)
        self.journal.write_text("")
        self.sick, self.well = ward.ports[kind], ward.well
        self.pid = self.proxy.workers()[0]["pid"]

    def words(self) -> list[str]:
        return self.journal.read_text().split()

    def asks(self, ends: bool = True) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.sick), timeout=10)
        client.sendall(HEAD + (END if ends else b""))
        until(lambda: "waits" in self.words(), "the filter waits")
        return client

    def is_well(self) -> None:
        """The worker is the same, and nothing is left in it of what has waited."""
        until(lambda: active(self) == 0, "its place is free")
        assert self.proxy.workers()[0]["pid"] == self.pid and self.proxy.workers()[0]["state"] == "serving"


@pytest.fixture(scope="module")
def wards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ward]]:
    made: dict[str, Ward] = {}

    def of(reactor: str) -> Ward:
        if reactor not in made:
            made[reactor] = Ward(tmp_path_factory.mktemp(reactor), reactor)
        return made[reactor]

    yield of
    for ward in made.values():
        ward.close()


@pytest.fixture
def begin(wards: Callable[[str], Ward], reactor: str) -> Callable[..., Case]:
    return lambda *kind: Case(wards(reactor), Kind(*kind))

def leave(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize(("phase", "awaited"), LEFT)
def test_a_client_that_leaves(begin: Callable[..., Case], phase: str, awaited: str) -> None:
    case = begin(phase, awaited, "60s")
    with Neighbour(case.well).asks():
        client = case.asks(ends=(phase, awaited) != ("on_request_stream", "pieces"))
        leave(client)
        until(lambda: len(case.words()) == 2, "the wait ends")
    assert case.words()[1] in ("Cancelled", "GeneratorExit")
    case.is_well()


def active(case: Case) -> int:
    return int(case.proxy.metrics()[f'fastmesh_listener_connections{{listener="{case.kind.name}"}}'])


@pytest.mark.parametrize("awaited", ["sleep", "signal", "mesh"])
def test_a_client_that_resets_before_it_is_let_in(begin: Callable[..., Case], awaited: str) -> None:
    """Nothing of what it has sent is read before `on_connection` has decided; that it left is noticed at once."""
    case = begin("on_connection", awaited, "60s")
    with Neighbour(case.well).asks():
        client = case.asks()
        assert active(case) == 1
        leave(client)
        until(lambda: len(case.words()) == 2, "the wait ends")
        until(lambda: active(case) == 0, "its place is free")
    assert case.words()[1] == "Cancelled"
    case.is_well()


def test_a_client_that_says_nothing_and_ends_before_it_is_let_in(begin: Callable[..., Case]) -> None:
    case = begin("on_connection", "sleep", "60s")
    with Neighbour(case.well).asks():
        client = socket.create_connection(("127.0.0.1", case.sick), timeout=10)
        until(lambda: "waits" in case.words(), "the filter waits")
        client.close()
        until(lambda: len(case.words()) == 2, "the wait ends")
        until(lambda: active(case) == 0, "its place is free")
    assert case.words()[1] == "Cancelled"
    case.is_well()


def test_a_client_that_ends_its_side_behind_a_request_has_not_left(begin: Callable[..., Case]) -> None:
    """It may wait for its answer, and while it has not been read nobody knows: the wait goes on to its own end."""
    case = begin("on_connection", "sleep", "600ms")
    with Neighbour(case.well).asks(), case.asks() as client:
        client.shutdown(socket.SHUT_WR)
        until(lambda: len(case.words()) == 2, "the wait ends")
    assert case.words()[1] == "FilterTimeout"
    case.is_well()


@pytest.mark.parametrize(("phase", "awaited"), WAITS)
def test_a_wait_that_is_too_long(begin: Callable[..., Case], phase: str, awaited: str) -> None:
    case = begin(phase, awaited, "300ms")
    with Neighbour(case.well).asks(), case.asks():
        until(lambda: len(case.words()) >= 2, "the wait ends")
    assert case.words()[1] == "FilterTimeout"
    case.is_well()
