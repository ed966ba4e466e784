"""Filters that wait in each phase for each thing that may be awaited, and are cancelled there: by a client that leaves,
by their timeout. All other traffic of the same worker notices nothing."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adversity.test_bad_filters import Neighbour
from integration.harness import Origin, Sidecar, cluster, free_port, until

Start = Callable[..., Sidecar]

FILTER = """
from fastmesh import Filter, Signal, sleep


class Waits(Filter):
    def tell(self, word):
        with open({journal!r}, "a") as journal:
            journal.write(word + "\\n")

    async def pause(self):
        self.tell("waits")
        try:
            await {awaited}
        except BaseException as error:
            self.tell(type(error).__name__)
            raise

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
    """An upstream that answers each connection once, with a piece and, if told so, the end and a trailer."""

    def __init__(self, ends: bool) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" + (END if ends else b"")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        held = []
        while True:
            one, _ = self._socket.accept()
            held.append(one)
            seen = b""
            while b"\r\n0\r\n" not in seen and (piece := one.recv(65536)):
                seen += piece
            if not seen:
                break       # `close` has called
            one.sendall(self._answer)
        for one in held:
            one.close()

    def close(self) -> None:
        port = int(self.address.rsplit(":", 1)[1])
        socket.create_connection(("127.0.0.1", port)).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """An upstream that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield f"127.0.0.1:{one.getsockname()[1]}"


class Case:
    """One proxy with a listener for the filter and another for the neighbour."""

    def __init__(self, sidecar: Start, origin: Origin, silent: str, tmp_path: Path, phase: str, awaited: str,
                 timeout: str, upstream: str) -> None:
        self.journal = tmp_path / "journal"
        self.journal.touch()
        shape = PIECES if awaited == "pieces" else STREAM if phase.endswith("_stream") else PLAIN
        text = shape.format(name=phase, arguments=ARGUMENTS[phase]) + (AGAIN if phase == "on_retry" else "")
        path = tmp_path / "waits.py"
        path.write_text(FILTER.format(journal=str(self.journal), phase=text, awaited=AWAITED.get(awaited, "sleep(60)")))
        self.sick, self.well = free_port(), free_port()
        self.proxy = sidecar({
            "listeners": [
                {"name": "sick", "address": f"127.0.0.1:{self.sick}",
                 "filters": [{"use": f"{path}:Waits", "on_error": "closed", "timeout": timeout}],
                 "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]},
                {"name": "well", "address": f"127.0.0.1:{self.well}",
                 "routes": [{"match": {"prefix": "/"}, "cluster": "well"}]}],
            "clusters": [cluster("app", upstream), cluster("well", origin.address), cluster("silent", silent)]})
        self.pid = self.proxy.workers()[0]["pid"]

    def words(self) -> list[str]:
        return self.journal.read_text().split()

    def asks(self, ends: bool = True) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.sick), timeout=10)
        client.sendall(HEAD + (END if ends else b""))
        until(lambda: "waits" in self.words(), "the filter waits")
        return client

    def is_well(self) -> None:
        assert self.proxy.workers()[0]["pid"] == self.pid and self.proxy.workers()[0]["state"] == "serving"


def upstream_of(phase: str) -> str | None:
    """Where nothing listens, for phases that come of that."""
    return f"127.0.0.1:{free_port()}" if phase in ("on_upstream_error", "on_retry") else None


@pytest.fixture
def begin(sidecar: Start, origin: Origin, silent: str, tmp_path: Path) -> Iterator[Callable[..., Case]]:
    talkers: list[Talker] = []

    def one(phase: str, awaited: str, timeout: str, ends: bool = True) -> Case:
        upstream = upstream_of(phase)
        if upstream is None:
            talkers.append(Talker(ends))
            upstream = talkers[-1].address
        return Case(sidecar, origin, silent, tmp_path, phase, awaited, timeout, upstream)

    yield one
    for talker in talkers:
        talker.close()


WAITS = [(phase, "sleep") for phase in ARGUMENTS] + [
    (phase, awaited) for phase in ("on_request", "on_response", "on_request_stream", "on_response_stream")
    for awaited in ("signal", "mesh")]


def leave(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


# When on_complete is called there is no client any more that could leave.
@pytest.mark.parametrize(("phase", "awaited"), [
    *(one for one in WAITS if one[0] not in ("on_connection", "on_complete")), ("on_request_stream", "pieces"),
    ("on_response_stream", "pieces")])
def test_a_client_that_leaves(begin: Callable[..., Case], phase: str, awaited: str) -> None:
    case = begin(phase, awaited, "60s", ends=awaited != "pieces")
    with Neighbour(case.well).asks():
        client = case.asks(ends=(phase, awaited) != ("on_request_stream", "pieces"))
        leave(client)
        until(lambda: len(case.words()) == 2, "the wait ends")
    assert case.words()[1] in ("Cancelled", "GeneratorExit")
    case.is_well()


def active(case: Case) -> int:
    return int(case.proxy.metrics()['fastmesh_listener_connections{listener="sick"}'])


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
