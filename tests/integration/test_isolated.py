"""Isolated filters in real processes: what they may use, and what they may do without harm to anybody else."""

import contextlib
import json
import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import (
    Answer,
    Origin,
    Sidecar,
    ask,
    cluster,
    free_port,
    http_listener,
    is_alive,
    named_place,
    origins,
    until,
)

from probes.slices import KNOWN, slice_ns

FILTERS = '''
import asyncio
import os
import time

from fastmesh import CallFailed, Filter, Outcome, Request, Response, shared

VERSION = 1


class Probe(Filter):
    """Does what the path says."""

    isolated = True
    redis_port: int = 0
    polls: bool = False

    def start(self) -> None:
        if self.polls:
            self.task = asyncio.get_running_loop().create_task(self.poll())
        self.seen = self.metrics.counter("seen", help="Requests.")
        self.everywhere = shared.Counter("seen")
        self.log.info("starts with %s", VERSION)
        if self.redis_port:
            from redis.asyncio import Redis
            self.redis = Redis(port=self.redis_port)

    async def poll(self) -> None:
        """Asks for something without having been asked."""
        reply = await self.mesh.get("other", "/poll")
        self.log.info("polled %s", reply.text)

    async def on_request(self, request: Request) -> Response | None:
        self.seen.inc()
        self.everywhere.add(1)
        request.state["path"] = request.path
        request.headers["x-host"] = str(os.getpid())
        what = request.path.strip("/")
        if what == "redis":
            return Response(200, text=(await self.redis.get("greeting")).decode())
        if what == "wait":
            await asyncio.sleep(float(request.query))
        elif what == "thread":
            return Response(200, text=await asyncio.to_thread(lambda: "from a thread"))
        elif what == "die":
            os._exit(3)
        elif what == "kill":
            os.kill(os.getpid(), 9)
        elif what == "block":
            time.sleep(60)
        elif what == "exit":
            raise SystemExit(4)
        elif what == "nonsense":
            os.write(4, b"\\xc1" * 100)
        elif what == "lies":
            os.write(4, b"\\x93\\x00\\xcd\\xff\\xff\\x90")       # a reply to a call that nobody made
        elif what == "version":
            return Response(200, text=str(VERSION))
        elif what == "mesh":
            try:
                reply = await self.mesh.post(request.query, "/from-host", json={"a": 1}, timeout=2)
            except CallFailed as failed:
                return Response(failed.status, text=failed.reason)
            return Response(reply.status, text=reply.text, headers={"x-length": reply.headers["content-length"]})
        elif what == "late" or what == "never":
            request.labels["early"] = "yes"
        return None

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-path"] = request.state["path"]
        response.headers["x-pid"] = request.headers["x-host"]
        request.labels["path"] = request.state["path"]


class Late(Probe):
    """Thinks about an exchange when it is over."""

    async def on_complete(self, request: Request, outcome: Outcome) -> None:
        if request.path == "/late":
            await asyncio.sleep(0.01)
            request.labels["late"] = "yes"
        elif request.path == "/never":
            await asyncio.Event().wait()


class Beside(Filter):
    """In the worker, with what the isolated one counts."""

    def start(self) -> None:
        self.everywhere = shared.Counter("seen")

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-seen"] = str(self.everywhere.value)


class Bodies(Filter):
    isolated = True

    def on_request_body(self, request: Request, body: bytes) -> bytes | Response | None:
        if body.startswith(b"back"):
            return Response(200, body=body[::-1])
        return body * 2

    async def on_response_stream(self, request, response, chunks):
        async for chunk in chunks:
            await asyncio.sleep(0.001)
            yield chunk.upper()


class Sees(Filter):
    isolated = True
    needs = ("X-Wanted",)

    def on_request(self, request: Request) -> Response:
        return Response(200, text=f"{os.getpid()} {sorted(request.headers)}")


class Broken(Filter):
    isolated = True

    def start(self) -> None:
        raise RuntimeError("no such table")

    def on_request(self, request: Request) -> None:
        pass
'''


class Mesh:
    """A sidecar with one listener that an isolated filter stands at, and one without filters."""

    def __init__(self, directory: Path, origin: Origin, reactor: str) -> None:
        self.filters = directory / "filters.py"
        self.filters.write_text(FILTERS)
        self.port, self.plain = free_port(), free_port()
        self.origin = origin
        self.sidecar = Sidecar(directory, self.config(), reactor, is_warm=True)

    def config(self, use: str = "Probe", **settings: Any) -> dict[str, Any]:
        return {
            "drain_timeout": "5s",
            "listeners": [
                http_listener(self.port, "app", filters=[{"name": "probe", "use": f"./filters.py:{use}",
                                                          "quarantine": {"failures": 1000}, **settings}]),
                http_listener(self.plain, "app", name="plain")],
            "clusters": [cluster("app", self.origin.address)]}

    def ask(self, path: str, **more: Any) -> Answer:
        return ask(self.port, path, **more)

    def host(self) -> int:
        """The pid of the host that answers now."""
        return int(self.ask("/").headers["x-pid"])

    def hosts(self) -> list[int]:
        return [pid for pid in self.sidecar.descendants() if comm(pid) == "fastmesh-filter"]

    def back(self, gone: int) -> int:
        """Until another host answers."""
        return int(until(lambda: (pid := self.ask("/").headers.get("x-pid", str(gone))) != str(gone) and pid,
                         f"another host:\n{self.sidecar.log}"))


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture
def mesh(tmp_path: Path, origin: Origin, reactor: str) -> Iterator[Mesh]:
    made = Mesh(tmp_path, origin, reactor)
    with made.sidecar:
        yield made
    assert made.sidecar.process is not None and made.sidecar.process.returncode == 0, made.sidecar.log


def test_it_changes_what_it_sees_and_answers(mesh: Mesh) -> None:
    answer = mesh.ask("/some/path")
    assert answer.status == 200 and answer.body == b"origin" and answer.headers["x-path"] == "/some/path"
    assert mesh.hosts() == [int(answer.headers["x-pid"])]
    assert mesh.ask("/thread").text == "from a thread"
    (pid,) = mesh.hosts()
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"fastmesh-filters-0\0")
    assert ask(mesh.plain, "/").headers.get("x-path") is None


def test_bodies_both_ways(mesh: Mesh) -> None:
    mesh.sidecar.reload(mesh.config("Bodies", body_limit="2MiB"))
    assert mesh.ask("/", method="POST", body=b"hello").body == b"ORIGIN"
    large = b"back" + os.urandom(700_000)
    answer = mesh.ask("/", method="POST", body=large)
    assert answer.status == 200 and answer.body == large[::-1]
    assert mesh.ask("/", method="POST", body=b"x" * 500_000).body == b"ORIGIN"


def test_what_it_counts_logs_and_costs_is_seen(mesh: Mesh) -> None:
    for _ in range(100):
        mesh.ask("/")
    found = mesh.sidecar.metrics()
    assert found["fastmesh_filter_probe_seen_total"] == 100
    calls = {name: value for name, value in found.items() if name.startswith("fastmesh_filter_calls_total")}
    assert any('phase="request"' in name and value >= 100 for name, value in calls.items()), calls
    assert "filter probe: starts with 1" in mesh.sidecar.log


class FakeRedis(socketserver.StreamRequestHandler):
    """Knows one key."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _ in range(int(line[1:])):
                self.rfile.readline()
                words.append(self.rfile.readline().strip())
            self.wfile.write(b"$5\r\nhello\r\n" if words[0].upper() == b"GET" else b"+OK\r\n")


def test_it_uses_an_asyncio_library(mesh: Mesh) -> None:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), FakeRedis) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mesh.sidecar.reload(mesh.config(redis_port=server.server_address[1]))
        assert [mesh.ask("/redis").text for _ in range(3)] == ["hello"] * 3
        mesh.sidecar.reload(mesh.config())
        server.shutdown()


@pytest.mark.parametrize("how", ["die", "kill"])
def test_a_host_that_dies_is_started_again(mesh: Mesh, how: str) -> None:
    first = mesh.host()
    with contextlib.ExitStack() as stack:
        done: list[int] = []
        waiting = threading.Thread(target=lambda: done.append(mesh.ask("/wait?30").status))
        waiting.start()
        stack.callback(waiting.join)
        until(lambda: ask(mesh.plain, "/").status == 200)
        # Who waits, and who caused it, goes on at once: the policy is "open".
        assert mesh.ask(f"/{how}").status == 200
    assert done == [200]
    assert mesh.back(first) != first
    stats = mesh.sidecar.stats()
    assert stats["filter_host_restarts"] == 1
    assert [use["slot"] for use in stats["processes"] if use["process"] == "filters"] == ["0"]
    mesh.sidecar.wait_log("filter host of worker 0 ended")
    assert ask(mesh.plain, "/").status == 200


def test_a_host_that_is_gone_closes_where_that_is_the_policy(mesh: Mesh) -> None:
    mesh.sidecar.reload(mesh.config(on_error="closed"))
    first = mesh.host()
    assert mesh.ask("/die").status == 503
    assert mesh.back(first) != first


def test_a_filter_that_blocks_is_ended(mesh: Mesh) -> None:
    mesh.sidecar.reload(mesh.config(timeout="100ms"))
    first = mesh.host()
    answer = mesh.ask("/block")
    assert answer.status == 200 and "x-path" not in answer.headers
    assert ask(mesh.plain, "/").status == 200
    mesh.sidecar.wait_log(r"its loop stood still for [\d.]+ s in filter probe")
    assert mesh.back(first) != first


def test_a_call_that_takes_too_long_is_given_up_and_the_others_are_not(mesh: Mesh) -> None:
    mesh.sidecar.reload(mesh.config(timeout="100ms", on_error="closed"))
    first = mesh.host()
    assert mesh.ask("/wait?5").status == 503
    assert mesh.host() == first
    mesh.sidecar.wait_log("FilterTimeout")


@pytest.mark.parametrize("what", ["nonsense", "lies"])
def test_a_host_that_talks_nonsense_is_replaced(mesh: Mesh, what: str) -> None:
    first = mesh.host()
    (worker,) = mesh.sidecar.worker_pids()
    assert mesh.ask(f"/{what}").status == 200
    mesh.sidecar.wait_log("it said what no filter host says")
    assert mesh.back(first) != first
    assert mesh.sidecar.worker_pids() == [worker]


def test_an_exit_in_a_phase_is_an_error_like_any_other(mesh: Mesh) -> None:
    first = mesh.host()
    assert mesh.ask("/exit").status == 200
    mesh.sidecar.wait_log("SystemExit: 4")
    assert mesh.host() == first


def test_a_changed_filter_takes_over_and_the_old_one_ends_with_its_last_exchange(mesh: Mesh) -> None:
    first = mesh.host()
    done: list[Answer] = []
    mesh.sidecar.reload(mesh.config(timeout="20s"))
    old = mesh.host()
    assert old == first or not is_alive(first) or until(lambda: not is_alive(first))
    waiting = threading.Thread(target=lambda: done.append(mesh.ask("/slow")))
    waiting.start()
    until(lambda: mesh.origin.held == 1)
    mesh.filters.write_text(FILTERS.replace("VERSION = 1", "VERSION = 2"))
    mesh.sidecar.reload()
    assert mesh.ask("/version").text == "2"
    assert is_alive(old) and len(mesh.hosts()) == 2
    mesh.origin.release.set()
    waiting.join()
    # Its answer was seen by the version that had seen the request.
    assert done[0].headers["x-pid"] == str(old) and done[0].headers["x-path"] == "/slow"
    until(lambda: not is_alive(old), "the old host's end")
    assert "error" not in mesh.sidecar.log


def test_it_sees_the_headers_that_it_declares(mesh: Mesh) -> None:
    mesh.sidecar.reload(mesh.config("Sees"))
    answer = mesh.ask("/", headers={"authorization": "Bearer s3cret", "x-wanted": "yes"})
    pid, _, seen = answer.text.partition(" ")
    assert seen == "['x-wanted']"
    until(lambda: mesh.hosts() == [int(pid)], "the host of the filter before is gone")


def test_an_operator_lets_it_run_in_the_worker(mesh: Mesh) -> None:
    """The class says isolated = True, the configuration `isolated: false`: its process, and all headers are there."""
    mesh.sidecar.reload(mesh.config("Sees", isolated=False))
    pid, _, seen = mesh.ask("/", headers={"x-wanted": "yes", "x-more": "1"}).text.partition(" ")
    assert [int(pid)] == mesh.sidecar.worker_pids()
    assert "x-wanted" in seen and "x-more" in seen and "host" in seen
    until(lambda: mesh.hosts() == [], "the host is gone")
    # And back.
    mesh.sidecar.reload(mesh.config("Sees"))
    pid, _, seen = mesh.ask("/", headers={"x-wanted": "yes", "x-more": "1"}).text.partition(" ")
    assert int(pid) not in mesh.sidecar.worker_pids() and seen == "['x-wanted']"


def test_a_filter_that_does_not_start_refuses_the_reload(mesh: Mesh) -> None:
    first = mesh.host()
    mesh.sidecar.write(mesh.config("Broken"))
    refused = mesh.sidecar.admin("/reload", "POST")
    assert refused.status != 200 and "no such table" in refused.text
    assert named_place(mesh.sidecar, refused.text, "listeners[0].filters[0].use").endswith(":Broken")
    assert mesh.host() == first
    until(lambda: mesh.hosts() == [first])


def test_without_isolated_filters_there_is_no_host(mesh: Mesh) -> None:
    config = mesh.config()
    del config["listeners"][0]["filters"]
    mesh.sidecar.reload(config)
    assert mesh.ask("/").status == 200
    until(lambda: mesh.hosts() == [], "the host's end")


def test_a_worker_that_is_replaced_takes_its_host_along(mesh: Mesh) -> None:
    first = mesh.host()
    (worker,) = mesh.sidecar.worker_pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: mesh.sidecar.worker_pids() not in ([], [worker]), "another worker")
    assert mesh.back(first) != first
    until(lambda: not is_alive(first), "the end of the dead worker's host")


def test_it_calls_clusters_through_its_worker(mesh: Mesh) -> None:
    with origins("other") as (other,):
        config = mesh.config()
        config["clusters"] += [cluster("other", other.address), cluster("gone", f"127.0.0.1:{free_port()}")]
        mesh.sidecar.reload(config)
        answer = mesh.ask("/mesh?other")
        assert answer.text == "other" and answer.headers["x-length"] == "5" and other.requests == 1
        assert mesh.ask("/mesh?nobody").text == "cluster_not_found"
    answer = mesh.ask("/mesh?gone")
    assert answer.status == 503 and "connection_failure" in answer.text
    found = mesh.sidecar.metrics()
    assert any("other" in name and "connect" in name and value for name, value in found.items()), found


def test_a_task_of_its_own_calls_clusters_too(mesh: Mesh) -> None:
    with origins("other") as (other,):
        config = mesh.config(polls="true")
        config["clusters"].append(cluster("other", other.address))
        mesh.sidecar.reload(config)
        mesh.sidecar.wait_log("polled other")
        assert other.requests == 1
        # The host of the snapshot before may still be about to end.
        (host,) = until(lambda: hosts if len(hosts := mesh.hosts()) == 1 else None, "one host is left")
        os.kill(host, signal.SIGKILL)
        # The one that takes its place is heard, too, before anybody has asked it.
        mesh.sidecar.wait_log("polled other", 2)


def test_it_shares_objects_with_filters_in_place(mesh: Mesh) -> None:
    config = mesh.config()
    config["listeners"][1]["filters"] = [{"use": "./filters.py:Beside"}]
    mesh.sidecar.reload(config)
    for i in range(1, 4):
        mesh.ask("/")
        assert ask(mesh.plain, "/").headers["x-seen"] == str(i)


def logged(mesh: Mesh) -> list[dict[str, Any]]:
    path = mesh.filters.with_name("access.log")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_labels_that_it_sets_when_all_is_over_are_in_the_log(mesh: Mesh) -> None:
    config = mesh.config("Late", timeout="1h")
    config["drain_timeout"] = "300ms"       # of which what a filter still thinks about takes all
    config["access_log"] = {"path": str(mesh.filters.with_name("access.log")), "format": "json",
                            "fields": {"path": "%REQ(:PATH)%", "labels": "%LABELS%", "late": "%LABEL(late)%"}}
    mesh.sidecar.reload(config)
    mesh.ask("/late")
    until(lambda: logged(mesh))
    assert logged(mesh) == [{"path": "/late", "late": "yes",
                             "labels": {"early": "yes", "path": "/late", "late": "yes"}}]
    mesh.ask("/never")
    mesh.ask("/")
    until(lambda: len(logged(mesh)) == 2)
    # What a filter still thinks about is written when the worker ends.
    mesh.sidecar.stop()
    assert logged(mesh)[2] == {"path": "/never", "late": None, "labels": {"early": "yes", "path": "/never"}}


def test_a_host_lets_its_worker_go_first_unless_it_shall_not(mesh: Mesh) -> None:
    def nice(pid: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, pid)

    (worker,) = mesh.sidecar.worker_pids()
    first = mesh.host()
    assert nice(first) > nice(worker) or nice(worker) == 19, "there is nothing behind 19"
    mesh.sidecar.reload({**mesh.config(), "filter_host": {"priority": "normal"}})
    second = mesh.host()
    assert second != first and nice(second) == nice(worker)


@pytest.mark.skipif(not KNOWN, reason="slices came with Linux 6.12")
def test_control_and_hosts_give_way_to_whoever_wakes_up(mesh: Mesh) -> None:
    (worker,) = mesh.sidecar.worker_pids()
    control = mesh.sidecar.pid
    assert slice_ns(control) == slice_ns(mesh.host()) == 20_000_000
    # Workers are children of control, and neither its slice nor a lower weight is theirs.
    assert 0 < slice_ns(worker) < 5_000_000
    assert os.getpriority(os.PRIO_PROCESS, control) == os.getpriority(os.PRIO_PROCESS, worker)
    mesh.sidecar.reload({**mesh.config(), "filter_host": {"priority": "normal"}})
    assert slice_ns(mesh.host()) == slice_ns(worker)


def test_it_dies_with_control(tmp_path: Path, origin: Origin, reactor: str) -> None:
    made = Mesh(tmp_path, origin, reactor)
    made.sidecar.start()
    host = made.host()
    pids = made.sidecar.descendants()
    os.kill(made.sidecar.pid, signal.SIGKILL)
    made.sidecar.wait()
    try:
        until(lambda: not is_alive(host), "the host's end")
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


