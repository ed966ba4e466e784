"""A proxy that is near the end of what it may use: what it refuses, what it tells, and how it comes back."""

import http.client
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, until

Start = Callable[..., Sidecar]
BLOCKS = '''
import time
from fastmesh import Filter

class Blocks(Filter):
    def on_request(self, request):
        if request.path == "/block":
            time.sleep(0.25)
'''


def config(port: int, origin: Origin, overload: dict[str, Any], **more: Any) -> dict[str, Any]:
    listener = http_listener(port, "app", **more)
    listener["routes"] = [
        {"match": {"prefix": "/health"}, "response": {"status": 200}},
        {"match": {"prefix": "/high"}, "cluster": "app", "priority": "high"},
        {"match": {"prefix": "/low"}, "cluster": "app", "priority": "low"},
        {"match": {"prefix": "/"}, "cluster": "app"}]
    return {"overload": overload, "listeners": [listener], "clusters": [cluster("app", origin.address)],
            "access_log": {"format": "text", "template": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"}}


def level(one: Sidecar) -> float:
    return one.metrics()["fastmesh_overload_level"]


def test_ordinary_work_is_no_overload(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {}))
    for _ in range(300):
        assert ask(port, "/").status == 200
    found = one.metrics()
    assert found["fastmesh_overload_level"] == 0
    assert {value for name, value in found.items() if name.startswith("fastmesh_overload_shed_total")} == {0}
    assert "fastmesh_overload_pressure" in one.admin("/metrics").text
    assert all(0 <= found[f'fastmesh_overload_pressure{{pressure="{name}"}}'] < 0.85
               for name in ("memory", "descriptors", "lag", "connections"))


@pytest.mark.skipif("FASTMESH_SANITIZED" in os.environ, reason="its allocator keeps what was given back")
def test_bodies_that_fill_the_memory(sidecar: Start, origin: Origin) -> None:
    """Sixteen MiB for the worker: clients that do not read their answers take them up. When they leave it is over."""
    port = free_port()
    big = Big()
    one = sidecar({**config(port, origin, {"memory": "16MiB", "retry_after": 7, "reset_largest_at": "0%"},
                            limits={"buffer": "1MiB"}),
                   "clusters": [cluster("app", big.address)]})
    # A request that has begun before: newcomers will not be let in.
    asking = socket.create_connection(("127.0.0.1", port), timeout=20)
    asking.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
    readers = []
    for _ in range(40):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /high/big HTTP/1.1\r\nhost: x\r\n\r\n")
        readers.append(sock)
    until(lambda: level(one) == 4, "overload")
    asking.sendall(b"\r\n")
    head = asking.recv(65536)
    assert head.startswith(b"HTTP/1.1 503 ") and b"connection: close\r\n" in head
    assert b"retry-after: 7\r\n" in head and b"x-envoy-overloaded: true\r\n" in head
    assert attempt(port, "/health") is None
    until(lambda: "503 OM overload{memory}\n" in one.stdout_path.read_text())
    assert one.metrics()['fastmesh_overload_shed_total{pressure="memory",priority="default"}'] >= 1
    one.wait_log(r"worker 0 is now at level (shed|full) \(memory \d+ %\)")
    for sock in (*readers, asking):
        sock.close()
    until(lambda: level(one) == 0, "it is over", 30)
    one.wait_log(r"worker 0 is back at level calm")
    assert ask(port, "/").status == 200
    found = [event for event in one.admin("/events").json if event["what"] == "overload"]
    assert found[0]["reason"] == "memory" and found[-1]["overload"] == "calm"
    big.close()


def attempt(port: int, path: str) -> Any:
    """An answer; None when nobody accepts."""
    try:
        return ask(port, path, timeout=0.5)
    except (OSError, http.client.HTTPException):
        return None


class Big(Origin):
    """Answers with 16 MiB to /high/big: more than sockets hold."""

    def __init__(self) -> None:
        super().__init__("big")
        handler = self._server.RequestHandlerClass

        def answer(request: Any) -> None:
            body = b"x" * (16 << 20 if request.path.startswith("/high") else 4)
            request.send_response(200)
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        handler.do_GET = answer     # type: ignore[attr-defined]


def test_a_filter_that_blocks_makes_the_loop_late(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    """Who matters least is refused first; what the proxy answers itself is not; high priority gets through."""
    port = free_port()
    (tmp_path / "blocks.py").write_text(BLOCKS)
    one = sidecar(config(port, origin, {"lag": "200ms", "header": "x-priority"},
                         filters=[{"use": f"{tmp_path}/blocks.py:Blocks", "budget": "10s"}]))
    until(lambda: ask(port, "/block").status in (200, 503) and level(one) >= 3, "late", 30)
    assert ask(port, "/low").status == 503
    assert ask(port, "/").status == 503
    assert ask(port, "/high").status == 200
    assert ask(port, "/health").status == 200
    # Clients on this machine are trusted.
    assert ask(port, "/", headers={"x-priority": "high"}).status == 200
    assert ask(port, "/high", headers={"x-priority": "low"}).status == 503
    found = one.metrics()
    assert found['fastmesh_overload_shed_total{pressure="lag",priority="low"}'] >= 2
    assert found['fastmesh_overload_shed_total{pressure="lag",priority="high"}'] == 0
    until(lambda: level(one) == 0, "it is over", 30)
    assert ask(port, "/low").status == 200


def test_no_filter_works_for_what_is_refused(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    """The route decides before them. The share that it takes is drawn once: who is let in is let in."""
    port = free_port()
    (tmp_path / "blocks.py").write_text(BLOCKS)
    asked = config(port, origin, {"lag": "200ms"}, filters=[{"use": f"{tmp_path}/blocks.py:Blocks", "budget": "10s"}])
    asked["listeners"][0]["routes"][0:0] = [
        {"match": {"prefix": "/shared", "share": "50%"}, "cluster": "app", "priority": "high"},
        {"match": {"prefix": "/shared"}, "cluster": "app", "priority": "low"}]
    one = sidecar(asked)
    until(lambda: ask(port, "/block").status in (200, 503) and level(one) >= 3, "late", 30)
    before = entered(one)
    assert [ask(port, path).status for path in ("/low", "/low/b")] == [503, 503]
    assert entered(one) == before
    # What is answered here, or matters most, is not refused.
    assert [ask(port, path).status for path in ("/high", "/health")] == [200, 200]
    assert entered(one) == before + 2
    statuses = [ask(port, "/shared").status for _ in range(40)]
    assert {200, 503} == set(statuses)
    assert entered(one) == before + 2 + statuses.count(200)
    found = one.metrics()
    assert found['fastmesh_overload_shed_total{pressure="lag",priority="low"}'] >= 2 + statuses.count(503)
    until(lambda: level(one) == 0, "it is over", 30)
    assert ask(port, "/low").status == 200


def entered(one: Sidecar) -> float:
    """How often a filter was asked about a request."""
    return sum(value for name, value in one.metrics().items()
               if name.startswith("fastmesh_filter_calls_total") and 'phase="request"' in name)


def test_a_crowd_keeps_out_only_what_matters_least(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar({**config(port, origin, {}), "max_connections": 256})
    crowd_ = []
    for many in range(50, 251, 50):     # as many at a time as its origin's queue holds
        for _ in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/slow")
            crowd_.append(connection)
        until(lambda many=many: origin.held == many, "all are held", 20)
    until(lambda: level(one) == 2, "crowded")
    assert ask(port, "/low").status == 503
    until(lambda: "503 OM overload{connections}\n" in one.stdout_path.read_text())
    assert ask(port, "/").status == 200
    origin.release.set()
    for connection in crowd_:
        assert connection.getresponse().status == 200
        connection.close()
    until(lambda: level(one) == 0, "it is over", 30)


@pytest.mark.skipif("FASTMESH_SANITIZED" in os.environ, reason="its allocator keeps what was given back")
def test_those_that_hold_most_are_reset(sidecar: Start, origin: Origin) -> None:
    """Slow readers of large answers fill the memory. They are cut, and nobody else notices."""
    port = free_port()
    big = Big()
    wanted = config(port, origin, {"memory": "24MiB"}, limits={"buffer": "2MiB"})
    wanted["listeners"][0]["routes"].insert(0, {"match": {"prefix": "/high/big"}, "cluster": "big", "priority": "high"})
    wanted["clusters"].append(cluster("big", big.address))
    one = sidecar(wanted)
    calm = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    calm.request("GET", "/slow")
    until(lambda: origin.held == 1)
    readers = []
    for _ in range(30):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /high/big HTTP/1.1\r\nhost: x\r\n\r\n")
        readers.append(sock)
    until(lambda: one.metrics()["fastmesh_overload_reset_total"] >= 1, "some are reset", 30)
    one.wait_log(r"worker 0 resets the connections that hold most: its memory is at \d+ %")
    until(lambda: "200 OM overload_reset\n" in one.stdout_path.read_text())
    # Those that are left do not keep it there.
    until(lambda: level(one) < 4, "it is no longer full", 30)
    origin.release.set()
    assert calm.getresponse().status == 200
    for sock in readers:
        sock.close()
    until(lambda: level(one) == 0, "it is over", 30)
    events = [event for event in one.admin("/events").json if event["what"] == "overload_reset"]
    assert len(events) == 1 and events[0]["worker"] == 0
    assert one.stdout_path.read_text().count(" OM overload_reset\n") == one.metrics()["fastmesh_overload_reset_total"]
    calm.close()
    big.close()


def test_switched_off_it_looks_at_nothing(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {"enabled": False, "memory": "16MiB"}))
    assert ask(port, "/low").status == 200
    assert one.metrics()['fastmesh_overload_pressure{pressure="memory"}'] == 0
    assert json.loads(one.admin("/config").text)["overload"]["enabled"] is False


def test_connections_end_when_descriptors_run_out(tmp_path: Path, origin: Origin) -> None:
    """Idle ones are closed, and those in use after their answer."""
    port = free_port()
    one = Sidecar(tmp_path, {**config(port, origin, {}), "max_connections": 10_000})
    one.wrapper = ["prlimit", "--nofile=400:400"]
    with one:
        crowd(one, port)


def crowd(one: Sidecar, port: int) -> None:
    idle = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(345)]
    for connection in idle:
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b""
    until(lambda: level(one) >= 1, "busy", 20)
    until(lambda: one.stats()["globals"]["idle_evicted"] >= 30, "idle ones make room", 20)
    until(lambda: level(one) == 0, "it is over", 30)
    assert ask(port, "/").status == 200
    for connection in idle:
        connection.close()
