"""Workers that are alive and do not move are found, ended and replaced; those that merely could not run are not."""

import contextlib
import http.client
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, is_alive, until

Start = Callable[..., Sidecar]


def config_of(port: int, origin: Origin, **more: Any) -> dict[str, Any]:
    return {"listeners": [http_listener(port, "app")], "clusters": [cluster("app", origin.address)],
            "hang_timeout": "2s", **more}


def stop(pid: int) -> None:
    """Stopped when this returns."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T")


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:     # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def stopped(pid: int, seconds: float) -> Iterator[None]:
    stop(pid)
    end = monotonic() + seconds
    yield
    until(lambda: monotonic() > end, seconds=seconds + 10)
    os.kill(pid, signal.SIGCONT)


def test_a_stopped_worker_is_replaced_and_the_other_is_not(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin, workers=2))
    hung, well = [w["pid"] for w in one.workers()]
    stop(hung)
    until(lambda: one.workers()[0]["state"] == "stalled")
    assert one.workers()[1]["state"] == "serving"
    until(lambda: one.workers()[0]["state"] == "serving")
    fresh = [w["pid"] for w in one.workers()]
    assert fresh[0] not in (hung, well)
    assert fresh[1] == well
    assert not is_alive(hung)
    metrics = one.metrics()
    assert metrics["fastmesh_worker_hangs_total"] == metrics["fastmesh_worker_restarts_total"] == 1
    assert f"worker 0 has not moved for 2 s (pid {hung}): it is stopped by a signal; it is killed" in one.log
    assert one.log.count("worker 0 died") == 1


def test_new_connections_go_to_those_that_move(sidecar: Start, origin: Origin) -> None:
    """Long before the limit. One that went to the other would wait for it for a minute."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2, hang_timeout="60s"))
    with stopped(one.workers()[0]["pid"], 0):
        until(lambda: one.workers()[0]["state"] == "stalled")
        assert one.metrics()["fastmesh_workers_serving"] == 1
        assert [ask(port, "/").status for _ in range(30)] == [200] * 30
    until(lambda: one.workers()[0]["state"] == "serving")


HANGS = """
from fastmesh import Filter


class Hangs(Filter):
    def on_request(self, request):
        if request.path == "/hang":
            sum(range(10**15))      # compiled, and deaf to exceptions that are raised into it
        request.headers["x-seen"] = "yes"
"""


def test_a_filter_that_hangs_one_worker_is_bypassed_by_all(sidecar: Start, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    port = free_port()
    whole = config_of(port, origin, workers=2)
    whole["listeners"][0]["filters"] = [{"use": f"{tmp_path}/hangs.py:Hangs", "on_error": "open"}]
    one = sidecar(whole)
    before = {w["pid"] for w in one.workers()}
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(port, "/hang", timeout=30)
    until(lambda: len(one.workers()) == 2 and all(w["state"] == "serving" for w in one.workers()))
    assert len(before & {w["pid"] for w in one.workers()}) == 1
    # On connections of their own, so by both workers: neither enters it.
    assert {ask(port, "/hang", timeout=30).status for _ in range(20)} == {200}
    assert one.metrics()["fastmesh_worker_hangs_total"] == 1
    assert len([event for event in one.admin("/events").json if event["what"] == "filter_quarantined"]) == 1
    assert "stood still while it ran: it is bypassed for 5 s" in one.log


def test_connections_wait_for_the_next_worker(sidecar: Start, origin: Origin) -> None:
    """The only worker hangs: who connects meanwhile is answered by its successor."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    stop(one.worker_pids()[0])
    assert ask(port, "/", timeout=10).text == "origin"
    assert one.workers()[0]["restarts"] == 1


def test_one_that_goes_on_in_time_is_left_alone(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, hang_timeout="8s"))
    worker = one.worker_pids()[0]
    with stopped(worker, 0):
        until(lambda: one.workers()[0]["state"] == "stalled")
        assert one.admin("/ready").status == 503
    until(lambda: one.workers()[0]["state"] == "serving")
    one.wait_log(rf"worker 0 moves again after [3-7](\.5)? s \(pid {worker}\)")
    assert one.worker_pids() == [worker]
    assert ask(port, "/").text == "origin"
    assert one.metrics()["fastmesh_worker_hangs_total"] == 0


def test_idle_workers_are_not_taken_for_hung(sidecar: Start, origin: Origin) -> None:
    """For twice the limit nothing happens at all."""
    one = sidecar(config_of(free_port(), origin, workers=2))
    workers = one.worker_pids()
    turns = one.stats()["globals"]["turns"]
    begun = monotonic()
    until(lambda: monotonic() - begun > 4)
    assert one.worker_pids() == workers
    assert all(age < 1.5 for name, age in one.metrics().items() if name.startswith("fastmesh_worker_heartbeat_age"))
    # Idle, each has woken up about once a second.
    assert one.stats()["globals"]["turns"] - turns < 4 * (monotonic() - begun)


def test_control_that_was_stopped_does_not_blame_the_workers(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    workers = one.worker_pids()
    with stopped(one.pid, 4):
        assert ask(port, "/").text == "origin"
    begun = monotonic()
    until(lambda: monotonic() - begun > 2)
    assert one.worker_pids() == workers
    assert "not moved" not in one.log


def test_all_that_were_stopped_together_go_on_together(sidecar: Start, origin: Origin) -> None:
    """As a frozen container does."""
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    workers = one.worker_pids()
    with stopped(one.pid, 4), stopped(workers[0], 0), stopped(workers[1], 0):
        pass
    begun = monotonic()
    until(lambda: monotonic() - begun > 2)
    assert one.worker_pids() == workers
    assert ask(port, "/").text == "origin"


def test_where_it_hung_is_in_the_log(sidecar: Start, origin: Origin) -> None:
    """A worker that is told to abort names the compiled modules that it stands in, and Python's line."""
    port = free_port()
    one = sidecar(config_of(port, origin))
    # One that has only just taken its snapshot may still be on its way to the first turn.
    assert ask(port, "/").status == 200
    os.kill(one.worker_pids()[0], signal.SIGABRT)
    one.wait_log(r"worker 0 died: killed by SIGABRT")
    assert re.search(r'File ".*/worker/main\.py", line \d+ in run', one.log)
    assert re.search(r"_core/io/(poll_epoll|poll_uring|reactor)\.[^/]*\.so", one.log)
    assert re.search(r"_core/worker\.[^/]*\.so", one.log)
    until(lambda: one.workers()[0]["state"] == "serving")


def test_a_worker_that_hangs_in_its_drain_is_ended(sidecar: Start, origin: Origin) -> None:
    one = sidecar(config_of(free_port(), origin, workers=2, drain_timeout="60s"))
    hung = one.worker_pids()[0]
    stop(hung)
    begun = monotonic()
    one.signal(signal.SIGTERM)
    assert one.wait() == 0
    assert monotonic() - begun < 12
    assert not is_alive(hung)
    assert f"worker 0 did not end its drain: killed by SIGKILL (pid {hung})" in one.log


def test_a_reload_does_not_wait_for_a_hung_worker_for_ever(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config_of(port, origin, workers=2))
    hung = one.workers()[1]["pid"]
    stop(hung)
    # The first worker takes it, so the snapshot is not at fault: the other's successor begins with it.
    assert one.reload(config_of(port, origin, workers=2, drain_timeout="7s"))["version"] == 2
    until(lambda: [w["snapshot"] for w in one.workers()] == [2, 2])
    assert not is_alive(hung)
