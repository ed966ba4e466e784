"""Endpoints that fail in real ways are ejected by all workers at once, and come back by way of one request."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Sidecar, ask, free_port, until
from integration.service import Reply, Service

Start = Callable[..., Sidecar]
# Answers with its name until it is stopped.
FROZEN = """
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"frozen")
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def fails(_: BaseHTTPRequestHandler) -> Reply:
    return 503, {}


def works(_: BaseHTTPRequestHandler) -> Reply:
    return 200, {}


def config(port: int, addresses: list[str], workers: int = 1, timeout: str = "0", avoid: str = "1s",
           **outlier: Any) -> dict[str, Any]:
    return {
        "workers": workers,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "timeouts": {"request": timeout},
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
        "clusters": [{"name": "app", "load_balancer": "round_robin", "endpoints": addresses, "avoid": {"base": avoid},
                      "outlier": {"jitter": "0%", "ramp": "0", "max": "2h", **outlier}}],
    }


def state(one: Sidecar, address: str) -> dict[str, Any]:
    endpoints = one.admin("/clusters").json[0]["endpoints"]
    found: dict[str, Any] = next(e for e in endpoints if e["address"] == address)
    return found


def events(one: Sidecar, *kinds: str) -> list[dict[str, Any]]:
    return [e for e in one.admin("/events").json if e["what"] in kinds]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Line:
    """One connection to the proxy, so to one of its workers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self) -> tuple[int, str]:
        self._connection.request("GET", "/")
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def close(self) -> None:
        self._connection.close()


def provoke(port: int, one: Sidecar, address: str) -> dict[str, Any]:
    """Requests until the endpoint is out; its state then."""
    def is_out() -> dict[str, Any] | None:
        ask(port, "/")
        found = state(one, address)
        return found if found["ejected"] else None
    found: dict[str, Any] = until(is_out, f"{address} is ejected", 20, drives=True)
    return found


def test_one_that_answers_503_is_out_after_five(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="1h"))
    answers = [ask(port, "/") for _ in range(60)]
    assert bad.requests == 5
    assert [a.status for a in answers].count(503) == 5
    found = state(one, bad.address)
    assert (found["health"], found["ejected"]) == ("ejected", True)
    assert found["outlier"]["reason"] == "gateway_errors"
    assert 3_500_000 < found["outlier"]["for_ms"] <= 3_600_000
    assert not state(one, good.address)["ejected"]
    (event,) = events(one, "ejected")
    assert event["cluster"] == "app" and event["endpoint"] == bad.address
    assert (event["reason"], event["for_ms"], event["times"]) == ("gateway_errors", 3_600_000, 1)
    assert event["text"] == f"endpoint {bad.address} is ejected for 3600.0 s: 5 gateway errors in a row"
    one.wait_log(rf'ejected cluster=app endpoint={bad.address} reason=gateway_errors for_ms=3600000 times=1 '
                 r'why="5 gateway errors in a row"')
    metrics = one.metrics()
    assert metrics['fastmesh_cluster_ejections_total{cluster="app",reason="gateway_errors"}'] == 1
    assert metrics['fastmesh_cluster_ejected{cluster="app"}'] == 1


def test_the_other_worker_sees_it_at_once(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    """What is counted in a row is counted over both workers, and whoever has not failed leaves it alone as well."""
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], workers=2, gateway_errors=6, base="1h"))
    lines: list[Line] = []
    idle = {pid: descriptors(pid) for pid in one.worker_pids()}

    def has_both() -> bool:
        lines.append(Line(port))
        lines[-1].ask()
        return all(descriptors(pid) > count for pid, count in idle.items())
    bad.reply = works
    until(has_both, "connections to both workers")
    bad.reply = fails
    before = bad.requests
    # One line alone makes the endpoint fail, so one worker alone.
    until(lambda: lines[0].ask()[0] and bad.requests - before >= 6, "six failures", drives=True)
    assert bad.requests - before == 6
    assert state(one, bad.address)["ejected"]
    for line in lines:
        assert {line.ask()[0] for _ in range(6)} == {200}
    assert bad.requests - before == 6
    for line in lines:
        line.close()


def test_one_that_refuses_connections(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    port, closed = free_port(), f"127.0.0.1:{free_port()}"
    one = sidecar(config(port, [good.address, closed, other.address], avoid="1ms", connect_failures=3, base="1h"))
    found = provoke(port, one, closed)
    assert found["outlier"]["reason"] == "connect_failures"
    # Nobody noticed: another endpoint was asked each time.
    failed = found["connect_failures"]
    assert {ask(port, "/").status for _ in range(30)} == {200}
    assert state(one, closed)["connect_failures"] == failed


def test_one_that_stands_still(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, other = services("good", "other")
    with subprocess.Popen([sys.executable, "-c", FROZEN], stdout=subprocess.PIPE, text=True) as frozen:
        try:
            assert frozen.stdout is not None
            address = f"127.0.0.1:{frozen.stdout.readline().strip()}"
            port = free_port()
            one = sidecar(config(port, [good.address, address, other.address], timeout="200ms", timeouts=2, base="1h"))
            assert {ask(port, "/").text for _ in range(6)} == {"good", "other", "frozen"}
            os.kill(frozen.pid, signal.SIGSTOP)
            statuses = [ask(port, "/").status for _ in range(12)]
            assert (statuses.count(504), statuses.count(200)) == (2, 10)
            assert state(one, address)["outlier"]["reason"] == "timeouts"
        finally:
            frozen.kill()


def test_one_that_is_slow(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, slow, other = services("good", "slow", "other")

    def slowly(_: BaseHTTPRequestHandler) -> Reply:
        threading.Event().wait(0.06)
        return 200, {}
    slow.reply = slowly
    port = free_port()
    one = sidecar(config(port, [good.address, slow.address, other.address], interval="1s", base="1h",
                         latency={"factor": "3", "at_least": "50ms", "min_requests": 3}))
    found = provoke(port, one, slow.address)
    assert found["outlier"]["reason"] == "latency"
    assert "mean time to the first byte" in events(one, "ejected")[0]["text"]


def test_it_comes_back_by_exactly_one_request(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], workers=2, base="300ms"))
    provoke(port, one, bad.address)
    asked, release = threading.Event(), threading.Event()

    def waits(_: BaseHTTPRequestHandler) -> Reply:
        asked.set()
        release.wait(20)
        return 200, {}
    bad.reply = waits
    before = bad.requests
    probes: list[int] = []
    threads = []

    def once() -> None:
        probes.append(ask(port, "/", timeout=30).status)

    # Requests on their own connections, so to both workers; one of them is the probe.
    def is_probing() -> bool:
        threads.append(threading.Thread(target=once))
        threads[-1].start()
        return asked.is_set()
    until(is_probing, "a probe", 10)
    for _ in range(40):
        threads.append(threading.Thread(target=once))
        threads[-1].start()
    until(lambda: len(probes) == len(threads) - 1, "all but the probe are answered")
    assert bad.requests - before == 1
    assert state(one, bad.address)["health"] == "probation"
    assert set(probes) == {200}
    release.set()
    for thread in threads:
        thread.join()
    until(lambda: not state(one, bad.address)["ejected"], "it is in again")
    (back,) = events(one, "recovered")
    assert back["endpoint"] == bad.address and back["out_ms"] >= 300
    assert {ask(port, "/").text for _ in range(9)} == {"good", "bad", "other"}
    assert one.metrics()['fastmesh_cluster_recoveries_total{cluster="app"}'] == 1


def test_one_that_flaps_stays_out_longer_each_time(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="100ms", max="250ms"))

    def has_failed_thrice() -> bool:
        ask(port, "/")
        return len(events(one, "ejected")) >= 4
    until(has_failed_thrice, "three probes that failed", 20)
    told = events(one, "ejected")[:4]
    assert [e["for_ms"] for e in told] == [100, 200, 250, 250]
    assert [e["reason"] for e in told] == ["gateway_errors", "probe", "probe", "probe"]
    assert [e["times"] for e in told] == [1, 2, 3, 4]


def test_never_all(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    bad = services("a", "b", "c")
    for one_of_them in bad:
        one_of_them.reply = fails
    port = free_port()
    one = sidecar(config(port, [b.address for b in bad], base="1h", max_ejected="100%"))
    for _ in range(80):
        ask(port, "/")
    assert sum(state(one, b.address)["ejected"] for b in bad) == 2
    metrics = one.metrics()
    assert metrics['fastmesh_cluster_ejected{cluster="app"}'] == 2
    assert metrics['fastmesh_cluster_ejections_refused_total{cluster="app"}'] > 0
    assert events(one, "ejection_refused")
    one.reload(config(port, [bad[2].address, *(f"127.0.0.1:{free_port()}" for _ in range(2))]))


def test_a_third_unless_told_otherwise(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    bad = services("a", "b", "c")
    for one_of_them in bad:
        one_of_them.reply = fails
    port = free_port()
    one = sidecar(config(port, [b.address for b in bad], base="1h"))
    for _ in range(80):
        ask(port, "/")
    assert sum(state(one, b.address)["ejected"] for b in bad) == 1


def test_it_outlives_a_reload_and_a_worker(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other, new = services("good", "bad", "other", "new")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], base="1h"))
    provoke(port, one, bad.address)
    before = bad.requests
    one.reload(config(port, [new.address, bad.address, good.address, other.address], base="1h"))
    assert {ask(port, "/").text for _ in range(12)} == {"good", "other", "new"}
    (pid,) = one.worker_pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: one.worker_pids() not in ([], [pid]), "the next worker")
    assert {ask(port, "/").text for _ in range(12)} == {"good", "other", "new"}
    assert bad.requests == before
    assert state(one, bad.address)["ejected"]


def test_a_dry_run_only_tells(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(config(port, [good.address, bad.address, other.address], dry_run=True, base="1h"))
    assert [ask(port, "/").status for _ in range(60)].count(503) == 20
    assert not state(one, bad.address)["ejected"]
    (event,) = events(one, "ejected", "ejection_watched")
    assert event["what"] == "ejection_watched" and event["reason"] == "gateway_errors"
    assert one.metrics()['fastmesh_cluster_ejections_watched_total{cluster="app"}'] == 1


def test_who_is_not_watched_any_more_is_in_again(sidecar: Start, services: Callable[..., list[Service]]) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    addresses = [good.address, bad.address, other.address]
    one = sidecar(config(port, addresses, base="1h"))
    provoke(port, one, bad.address)
    bad.reply = works
    one.reload(config(port, addresses, enabled=False))
    assert {ask(port, "/").text for _ in range(9)} == {"good", "bad", "other"}
    assert not state(one, bad.address)["ejected"]


# --- commands ---

def with_command(port: int, addresses: list[str], tmp: Path, **heal: Any) -> dict[str, Any]:
    script = tmp / "heal.sh"
    script.write_text('#!/bin/sh\necho "$FASTMESH_EVENT $FASTMESH_CLUSTER $FASTMESH_ENDPOINT $FASTMESH_REASON $1" '
                      f'>> {tmp}/healed\n')
    script.chmod(0o755)
    whole = config(port, addresses, base="300ms")
    whole["clusters"][0]["heal"] = {"run": [str(script), "quick"], "at_most": "100/s", **heal}
    return whole


def test_a_command_is_run(sidecar: Start, services: Callable[..., list[Service]], tmp_path: Path) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(with_command(port, [good.address, bad.address, other.address], tmp_path))
    healed = tmp_path / "healed"
    provoke(port, one, bad.address)
    until(lambda: healed.exists() and healed.read_text(), "the command has run")
    assert healed.read_text().splitlines()[0] == f"ejected app {bad.address} gateway_errors quick"
    bad.reply = works

    def is_back() -> bool:
        ask(port, "/")
        return "recovered" in healed.read_text()
    until(is_back, "it has run again")
    assert healed.read_text().splitlines()[-1] == f"recovered app {bad.address} {_reason(one)} quick"
    assert [e["cluster"] for e in events(one, "heal")][:2] == ["app", "app"]


def _reason(one: Sidecar) -> str:
    return str(events(one, "recovered")[0]["reason"])


def test_a_command_is_not_run_too_often(sidecar: Start, services: Callable[..., list[Service]],
                                        tmp_path: Path) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(with_command(port, [good.address, bad.address, other.address], tmp_path, at_most="1/h"))

    def is_skipped() -> bool:
        ask(port, "/")
        return bool(events(one, "heal_skipped"))
    until(is_skipped, "a probe has failed as well")
    assert len(events(one, "heal")) == 1
    assert len((tmp_path / "healed").read_text().splitlines()) == 1


def test_a_dry_run_of_a_command(sidecar: Start, services: Callable[..., list[Service]], tmp_path: Path) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(with_command(port, [good.address, bad.address, other.address], tmp_path, dry_run=True))
    provoke(port, one, bad.address)
    until(lambda: events(one, "heal_watched"), "it is told")
    assert not (tmp_path / "healed").exists()


@pytest.mark.parametrize(("command", "says"), [
    (["/no/such/program"], r"cannot be run: .*No such file"), (["/bin/false"], "has failed: exit status 1"),
    (["/bin/sleep", "60"], "has failed: killed by SIGKILL")])
def test_a_command_that_fails(sidecar: Start, services: Callable[..., list[Service]], tmp_path: Path,
                              command: list[str], says: str) -> None:
    good, bad, other = services("good", "bad", "other")
    bad.reply = fails
    port = free_port()
    one = sidecar(with_command(port, [good.address, bad.address, other.address], tmp_path, run=command,
                               timeout="200ms"))
    provoke(port, one, bad.address)
    one.wait_log(f"heal_failed cluster=app .*{says}")
