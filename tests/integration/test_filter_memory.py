"""What filters share and count, in the memory that a running sidecar gives its workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, cluster, free_port, http_listener, until

from fastmesh.filters import metrics, shared

Start = Callable[..., Sidecar]
STATS_FD, SHARED_FD = 4, 5


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    shared.detach()
    metrics.detach()
    yield
    shared.detach()
    metrics.detach()


@pytest.fixture
def one(sidecar: Start, origin: Origin) -> Sidecar:
    return sidecar({"workers": 2, "listeners": [http_listener(free_port(), "app")],
                    "clusters": [cluster("app", origin.address)]})


def descriptor(pid: int, number: int) -> int:
    return os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR)


def as_worker(pid: int) -> None:
    """From now on this process shares and counts where that worker's filters would."""
    shared.detach()
    metrics.detach()
    for number, attach in ((SHARED_FD, shared.attach), (STATS_FD, metrics.attach)):
        fd = descriptor(pid, number)
        attach(fd)
        os.close(fd)


def test_workers_share_one_memory_that_outlives_them_and_reloads(one: Sidecar) -> None:
    first, second = one.worker_pids()
    as_worker(first)
    shared.Counter("seen").add(5)
    shared.LruMap("names", max_entries=10).put("k", "v")
    as_worker(second)
    assert shared.Counter("seen").add() == 6
    os.kill(first, signal.SIGKILL)
    until(lambda: len(set(one.worker_pids()) - {first}) == 2)
    one.reload()
    for pid in one.worker_pids():
        as_worker(pid)
        assert shared.Counter("seen").value == 6
        assert shared.LruMap("names", max_entries=10).get("k") == "v"


def test_a_worker_without_filters_maps_none_of_it(one: Sidecar) -> None:
    for pid in one.worker_pids():
        with open(f"/proc/{pid}/maps") as maps:     # noqa: PTH123
            assert "fastmesh-shared" not in maps.read()
        fd = descriptor(pid, SHARED_FD)
        assert os.fstat(fd).st_blocks == 0
        os.close(fd)


def test_its_length_is_fixed(one: Sidecar) -> None:
    fd = descriptor(one.worker_pids()[0], SHARED_FD)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 4096)
    os.close(fd)


def test_metrics_of_filters_are_summed_and_survive_a_worker(one: Sidecar) -> None:
    name = 'fastmesh_filter_tenant_refused_total{method="GET"}'
    pids = one.worker_pids()
    for pid in pids:
        as_worker(pid)
        metrics.Metrics("tenant").counter("refused", labels=("method",)).inc(2, method="GET")
    assert one.metrics()[name] == 4
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: len(set(one.worker_pids()) - {pids[0]}) == 2)
    assert one.metrics()[name] == 4
    as_worker(next(pid for pid in one.worker_pids() if pid not in pids))
    metrics.Metrics("tenant").counter("refused", labels=("method",)).inc(method="GET")
    assert one.metrics()[name] == 5


def test_the_page_and_the_table_of_a_proxy_without_filters(one: Sidecar) -> None:
    found: dict[str, Any] = one.admin("/filters").json
    assert found["filters"] == [] and found["workers"] == 2 and found["at"] > 0
    done = subprocess.run([sys.executable, "-m", "fastmesh", "filters", "top", "--once", "--interval", "0.1", "--admin",
                           f"127.0.0.1:{one.admin_port}"], capture_output=True, text=True, check=True, timeout=60)
    assert "no filters" in done.stdout
