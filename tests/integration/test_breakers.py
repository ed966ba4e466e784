"""Limits of a cluster in a running proxy: counted over all workers, and given back by those that die."""

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.harness import Origin, Sidecar, ask, cluster, free_port, http_listener, until

Start = Callable[..., Sidecar]
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"


class Held:
    """Requests that their origin holds back, each on a connection of its own."""

    def __init__(self) -> None:
        self.open: list[http.client.HTTPConnection] = []

    def begin(self, port: int, count: int = 1, path: str = "/slow") -> None:
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", path)
            self.open.append(connection)

    def statuses(self) -> list[int]:
        found = []
        for connection in self.open:
            try:
                found.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                found.append(0)     # its worker is gone
        return found

    def close(self) -> None:
        for connection in self.open:
            connection.close()
        self.open.clear()


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.close()


def config(port: int, origins: list[Origin], workers: int = 2, route: dict[str, Any] | None = None,
           **limits: Any) -> dict[str, Any]:
    listener = http_listener(port, "app")
    listener["routes"].insert(0, {"match": {"prefix": "/slow/high"}, "cluster": "app", "priority": "high"})
    listener["routes"][1].update(route or {})
    return {"workers": workers, "listeners": [listener],
            "clusters": [cluster("app", *(origin.address for origin in origins), **limits)]}


def used(one: Sidecar, limit: str) -> int:
    found: int = one.admin("/clusters").json[0]["limits"][limit]["used"]
    return found


def test_a_limit_holds_over_all_workers(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    one = sidecar({**config(port, [origin], max_requests=8), "access_log": {"format": "text", "template": LOG}})
    held.begin(port, 8)
    until(lambda: used(one, "max_requests") == 8)
    until(lambda: origin.held == 8)
    refused = [ask(port, "/") for _ in range(10)]
    assert {answer.status for answer in refused} == {503}
    assert refused[0].headers["x-envoy-overloaded"] == "true"
    found = one.metrics()
    assert found['fastmesh_cluster_breaker_open{cluster="app",limit="max_requests"}'] == 1
    assert found['fastmesh_cluster_breaker_used{cluster="app",limit="max_requests"}'] == 8
    assert found['fastmesh_cluster_breaker_limit{cluster="app",limit="max_requests"}'] == 8
    assert found['fastmesh_cluster_breaker_open{cluster="app",limit="max_pending"}'] == 0
    assert found['fastmesh_cluster_overflows_total{cluster="app",limit="max_requests"}'] == 10
    until(lambda: one.stdout_path.read_text().count("503 UO overflow{max_requests}\n") == 10)
    origin.release.set()
    assert held.statuses() == [200] * 8
    until(lambda: used(one, "max_requests") == 0)
    assert ask(port, "/").status == 200
    assert one.metrics()['fastmesh_cluster_breaker_open{cluster="app",limit="max_requests"}'] == 0


def test_a_limit_is_told_of_before_it_refuses_anybody(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    one = sidecar(config(port, [origin], max_requests=10))
    held.begin(port, 8)
    until(lambda: used(one, "max_requests") == 8 and origin.held == 8)
    most = 'fastmesh_cluster_breaker_most_used{cluster="app",limit="max_requests"}'
    assert one.metrics()[most] == 8
    assert near(one) == []
    held.begin(port, 1)
    until(lambda: len(near(one)) == 1)
    held.begin(port, 1)
    until(lambda: used(one, "max_requests") == 10 and origin.held == 10)
    assert ask(port, "/").status == 503
    origin.release.set()
    assert held.statuses() == [200] * 10
    until(lambda: used(one, "max_requests") == 0)
    (told,) = near(one)     # all that was one episode
    assert (told["cluster"], told["limit"], told["level"]) == ("app", "max_requests", "warn")
    one.wait_log(r"limit_near cluster=app limit=max_requests: more than 80 % of 10 were in use")
    assert one.metrics()[most] == 10
    assert one.admin("/clusters").json[0]["limits"]["max_requests"] == {"used": 0, "limit": 10, "most_used": 10}


def near(one: Sidecar) -> list[Any]:
    return [event for event in one.admin("/events").json if event["what"] == "limit_near"]


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_worker_that_dies_gives_back_what_it_had(sidecar: Start, origin: Origin, held: Held, how: str) -> None:
    port = free_port()
    one = sidecar({**config(port, [origin], max_requests=8), "hang_timeout": "2s"})
    held.begin(port, 8)
    until(lambda: used(one, "max_requests") == 8 and origin.held == 8)
    before = one.worker_pids()
    victim = before[0]
    os.kill(victim, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    until(lambda: len(now := one.worker_pids()) == 2 and victim not in now)
    left = used(one, "max_requests")
    origin.release.set()
    statuses = held.statuses()
    assert statuses.count(200) == left and statuses.count(0) == 8 - left
    until(lambda: used(one, "max_requests") == 0)
    # All of it can be had again, and no more.
    origin.release.clear()
    held.close()
    held.begin(port, 8)
    until(lambda: used(one, "max_requests") == 8 and origin.held == 8)
    assert ask(port, "/").status == 503


def test_a_reload_keeps_the_counts(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    one = sidecar(config(port, [origin], max_requests=100))
    held.begin(port, 4)
    until(lambda: origin.held == 4)
    one.reload(config(port, [origin], max_requests=4))
    assert used(one, "max_requests") == 4
    assert [ask(port, "/").status for _ in range(4)] == [503] * 4
    one.reload(config(port, [origin], max_requests=5))
    assert ask(port, "/").status == 200


def test_requests_of_a_worker_that_drains_count(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    one = sidecar(config(port, [origin], workers=1, max_requests=3))
    held.begin(port, 3)
    until(lambda: origin.held == 3)
    assert one.admin("/workers/0/replace", "POST").status == 200
    assert used(one, "max_requests") == 3
    assert ask(port, "/").status == 503
    origin.release.set()
    assert held.statuses() == [200] * 3
    until(lambda: used(one, "max_requests") == 0)
    assert ask(port, "/").status == 200


def test_requests_of_one_endpoint(sidecar: Start, origin: Origin, held: Held) -> None:
    """The other one is asked while there is room; then nobody."""
    other = Origin("other")
    port = free_port()
    one = sidecar({**config(port, [origin, other], max_endpoint_requests=2),
                   "access_log": {"format": "text", "template": LOG}})
    held.begin(port, 4)
    until(lambda: origin.held + other.held == 4)
    assert (origin.held, other.held) == (2, 2)
    answer = ask(port, "/")
    assert (answer.status, answer.headers["x-envoy-overloaded"]) == (503, "true")
    until(lambda: "503 UO overflow{max_endpoint_requests}\n" in one.stdout_path.read_text())
    other.release.set()
    until(lambda: other.held == 0)
    assert {ask(port, "/").text for _ in range(4)} == {"other"}
    origin.release.set()
    assert held.statuses() == [200] * 4
    other.close()


def test_connections_of_a_cluster(sidecar: Start, origin: Origin, held: Held) -> None:
    other = Origin("other")
    port = free_port()
    one = sidecar(config(port, [origin, other], workers=1, max_cluster_connections=2, load_balancer="round_robin"))
    assert {ask(port, "/").text for _ in range(4)} == {"origin", "other"}
    assert used(one, "max_cluster_connections") == 2
    held.begin(port, 2)
    until(lambda: origin.held + other.held == 2)
    # Busy both: a request waits for one of them.
    waits = Held()
    waits.begin(port, 1, "/")
    until(lambda: used(one, "max_pending") == 1)
    origin.release.set()
    other.release.set()
    assert held.statuses() == [200] * 2
    assert waits.statuses() == [200]
    assert used(one, "max_cluster_connections") == 2
    waits.close()
    other.close()


def test_an_idle_connection_makes_room_for_one_elsewhere(sidecar: Start, origin: Origin) -> None:
    other = Origin("other")
    port = free_port()
    one = sidecar(config(port, [origin, other], workers=1, max_cluster_connections=1, load_balancer="round_robin"))
    assert {ask(port, "/").text for _ in range(4)} == {"origin", "other"}
    assert used(one, "max_cluster_connections") == 1
    other.close()


def test_connections_to_an_endpoint_are_shared_out(sidecar: Start, origin: Origin, held: Held) -> None:
    """Two for each of two workers; who comes later waits its turn."""
    port = free_port()
    one = sidecar(config(port, [origin], max_connections=4))
    held.begin(port, 40)
    until(lambda: origin.held == 4)
    until(lambda: used(one, "max_requests") == 40)
    assert one.admin("/clusters").json[0]["endpoints"][0]["connections"] == 4
    origin.release.set()
    assert held.statuses() == [200] * 40
    assert one.admin("/clusters").json[0]["endpoints"][0]["connections"] <= 4


def test_high_priority_has_what_is_kept_for_it(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    sidecar(config(port, [origin], max_requests=4, high_priority_reserve="50%"))
    held.begin(port, 2)
    until(lambda: origin.held == 2)
    assert ask(port, "/").status == 503
    held.begin(port, 2, "/slow/high")
    until(lambda: origin.held == 4)
    assert ask(port, "/slow/high").status == 503
    origin.release.set()
    assert held.statuses() == [200] * 4


def test_so_many_may_be_tried_again_at_a_time(sidecar: Start, held: Held) -> None:
    """Whatever the budget has left."""
    good = Origin("good")
    port = free_port()
    # All six meet the heavy one first, whenever each is sent again: only what is sent again reaches the other, which
    # holds it. Turns begin anywhere, so that a weight of 1,000 would have the other come first once in 170 runs.
    rule = {"retry": {"on": [503], "attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}}}
    bad = Refusing()
    one = sidecar({**config(port, [good], workers=1, max_retries=2, route=rule, load_balancer="round_robin"),
                   "clusters": [{"name": "app", "max_retries": 2, "load_balancer": "round_robin",
                                 "outlier": {"enabled": False},
                                 "endpoints": [{"address": bad.address, "weight": 1 << 31}, good.address]}]})
    held.begin(port, 6)
    until(lambda: bad.requests == 6 and used(one, "max_retries") == 2)
    refused = 'fastmesh_cluster_overflows_total{cluster="app",limit="max_retries"}'
    until(lambda: one.metrics().get(refused) == 4)
    good.release.set()
    assert sorted(held.statuses()) == [200] * 2 + [503] * 4
    until(lambda: used(one, "max_retries") == 0)
    good.close()
    bad.close()


# --- limits that are found ---

def test_what_a_worker_has_found_holds(sidecar: Start, origin: Origin, held: Held) -> None:
    port = free_port()
    one = sidecar({**config(port, [origin], workers=1, adaptive={
        "min_concurrency": 2, "initial_concurrency": 3, "max_concurrency": 3}),
        "access_log": {"format": "text", "template": LOG}})
    for _ in range(30):
        assert ask(port, "/").status == 200
    held.begin(port, 3)
    until(lambda: origin.held == 3)
    answer = ask(port, "/")
    assert (answer.status, answer.headers["x-envoy-overloaded"]) == (503, "true")
    until(lambda: "503 UO overflow{adaptive}\n" in one.stdout_path.read_text())
    assert one.metrics()['fastmesh_cluster_overflows_total{cluster="app",limit="adaptive"}'] == 1
    origin.release.set()
    assert held.statuses() == [200] * 3

    def is_known() -> bool:
        assert ask(port, "/").status == 200
        found = one.metrics()
        return (found.get('fastmesh_cluster_adaptive_limit{cluster="app"}') in (2, 3)
                and 0 < found['fastmesh_cluster_adaptive_min_seconds{cluster="app"}'] < 20)

    until(is_known)


def test_who_is_turned_away_while_all_fail(sidecar: Start) -> None:
    bad = Refusing()
    port = free_port()
    one = sidecar({**config(port, [bad], workers=1, outlier={"enabled": False},
                            admission={"min_requests": 20, "success_rate": "90%"}),
                   "access_log": {"format": "text", "template": LOG}})
    for _ in range(20):
        assert "x-envoy-overloaded" not in ask(port, "/").headers
    turned_away = sum("x-envoy-overloaded" in ask(port, "/").headers for _ in range(100))
    # Four of five, by chance: below 50 is as likely as one in ten trillion.
    assert 50 < turned_away <= 100
    assert bad.requests == 120 - turned_away
    found = one.metrics()
    assert found['fastmesh_cluster_overflows_total{cluster="app",limit="admission"}'] == turned_away
    assert found['fastmesh_cluster_admission_rejected{cluster="app"}'] == 0.8
    until(lambda: one.stdout_path.read_text().count("503 UO overflow{admission}\n") == turned_away)
    bad.close()


class Refusing(Origin):
    """Answers all with 503."""

    def __init__(self) -> None:
        super().__init__("bad")
        self.release.set()
        handler = self._server.RequestHandlerClass

        def refuse(request: Any) -> None:
            self.requests += 1
            request.send_response(503)
            request.send_header("content-length", "0")
            request.end_headers()

        handler.do_GET = refuse     # type: ignore[attr-defined]
