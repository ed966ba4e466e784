"""Splits and retries by filters, in real processes: what origins see, what clients get, what is counted."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from integration.harness import Sidecar, ask, cluster, free_port, http_listener

FILTERS = '''
from fastmesh import Filter, Request, Retry


class NextVersion(Filter):
    share: float = 0.5

    def on_route(self, request: Request) -> None:
        if request.path == "/version":
            request.labels["version"] = request.split(
                {"app": 1 - self.share, "next": self.share}, by=request.headers.get("x-user"))


class Tries(Filter):
    def start(self) -> None:
        self.rule = Retry(attempts=3, on={"gateway-error"}, per_try_timeout=0.3)
        self.hasty = Retry(attempts=3, on={"reset"}, backoff=0)
        self.patient = Retry(on={503}, backoff=0)

    def on_route(self, request: Request) -> None:
        request.retry = {"/once": None, "/hasty": self.hasty, "/patient": self.patient}.get(request.path, self.rule)


class Isolated(NextVersion):
    isolated = True

    def on_route(self, request: Request) -> None:
        super().on_route(request)
        request.retry = Retry(attempts=3, on={"gateway-error"}, per_try_timeout=0.3)
'''


class Origin:
    """Answers with its name; with 503, not at all, or by hanging up when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.does = ""
        self.requests = 0
        self.asked_at = 0.0
        self.retry_after = ""
        self.over = Event()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536        # else the body is a packet of its own, and waits for the head to be acknowledged

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))) or origin.name.encode()
                origin.requests += 1
                origin.asked_at = monotonic()
                if origin.does == "hangs up":
                    self.close_connection = True
                    return
                if origin.does == "is silent":
                    origin.over.wait(30)
                    self.close_connection = True
                    return
                self.send_response(503 if origin.does == "refuses" else 200)
                self.send_header("content-length", str(len(body)))
                if origin.does == "refuses" and origin.retry_after:
                    self.send_header("retry-after", origin.retry_after)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    made = [Origin(name) for name in ("a", "b", "next")]
    yield made
    for origin in made:
        origin.close()


def config(port: int, origins: list[Origin], *filters: dict[str, Any], workers: int = 1) -> dict[str, Any]:
    a, b, following = origins
    listener = http_listener(port, "app")
    listener["routes"] = [{"match": {"prefix": "/"}, "cluster": "app", "filters": list(filters)}]
    return {"workers": workers, "listeners": [listener],
            "clusters": [cluster("app", a.address, b.address, load_balancer="round_robin"),
                         cluster("next", following.address)]}


@pytest.mark.parametrize("use", ["NextVersion", "Isolated"])
def test_a_user_sees_one_version(tmp_path: Path, origins: list[Origin], use: str) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    port = free_port()
    with Sidecar(tmp_path, config(port, origins, {"use": f"./filters.py:{use}"}, workers=2), is_warm=True) as sidecar:
        def versions() -> list[bool]:
            return [ask(port, "/version", headers={"x-user": f"user-{i}"}).text == "next" for i in range(60)]

        half = versions()
        assert 15 <= sum(half) <= 45
        # Each time on a connection of its own, so by either worker.
        assert versions() == half
        more = config(port, origins, {"use": f"./filters.py:{use}", "share": 0.7}, workers=2)
        sidecar.reload(more)
        after = versions()
        assert sum(after) >= sum(half) and all(now for now, before in zip(after, half, strict=True) if before)
        drawn = {ask(port, "/version").text == "next" for _ in range(60)}
        assert drawn == {True, False}


@pytest.mark.parametrize("use", ["Tries", "Isolated"])
@pytest.mark.parametrize("does", ["refuses", "hangs up", "is silent"])
def test_another_endpoint_answers(tmp_path: Path, origins: list[Origin], does: str, use: str) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    a, b, _ = origins
    port = free_port()
    with Sidecar(tmp_path, config(port, origins, {"use": f"./filters.py:{use}"}), is_warm=True) as sidecar:
        a.does = does
        for _ in range(4):
            answer = ask(port, "/", "PUT", body=b"once or twice")
            assert (answer.status, answer.text) == (200, "once or twice")
        assert a.requests >= 1 and b.requests == 4
        metrics = sidecar.metrics()
        assert metrics['fastmesh_cluster_retry_success_total{cluster="app"}'] >= 1
        late = metrics['fastmesh_cluster_try_timeouts_total{cluster="app"}']
        assert (late >= 1) == (does == "is silent")


def test_what_is_not_tried_again(tmp_path: Path, origins: list[Origin]) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    a, b, _ = origins
    port = free_port()
    with Sidecar(tmp_path, config(port, origins, {"use": "./filters.py:Tries"}), is_warm=True) as sidecar:
        a.does = b.does = "refuses"
        assert ask(port, "/once").status == 503 and a.requests + b.requests == 1
        assert ask(port, "/", "POST", body=b"x").status == 503 and a.requests + b.requests == 2
        assert ask(port, "/").status == 503 and a.requests + b.requests == 5
        metrics = sidecar.metrics()
        assert metrics['fastmesh_cluster_retry_limit_exceeded_total{cluster="app"}'] == 1
        assert metrics['fastmesh_cluster_retries_total{cluster="app"}'] == 2


def test_an_upstream_that_fails_altogether_is_not_asked_three_times_as_often(
        tmp_path: Path, origins: list[Origin]) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    a, b, _ = origins
    port = free_port()
    with Sidecar(tmp_path, config(port, origins, {"use": "./filters.py:Tries"}), is_warm=True) as sidecar:
        a.does = b.does = "hangs up"
        for _ in range(200):
            assert ask(port, "/hasty").status == 503
        # 400 further ones were wanted: there are a hundred for each ten seconds, and a fifth of the requests.
        overflow = sidecar.metrics()['fastmesh_cluster_retry_overflow_total{cluster="app"}']
        assert overflow >= 1 and a.requests + b.requests < 600


@pytest.mark.parametrize("use", ["Tries", "Isolated"])
@pytest.mark.parametrize(("asked", "kept"), [("1", True), ("3600", False)])
def test_an_upstream_says_when_it_is_to_be_asked_again(
        tmp_path: Path, origins: list[Origin], asked: str, kept: bool, use: str) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    a, b, _ = origins
    a.does, a.retry_after = "refuses", asked
    port = free_port()
    with Sidecar(tmp_path, config(port, origins, {"use": f"./filters.py:{use}"}), is_warm=True) as sidecar:
        statuses = set()
        while a.requests == 0:
            statuses.add(ask(port, "/patient").status)
        if kept:
            assert statuses == {200} and b.asked_at - a.asked_at >= 1.0
        else:
            assert 503 in statuses
        metrics = sidecar.metrics()
        assert metrics['fastmesh_cluster_retry_after_waits_total{cluster="app"}'] == kept
        assert metrics['fastmesh_cluster_retry_after_exceeded_total{cluster="app"}'] == (not kept)
