"""The worker under test. One process for each engine serves all tests of a pytest process, each with a snapshot of its
own; after each test everything that it held must have been given back."""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import msgpack
import pytest
from integration.peer import PATIENCE, Origin, Peer, connect

import fastmesh
from fastmesh._core.mem import counter
from fastmesh._core.worker import probe_engines
from fastmesh.snapshot.process import answer as compile_answer
from fastmesh.worker.packet import receive, send

ENGINES = probe_engines()
LAYOUT, GLOBALS = counter.LAYOUT, counter.GLOBALS
SERVE = Path(__file__).with_name("serve.py")
# What a worker may hold when nothing goes on: its own receive blocks.
RING_BLOCKS = {"epoll": {0, 1}, "io_uring": {(64 << k) + large for k in range(5) for large in (0, 8, 16)}}
ROW_GAUGES = {"active", "pending", "connections", "ewma_ns", "avoid_until_ns"}


def until(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`."""
    end = monotonic() + seconds
    while not (value := condition()):
        assert monotonic() < end, f"not within {seconds:g} s: {what or condition}"
        threading.Event().wait(0.002)
    return value


def elapse(seconds: float) -> None:
    """Lets a time limit pass, in tests of what must not happen when it does. Never used to wait for something."""
    threading.Event().wait(seconds)


class Process:
    """A process with one worker."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.version = 0
        self.registry: Any = None
        self.stats = os.memfd_create("stats")
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = mine
        mine.settimeout(PATIENCE)
        packages = [str(Path(module.__file__ or "").parents[1]) for module in (fastmesh, msgpack)]
        with its:
            self.child = subprocess.Popen(
                [sys.executable, "-S", str(SERVE), engine, str(its.fileno()), str(self.stats), *packages],
                pass_fds=(its.fileno(), self.stats), stdin=subprocess.DEVNULL)
        hello = self.reply()
        assert hello["engine"] == engine
        self.live_at_start: dict[str, int] = hello["live"]

    def reply(self) -> dict[str, Any]:
        try:
            packet = receive(self.control)
        except (TimeoutError, ConnectionError) as error:
            raise AssertionError(f"the worker process does not answer: {error}; {self.how()}") from None
        assert packet is not None, f"the worker process has ended: {self.how()}"
        return packet[0]

    def how(self) -> str:
        try:
            return f"status {self.child.wait(1)}"
        except subprocess.TimeoutExpired:
            return "it still runs"

    def tell(self, op: str, fds: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
        try:
            send(self.control, {"op": op, **more}, fds)
        except ConnectionError:
            raise AssertionError(f"the worker process has ended: {self.how()}") from None
        return self.reply()

    def live(self) -> dict[str, int]:
        held: dict[str, int] = self.tell("live")["live"]
        return held

    def counters(self) -> dict[str, int]:
        raw = os.pread(self.stats, 8 * len(GLOBALS), LAYOUT["globals"])
        return dict(zip(GLOBALS, array.array("Q", raw), strict=True))

    def row(self, kind: str, number: int, columns: tuple[str, ...]) -> dict[str, int]:
        at = LAYOUT[f"{kind}s"] + number * LAYOUT[f"{kind}_stride"]
        return dict(zip(columns, array.array("Q", os.pread(self.stats, 8 * len(columns), at)), strict=True))

    @property
    def cpu_seconds(self) -> float:
        words = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> int:
        """Private bytes."""
        rollup = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Private_"))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The worker stands still, and finds what happens meanwhile all at once, in this order."""
        os.kill(self.child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.child.pid, os.WSTOPPED)
        try:
            yield
        finally:
            os.kill(self.child.pid, signal.SIGCONT)

    def log_lines(self) -> list[str]:
        """Takes what is in the ring of the access log, as control does."""
        head = self._word("log_head")
        tail = self._word("log_tail")
        size, at = LAYOUT["log_size"], tail % LAYOUT["log_size"]
        first = os.pread(self.stats, min(head - tail, size - at), LAYOUT["log_bytes"] + at)
        text = first + os.pread(self.stats, head - tail - len(first), LAYOUT["log_bytes"])
        os.pwrite(self.stats, head.to_bytes(8, "little"), LAYOUT["log_tail"])
        return text.decode().splitlines()

    def _word(self, name: str) -> int:
        return int.from_bytes(os.pread(self.stats, 8, LAYOUT[name]), "little")

    def is_alive(self) -> bool:
        return self.child.poll() is None

    def close(self) -> int:
        """Ends it; a worker that holds on to anything, or breaks while it takes itself down, says so by its status."""
        self.control.close()
        os.close(self.stats)
        try:
            return self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError("the worker process did not end") from None


class Mesh:
    """A worker process with the configuration of one test."""

    def __init__(self, process: Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        self.engine = process.engine
        self.addresses: dict[str, tuple[str, int] | str] = {}
        self.listeners: dict[str, int] = {}         # numbers
        self.clusters: dict[str, int] = {}
        self.endpoints: dict[tuple[str, str], int] = {}
        self.opened: list[Peer] = []
        self.origins: list[Origin] = []
        self.before = process.counters()
        self.blocks_before = process.live()["blocks"]
        process.log_lines()
        self.rows_before: dict[tuple[str, int], dict[str, int]] = {}

    # --- set-up ---

    def origin(self, family: str = "4", backlog: int = 128) -> Origin:
        made = Origin(family, self.directory, backlog)
        self.origins.append(made)
        return made

    def configure(self, config: dict[str, Any]) -> None:
        """Makes a configuration live. A listener's address says the family; where it listens is chosen here."""
        with contextlib.ExitStack() as stack:
            self._configure({"listeners": [], "admin": {"address": "127.0.0.1:1"}, **config}, stack)

    def _configure(self, config: dict[str, Any], stack: contextlib.ExitStack) -> None:
        sockets = []
        for i, listener in enumerate(config["listeners"]):
            if listener["name"] not in self.addresses:
                kind = listener.pop("family", "4")
                sock = stack.enter_context(
                    socket.socket({"4": socket.AF_INET, "6": socket.AF_INET6, "unix": socket.AF_UNIX}[kind]))
                if kind == "unix":
                    sock.bind(str(self.directory / f"{listener['name']}.sock"))
                else:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("::1" if kind == "6" else "127.0.0.1", 0))
                sock.listen(4096)
                self.addresses[listener["name"]] = sock.getsockname()[:2] if kind != "unix" else sock.getsockname()
                sockets.append((listener["name"], sock))
            listener.pop("family", None)
            listener["address"] = f"127.0.0.1:{i + 2}"
        path = self.directory / "mesh.yaml"
        path.write_text(json.dumps(config))
        self.process.version += 1
        found = compile_answer({"file": str(path), "registry": self.process.registry, "env": {},
                                "version": self.process.version})
        assert found["ok"], found["text"]
        self.process.registry = found["registry"]
        self.listeners = {listener["name"]: listener["id"] for listener in found["listeners"]}
        self.clusters = {cluster["name"]: cluster["id"] for cluster in found["clusters"]}
        self.endpoints = {(cluster["name"], endpoint["address"]): endpoint["row"]
                          for cluster in found["clusters"] for endpoint in cluster["endpoints"]}
        for kind, numbers, columns in self._rows():
            for number in numbers:
                self.rows_before.setdefault((kind, number), self.process.row(kind, number, columns))
        for name, sock in sockets:
            self.process.tell("listen", (sock.fileno(),), ids=[self.listeners[name]])
        for gone in set(self.addresses) - set(self.listeners):
            del self.addresses[gone]
        memory = os.memfd_create("snapshot")
        try:
            os.pwrite(memory, found["snapshot"], 0)
            reply = self.process.tell("snapshot", (memory,), size=len(found["snapshot"]))
        finally:
            os.close(memory)
        assert reply["op"] == "done", reply["why"]

    def http(self, *endpoints: Origin | str, cluster: dict[str, Any] | None = None, log: str = "",
             **listener: Any) -> None:
        """The usual one: a listener "web" that passes everything to a cluster "app"."""
        config = {"listeners": [http_listener(**listener)], "clusters": [app(*endpoints, **(cluster or {}))]}
        if log:
            config["access_log"] = {"format": "text", "template": log}  # type: ignore[assignment]
        self.configure(config)

    def tcp(self, *endpoints: Origin | str, cluster: dict[str, Any] | None = None, **listener: Any) -> None:
        self.configure({"listeners": [{"name": "web", "protocol": "tcp", "cluster": "app", **listener}],
                        "clusters": [app(*endpoints, **(cluster or {}))]})

    # --- use ---

    def connect(self, listener: str = "web", source: str | None = None) -> Peer:
        """A client. The kernel completes the connection; whether the worker has taken it is another question."""
        made = connect(self.addresses[listener], source)
        self.opened.append(made)
        return made

    def count(self, name: str) -> int:
        """How far a counter has come in this test; a gauge as it is."""
        now = self.process.counters()[name]
        return now if name in counter.GAUGES else now - self.before[name]

    def counts(self, *names: str) -> dict[str, int]:
        return {name: self.count(name) for name in names}

    def cluster(self, name: str = "app") -> dict[str, int]:
        return self._row("cluster", self.clusters[name], counter.CLUSTER_COLUMNS)

    def endpoint(self, origin: Origin, cluster: str = "app") -> dict[str, int]:
        return self._row("endpoint", self.endpoints[cluster, origin.address], counter.ENDPOINT_COLUMNS)

    def listener(self, name: str = "web") -> dict[str, int]:
        return self._row("listener", self.listeners[name], counter.LISTENER_COLUMNS)

    def _row(self, kind: str, number: int, columns: tuple[str, ...]) -> dict[str, int]:
        before = self.rows_before[kind, number]
        return {name: value if name in ROW_GAUGES else value - before[name]
                for name, value in self.process.row(kind, number, columns).items()}

    def _rows(self) -> list[tuple[str, list[int], tuple[str, ...]]]:
        return [("listener", list(self.listeners.values()), counter.LISTENER_COLUMNS),
                ("cluster", list(self.clusters.values()), counter.CLUSTER_COLUMNS),
                ("endpoint", list(self.endpoints.values()), counter.ENDPOINT_COLUMNS)]

    def until_count(self, name: str, value: int = 1) -> None:
        until(lambda: self.count(name) >= value, f"{name} at {value}, it is {self.count(name)}")

    def until_gauge(self, name: str, value: int) -> None:
        until(lambda: self.count(name) == value, f"{name} is {value}, not {self.count(name)}")

    def live(self) -> dict[str, int]:
        return self.process.live()

    def more_blocks(self) -> int:
        """Blocks held beyond those before the test: io_uring's rings may have grown in an earlier one."""
        return self.live()["blocks"] - self.blocks_before

    def logged(self, n: int = 1) -> list[str]:
        """The next n lines of the access log."""
        lines: list[str] = []

        def look() -> bool:
            lines.extend(self.process.log_lines())
            return len(lines) >= n
        until(look, f"{n} log lines")
        assert len(lines) == n, lines
        return lines

    @staticmethod
    def is_past(at_ns: int) -> bool:
        return monotonic() * 1e9 > at_ns

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        return self.process.frozen()

    # --- the end ---

    def close(self) -> None:
        """Ends all that the test has begun. What the worker holds then is a leak."""
        for end in (*self.opened, *self.origins):
            end.close()
        if not self.process.is_alive():
            raise AssertionError(f"the worker has ended during the test: {self.process.how()}")
        self.configure({})
        end = monotonic() + PATIENCE
        while held := self.leaks():
            assert monotonic() < end, f"held at the end of the test: {held}"
            threading.Event().wait(0.002)

    def leaks(self) -> dict[str, int]:
        held = self.live()
        start = self.process.live_at_start
        wrong = {name: held[name] for name in ("connections", "streams", "upstreams", "relays", "idle", "slices")
                 if held[name]}
        if held["ios"] != start["ios"]:
            wrong["ios"] = held["ios"] - start["ios"]
        if held["timers"] != start["timers"]:
            wrong["timers"] = held["timers"] - start["timers"]
        if held["blocks"] not in RING_BLOCKS[self.engine]:
            wrong["blocks"] = held["blocks"]
        gauges = self.process.counters()
        for name in ("downstream_connections", "upstream_connections", "streams"):
            if gauges[name]:
                wrong[name] = gauges[name]
        return wrong


def app(*endpoints: Origin | str, name: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "endpoints": [e if isinstance(e, str) else e.address for e in endpoints], **more}


def http_listener(name: str = "web", cluster: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "routes": [{"match": {"prefix": "/"}, "cluster": cluster}], **more}


# --- fixtures ---

_processes: dict[str, Process] = {}


@pytest.fixture(scope="session")
def _shared() -> Iterator[dict[str, Process]]:
    yield _processes
    statuses = {engine: process.close() for engine, process in _processes.items()}
    _processes.clear()
    assert not any(statuses.values()), statuses


@pytest.fixture(params=["io_uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each reactor engine in turn."""
    if ENGINES[request.param] != "ok":
        pytest.skip(f"{request.param}: {ENGINES[request.param]}")
    return str(request.param)


@pytest.fixture
def mesh(engine: str, tmp_path: Path, _shared: dict[str, Process]) -> Iterator[Mesh]:
    """A worker without configuration. Afterwards it must hold nothing."""
    process = _shared.get(engine)
    if process is None:
        process = _shared[engine] = Process(engine)
    made = Mesh(process, tmp_path)
    try:
        yield made
        made.close()
    except BaseException:
        # The next test gets a fresh one: this one's state is not to be trusted.
        _retire(_shared, engine, made)
        raise
    if not process.is_alive():
        _retire(_shared, engine, made)


@pytest.fixture
def own_mesh(engine: str, tmp_path: Path) -> Iterator[Mesh]:
    """A worker in a process of its own, for tests that leave it unfit for others."""
    process = Process(engine)
    made = Mesh(process, tmp_path)
    try:
        yield made
        if process.is_alive():
            made.close()
            assert process.close() == 0
    finally:
        _end(made)


def _retire(shared: dict[str, Process], engine: str, made: Mesh) -> None:
    shared.pop(engine, None)
    _end(made)


def _end(made: Mesh) -> None:
    for end in (*made.opened, *made.origins):
        end.close()
    if made.process.is_alive():
        made.process.child.kill()
    made.process.child.wait()
    made.process.control.close()
