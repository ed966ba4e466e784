"""Workers die, are replaced, and outlive control for a while; clients lose only what was in the dead worker's hands."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from integration.harness import (
    Callers,
    Origin,
    Sidecar,
    ask,
    children,
    config_of,
    free_port,
    http_listener,
    is_alive,
    until,
)

Start = Callable[..., Sidecar]


def test_workers_are_what_the_api_says(sidecar: Start, origin: Origin, reactor: str) -> None:
    one = sidecar(config_of(free_port(), origin, workers=3))
    workers = one.workers()
    assert [w["slot"] for w in workers] == [0, 1, 2]
    assert {w["engine"] for w in workers} == {reactor}
    assert {w["snapshot"] for w in workers} == {1}
    assert {w["pid"] for w in workers} <= set(one.descendants())


def test_a_worker_imports_neither_event_loop_nor_validator(sidecar: Start, origin: Origin) -> None:
    """What a worker has mapped: no asyncio, no TLS library, no pydantic."""
    one = sidecar(config_of(free_port(), origin))
    maps = Path(f"/proc/{one.worker_pids()[0]}/maps").read_text()
    assert "msgpack" in maps
    for word in ("_asyncio", "uvloop", "_ssl", "libssl", "pydantic", "httptools"):
        assert word not in maps, word


def test_control_holds_no_tls(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    maps = Path(f"/proc/{one.pid}/maps").read_text()
    assert "uvloop" in maps
    for word in ("libssl", "libcrypto"):
        assert word not in maps, word


def test_a_worker_gets_no_secrets_from_the_environment(tmp_path: Path, origin: Origin) -> None:
    one = Sidecar(tmp_path, config_of(free_port(), origin))
    one.env = {"DATABASE_PASSWORD": "hunter2"}
    with one:
        environment = Path(f"/proc/{one.worker_pids()[0]}/environ").read_bytes()
        assert b"hunter2" not in environment


def test_a_killed_worker_is_replaced_within_a_second(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    old = one.worker_pids()[0]
    begun = monotonic()
    os.kill(old, signal.SIGKILL)
    until(lambda: not is_alive(old))        # what it accepts while it dies is lost
    # The listening socket never closes: a connection made now waits for the next worker.
    assert ask(port, "/").text == "origin"
    assert monotonic() - begun < 1
    until(lambda: one.worker_pids() not in ([], [old]))
    assert [w["restarts"] for w in one.workers()] == [1]
    one.wait_log(rf"worker 0 died: killed by SIGKILL \(pid {old}\)")
    assert one.metrics()["fastmesh_worker_restarts_total"] == 1


def test_counters_survive_the_worker(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    for _ in range(5):
        ask(port, "/")
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert idle.recv(4096)
        os.kill(one.worker_pids()[0], signal.SIGKILL)
        until(lambda: one.workers()[0]["restarts"] == 1)
        stats = one.stats()
        assert stats["globals"]["requests"] == 6
        assert stats["globals"]["downstream_connections"] == 0      # gauges die with their worker
        assert stats["listeners"]["web"]["active"] == 0
    ask(port, "/")
    assert one.stats()["clusters"]["app"]["requests"] == 7


def test_while_one_worker_is_down_the_others_take_new_connections(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    for deaths in range(1, 5):      # the fourth death in a row is answered with a pause of 0.4 s
        os.kill(until(lambda: one.workers()[0]["state"] == "serving" and one.workers()[0]["pid"]), signal.SIGKILL)
        one.wait_log("the next one starts", deaths)
    begun = monotonic()
    assert [ask(port, "/").status for _ in range(20)] == [200] * 20
    assert one.workers()[0]["state"] == "down", f"came back within {monotonic() - begun:.2f} s: nothing was shown"


def test_a_worker_that_keeps_dying_is_given_more_and_more_time(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    for deaths in range(1, 6):
        pid = until(lambda: one.workers()[0]["state"] == "serving" and one.workers()[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        one.wait_log("the next one starts", deaths)
    assert re.findall(r"the next one starts (.*)", one.log) == ["now", "in 0.1 s", "in 0.2 s", "in 0.4 s", "in 0.8 s"]


def test_a_worker_is_replaced_without_a_lost_request(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    with Callers(port, count=6) as callers:
        for slot in (0, 1, 0, 1):
            before = one.workers()[slot]["pid"]
            answer = one.admin(f"/workers/{slot}/replace", "POST")
            assert answer.status == 200, answer.text
            assert answer.json["replaced"] == before != answer.json["pid"]
            callers.more(50)
        until(lambda: not any(w["leaving"] for w in one.workers()))
    assert callers.failures == []
    assert one.stats()["globals"]["requests"] == callers.answers
    assert one.stats()["worker_restarts"] == 0


def test_a_request_in_flight_outlives_the_replacement(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    old = one.worker_pids()[0]
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(ask(port, "/slow").status))
    caller.start()
    until(lambda: origin.held == 1)
    fresh = one.admin("/workers/0/replace", "POST").json["pid"]
    assert one.workers()[0]["leaving"] == [old]
    assert ask(port, "/").text == "origin"
    assert one.worker_pids() == [fresh]
    origin.release.set()
    caller.join(10)
    assert answers == [200]
    until(lambda: not is_alive(old))


def test_replacing_what_is_not_there(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin))
    assert one.admin("/workers/7/replace", "POST").status == 404
    assert one.admin("/workers/x/replace", "POST").status == 404
    assert one.admin("/workers/0/replace").status == 405


def test_orphans_serve_on_and_leave_within_their_grace(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, orphan_grace="2s"))
    worker = one.worker_pids()[0]
    killed = monotonic()
    one.signal(signal.SIGKILL)
    one.wait()
    assert ask(port, "/").text == "origin"
    until(lambda: not is_alive(worker), seconds=5)
    assert 0.9 < monotonic() - killed < 2.5
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")


def test_a_new_control_takes_over_from_orphans(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "web.sock"
    config = config_of(port, origin, orphan_grace="60s")
    config["listeners"].append({**http_listener(port, "app", name="local"), "address": f"unix:{path}"})
    one = sidecar(config)
    orphan = one.worker_pids()[0]
    one.signal(signal.SIGKILL)
    one.wait()
    assert ask(port, "/").text == "origin"
    again = sidecar(config)
    until(lambda: not is_alive(orphan))
    assert ask(port, "/").text == "origin"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert f"(pid {orphan}) is left over from another control process" in again.log


def test_no_process_is_left_when_control_is_killed_early(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin, orphan_grace="1s"), wait=False)
    # A compile process or a worker, as it happens: neither may stay.
    first = until(lambda: children(one.pid))
    one.signal(signal.SIGKILL)
    one.wait()
    until(lambda: not any(is_alive(pid) for pid in first), seconds=5)


def test_signals_to_the_group_do_not_cut_workers(sidecar: Start, origin: Origin) -> None:
    """Ctrl-C and systemd reach every process: only control may answer."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    worker = one.worker_pids()[0]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(worker, number)
    assert ask(port, "/").text == "origin"
    assert one.worker_pids() == [worker]


def resident_code(pid: int, of: str) -> list[int]:
    """KiB of the code of modules with such a name that a process has in memory."""
    text = Path(f"/proc/{pid}/smaps").read_text()
    return [int(size) for size in re.findall(rf"r-xp \S+ \S+ \d+ +\S*/{of}\.\S+\n(?:.*\n)*?Rss:\s+(\d+) kB", text)]


def test_code_that_only_the_start_needed_is_given_back(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin))
    assert ask(port, "/").text == "origin"
    # Control compiles in copies of itself, and of this route no worker needs what fallbacks and hedges are made of.
    assert resident_code(one.pid, "_pydantic_core") == [0]
    (worker,) = one.worker_pids()
    assert resident_code(worker, "fallback") == resident_code(worker, "hedge") == [0]
    (used,) = resident_code(worker, "stream")
    assert used > 0
    assert one.reload()["version"] == 2 and ask(port, "/").text == "origin"
