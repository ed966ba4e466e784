"""Further attempts through real processes: origins that are frozen, killed, or answer with errors."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Callers, Sidecar, ask, cluster, free_port, http_listener, until
from integration.mesh import Mesh
from integration.peer import Origin

from fastmesh.config.load import load_text

PAGE = (Path(__file__).parents[2] / "docs" / "retries.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
Start = Callable[..., Sidecar]
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536        # an answer leaves as a whole, or not at all

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


class OwnProcess:
    """An origin that can stand still or die."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        with self.process.stdout as said:
            self.address = f"127.0.0.1:{int(said.readline())}"

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def processes() -> Iterator[list[OwnProcess]]:
    made = [OwnProcess() for _ in range(3)]
    yield made
    for one in made:
        one.close()


def config(port: int, processes: list[OwnProcess], **retry: Any) -> dict[str, Any]:
    return {"listeners": [http_listener(port, "app", retry=retry)],
            "clusters": [cluster("app", *(one.address for one in processes), load_balancer="round_robin",
                                 retry_budget={"share": "100%", "per_second": 100})]}


def of(one: Sidecar, name: str) -> float:
    return one.metrics()[name]


def test_nobody_sees_an_endpoint_that_stands_still(sidecar: Start, processes: list[OwnProcess]) -> None:
    port = free_port()
    one = sidecar(config(port, processes, attempts=3, per_try_timeout="250ms"))
    with Callers(port, 4) as callers:
        callers.more(50)
        processes[1].freeze()
        until(lambda: of(one, 'fastmesh_cluster_try_timeouts_total{cluster="app"}') >= 8, "eight slow attempts")
        callers.more(20)
    assert callers.failures == []
    found = one.metrics()
    again = found['fastmesh_cluster_attempts_again_total{cluster="app",reason="timeout"}']
    assert again == found['fastmesh_cluster_try_timeouts_total{cluster="app"}'] >= 8
    assert found['fastmesh_cluster_retry_overflow_total{cluster="app"}'] == 0


def test_nobody_sees_one_that_dies(sidecar: Start, processes: list[OwnProcess]) -> None:
    port = free_port()
    one = sidecar(config(port, processes, attempts=3))
    with Callers(port, 4) as callers:
        callers.more(50)
        processes[0].process.kill()
        callers.more(50)
    assert callers.failures == []
    assert of(one, 'fastmesh_cluster_connect_failures_total{cluster="app"}') >= 1


def rule_of(number: int) -> dict[str, Any]:
    """Of the listener in that example of the page."""
    loaded = load_text(EXAMPLES[number], "retries.md", {})
    listener = loaded.config.listeners[0]
    rule = listener.routes[0].retry or listener.retry
    assert rule is not None
    return rule.model_dump(mode="json", exclude_none=True)


def test_as_in_the_documents(mesh: Mesh) -> None:
    """Three attempts, of which the second is told to be one, and what the log and the counters say of it."""
    origin = mesh.origin()
    mesh.http(origin, log="%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n",
              retry={**rule_of(0), "backoff": {"base": "1ms"}})
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    for number, status in enumerate(("503 Busy", "503 Busy", "200 OK"), 1):
        up = origin.accept()
        assert up.read_request().get("x-envoy-attempt-count") == str(number)
        up.answer("this", status, "connection: close")
    assert client.read_answer().text == "this"
    assert mesh.logged() == ["200 - 3"]
    client.send("GET / HTTP/1.1\r\nhost: x\r\nx-envoy-attempt-count: 2\r\n\r\n")
    up = origin.accept()
    assert up.read_request().get("x-envoy-attempt-count") == "2"
    up.answer("busy", "503 Busy", "connection: close")
    assert client.read_answer().status == 503
    assert mesh.logged() == ["503 - 1"]


SAYS = """
from fastmesh import Filter, Request

class Says(Filter):
    def on_route(self, request: Request) -> None:
        request.headers["x-rule"] = repr(request.retry)

class SaysElsewhere(Says):
    isolated = True
"""


@pytest.mark.parametrize("use", ["Says", "SaysElsewhere"])
def test_filters_see_the_rule(tmp_path: Path, use: str) -> None:
    (tmp_path / "filters.py").write_text(SAYS)
    port = free_port()
    origin = Origin()
    said = {"listeners": [http_listener(port, "app", filters=[{"use": f"./filters.py:{use}"}], retry={
                "attempts": 3, "on": [503], "per_try_timeout": "2s"})],
            "clusters": [cluster("app", f"127.0.0.1:{origin.port}")]}
    try:
        with Sidecar(tmp_path, said, is_warm=True), ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, port, "/")
            up = origin.accept()
            assert up.read_request().get("x-rule") == (
                "Retry(attempts=3, on={'connect-failure', 'timeout', 503}, backoff=0.025, per_try_timeout=2.0)")
            up.answer("ok")
            assert answer.result().status == 200
    finally:
        origin.close()


def test_two_sidecars_do_not_multiply(tmp_path: Path) -> None:
    """Of three attempts at each of two hops upstreams see five, not nine."""
    near_port, far_port, none = free_port(), free_port(), free_port()
    rule = {"on": [503], "attempts": 3, "backoff": {"base": "1ms"}}
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
    broken = {"name": "broken", "address": f"127.0.0.1:{none}", "routes": [
        {"match": {"prefix": "/"}, "response": {"status": 503}}]}
    far = {"listeners": [http_listener(far_port, "app", retry=rule), broken],
           "clusters": [cluster("app", f"127.0.0.1:{none}")]}
    near = {"listeners": [http_listener(near_port, "next", retry=rule)],
            "clusters": [cluster("next", f"127.0.0.1:{far_port}")]}
    with (Sidecar(tmp_path / "near", near, is_warm=True) as first,
          Sidecar(tmp_path / "far", far, is_warm=True) as second):
        assert ask(near_port, "/").status == 503
        assert of(first, 'fastmesh_cluster_retries_total{cluster="next"}') == 2
        assert of(second, 'fastmesh_cluster_retries_total{cluster="app"}') == 2
        found = second.metrics()
        assert found['fastmesh_listener_requests_total{listener="broken"}'] == 5
