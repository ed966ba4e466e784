"""A real proxy for a test: `fastmesh run` with one worker, an origin behind it, on ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, TypedDict, Unpack

from fastmesh.filters.filter import Filter
from fastmesh.testing.message import (
    FieldsLike,
    Incomplete,
    Message,
    body_of,
    pairs_of,
    read,
    request_line,
    write,
)
from fastmesh.testing.origin import Origin

START_SECONDS = 30.0
STOP_SECONDS = 15.0
ANSWER_SECONDS = 30.0
# Below the ports that the kernel gives out by itself. Who takes one holds its name, an abstract Unix-domain socket.
PORTS = range(17_000, 20_000)

Use = str | type[Filter]
"""A filter as an operator names it, `"my_package.tenants:RequireTenant"` or `"./tenants.py:RequireTenant"`, or the
class itself."""


class ProxyFailed(RuntimeError):
    """The proxy did not start, did not end, or refused a configuration. The text has what it said."""


class Parts(TypedDict, total=False):
    """What a request may have besides its method and its path."""

    headers: FieldsLike
    body: bytes | str
    json: Any                           # in place of `body`
    chunks: Sequence[bytes] | None      # in place of `body`: chunked, each piece by itself
    trailers: FieldsLike


class Proxy:
    """A running proxy. It is to be closed, or used in a `with`; the fixture `filter_proxy` closes its own::

        with Proxy("my_package.tenants:RequireTenant", header="x-team") as proxy:
            assert proxy.get("/").status == 400
            assert proxy.get("/", headers={"x-team": "blue"}).status == 200
            assert proxy.origin.requests[-1].headers["x-team"] == "blue"
    """

    url: str
    """`http://127.0.0.1:` and its port."""
    port: int
    """Of its listener, at 127.0.0.1."""
    origin: Origin
    """What all requests go to: a `Cluster` with a socket."""

    def __init__(self, use: Use | Sequence[dict[str, Any]], *, at: str = "route", env: dict[str, str] | None = None,
                 **beside: Any) -> None:
        """`use` is what an operator would write there, or the class itself; what would stand beside it follows as
        keywords: settings and the operator's own keys. Several filters are a list of dictionaries, each with its `use`.
        `at` is the "listener", the "route" or the "cluster".

        Modules are found where this process finds them. Returns when the proxy serves. Raises ProxyFailed.
        """
        if at not in ("listener", "route", "cluster"):
            raise ValueError(f"filters at {at!r}: allowed are listener, route, cluster")
        self._at = at
        self._filters = _filters(use, beside)
        self._lines: list[str] = []
        self._has_more = threading.Condition()
        self._has_ended = False
        with contextlib.ExitStack() as undo:
            self.port = undo.enter_context(_port())
            self.url = f"http://127.0.0.1:{self.port}"
            folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="fastmesh-"))
            self._config, self._admin = Path(folder, "mesh.yaml"), Path(folder, "admin.sock")
            self.origin = Origin()
            undo.callback(self.origin.close)
            self._write()
            undo.callback(self._stop)
            self._start({**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)})
            self._undo = undo.pop_all()

    # --- requests ------------------------------------------------------------------------------------------------

    def get(self, path: str = "/", **request: Unpack[Parts]) -> Message:
        """As `request`."""
        return self.request("GET", path, **request)

    def post(self, path: str = "/", **request: Unpack[Parts]) -> Message:
        """As `request`."""
        return self.request("POST", path, **request)

    def put(self, path: str = "/", **request: Unpack[Parts]) -> Message:
        """As `request`."""
        return self.request("PUT", path, **request)

    def delete(self, path: str = "/", **request: Unpack[Parts]) -> Message:
        """As `request`."""
        return self.request("DELETE", path, **request)

    def request(self, method: str, path: str = "/", *, headers: FieldsLike = (), body: bytes | str = b"",
                json: Any = None, chunks: Sequence[bytes] | None = None, trailers: FieldsLike = ()) -> Message:
        """Sends a request on a connection of its own, and returns the answer: `status`, `headers`, `body`, `text`,
        `json()`. Raises ConnectionError when there is no whole one, TimeoutError after 30 seconds."""
        fields = pairs_of(headers)
        content = body_of(body, json, fields)
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("host", f"127.0.0.1:{self.port}"))
        fields.append(("connection", "close"))
        pieces = write(request_line(method, path), fields, content, chunks, trailers)
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _ask(line, pieces, method)

    # --- what it says of itself ----------------------------------------------------------------------------------

    def admin(self, path: str, method: str = "GET") -> Message:
        """The answer of the admin API."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_SECONDS)
            line.connect(str(self._admin))
            fields = [("host", "localhost"), ("connection", "close")]
            return _ask(line, write(request_line(method, path), fields, b"", None, ()), method)

    def metrics(self) -> dict[str, float]:
        """All of `/metrics`: the name with its labels as they stand there, and the value."""
        found = {}
        for line in self.admin("/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all values of `/metrics` with this name and (at least) these labels; 0 when there are none."""
        total = 0.0
        for full, value in self.metrics().items():
            own, _, rest = full.partition("{")
            if own == name and all(f'{key}="{label}"' in rest for key, label in labels.items()):
                total += value
        return total

    def events(self) -> list[dict[str, Any]]:
        """What has happened to filters: errors, overruns, quarantines, what they have logged."""
        found = self.admin("/events").json()
        events: list[dict[str, Any]] = found["events"] if isinstance(found, dict) else found
        return events

    @property
    def log(self) -> str:
        """What it has said on stderr so far."""
        with self._has_more:
            return "".join(self._lines)

    def wait_log(self, pattern: str, seconds: float = 10.0) -> str:
        """The first line of the log in which this regular expression is found, as soon as there is one. Raises
        TimeoutError."""
        end = monotonic() + seconds
        with self._has_more:
            while True:
                for line in self._lines:
                    if re.search(pattern, line):
                        return line.rstrip("\n")
                left = end - monotonic()
                if left <= 0 or self._has_ended:
                    raise TimeoutError(f"no line with {pattern!r} in what the proxy said:\n{''.join(self._lines)}")
                self._has_more.wait(left)

    # --- another configuration -----------------------------------------------------------------------------------

    def reload(self, use: Use | Sequence[dict[str, Any]] | None = None, **beside: Any) -> None:
        """Makes it read its configuration again: with other settings when some are given, with another filter, or, with
        neither, for the sake of a file that was changed. Raises ProxyFailed when it is refused, and all stays as it
        was."""
        before = self._filters
        if use is not None:
            self._filters = _filters(use, beside)
        elif beside:
            if len(before) != 1:
                raise ValueError("several filters: say all of them again, as a list")
            self._filters = [{**before[0], **beside}]
        self._write()
        answer = self.admin("/reload", "POST")
        if answer.status != 200:
            self._filters = before
            self._write()
            raise ProxyFailed(f"the reload was refused:\n{answer.text}")

    def close(self) -> None:
        """Ends it, and the origin. Raises ProxyFailed when it does not end by itself."""
        self._undo.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Proxy {self.url}>"

    # --- the process ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        listener: dict[str, Any] = {"name": "web", "address": f"127.0.0.1:{self.port}"}
        route: dict[str, Any] = {"match": {"prefix": "/"}, "cluster": "origin"}
        cluster: dict[str, Any] = {"name": "origin", "endpoints": [self.origin.address]}
        {"listener": listener, "route": route, "cluster": cluster}[self._at]["filters"] = self._filters
        config = {"workers": 1, "drain_timeout": "1s", "admin": {"address": f"unix:{self._admin}"},
                  "listeners": [{**listener, "routes": [route]}], "clusters": [cluster]}
        fresh = self._config.with_suffix(".new")
        fresh.write_text(json.dumps(config, indent=1))      # JSON is YAML
        fresh.replace(self._config)

    def _start(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastmesh", "run", "-c", self._config], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, start_new_session=True)
        self._reader = threading.Thread(target=self._listen, name=f"proxy {self.port}", daemon=True)
        self._reader.start()
        try:
            self.wait_log(r" is ready after ", START_SECONDS)
        except TimeoutError:
            raise ProxyFailed(f"the proxy did not start:\n{self.log}") from None

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        for line in stream:
            with self._has_more:
                self._lines.append(line.decode("utf-8", "replace"))
                self._has_more.notify_all()
        with self._has_more:
            self._has_ended = True
            self._has_more.notify_all()

    def _stop(self) -> None:
        process: subprocess.Popen[bytes] | None = getattr(self, "_process", None)
        if process is None:
            return
        hangs = False
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                hangs = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._reader.join()
        if process.stderr is not None:
            process.stderr.close()
        if hangs:
            raise ProxyFailed(f"the proxy did not end within {STOP_SECONDS:g} s:\n{self.log}")


def _filters(use: Use | Sequence[dict[str, Any]], beside: dict[str, Any]) -> list[dict[str, Any]]:
    if isinstance(use, (str, type)):
        return [{"use": _place(use), **beside}]
    if beside:
        raise ValueError("with a list of filters, what stands beside each is in its own dictionary")
    return [{**one, "use": _place(one["use"])} for one in use]


def _place(use: Use) -> str:
    """As an operator would write it: of a class within a package its import path, else its file."""
    if isinstance(use, str):
        return use
    if "<locals>" in use.__qualname__:
        raise ValueError(f"{use.__qualname__} is defined in a function, where the proxy does not find it: move it to "
                         "the top of its file")
    file = Path(inspect.getfile(use)).resolve()
    # A file of tests has whatever name pytest gave it; one that is alone needs no path to be found in.
    if "." in use.__module__ and not file.name.startswith("test_") and not file.stem.endswith("_test"):
        return f"{use.__module__}:{use.__qualname__}"
    return f"{file}:{use.__qualname__}"


def _ask(line: socket.socket, pieces: list[bytes], method: str) -> Message:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):    # it may have answered before it read all
        for piece in pieces:
            line.sendall(piece)
    received, is_over = b"", False
    while True:
        try:
            message, n = read(received, is_over=is_over, to_head=method == "HEAD")
        except Incomplete:
            if is_over:
                raise ConnectionError(f"the connection was closed after {len(received)} bytes of an answer: "
                                      f"{received[:200]!r}") from None
            more = line.recv(65_536)
            received, is_over = received + more, not more
            continue
        if message.status >= 200:
            return message
        received = received[n:]


@contextlib.contextmanager
def _port() -> Iterator[int]:
    """A port that no other proxy of a test has."""
    for port in PORTS:
        with socket.socket(socket.AF_UNIX) as claim, socket.socket() as probe:
            try:
                claim.bind(f"\0fastmesh-proxy-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            probe.close()
            yield port
            return
    raise ProxyFailed(f"no port from {PORTS[0]} to {PORTS[-1]} is free")


__all__ = ["Origin", "Proxy", "ProxyFailed"]
