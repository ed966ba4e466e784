"""Endpoints that a policy finds, in real processes: traffic goes on whatever becomes of the policy."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import (
    Answer,
    Callers,
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

POLICY = '''
import asyncio
import json
import os
import time
from pathlib import Path

from fastmesh import Discovery, Endpoints


class Told(Discovery):
    """What a file says, whenever it says something else; some words are orders."""

    path: str

    def start(self):
        self.sets = self.metrics.counter("sets", help="What was said.", labels=("of",))
        self.size = self.metrics.gauge("bytes", help="Of what was said last.")

    async def endpoints(self):
        said = None
        while True:
            text = Path(self.path).read_text()
            if text != said:
                said = text
                self.sets.inc(of="endpoints")
                self.size.set(len(text))
                if text == "raise":
                    raise LookupError("the registry is gone")
                if text == "kill":
                    os.kill(os.getpid(), 9)
                if text == "block":
                    time.sleep(60)
                if text == "end":
                    return
                if text == "mesh":
                    await self.mesh.get("app", "/")
                if text.startswith("{"):
                    yield [json.loads(text)]
                    continue
                yield text.split()
            await asyncio.sleep(0.005)
'''


class Mesh:
    """A sidecar with a cluster whose endpoints a policy finds."""

    def __init__(self, directory: Path, reactor: str, *found: Origin, workers: int = 1) -> None:
        self.directory = directory
        self.port, self.workers = free_port(), workers
        self.told = directory / "told"
        (directory / "d.py").write_text(POLICY)
        self.tell(*found)
        self.sidecar = Sidecar(directory, self.config(), reactor, is_warm=True)

    def config(self, use: str = "./d.py:Told", **more: Any) -> dict[str, Any]:
        endpoints = {"use": use, "path": str(self.told), "debounce": "10ms", **more}
        return {"workers": self.workers, "drain_timeout": "5s", "listeners": [http_listener(self.port, "app")],
                "clusters": [{"name": "app", "endpoints": endpoints}]}

    def tell(self, *found: Origin | str) -> None:
        fresh = self.told.with_suffix(".new")
        fresh.write_text(" ".join(one if isinstance(one, str) else one.address for one in found))
        fresh.replace(self.told)

    def ask(self, path: str = "/") -> Answer:
        return ask(self.port, path)

    def cluster(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sidecar.admin("/clusters").json[0]
        return found

    def addresses(self) -> list[str]:
        return [endpoint["address"] for endpoint in self.cluster()["endpoints"]]

    def errors(self, kind: str) -> float:
        return self.sidecar.metrics()[f'fastmesh_discovery_errors_total{{cluster="app",kind="{kind}"}}']

    def hosts(self) -> list[int]:
        return [pid for pid in self.sidecar.descendants() if comm(pid) == "fastmesh-find"]


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.fixture
def some() -> Iterator[list[Origin]]:
    with origins("a", "b", "c") as made:
        yield made


@pytest.fixture
def mesh(tmp_path: Path, some: list[Origin], reactor: str) -> Iterator[Mesh]:
    made = Mesh(tmp_path, reactor, some[0])
    with made.sidecar:
        yield made
    assert made.sidecar.process is not None and made.sidecar.process.returncode == 0, made.sidecar.log


def test_it_serves_from_the_first_request_on(mesh: Mesh) -> None:
    assert mesh.ask().text == "a"
    told = mesh.cluster()["discovery"]
    assert (told["use"], told["state"], told["updates"], told["errors"]) == ("./d.py:Told", "good", 1, {})
    config = mesh.sidecar.admin("/config").json["clusters"][0]["endpoints"]
    assert config["use"] == "./d.py:Told" and config["path"] == str(mesh.told)
    use, = (use for use in mesh.sidecar.stats()["processes"] if use["process"] == "discovery")
    assert use["resident_bytes"] > 0


def test_endpoints_change_while_traffic_flows(tmp_path: Path, some: list[Origin], reactor: str) -> None:
    mesh = Mesh(tmp_path, reactor, some[0], workers=2)
    a, b, c = some
    with mesh.sidecar, Callers(mesh.port) as callers:
        for found in ((a, b), (b,), (b, c), (c, a), (a,), (a, b, c)) * 3:
            before = mesh.cluster()["discovery"]["updates"]
            mesh.tell(*found)
            until(lambda: mesh.cluster()["discovery"]["updates"] > before)  # noqa: B023  (it is used at once)
            assert mesh.addresses() == sorted(one.address for one in found)
            callers.more(20)
        assert callers.failures == [] and callers.bodies == {b"a", b"b", b"c"}
        versions = {worker["snapshot"] for worker in mesh.sidecar.workers()}
        assert versions == {19}
        metrics = mesh.sidecar.metrics()
        assert metrics['fastmesh_discovery_updates_total{cluster="app"}'] == 19
        assert metrics['fastmesh_reloads_total{result="good"}'] == 0
        assert 0 <= metrics['fastmesh_discovery_age_seconds{cluster="app"}'] < 60
        events = [event for event in mesh.sidecar.admin("/events").json if event["what"] == "discovery_update"]
        assert len(events) == 19 and events[0]["cluster"] == "app" and events[0]["worker"] is None
        assert "snapshot 2 is live" not in mesh.sidecar.log
    assert "error" not in mesh.sidecar.log


def test_what_is_known_of_an_endpoint_that_stays_is_kept(mesh: Mesh, some: list[Origin]) -> None:
    a, b, _ = some
    for _ in range(5):
        assert mesh.ask().status == 200
    before, = mesh.cluster()["endpoints"]
    mesh.tell(a, b)
    until(lambda: len(mesh.addresses()) == 2)
    after = next(one for one in mesh.cluster()["endpoints"] if one["address"] == a.address)
    assert (after["total"], after["connections"]) == (before["total"], before["connections"]) == (5, 1)
    mesh.tell(b)
    until(lambda: mesh.addresses() == [b.address])
    mesh.tell(a, b)
    until(lambda: len(mesh.addresses()) == 2)
    assert next(one for one in mesh.cluster()["endpoints"] if one["address"] == a.address)["total"] == 5


def test_a_request_in_flight_ends_at_the_endpoint_it_began_with(mesh: Mesh, some: list[Origin]) -> None:
    a, b, _ = some
    done: list[Answer] = []
    waiting = threading.Thread(target=lambda: done.append(mesh.ask("/slow")))
    waiting.start()
    until(lambda: a.held == 1)
    mesh.tell(b)
    until(lambda: mesh.addresses() == [b.address])
    assert mesh.ask().text == "b"
    a.release.set()
    waiting.join()
    assert (done[0].status, done[0].text) == (200, "a")


@pytest.mark.parametrize(("word", "kind", "said"), [
    ("raise", "raised", "LookupError: the registry is gone"), ("end", "ended", "Told.endpoints has ended"),
    ("app:80", "refused", "endpoint 1 of 1: found the host name 'app'"), ("", "empty", "yielded an empty set"),
    ("10.0.0.1:80 10.0.0.1:80", "refused", "10.0.0.1:80 is there twice")])
def test_what_goes_wrong_leaves_the_endpoints_as_they_are(mesh: Mesh, some: list[Origin], word: str, kind: str,
                                                          said: str) -> None:
    mesh.tell(word)
    until(lambda: mesh.errors(kind) >= 1)
    assert mesh.addresses() == [some[0].address] and mesh.ask().text == "a"
    told = mesh.cluster()["discovery"]
    assert told["state"] == "failing" and said in told["last_error"] and said in mesh.sidecar.log
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])
    assert mesh.cluster()["discovery"]["state"] == "good"


def test_a_host_that_is_killed_is_started_again_while_traffic_flows(mesh: Mesh, some: list[Origin]) -> None:
    first, = mesh.hosts()
    with Callers(mesh.port, count=2) as callers:
        os.kill(first, signal.SIGKILL)
        until(lambda: mesh.hosts() not in ([], [first]))
        mesh.tell(*some[:2])
        until(lambda: len(mesh.addresses()) == 2)
        callers.more(20)
    assert callers.failures == [] and callers.bodies == {b"a", b"b"}
    metrics = mesh.sidecar.metrics()
    assert metrics["fastmesh_discovery_host_restarts_total"] == 1 and mesh.errors("died") == 1
    mesh.sidecar.wait_log("the discovery host ended: killed by SIGKILL")


def test_an_empty_set_where_it_is_allowed(mesh: Mesh, some: list[Origin]) -> None:
    mesh.sidecar.reload(mesh.config(allow_empty=True))
    assert mesh.ask().text == "a"
    mesh.tell("")
    until(lambda: mesh.addresses() == [])
    assert mesh.ask().status == 503
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])
    assert mesh.ask().text == "b"


def test_it_starts_without_endpoints_when_there_are_none_in_time(tmp_path: Path, some: list[Origin],
                                                                 reactor: str) -> None:
    mesh = Mesh(tmp_path, reactor)
    mesh.tell("raise")
    mesh.sidecar.write(mesh.config(first_wait="200ms"))
    with mesh.sidecar:
        assert mesh.ask().status == 503
        assert "its policy has yielded nothing good within 0.2 s: it begins without endpoints" in mesh.sidecar.log
        assert mesh.cluster()["discovery"]["state"] == "failing"
        mesh.tell(some[0])
        until(lambda: mesh.ask().status == 200)


def test_a_signal_ends_a_start_that_waits(tmp_path: Path, reactor: str) -> None:
    mesh = Mesh(tmp_path, reactor)
    mesh.tell("raise")
    mesh.sidecar.write(mesh.config(first_wait="5m"))
    mesh.sidecar.start(wait=False)
    mesh.sidecar.wait_log("discovery host is ready")
    host, = mesh.hosts()
    assert mesh.sidecar.stop() == 0
    assert not is_alive(host)


def test_an_update_does_not_make_an_edit_live(mesh: Mesh, some: list[Origin]) -> None:
    mesh.sidecar.write_text("listeners: [")
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])
    assert mesh.ask().text == "b"
    mesh.sidecar.write(mesh.config())
    mesh.sidecar.reload()
    assert mesh.addresses() == [some[1].address] and mesh.ask().text == "b"


def test_a_changed_class_takes_over_when_it_has_something_to_say(mesh: Mesh, some: list[Origin]) -> None:
    first, = mesh.hosts()
    with Callers(mesh.port, count=2) as callers:
        (mesh.directory / "d.py").write_text(POLICY.replace("text.split()", f"['{some[1].address}']"))
        mesh.sidecar.reload()
        assert mesh.addresses() == [some[1].address]
        callers.more(20)
    assert callers.failures == []
    until(lambda: mesh.hosts() not in ([], [first]) and len(mesh.hosts()) == 1)
    assert mesh.sidecar.metrics()["fastmesh_discovery_host_restarts_total"] == 0


def test_a_changed_policy_that_says_nothing_keeps_the_endpoints(mesh: Mesh, some: list[Origin]) -> None:
    mesh.tell("raise")
    until(lambda: mesh.errors("raised") >= 1)
    mesh.sidecar.reload(mesh.config(first_wait="200ms", path=str(mesh.directory / "none")))
    assert mesh.addresses() == [some[0].address] and mesh.ask().text == "a"
    mesh.sidecar.wait_log("has yielded nothing good within 0.2 s: the endpoints that it had stay, 1 of them")


@pytest.mark.parametrize(("text", "said"), [
    ("import nothing_like_it", "there is no module|No module named 'nothing_like_it'"),
    (POLICY.replace("async def", "def"), "is no async def|SyntaxError"),
    (POLICY + "\n    def start(self):\n        raise LookupError('no such table')\n", "LookupError: no such table")])
def test_a_version_that_cannot_be_used_changes_nothing(mesh: Mesh, some: list[Origin], text: str, said: str) -> None:
    before = mesh.hosts()
    (mesh.directory / "d.py").write_text(text)
    refused = mesh.sidecar.admin("/reload", "POST")
    assert refused.status == 400
    assert named_place(mesh.sidecar, refused.text, "clusters[0].endpoints.use")== "./d.py:Told"
    mesh.sidecar.wait_log(said)
    until(lambda: mesh.hosts() == before)
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])


def test_a_cluster_that_listed_them_keeps_them_until_its_policy_speaks(mesh: Mesh, some: list[Origin]) -> None:
    listed = {**mesh.config(), "clusters": [cluster("app", some[2].address)]}
    mesh.sidecar.reload(listed)
    assert mesh.ask().text == "c" and "discovery" not in mesh.cluster()
    until(lambda: mesh.hosts() == [])
    mesh.tell("raise")
    mesh.sidecar.reload(mesh.config(first_wait="100ms"))
    assert mesh.ask().text == "c"
    mesh.tell(some[1])
    until(lambda: mesh.ask().text == "b")


def test_a_worker_that_is_replaced_has_what_was_found(mesh: Mesh, some: list[Origin]) -> None:
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])
    worker, = mesh.sidecar.worker_pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: mesh.sidecar.worker_pids() not in ([], [worker]))
    assert mesh.ask().text == "b"


def test_the_file_policy_follows_a_file(mesh: Mesh, some: list[Origin]) -> None:
    path = mesh.directory / "hosts.yaml"
    path.write_text(f"- {some[0].address}\n- {{address: '{some[1].address}', weight: 3}}\n")
    mesh.sidecar.reload(mesh.config("file", path=str(path), interval="10ms"))
    assert [(one["address"], one["weight"]) for one in mesh.cluster()["endpoints"]] == sorted(
        [(some[0].address, 1), (some[1].address, 3)])
    path.write_text("- [")
    mesh.sidecar.wait_log("hosts.yaml cannot be used")
    assert len(mesh.addresses()) == 2
    path.write_text(f"- {some[2].address}\n")
    until(lambda: mesh.addresses() == [some[2].address])
    assert mesh.ask().text == "c"


def test_the_dns_policy_asks_the_resolver(mesh: Mesh, some: list[Origin]) -> None:
    config = mesh.config()
    config["clusters"][0]["endpoints"] = {"use": "dns", "hosts": [f"localhost:{some[2].port}"], "family": "4"}
    mesh.sidecar.reload(config)
    assert mesh.addresses() == [some[2].address] and mesh.ask().text == "c"


def test_the_host_dies_with_control(tmp_path: Path, some: list[Origin], reactor: str) -> None:
    mesh = Mesh(tmp_path, reactor, some[0])
    mesh.sidecar.start()
    host, = mesh.hosts()
    pids = mesh.sidecar.descendants()
    os.kill(mesh.sidecar.pid, signal.SIGKILL)
    mesh.sidecar.wait()
    try:
        until(lambda: not is_alive(host))
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def test_a_policy_counts(mesh: Mesh, some: list[Origin]) -> None:
    sets, size = "fastmesh_filter_discovery_app_sets_total{of=\"endpoints\"}", "fastmesh_filter_discovery_app_bytes"
    assert mesh.sidecar.metrics()[sets] == 1
    mesh.tell(some[1], some[2])
    until(lambda: len(mesh.addresses()) == 2)
    found = mesh.sidecar.metrics()
    assert found[sets] == 2 and found[size] == mesh.told.stat().st_size
    # What was counted stays when the process does not.
    mesh.tell("kill")
    until(lambda: mesh.errors("died") >= 1)
    mesh.tell(some[1])
    until(lambda: mesh.addresses() == [some[1].address])
    found = mesh.sidecar.metrics()
    assert found[sets] >= 4 and found[size] == mesh.told.stat().st_size


def test_a_policy_has_no_mesh(mesh: Mesh) -> None:
    mesh.tell("mesh")
    mesh.sidecar.wait_log("AttributeError: a discovery policy has no self.mesh")
    assert mesh.ask().text == "a"


def test_what_a_policy_says_of_endpoints(mesh: Mesh, some: list[Origin]) -> None:
    told = {"address": some[1].address, "weight": 2, "metadata": {"version": "v2"}}
    mesh.tell(json.dumps(told))
    until(lambda: mesh.addresses() == [some[1].address])
    found, = mesh.cluster()["endpoints"]
    assert (found["weight"], found["metadata"]) == (2, {"version": "v2"})
    mesh.tell(json.dumps({**told, "metadata": {"version": "v3"}}))
    until(lambda: mesh.cluster()["endpoints"][0]["metadata"] == {"version": "v3"})
    mesh.sidecar.reload()
    assert mesh.cluster()["endpoints"][0]["metadata"] == {"version": "v3"} and mesh.ask().text == "b"
