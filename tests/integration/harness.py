"""Real processes for tests: a sidecar as operators run it, small origins, and callers that notice everything.

Nothing here sleeps to wait: `until` looks for a condition, again and again, with a limit.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any

from effort import IS_LONG
from integration import warm

FASTMESH = Path(sys.executable).parent / "fastmesh"
START_SECONDS = 20.0
STOP_SECONDS = 15.0

# Below the kernel's ephemeral range. A test process has a block of them to itself for as long as it lives: it holds the
# block's name, an abstract Unix-domain socket.
FIRST_PORT, BLOCK, BLOCKS = 20_000, 400, 30
_claim = socket.socket(socket.AF_UNIX)


def _own_ports() -> Iterator[int]:
    for block in range(BLOCKS):
        try:
            _claim.bind(f"\0fastmesh-test-ports-{block}")
        except OSError:
            continue
        return itertools.cycle(range(FIRST_PORT + block * BLOCK, FIRST_PORT + (block + 1) * BLOCK))
    raise AssertionError(f"{BLOCKS} test processes are running")


_ports = _own_ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens."""
    for port in itertools.islice(_ports, BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports of this process are in use")


def until(condition: Callable[[], Any], what: str = "", seconds: float = 10.0, drives: bool = False) -> Any:
    """The first true value of `condition`. Fails after `seconds`.

    The longer it takes the less often it is looked for: what waits for seconds leaves the processor to others, and is
    late by a twentieth at most. One that `drives` is called without end at the same pace: its calls are what makes it
    come true.
    """
    begun = monotonic()
    while not (value := condition()):
        waited = monotonic() - begun
        assert waited < seconds, f"not within {seconds:g} s: {what or condition}"
        threading.Event().wait(0.005 if drives else min(max(0.005, waited / 20), 0.05))
    return value


class Answer:
    """An HTTP answer, read to its end."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers      # names in lower case
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"",
        timeout: float = 10.0) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body or None, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Origin:
    """A small HTTP/1.1 server. It answers with its name; `/slow` holds the answer back until `release`."""

    def __init__(self, name: str = "origin", port: int = 0) -> None:
        self.name = name
        self.requests = 0
        self.held = 0                       # requests to /slow that wait now
        self.release = threading.Event()
        self._lock = threading.Lock()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_GET(self) -> None:
                origin.requests += 1
                if self.path.startswith("/slow"):
                    with origin._lock:
                        origin.held += 1
                    origin.release.wait(30)
                    with origin._lock:
                        origin.held -= 1
                length = int(self.headers.get("content-length", 0))
                if length:
                    self.rfile.read(length)
                body = origin.name.encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

        class Server(ThreadingHTTPServer):
            request_queue_size = 128        # else five: a handshake that finds no room is tried again after a second

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


def http_listener(port: int, cluster: str, name: str = "web", **more: Any) -> dict[str, Any]:
    return {"name": name, "address": f"127.0.0.1:{port}", "routes": [{"match": {"prefix": "/"}, "cluster": cluster}],
            **more}


def cluster(name: str, *endpoints: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "endpoints": list(endpoints), **more}


def config_of(port: int, origin: Origin, **more: Any) -> dict[str, Any]:
    """One listener, and one cluster of one endpoint."""
    return {"listeners": [http_listener(port, "app")], "clusters": [cluster("app", origin.address)], **more}


class Sidecar:
    """`fastmesh run` with a configuration of its own. Use it as a context manager, or start and stop it.

    `is_warm`: where nothing but its configuration is its own, it may be a copy of a control process that has imported
    all already. It is not the command, but all that comes behind it. `make test-long` starts the command always.
    """

    def __init__(self, directory: Path, config: dict[str, Any], reactor: str = "auto", is_warm: bool = False) -> None:
        self.directory = directory
        self.is_warm = is_warm
        self.path = directory / "mesh.yaml"
        self.log_path = directory / "stderr.log"
        self.stdout_path = directory / "stdout.log"
        self.reactor = reactor
        self.admin_port = free_port()
        self.process: subprocess.Popen[bytes] | warm.Copy | None = None
        self.env: dict[str, str] = {}
        self.wrapper: list[str] = []        # a command that runs the command after it
        self.options: list[str] = []        # of `fastmesh run`
        self.write(config)

    def write(self, config: dict[str, Any]) -> None:
        """Write the configuration, completed by the admin address and the reactor. JSON is YAML."""
        whole = {"admin": {"address": f"127.0.0.1:{self.admin_port}"}, "reactor": self.reactor, **config}
        self.write_text(json.dumps(whole, indent=1))

    def write_text(self, text: str) -> None:
        """As deployments do it: a new file takes the place of the old one at once."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def start(self, wait: bool = True) -> "Sidecar":
        with self.log_path.open("ab") as errors, self.stdout_path.open("ab") as output:
            if self.is_warm and not (IS_LONG or self.wrapper or self.options or self.env):
                self.process = warm.start(self.path, output, errors)
            else:
                self.process = subprocess.Popen([*self.wrapper, FASTMESH, "run", "-c", self.path, *self.options],
                                                stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                                env={**os.environ, **self.env})
        if wait:
            until(self.is_ready, "sidecar ready", START_SECONDS)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"fastmesh ended with {self.process.returncode}:\n{self.log}"
        try:
            return self.admin("/ready", timeout=2).status == 200
        except OSError:
            return False

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            where = self.where()
            self.kill_all()
            raise AssertionError(f"fastmesh did not end within {seconds:g} s:\n{where}\n{self.log}") from None

    def where(self) -> str:
        """What each of its processes is doing, as far as the kernel tells: for those that should not be there."""
        lines = []
        for pid in (self.pid, *self.descendants()):
            for name in ("comm", "wchan", "syscall", "stack"):
                with contextlib.suppress(OSError):
                    lines.append(f"{pid} {name}: {Path(f'/proc/{pid}/{name}').read_text().strip()}")
        return "\n".join(lines)

    def stop(self) -> int:
        """End it as a service manager does. Returns the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            self.wait()
        return self.process.returncode

    def kill_all(self) -> None:
        """The control process and all that it started."""
        assert self.process is not None
        pids = [self.pid, *self.descendants()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def descendants(self) -> list[int]:
        return children(self.pid)

    def __enter__(self) -> "Sidecar":
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self.process is not None and error[0] is not None:
            self.kill_all()
        else:
            self.stop()

    def admin(self, path: str, method: str = "GET", timeout: float = 30.0, **more: Any) -> Answer:
        return ask(self.admin_port, path, method, timeout=timeout, **more)

    def reload(self, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reload, after writing `config` if given; fails when it is refused. Returns what the API said."""
        if config is not None:
            self.write(config)
        answer = self.admin("/reload", "POST")
        assert answer.status == 200, answer.text
        took: dict[str, Any] = answer.json
        return took

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.admin("/workers").json
        return found

    def worker_pids(self) -> list[int]:
        return [w["pid"] for w in self.workers() if w["state"] == "serving"]

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.admin("/stats").json
        return found

    def metrics(self) -> dict[str, float]:
        """Name with labels → value."""
        return parse_metrics(self.admin("/metrics").text)

    @property
    def log(self) -> str:
        """What it said on stderr."""
        return self.log_path.read_text(errors="replace")

    def wait_log(self, pattern: str, count: int = 1, seconds: float = 10.0) -> None:
        """Until `count` matches of a regular expression are in the log."""
        until(lambda: len(re.findall(pattern, self.log)) >= count, f"{pattern!r} in the log:\n{self.log}", seconds)


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def parse_metrics(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return found


class Callers:
    """Clients that call without pause, each on a keep-alive connection, and write down everything that is not a 200."""

    def __init__(self, port: int, count: int = 4, path: str = "/") -> None:
        self.port = port
        self.path = path
        self.answers = 0
        self.bodies: set[bytes] = set()
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        self.more(1)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        assert error[0] is not None or not any(thread.is_alive() for thread in self._threads)

    def more(self, count: int, seconds: float = 15.0) -> None:
        """Until so many more calls have been answered."""
        goal = self.answers + count
        until(lambda: self.answers >= goal or self.failures, f"{count} more answers", seconds)

    def _call(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                while not self._stop.is_set():
                    connection.request("GET", self.path)
                    answer = connection.getresponse()
                    body = answer.read()
                    with self._lock:
                        self.answers += 1
                        self.bodies.add(body)
                        if answer.status != 200:
                            self.failures.append(f"{answer.status} {body[:200]!r}")
                            return
                    if answer.will_close:
                        break
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(f"{type(error).__name__}: {error}")
                return
            finally:
                connection.close()


@contextlib.contextmanager
def origins(*names: str) -> Iterator[list[Origin]]:
    made = [Origin(name) for name in names]
    try:
        yield made
    finally:
        for origin in made:
            origin.close()


def named_place(sidecar: Sidecar, text: str, path: str) -> str:
    """The value in the configuration's file that a message names as the place of `path`."""
    found = re.search(rf"{re.escape(str(sidecar.path))}:(\d+):(\d+): {re.escape(path)}: ", text)
    assert found is not None, text
    line, column = int(found[1]), int(found[2])
    value, _ = json.JSONDecoder().raw_decode(sidecar.path.read_text().splitlines()[line - 1], column - 1)
    assert isinstance(value, str)
    return value
