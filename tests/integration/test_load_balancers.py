"""Load balancers in Python in real processes: loaded, asked, reloaded, interrupted, counted."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, named_place, until

Start = Callable[..., Sidecar]

POLICIES = '''
import time
from fastmesh import LoadBalancer

VERSION = 1


class ByHeader(LoadBalancer):
    """The endpoint that a header names; else where the one that is configured stands."""

    favourite: int = 0

    def start(self):
        self.picks = self.metrics.counter("picks", help="Picks.")
        self.asked = 0
        self.log.info("starts")

    def weights(self, endpoints):
        self.asked += 1
        return [1 if at == self.favourite else 0 for at in range(len(endpoints))]

    def pick(self, request, endpoints):
        self.picks.inc()
        if request.headers.get("x-version"):
            return endpoints[VERSION % len(endpoints)]
        at = request.headers.get("x-at")
        return endpoints[int(at)] if at is not None else None


class ByVersion(LoadBalancer):
    """What the endpoints say of themselves."""

    def weights(self, endpoints):
        return [{"v1": 3.0, "v2": 1.0}.get(e.metadata.get("version"), 0.0) + 2 * (e.zone == "b") + 10 * e.priority
                for e in endpoints]


class ByPeer(LoadBalancer):
    """For connections, too: they have no head."""

    def pick(self, request, endpoints):
        try:
            request.headers
            request.path
        except RuntimeError as error:
            self.log.info("%s", error)
        assert request.peer == "127.0.0.1"
        return endpoints[-1]


class Hang(LoadBalancer):
    def weights(self, endpoints):
        while True:
            pass


class Block(LoadBalancer):
    def pick(self, request, endpoints):
        time.sleep(60)


class Broken(LoadBalancer):
    def start(self):
        raise RuntimeError("no such table")

    def weights(self, endpoints): ...
'''


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    made = [Origin(name) for name in ("one", "two", "three")]
    yield made
    for origin in made:
        origin.close()


class Balanced:
    """A sidecar whose only cluster is balanced by one of the policies."""

    def __init__(self, sidecar: Start, directory: Path, origins: list[Origin], name: str,
                 cluster: dict[str, Any] | None = None, **settings: Any) -> None:
        self.cluster = cluster or {}
        self.file = directory / "policies.py"
        self.file.write_text(POLICIES)
        self.port = free_port()
        self.origins = origins
        self.sidecar = sidecar(self.config(name, **settings))

    def config(self, name: str, **settings: Any) -> dict[str, Any]:
        return {
            "listeners": [http_listener(self.port, "app")],
            "clusters": [{**cluster("app", *(origin.address for origin in self.origins)),
                          "load_balancer": {"use": f"{self.file}:{name}", "name": "policy", "interval": "50ms",
                                            **settings}, **self.cluster}]}

    def answers(self, n: int = 6, **headers: str) -> Counter[str]:
        return Counter(ask(self.port, "/", headers=headers).text for _ in range(n))


def test_weights_and_picks(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", favourite=1)
    assert one.answers() == {"two": 6}
    assert one.answers(**{"x-at": "2"}) == {"three": 6}
    metrics = one.sidecar.metrics()
    assert metrics['fastmesh_filter_calls_total{filter="policy",phase="pick"}'] == 12
    assert metrics['fastmesh_filter_policy_picks_total'] == 12
    calls = 'fastmesh_filter_calls_total{filter="policy",phase="weights"}'
    until(lambda: one.sidecar.metrics()[calls] > metrics[calls])
    found, = one.sidecar.admin("/filters").json["filters"]
    assert found["name"] == "policy" and set(found["phases"]) == {"weights", "pick"}
    told, = one.sidecar.admin("/clusters").json
    assert told["load_balancer"].endswith(":ByHeader")


def test_what_endpoints_say_of_themselves(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    first, second, third = ({"address": origin.address} for origin in origins)
    told = [{**first, "metadata": {"version": "v1"}}, {**second, "metadata": {"version": "v2"}, "weight": 4},
            {**third, "zone": "b"}]
    one = Balanced(sidecar, tmp_path, origins, "ByVersion", cluster={"endpoints": told})
    assert one.answers(12) == {"one": 6, "two": 2, "three": 4}
    found = one.sidecar.admin("/clusters").json[0]["endpoints"]
    # Of the sum of those that are configured, which is 6.
    assert [(e["weight"], e["weight_now"]) for e in found] == [(1, 3.0), (4, 1.0), (1, 2.0)]
    assert [(e["metadata"], e["zone"], e["priority"]) for e in found] == [
        ({"version": "v1"}, "", 0), ({"version": "v2"}, "", 0), ({}, "b", 0)]
    config = one.config("ByVersion")
    config["clusters"][0]["load_balancer"] = "round_robin"
    one.sidecar.reload(config)
    found = one.sidecar.admin("/clusters").json[0]["endpoints"]
    assert [(e["weight"], e["weight_now"]) for e in found] == [(1, 1.0), (4, 4.0), (1, 1.0)]


def test_the_weight_of_one_that_warms_up(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    slow = {"balancing": {"slow_start": {"window": "1h", "min_weight": "25%"}}}
    one = Balanced(sidecar, tmp_path, origins[:2], "ByVersion", cluster=slow)
    one.answers(2)
    one.origins = origins
    config = one.config("ByVersion")
    config["clusters"][0]["load_balancer"] = "round_robin"
    one.sidecar.reload(config)
    one.answers(3)
    assert [e["weight_now"] for e in one.sidecar.admin("/clusters").json[0]["endpoints"]] == [1.0, 1.0, 0.25]


def test_sessions_stay_where_they_began_unless_that_has_no_weight(sidecar: Start, origins: list[Origin],
                                                                  tmp_path: Path) -> None:
    sticky = {"balancing": {"sticky": {"header": "x-home", "secret": "0123456789abcdef"}}}
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", cluster=sticky, favourite=1)
    homes = {at: ask(one.port, "/", headers={"x-at": at}).headers.get("x-home", "") for at in "012"}
    assert len(set(homes.values())) == 3
    # The policy would pick another, and is not asked.
    assert one.answers(**{"x-home": homes["1"], "x-at": "0"}) == {"two": 6}
    assert one.answers(**{"x-home": homes["0"]}) == {"two": 6}


def test_a_reload_swaps_what_has_changed_and_nothing_else(sidecar: Start, origins: list[Origin],
                                                         tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", favourite=1)
    assert one.answers(**{"x-version": "1"}) == {"two": 6}
    config = one.config("ByHeader", favourite=1)
    config["clusters"][0]["connect_timeout"] = "2s"
    one.sidecar.reload(config)      # nothing of the policy has changed: the instance is kept
    assert one.answers() == {"two": 6} and one.sidecar.log.count("starts") == 1
    one.file.write_text(POLICIES.replace("VERSION = 1", "VERSION = 2"))
    one.sidecar.reload()
    assert one.sidecar.log.count("starts") == 2
    assert one.answers(**{"x-version": "1"}) == {"three": 6}
    # A version that cannot be imported changes nothing.
    one.file.write_text("import nothing_of_that_name\n")
    assert one.sidecar.admin("/reload", "POST").status != 200
    assert one.answers(**{"x-version": "1"}) == {"three": 6}
    one.file.write_text(POLICIES)
    one.sidecar.reload(one.config("ByHeader", favourite=0))
    assert one.answers() == {"one": 6} and one.answers(**{"x-version": "1"}) == {"two": 6}
    # An algorithm alone, and back.
    one.sidecar.reload({**one.config("ByHeader"), "clusters": [
        {**cluster("app", *(origin.address for origin in origins)), "load_balancer": "round_robin"}]})
    assert one.answers() == {"one": 2, "two": 2, "three": 2}
    one.sidecar.reload(one.config("ByHeader", favourite=2))
    assert one.answers() == {"three": 6}


def test_one_that_does_not_start_is_refused(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", favourite=1)
    one.sidecar.write(one.config("Broken"))
    answer = one.sidecar.admin("/reload", "POST")
    assert answer.status != 200 and "no such table" in answer.text
    assert named_place(one.sidecar, answer.text, "clusters[0].load_balancer.use") == f"{one.file}:Broken"
    assert one.answers() == {"two": 6}


def test_weights_that_hang_are_interrupted_and_left_alone(sidecar: Start, origins: list[Origin],
                                                         tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "Hang", quarantine={"pause": "1h", "longest": "1h"})
    pid = one.sidecar.workers()[0]["pid"]
    until(lambda: one.sidecar.metrics()['fastmesh_filter_quarantined{filter="policy"}'] == 1)
    assert one.answers() == {"one": 2, "two": 2, "three": 2}
    assert one.sidecar.workers()[0]["pid"] == pid
    assert one.sidecar.metrics()['fastmesh_filter_errors_total{filter="policy",phase="weights"}'] == 3


def test_a_pick_that_blocks_is_interrupted(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "Block", quarantine={"failures": 0})
    assert one.answers(3) == {"one": 1, "two": 1, "three": 1}
    assert one.sidecar.metrics()['fastmesh_filter_errors_total{filter="policy",phase="pick"}'] == 3


def test_connections_are_balanced_too(sidecar: Start, origins: list[Origin], tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByPeer")
    port = free_port()
    config = one.config("ByPeer")
    config["listeners"] = [{"name": "tcp", "address": f"127.0.0.1:{port}", "protocol": "tcp", "cluster": "app"}]
    one.sidecar.reload(config)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 10) as line:
            line.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = b""
            while more := line.recv(65536):
                answer += more
            assert answer.endswith(b"three")
    # The worker tells control, which is in no hurry where somebody else wants the processor.
    until(lambda: "has no request head" in one.sidecar.log)


@pytest.mark.parametrize("workers", [2])
def test_each_worker_asks_for_itself(sidecar: Start, origins: list[Origin], tmp_path: Path, workers: int) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", favourite=2)
    one.sidecar.reload({**one.config("ByHeader", favourite=2), "workers": workers})
    until(lambda: len(one.sidecar.worker_pids()) == workers)
    assert one.answers(20) == {"three": 20}


def test_one_that_ends_its_worker_is_bypassed_by_the_next(sidecar: Start, origins: list[Origin],
                                                          tmp_path: Path) -> None:
    one = Balanced(sidecar, tmp_path, origins, "ByHeader", favourite=1)
    pid = one.sidecar.workers()[0]["pid"]
    one.file.write_text("import os\nfrom fastmesh import LoadBalancer\n\n\nclass Deadly(LoadBalancer):\n"
                        "    asked = 0\n\n    def weights(self, endpoints):\n        self.asked += 1\n"
                        "        if self.asked == 3:\n            os._exit(3)\n")
    one.sidecar.reload(one.config("Deadly"))
    until(lambda: one.sidecar.workers()[0]["state"] == "serving" and one.sidecar.workers()[0]["pid"] != pid)
    assert one.answers() == {"one": 2, "two": 2, "three": 2}
    assert "died while it ran: it is bypassed for 5 s" in one.sidecar.log
