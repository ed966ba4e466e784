"""Filters that misbehave in each phase, in their worker and in a process of their own: every request of theirs gets
what `on_error` says, and all other traffic of the same worker notices nothing."""

import re
import socket
import socketserver
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from adversity.test_bad_filters import Neighbour
from adversity.test_cancelled_filters import ARGUMENTS, END, HEAD, leave
from effort import IS_LONG
from integration.conftest import ENGINES
from integration.harness import Origin, Sidecar, cluster, free_port, is_alive, until
from integration.test_isolated import comm

FILTERS = '''
import asyncio, sys, time

from fastmesh import Filter, ViewClosed


class Sick(Filter):
    """Does what the last part of the path says."""

    journal: str = ""

    def start(self):
        self.kept = []

    def tell(self, *words):
        with open(self.journal, "a") as journal:
            print(*words, file=journal)

    def act(self, what, *views):
        if what == "Raise":
            raise ValueError("no")
        if what == "Recurse":
            self.act(what)
        if what == "WrongType":
            return {"status": 200}
        if what == "Exit":
            sys.exit(1)
        if what == "Interrupt":
            raise KeyboardInterrupt
        if what == "Hang":
            while True:
                pass
        if what == "Block":
            time.sleep(60)
        if what == "Allocate":
            held = []
            while len(held) < 30_000:
                held.append(b"x" * (1 << 16))
            time.sleep(60)
        if what == "Keep":
            self.keep(views)
        return None

    def keep(self, views):
        """Of an exchange that is over what was kept is closed, or what it was."""
        of = views[0]
        for was_of, look, seen in self.kept:
            if was_of is of:
                continue
            try:
                now = look()
            except ViewClosed:
                continue
            if seen is None or now != seen:
                raise AssertionError(f"a view of an exchange that is over gave {now!r} and not {seen!r}")
        self.kept = []
        if hasattr(of, "path"):
            headers, labels = of.headers, of.labels
            self.kept += [(of, lambda: of.path, None), (of, lambda: headers["host"], None),
                          (of, lambda: dict(labels), dict(labels))]
        for view in views[1:]:
            if type(view).__name__ == "Response":
                self.kept += [(of, lambda view=view: view.headers.fields(), None),
                              (of, lambda view=view: view.status, view.status)]
            elif type(view).__name__ == "Headers":      # trailers
                self.kept.append((of, lambda view=view: dict(view), dict(view)))

    async def wait(self, phase):
        self.tell(phase, "waits")
        try:
            await asyncio.sleep(60)
        except BaseException as error:
            self.tell(phase, type(error).__name__)
            raise

'''
PLAIN = """
class Sick_{name}(Sick):
    def {name}(self, {arguments}):
        return self.act({what}, {arguments})
{more}

class Waits_{name}(Sick):
    async def {name}(self, {arguments}):
        await self.wait({name!r})
{more}
"""
STREAM = """
class Sick_{name}(Sick):
    async def {name}(self, {arguments}):
        what = {what}
        async for chunk in chunks:
            yield chunk if what == "End" else self.act(what, {views}) or chunk
        if what == "End":
            raise ValueError("at the end")


class Waits_{name}(Sick):
    async def {name}(self, {arguments}):
        async for chunk in chunks:
            await self.wait({name!r})
            yield chunk
"""
# What comes of a failed attempt. The upstream answers 500 there, and the second attempt is the last.
AGAIN = {"on_upstream_error": "",
         "on_retry": "\n    def on_upstream_error(self, request, error):\n        return error.attempt < 2\n"}


def source() -> str:
    text = FILTERS
    for name, arguments in ARGUMENTS.items():
        what = ("connection.listener.rpartition('-')[2]" if name == "on_connection" else
                "request.path.rpartition('/')[2]")
        text += (STREAM if name.endswith("_stream") else PLAIN).format(
            name=name, arguments=arguments, views=arguments.removesuffix(", chunks"), what=what,
            more=AGAIN.get(name, ""))
    return text


class Chunked(socketserver.StreamRequestHandler):
    """An upstream that reads a request to its end, and answers in chunks; with 500 where retries are at stake."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            fields = self.block()
            self.rfile.read(int(fields.get(b"content-length", 0)))
            if b"transfer-encoding" in fields:
                while size := int(self.rfile.readline() or b"0", 16):
                    self.rfile.read(size + 2)
                self.block()
            status = b"500 No" if any(phase.encode() in line for phase in AGAIN) else b"200 OK"
            self.wfile.write(b"HTTP/1.1 %b\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n" % status + END)

    def block(self) -> dict[bytes, bytes]:
        """Fields, to the empty line."""
        found = {}
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            found[name.lower()] = value
        return found


class Upstream(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


FAILS = ["Raise", "Recurse", "WrongType", "Exit", "Interrupt"]
STUCK = ["Hang", "Block", "Allocate"]       # until it is interrupted, in the worker; in a host until that is killed
PLACES = ["inline", "isolated"]
# What filters of one kind have in common, and what is asked of them when a client connects.
KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "closed": ({"on_error": "closed"}, FAILS + STUCK),
    "open": ({"on_error": "open"}, ["Raise"]),
    "patient": ({"on_error": "closed", "budget": "5s", "timeout": "30s"}, ["Keep"]),
    "waits": ({"on_error": "closed", "timeout": "60s"}, ["Wait"]),
    "short": ({"on_error": "closed", "timeout": "300ms"}, ["Wait"]),
}
# A host is ended when it stands still for longer than the longest of the timeouts in it, and a second.
FRAIL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "closed": ({"on_error": "closed", "timeout": "100ms"}, ["Block", "Allocate"])}
BARE = b"GET /sick HTTP/1.1\r\nhost: x\r\n\r\n"      # what may be sent again


class Ward:
    """A proxy with filters for all phases in both places, and a listener without filters for the neighbour."""

    def __init__(self, directory: Path, reactor: str, kinds: dict[str, tuple[dict[str, Any], list[str]]],
                 upstream: str, well: str) -> None:
        self.kinds = kinds
        self.journal = directory / "journal"
        self.journal.touch()
        (directory / "sick.py").write_text(source())
        self.ports = {"well": free_port(), "web": free_port()}
        listeners = [{"name": "well", "address": f"127.0.0.1:{self.ports['well']}",
                      "routes": [{"match": {"prefix": "/"}, "cluster": "well"}]}]
        routes = []
        for kind, (_, at_connections) in kinds.items():
            for place in PLACES:
                for what in at_connections:
                    name = f"{kind}-{place}-{what}"
                    self.ports[name] = free_port()
                    listeners.append({
                        "name": name, "address": f"127.0.0.1:{self.ports[name]}",
                        "filters": [self.filter(kind, place, "on_connection", f"-{what}")],
                        "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]})
                for phase in ARGUMENTS:
                    if phase != "on_connection":
                        routes.append({"match": {"prefix": f"/{kind}/{place}/{phase}"}, "cluster": "app",
                                       "filters": [self.filter(kind, place, phase)]})
        listeners.append({"name": "web", "address": f"127.0.0.1:{self.ports['web']}", "routes": routes})
        self.proxy = Sidecar(directory, {"listeners": listeners, "drain_timeout": "5s", "clusters": [
            cluster("app", upstream), cluster("well", well)]}, reactor)

    def filter(self, kind: str, place: str, phase: str, more: str = "") -> dict[str, Any]:
        of = "Waits" if kind in ("waits", "short") else "Sick"
        return {"name": f"{kind}-{place}-{phase}{more}", "use": f"./sick.py:{of}_{phase}",
                "isolated": place == "isolated", "journal": str(self.journal), "quarantine": {"failures": 1_000_000},
                **self.kinds[kind][0]}

    def asks(self, kind: str, place: str, phase: str, what: str) -> socket.socket:
        """A client that has sent all of its request."""
        port = self.ports[f"{kind}-{place}-{what}" if phase == "on_connection" else "web"]
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        target = f"/{kind}/{place}/{phase}/{what}".encode()
        whole = BARE if phase in AGAIN else HEAD + END
        client.sendall(whole.replace(b"/sick", target).replace(b"host: x", b"host: x\r\nconnection: close"))
        return client

    def outcome(self, *case: str) -> str:
        with self.asks(*case) as client:
            return outcome(client)

    def failures(self, kind: str, place: str) -> dict[str, float]:
        """By phase."""
        found: dict[str, float] = {}
        for name, value in self.proxy.metrics().items():
            known = re.fullmatch(r'fastmesh_filter_errors_total\{filter="(\w+)-(\w+)-(\w+)[^"]*",phase="\w+"\}', name)
            if known and value and (known[1], known[2]) == (kind, place):
                found[known[3]] = found.get(known[3], 0) + value
        return found

    def pids(self) -> set[int]:
        return set(self.proxy.descendants())

    def host(self) -> int:
        """The pid of the isolated filters' process."""
        (pid,) = [pid for pid in self.pids() if comm(pid) == "fastmesh-filter"]
        return pid


def outcome(client: socket.socket) -> str:
    """The status of an answer, "cut" when its end is missing, "closed" where there is none."""
    seen = b""
    try:
        while piece := client.recv(65536):
            seen += piece
    except ConnectionError:
        pass
    if not seen:
        return "closed"
    head, _, body = seen.partition(b"\r\n\r\n")
    is_cut = b"chunked" in head and not re.search(rb"(^|\r\n)0\r\n(.+\r\n)*\r\n$", body)
    return "cut" if is_cut else head.split()[1].decode()


@contextmanager
def running(request: pytest.FixtureRequest, directory: Path,
            kinds: dict[str, tuple[dict[str, Any], list[str]]]) -> Iterator[Ward]:
    with ExitStack() as stack:
        well = Origin()
        stack.callback(well.close)
        upstream = stack.enter_context(Upstream(("127.0.0.1", 0), Chunked))
        thread = Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stack.callback(thread.join)
        stack.callback(upstream.shutdown)
        made = Ward(directory, request.param, kinds, f"127.0.0.1:{upstream.server_address[1]}", well.address)
        with made.proxy:
            yield made
        assert made.proxy.process is not None and made.proxy.process.returncode == 0, made.proxy.log


# On one engine: none of this is about the engines, though both should be seen with it.
THOSE = [engine for engine in ("io_uring", "epoll") if ENGINES[engine] == "ok"]


# One for many tests: it takes a second to start so many filters.
@pytest.fixture(scope="module", params=THOSE if IS_LONG else THOSE[:1])
def ward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with running(request, tmp_path_factory.mktemp("ward"), KINDS) as made:
        yield made


# One for each test: where hosts die again and again the next one is started later.
@pytest.fixture(params=THOSE if IS_LONG else THOSE[-1:])
def frail(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ward]:
    with running(request, tmp_path, FRAIL) as made:
        yield made


def expected(on_error: str) -> dict[str, str]:
    """By phase: what the client gets when the filter of this phase fails."""
    if on_error == "open":
        # What a stream had taken of a body is lost: there is no going on as if nothing had been.
        own = {"on_request_stream": "503", "on_response_stream": "cut"}
        return {phase: own.get(phase, "500" if phase in AGAIN else "200") for phase in ARGUMENTS}
    own = {"on_connection": "closed", "on_upstream_error": "500", "on_response_chunk": "cut",
           "on_response_stream": "cut", "on_response_trailers": "cut", "on_complete": "200"}
    return {phase: own.get(phase, "503") for phase in ARGUMENTS}


def fails(ward: Ward, kind: str, place: str, what: str, phases: Collection[str] = tuple(ARGUMENTS)) -> None:
    """Each of these phases does so, with other traffic: everybody gets his due, and it is counted."""
    before, pids = ward.failures(kind, place), ward.pids()

    def counted() -> dict[str, float]:
        return {phase: n - before.get(phase, 0) for phase, n in ward.failures(kind, place).items()
                if n > before.get(phase, 0)}

    with Neighbour(ward.ports["well"]).asks():
        found = {phase: ward.outcome(kind, place, phase, what) for phase in phases}
        assert found == {phase: status for phase, status in expected(kind).items() if phase in phases}
        # A filter that is told of the end behind the answer, in another process, may still be at it.
        until(lambda: len(counted()) == len(phases), "it is counted")
    # Goes on after the first of its two calls.
    twice = {"on_request_chunk", "on_response_chunk"} if kind == "open" else ()
    assert counted() == {phase: 2 if phase in twice else 1 for phase in phases}
    assert ward.pids() == pids


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("what", "kind"), [*((what, "closed") for what in FAILS), ("Raise", "open")])
def test_a_phase_that_fails(ward: Ward, place: str, what: str, kind: str) -> None:
    fails(ward, kind, place, what)


@pytest.mark.parametrize("what", STUCK)
def test_a_phase_that_does_not_end(ward: Ward, what: str) -> None:
    fails(ward, "closed", "inline", what)


@pytest.mark.parametrize("place", PLACES)
def test_a_stream_that_fails_at_its_end(ward: Ward, place: str) -> None:
    fails(ward, "closed", place, "End", ("on_request_stream", "on_response_stream"))


@pytest.mark.parametrize("place", PLACES)
def test_views_that_are_kept(ward: Ward, place: str) -> None:
    with Neighbour(ward.ports["well"]).asks():
        for _ in range(3):
            found = {phase: ward.outcome("patient", place, phase, "Keep") for phase in ARGUMENTS}
            assert found == {phase: "500" if phase in AGAIN else "200" for phase in ARGUMENTS}
    assert ward.failures("patient", place) == {}


# A host is one process: what stands still in one phase stands still in all, and one or two tell it.
@pytest.mark.parametrize(("phase", "what"), [
    *((phase, "Block") for phase in (ARGUMENTS if IS_LONG else ("on_connection", "on_response_stream"))),
    *((phase, "Allocate") for phase in (("on_request_body", "on_complete") if IS_LONG else ()))])
def test_a_phase_that_holds_its_host(frail: Ward, phase: str, what: str) -> None:
    gone = frail.host()
    with Neighbour(frail.ports["well"]).asks():
        assert frail.outcome("closed", "isolated", phase, what) == expected("closed")[phase]
        until(lambda: not is_alive(gone), "its end")
        until(lambda: frail.outcome("closed", "isolated", "on_request", "Nothing") == "200", "another host")
    assert frail.host() != gone


def words(ward: Ward) -> dict[str, list[str]]:
    """By phase: what it has written."""
    found: dict[str, list[str]] = {}
    for line in ward.journal.read_text().splitlines():
        phase, word = line.split()
        found.setdefault(phase, []).append(word)
    return found


def ends(ward: Ward, kind: str, place: str, leaves: bool) -> dict[str, set[str]]:
    """All phases wait, at the same time. By phase: how that ended."""
    ward.journal.write_text("")
    with Neighbour(ward.ports["well"]).asks(), ExitStack() as stack:
        # When on_complete is called there is no client any more that could leave.
        phases = [phase for phase in ARGUMENTS if phase != "on_complete" or not leaves]
        clients = [stack.enter_context(ward.asks(kind, place, phase, "Wait")) for phase in phases]
        until(lambda: len(words(ward)) == len(phases), "all of them wait")
        if leaves:
            assert all(said == ["waits"] for said in words(ward).values()), words(ward)
            for client in clients:
                leave(client)
        until(lambda: all(len(said) > 1 for said in words(ward).values()), "all waits end")
        if not leaves:
            found = {phase: outcome(client) for phase, client in zip(phases, clients, strict=True)}
            assert found == expected("closed")
    return {phase: set(said) - {"waits"} for phase, said in words(ward).items()}


def test_clients_that_leave_phases_in_a_host(ward: Ward) -> None:
    found = ends(ward, "waits", "isolated", leaves=True)
    assert all(how <= {"CancelledError", "GeneratorExit"} for how in found.values()), found
    assert ward.failures("waits", "isolated") == {}


def test_waits_in_a_host_that_are_too_long(ward: Ward) -> None:
    before = ward.pids()
    found = ends(ward, "short", "isolated", leaves=False)
    assert all(how <= {"CancelledError", "GeneratorExit"} for how in found.values()), found
    assert ward.failures("short", "isolated") == dict.fromkeys(ARGUMENTS, 1)
    assert ward.pids() == before


def test_nothing_is_left(ward: Ward) -> None:
    """Stands last: no connection and no exchange of all those."""
    def left() -> dict[str, float]:
        return {name: value for name, value in ward.proxy.metrics().items() if value and name.startswith((
            "fastmesh_listener_connections{", "fastmesh_streams", "fastmesh_filter_in_flight"))}
    until(lambda: not left(), "nothing is left")
