"""Rate limits in a running proxy: exact over its workers, through reloads and deaths, and seen from outside."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, until

from fastmesh._core.mem.counter import LAYOUT, LISTENER_COLUMNS
from probes.shared_probe import Raw

Start = Callable[..., Sidecar]
SHARED_FD = 5


def config(port: int, origin: Origin, *limits: Any, workers: int = 2, **more: Any) -> dict[str, Any]:
    listener = http_listener(port, "app")
    listener["routes"][0]["rate_limits"] = list(limits)
    return {"workers": workers, "listeners": [listener], "clusters": [cluster("app", origin.address)], **more}


def statuses(port: int, count: int, threads: int = 4, headers: dict[str, str] | None = None) -> Counter[int]:
    """So many requests, each on a connection of its own, so that every worker gets some."""
    found: Counter[int] = Counter()
    lock = threading.Lock()

    def call() -> None:
        for _ in range(count // threads):
            status = ask(port, "/", headers=headers).status
            with lock:
                found[status] += 1

    many = [threading.Thread(target=call) for _ in range(threads)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    return found


def segment_of(one: Sidecar) -> int:
    return os.open(f"/proc/{one.worker_pids()[0]}/fd/{SHARED_FD}", os.O_RDWR)


def of(found: dict[str, float], column: str, name: str = "l") -> float:
    return found[f'fastmesh_rate_limit_{column}_total{{limit="{name}"}}']


def test_two_workers_let_exactly_so_many_through(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {"name": "l", "rate": "1/h", "burst": 50}))
    assert statuses(port, 200) == {200: 50, 429: 150}
    served = [row["requests"] for row in _requests_by_worker(one)]
    assert len(served) == 2 and all(served) and sum(served) == 200
    found = one.metrics()
    assert (of(found, "checked"), of(found, "limited"), of(found, "dry_run_limited")) == (200, 150, 0)
    assert one.stats()["rate_limits"] == {
        "l": {"checked": 200, "limited": 150, "would": 0, "evicted": 0, "odd_keys": 0}}
    flagged = sum(value for name, value in found.items()
                  if name.startswith("istio_requests_total") and 'response_flags="RL"' in name)
    assert flagged == 150
    assert origin.requests == 50


def _requests_by_worker(one: Sidecar) -> list[dict[str, int]]:
    """Read from the memory of each worker, as control does."""
    found = []
    for pid in one.worker_pids():
        fd = os.open(f"/proc/{pid}/fd/4", os.O_RDONLY)
        raw = memoryview(os.pread(fd, 8 * len(LISTENER_COLUMNS), LAYOUT["listeners"])).cast("Q").tolist()
        os.close(fd)
        found.append(dict(zip(LISTENER_COLUMNS, raw, strict=True)))
    return found


def test_a_refusal_says_what_to_do_and_which_limit_it_was(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    limit = {"name": "per-tenant", "rate": "2/h", "key": ["header x-tenant"], "headers": True}
    # One worker: the lines of several come in no order.
    one = sidecar(config(port, origin, limit, workers=1, access_log={"path": "/dev/stdout"}))
    first = ask(port, "/", headers={"x-tenant": "a"})
    assert first.status == 200 and first.headers["ratelimit"] == '"per-tenant";r=1;t=1800'
    assert first.headers["ratelimit-policy"] == '"per-tenant";q=2;w=3600'
    ask(port, "/", headers={"x-tenant": "a"})
    last = ask(port, "/", headers={"x-tenant": "a"})
    assert last.status == 429 and 0 < int(last.headers["retry-after"]) <= 1800
    assert last.headers["ratelimit"].startswith('"per-tenant";r=0;t=')
    assert ask(port, "/", headers={"x-tenant": "b"}).status == 200
    lines = until(lambda: _lines(one, 4), "four lines of the access log")
    assert [(line["response_flags"], line["response_code_details"], line["rate_limited_by"]) for line in lines] == [
        ("-", "via_upstream", None), ("-", "via_upstream", None),
        ("RL", "local_rate_limited{per-tenant}", "per-tenant"), ("-", "via_upstream", None)]
    assert lines[2]["upstream_cluster"] == "app"


def _lines(one: Sidecar, count: int) -> list[dict[str, Any]]:
    lines = one.stdout_path.read_text().splitlines()
    return [json.loads(line) for line in lines] if len(lines) >= count else []


def test_buckets_and_counts_survive_reloads_and_workers(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    limit: dict[str, Any] = {"name": "l", "rate": "1/h", "burst": 3}
    one = sidecar(config(port, origin, limit))
    assert statuses(port, 8) == {200: 3, 429: 5}
    one.reload(config(port, origin, {**limit, "status": 503}))
    assert statuses(port, 4) == {503: 4}
    killed = one.worker_pids()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(one.worker_pids()) - set(killed)) == 2 and one.is_ready(), "two new workers")
    assert statuses(port, 4) == {503: 4}
    one.reload(config(port, origin, limit, workers=1))
    assert statuses(port, 4) == {429: 4}
    assert of(one.metrics(), "checked") == 20
    # Under another name, and under another rate.
    one.reload(config(port, origin, {**limit, "name": "m"}))
    assert statuses(port, 4) == {200: 3, 429: 1}
    one.reload(config(port, origin, {**limit, "name": "m", "rate": "1000000/s"}))
    assert statuses(port, 4) == {200: 4}


def test_a_dry_run_lets_everything_through(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {"name": "l", "rate": "1/h", "dry_run": True}))
    assert statuses(port, 20) == {200: 20}
    found = one.metrics()
    assert (of(found, "checked"), of(found, "limited"), of(found, "dry_run_limited")) == (20, 0, 19)


def test_a_named_limit_is_one_for_all_who_refer_to_it(sidecar: Start, origin: Origin) -> None:
    port, other = free_port(), free_port()
    whole = config(port, origin, "shared", rate_limits=[{"name": "shared", "rate": "1/h", "burst": 4}])
    whole["listeners"].append({**http_listener(other, "app", "second"), "rate_limits": ["shared"]})
    sidecar(whole)
    assert statuses(port, 4) == {200: 4}
    assert statuses(other, 4) == {429: 4}


def test_keys_beyond_the_bound_push_out_others(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {"name": "l", "rate": "1/h", "key": ["header x-k"], "keys": 3}, workers=1))
    assert [ask(port, "/", headers={"x-k": key}).status for key in "abcda"] == [200] * 5
    assert [ask(port, "/", headers={"x-k": key}).status for key in "cda"] == [429] * 3
    assert of(one.metrics(), "keys_evicted") == 2
    assert ask(port, "/", headers={"x-k": "e" * 5000}).status == 200
    assert of(one.metrics(), "odd_keys") == 1


def test_a_worker_that_is_killed_with_the_lock_in_its_hands(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin, {"name": "l", "rate": "1/h", "burst": 2, "key": ["client_address"]}))
    assert statuses(port, 4) == {200: 2, 429: 2}
    fd = segment_of(one)
    raw = Raw(fd)
    pid = os.fork()
    if pid == 0:
        raw.hold("limit l 10000")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    # The table was emptied: whoever was in it has a full bucket.
    assert statuses(port, 4) == {200: 2, 429: 2}
    assert raw.check("limit l 10000") == 1
    os.close(fd)


def test_what_finds_no_room_is_refused_and_changes_nothing(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    large = {"rate": "1/h", "burst": 4, "key": ["client_address"], "keys": 1_000_000}
    one = sidecar(config(port, origin, {"name": "l", **large}))
    assert statuses(port, 4) == {200: 4}
    one.write(config(port, origin, {"name": "m", **large}))
    answer = one.admin("/reload", "POST")
    assert answer.status != 200 and "rate limit 'm': 1,000,000 keys take 44," in answer.text
    assert "ask for fewer keys, or start fastmesh anew" in answer.text
    assert statuses(port, 4) == {429: 4}


def test_workers_map_shared_memory_when_the_first_limit_comes(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(config(port, origin))

    def maps() -> list[bool]:
        return ["fastmesh-shared" in Path(f"/proc/{pid}/maps").read_text() for pid in one.worker_pids()]

    assert maps() == [False, False]
    one.reload(config(port, origin, {"name": "l", "rate": "1/h"}))
    assert maps() == [True, True]
    assert statuses(port, 4) == {200: 1, 429: 3}


def test_filters_and_limits_share_that_memory(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    whole = config(port, origin, {"name": "l", "rate": "1/h", "burst": 5})
    whole["listeners"][0]["filters"] = [{"use": "tenant-limit", "rate": 0.001, "burst": 3, "by": "peer"}]
    one = sidecar(whole)
    # Whoever the filter refuses has passed no limit of a route.
    assert statuses(port, 8) == {200: 3, 429: 5}
    assert of(one.metrics(), "checked") == 3
    fd = segment_of(one)
    assert len(Raw(fd).names()) == 2 and "limit l 1" in Raw(fd).names()
    os.close(fd)
