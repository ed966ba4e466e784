"""What becomes of the next request, told by a running proxy and by `fastmesh explain --next`."""

import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration import peer
from integration.harness import FASTMESH, Answer, Origin, Sidecar, ask, cluster, free_port, until
from integration.mesh import elapse

Start = Callable[..., Sidecar]
PAGE = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()


def mesh(port: int, origin: Origin, **more: Any) -> dict[str, Any]:
    """A route that tries again, whose first endpoint nobody listens at."""
    return {
        "workers": 2,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"name": "writes", "match": {"prefix": "/", "methods": ["POST"]}, "cluster": "app"},
            {"name": "fixed", "match": {"prefix": "/fixed"}, "response": {"status": 403}},
            {"name": "rest", "match": {"prefix": "/ok"}, "cluster": "app"}]}],
        "clusters": [cluster("app", f"127.0.0.1:{free_port()}", origin.address, load_balancer="round_robin",
                             avoid={"base": "1ms", "max": "1ms"}, outlier={"enabled": False})], **more}


def account_of(one: Sidecar, query: str, cause: Callable[[], Any]) -> Answer:
    """The answer of `POST /explain`. `cause` is done until there is one: nobody knows when a worker has begun to
    wait."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(one.admin, f"/explain?{query}&seconds=10", "POST")
        until(lambda: cause() is ... or asked.done())
        return asked.result()


def test_each_step_is_told(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(mesh(port, origin))

    def failed_first() -> dict[str, Any]:
        said: dict[str, Any] = account_of(one, "path=/ok&method=GET", lambda: ask(port, "/ok?x=1")).json
        return said if said["attempts"] == 2 else {}

    said = until(failed_first)
    assert (said["listener"], said["method"], said["target"], said["path"]) == ("web", "GET", "/ok?x=1", "/ok")
    assert said["passed"] == [[0, "writes", "method", ""], [1, "fixed", "path", ""]]
    assert (said["decided"], said["route"], said["cluster"]) == ("route", [2, "rest"], "app")
    steps = [step["what"] for step in said["steps"]]
    assert steps == ["picked", "failed", "again", "picked", "sent", "answered"]
    assert said["steps"][1]["why"] == "the upstream refused the connection"
    assert said["steps"][3]["endpoint"] == origin.address
    assert (said["status"], said["flags"], said["details"]) == (200, "", "via_upstream")
    at = [step["ms"] for step in said["steps"]]
    assert at == sorted(at) and at[-1] <= said["duration_ms"] and said["sent"] == len("origin")
    # It has told, and nobody waits any more.
    assert ask(port, "/ok").status == 200


def test_only_the_one_that_is_waited_for(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(mesh(port, origin))

    def cause() -> None:
        ask(port, "/other")
        ask(port, "/ok", headers={"x-a": "2"})
        ask(port, "/ok", headers={"x-a": "1", "host": "other.test"})
        ask(port, "/ok", headers={"x-a": "1", "host": "shop.test:8080"})

    said = account_of(one, "header=X-A:1&host=SHOP.test&listener=web", cause).json
    assert (said["target"], said["host"]) == ("/ok", "shop.test:8080")
    refused = account_of(one, "path=/nowhere", lambda: ask(port, "/nowhere")).json
    assert (refused["decided"], refused["status"], refused["flags"]) == ("none", 404, "NR")
    assert "route" not in refused and refused["steps"][-1]["what"] == "answered here"
    fixed = account_of(one, "path=/fixed", lambda: ask(port, "/fixed")).json
    assert (fixed["route"], fixed["status"], fixed["steps"]) == ([1, "fixed"], 403, [])


def test_when_none_comes(sidecar: Start, origin: Origin) -> None:
    one = sidecar(mesh(free_port(), origin))
    answer = one.admin("/explain?path=/never&seconds=0.3", "POST")
    assert (answer.status, answer.text) == (404, "no such request has come and ended within 0.3 s\n")
    assert one.admin("/explain").status == 405


def test_a_request_whose_client_leaves_is_told_of_too(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(mesh(port, origin))

    def leave() -> None:
        with pytest.raises(TimeoutError):
            ask(port, "/ok/slow", timeout=0.2)

    config = mesh(port, origin)
    config["listeners"][0]["routes"][2]["rewrite"] = {"prefix": "/slow"}
    one.reload(config)
    said = account_of(one, "path=/ok/slow", leave).json
    assert (said["status"], said["flags"]) == (0, "DC")
    origin.release.set()


def test_a_worker_that_ends_meanwhile_does_not_mind(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(mesh(port, origin))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(one.admin, "/explain?path=/late&seconds=20", "POST")
        until(lambda: one.admin("/workers/0/replace", "POST").status == 200)
        until(lambda: one.admin("/workers/1/replace", "POST").status == 200)
        # Those that have come up are asked too.
        until(lambda: ask(port, "/late") and asked.done())
        assert asked.result().json["status"] == 404


def test_more_than_may_wait_are_told_so(sidecar: Start, origin: Origin) -> None:
    one = sidecar(mesh(free_port(), origin))
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(one.admin, "/explain?path=/never&seconds=3", "POST") for _ in range(10)]
        answers = sorted((each.result().status, each.result().text) for each in asked)
    assert [status for status, _ in answers] == [404] * 8 + [503] * 2
    assert answers[-1][1] == "8 wait for a request already\n"


def test_the_command(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(mesh(port, origin))

    def explained(*more: str) -> str:
        running = subprocess.Popen([FASTMESH, "explain", one.path, "--next", "GET", "/ok", "--wait", "10", *more],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: ask(port, "/ok") and running.poll() is not None)
        said, errors = running.communicate()
        assert running.returncode == 0, errors
        assert errors.startswith(f"waiting for a request at 127.0.0.1:{one.admin_port} (method GET, path /ok)")
        return said

    said = until(lambda: "tried again" in (text := explained()) and text)
    name = re.escape(str(one.path))
    for line in (rf"listener web \({name}:\d+\), 127.0.0.1:{port}", r"path compared: /ok",
                 rf"  routes\[0\] writes \({name}:\d+\): no, the method GET is none of POST",
                 rf"  routes\[2\] rest \({name}:\d+\): takes it", rf"cluster app \({name}:\d+\), round_robin",
                 r" +\d+\.\d{3} ms  picked 127.0.0.1:\d+ of app",
                 r" +\d+\.\d{3} ms  failed: the upstream refused the connection",
                 r" +\d+\.\d{3} ms  to be tried again", r" +\d+\.\d{3} ms  sent, on a (new|kept) connection",
                 r" +\d+\.\d{3} ms  ended with 200 \(via_upstream\), 2 attempts, \d+\.\d{3} ms of it here"):
        assert re.search(f"^{line}$", said, re.M), (line, said)
    # The file is changed, and not yet read again.
    one.write(mesh(port, origin, node={"service": "other"}))
    assert f"{one.path} is not what the proxy runs: rules are told without their lines" in explained()


def test_the_page_shows_what_it_says(sidecar: Start, origin: Origin) -> None:
    """Word for word, but for times, ports and names of files."""
    (shown,) = re.findall(r"^```\n(\$ fastmesh explain mesh.yaml --next.*?)^```", PAGE, re.M | re.S)
    kinds = [re.sub(r"[\d.]+ ms", "N ms", line.strip()) for line in shown.splitlines() if " ms  " in line]
    said = {"picked": "picked 127.0.0.1:9000 of app", "failed": "failed: the upstream refused the connection"}
    assert f"N ms  {said['picked']}" in kinds and f"N ms  {said['failed']}" in kinds
    assert kinds[-1] == "N ms  ended with 200 (via_upstream), 2 attempts, N ms of it here"


Answers = Callable[[list[peer.Origin], peer.Peer], None]


def hedged(sidecar: Start, method: str, n: int, answer: Answers) -> dict[str, Any]:
    """What is told of a request over a route that hedges, to a cluster of `n` endpoints."""
    port = free_port()
    origins = [peer.Origin() for _ in range(n)]
    one = sidecar({
        "workers": 1,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
            {"match": {"prefix": "/told"}, "cluster": "app", "hedge": {"delay": "30ms"}},
            {"match": {"prefix": "/"}, "response": {"status": 200}}]}],
        "clusters": [cluster("app", *(each.address for each in origins), outlier={"enabled": False})]})
    client, asked = peer.connect(("127.0.0.1", port)), peer.connect(("127.0.0.1", one.admin_port))
    try:
        # Both are passed on to the worker in their order: when the later one has been told of a request, the earlier
        # one waits there for its own.
        asked.send(f"POST /explain?path=/told&seconds=10 HTTP/1.1\r\nhost: 127.0.0.1:{one.admin_port}\r\n"
                   "content-length: 0\r\n\r\n")
        assert account_of(one, "path=/first", lambda: ask(port, "/first")).status == 200
        client.send_request("/told", method)
        answer(origins, client)
        told = asked.read_answer()
        assert told.status == 200, told.text
        said: dict[str, Any] = json.loads(told.text)
        return said
    finally:
        client.close()
        asked.close()
        for each in origins:
            each.close()


def test_a_second_attempt_is_told_of(sidecar: Start) -> None:
    def answer(origins: list[peer.Origin], client: peer.Peer) -> None:
        until(lambda: all(each.has_connection() for each in origins))
        taken = [each.accept() for each in origins]
        numbers = [up.read_request().get("x-envoy-attempt-count") for up in taken]
        taken[numbers.index("2")].answer("second")
        assert client.read_answer().text == "second"

    said = hedged(sidecar, "GET", 2, answer)
    steps = {step["what"]: step for step in said["steps"]}
    assert [step["what"] for step in said["steps"] if step["what"] in ("picked", "beside", "lost", "won")] == [
        "picked", "beside", "lost", "won"]
    assert steps["beside"]["rule"] == "delay" and steps["beside"]["after_ms"] >= 30
    assert steps["lost"]["endpoint"] == steps["picked"]["endpoint"] != steps["beside"]["endpoint"]
    assert steps["won"]["endpoint"] == steps["beside"]["endpoint"]
    assert (said["status"], said["attempts"], said["hedges"]) == (200, 2, 1)


@pytest.mark.parametrize(("method", "why"), [
    ("GET", "there is no other endpoint that is well"), ("POST", "its method is none that may be done twice")])
def test_why_there_is_no_second_attempt_is_told(sidecar: Start, method: str, why: str) -> None:
    def answer(origins: list[peer.Origin], client: peer.Peer) -> None:
        up = origins[0].accept()
        up.read_request()
        elapse(0.1)
        up.answer("first")
        assert client.read_answer().text == "first"

    said = hedged(sidecar, method, 1, answer)
    assert [step["why"] for step in said["steps"] if step["what"] == "alone"] == [why]
    assert (said["attempts"], said["hedges"]) == (1, 0)


def routed(port: int, *clusters: dict[str, Any], **route: Any) -> dict[str, Any]:
    """One worker, with one route to the first of the clusters."""
    return {"workers": 1, "listeners": [{"name": "web", "address": f"127.0.0.1:{port}", "routes": [
        {"match": {"prefix": "/"}, "cluster": clusters[0]["name"], **route}]}], "clusters": list(clusters)}


def nobody(name: str) -> dict[str, Any]:
    """A cluster whose endpoint does not listen."""
    return cluster(name, f"127.0.0.1:{free_port()}", avoid={"base": "1ms", "max": "1ms"}, outlier={"enabled": False})


def explained_next(one: Sidecar, cause: Callable[[], Answer]) -> str:
    """What `fastmesh explain --next` says of what `cause` asks."""
    running = subprocess.Popen([FASTMESH, "explain", one.path, "--next", "GET", "/", "--wait", "10"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: cause() and running.poll() is not None)
    shown, errors = running.communicate()
    assert running.returncode == 0, errors
    return shown


def steps_of(said: dict[str, Any]) -> list[str]:
    return [step["what"] for step in said["steps"]]


def test_one_that_is_turned_away_is_told_so(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(routed(port, cluster("app", origin.address, max_requests=1)))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, port, "/slow")
        until(lambda: origin.held == 1)
        said = account_of(one, "path=/more", lambda: ask(port, "/more")).json
        origin.release.set()
        assert held.result().status == 200
    assert (steps_of(said), said["details"], said["flags"]) == (["answered here"], "overflow{max_requests}", "UO")
    assert said["steps"][0]["why"] == "the cluster has as many requests in flight as its max_requests allows"


def test_a_call_of_grpc_that_is_refused_is_told_so(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    one = sidecar(routed(port, cluster("app", origin.address), rate_limits=[{"name": "few", "rate": "1/h"}]))
    call = {"content-type": "application/grpc"}
    assert ask(port, "/", "POST", call).status == 200
    said = account_of(one, "path=/call", lambda: ask(port, "/call", "POST", call)).json
    assert (steps_of(said), said["status"], said["limited_by"]) == (["answered here"], 200, "few")
    assert "few" in said["steps"][0]["why"] and said["details"] == "local_rate_limited{few}"


def test_each_step_of_a_fallback_is_told(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    config = routed(port, nobody("app"), nobody("second"), cluster("third", origin.address),
                    fallback=[{"cluster": "second"}, {"cluster": "third"}])
    one = sidecar(config)
    said = account_of(one, "path=/", lambda: ask(port, "/")).json
    assert steps_of(said) == ["picked", "failed", "fallback", "picked", "failed", "fallback", "picked", "sent",
                              "answered"]
    first, second = (step for step in said["steps"] if step["what"] == "fallback")
    assert (first["step"], first["kind"], first["name"], first["reason"]) == (0, "cluster", "second", "connect-failure")
    assert (second["step"], second["name"]) == (1, "third")
    assert first["why"] == second["why"] == "the upstream refused the connection"
    assert (said["first_cluster"], said["cluster"], said["flags"]) == ("app", "third", "UF,URX,FB")
    shown = explained_next(one, lambda: ask(port, "/"))
    # The rules are those of the route's own cluster.
    assert re.search(r"^cluster app \(", shown, re.M) and not re.search(r"^cluster third \(", shown, re.M)
    assert re.search(r"^ +[\d.]+ ms  step 1 of the fallback: cluster third \(connect-failure: .+\)$", shown, re.M)


def test_an_answer_of_a_fallback_and_its_end(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    answers = routed(port, nobody("app"), fallback=[{"response": {"status": 200, "body": "later"}}])
    one = sidecar(answers)
    said = account_of(one, "path=/", lambda: ask(port, "/")).json
    assert steps_of(said) == ["picked", "failed", "fallback"] and said["steps"][2]["kind"] == "response"
    # A chain that was begun, and nobody is left who could answer.
    one.reload(routed(port, nobody("app"), nobody("second"), fallback=[{"cluster": "second"}]))
    said = account_of(one, "path=/", lambda: ask(port, "/")).json
    assert steps_of(said) == ["picked", "failed", "fallback", "picked", "failed", "exhausted", "answered here"]
    assert said["cluster"] == "second" and said["status"] == 503
    # One that is never begun is not told of: there is no copy.
    one.reload(routed(port, nobody("app"), fallback=[{"stale": {"max_age": "1h"}}]))
    said = account_of(one, "path=/", lambda: ask(port, "/")).json
    assert steps_of(said) == ["picked", "failed", "answered here"]


def test_faults_and_mirrors_are_told_of(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    other = Origin("other")
    try:
        one = sidecar(routed(
            port, cluster("app", origin.address), cluster("copy", other.address),
            faults=[{"delay": "30ms"}, {"bandwidth": "1MiB/s"}, {"match": {"prefix": "/never"}, "delay": "9s"}],
            mirrors=[{"cluster": "copy"}, {"cluster": "copy", "match": {"prefix": "/never"}}]))
        said = account_of(one, "path=/", lambda: ask(port, "/")).json
        assert steps_of(said) == ["slowed", "delayed", "copied", "picked", "sent", "answered"]
        slowed, delayed, copied, picked, *_ = said["steps"]
        assert slowed["why"] == "the body of the answer has 1048576 bytes a second"
        assert delayed["for_ms"] == 30 and picked["ms"] - delayed["ms"] >= 29 and copied["cluster"] == "copy"
        shown = explained_next(one, lambda: ask(port, "/"))
        for line in (r"the body of the answer has 1048576 bytes a second, by a fault of the route",
                     r"held back for 30 ms, by a fault of the route", r"a copy goes to copy"):
            assert re.search(rf"^ +[\d.]+ ms  {line}$", shown, re.M), (line, shown)
        # Of one with a body there is a copy when it is whole; and of one that is too large there is none.
        said = account_of(one, "path=/&method=POST", lambda: ask(port, "/", "POST", body=b"x")).json
        assert steps_of(said).count("copied") == 1
        said = account_of(one, "path=/&method=POST", lambda: ask(port, "/", "POST", body=b"x" * 70_000)).json
        assert [step["why"] for step in said["steps"] if step["what"] == "not copied"] == [
            "copy: its body is larger than what is kept"]
        assert "copied" not in steps_of(said)
    finally:
        other.close()


STEERS = """
from fastmesh import Filter, Retry


class Steers(Filter):
    def on_route(self, request):
        request.cluster = "next"
        request.subset = {"version": "v2"}
        request.timeout = 2
        request.retry = Retry(attempts=3)


class Apart(Steers):
    isolated = True


class Looks(Filter):
    def on_request(self, request):
        pass
"""


@pytest.mark.parametrize("use", ["Steers", "Apart"])
def test_what_filters_do_is_told(sidecar: Start, origin: Origin, tmp_path: Path, use: str) -> None:
    port = free_port()
    (tmp_path / "steers.py").write_text(STEERS)
    following = {"name": "next", "endpoints": [{"address": origin.address, "metadata": {"version": "v2"}}],
                 "subsets": {"selectors": [{"keys": ["version"]}]}}
    config = routed(port, nobody("app"), following,
                    filters=[{"use": f"{tmp_path}/steers.py:{use}", "name": "steers"},
                             {"use": f"{tmp_path}/steers.py:Steers", "name": "shadow", "mode": "shadow"}])
    config["listeners"][0]["filters"] = [
        {"use": f"{tmp_path}/steers.py:Looks", "name": "looks"},
        {"use": f"{tmp_path}/steers.py:Looks", "name": "others", "match": {"prefix": "/never"}}]
    one = sidecar(config)
    said = account_of(one, "path=/", lambda: ask(port, "/")).json
    assert steps_of(said) == ["steered", "picked", "sent", "answered", "filters"]
    assert said["steps"][0]["filter"] == "steers: cluster next, subset version=v2, timeout 2 s, 3 attempts"
    assert said["steps"][4]["asked"] == "looks, steers, shadow" and said["cluster"] == "next"
    shown = explained_next(one, lambda: ask(port, "/"))
    assert re.search(r"^ +[\d.]+ ms  by the filter steers: cluster next, subset version=v2, timeout 2 s, 3 attempts$",
                     shown, re.M), shown
    assert re.search(r"^ +[\d.]+ ms  filters that were asked: looks, steers, shadow$", shown, re.M), shown


def test_an_answer_that_is_cut(sidecar: Start) -> None:
    port = free_port()
    half = peer.Origin()
    one = sidecar(routed(port, cluster("app", half.address), timeout="200ms"))

    def meet() -> None:
        client = peer.connect(("127.0.0.1", port)).send_request("/cut")
        up = half.accept()
        up.read_request()
        up.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        client.read_end()
        client.close()
        up.close()

    try:
        said = account_of(one, "path=/cut", meet).json
    finally:
        half.close()
    assert steps_of(said) == ["picked", "sent", "answered", "cut"]
    assert said["steps"][3]["why"] == "the upstream did not answer within the request timeout"
    assert said["details"] == "response_timeout{route}"
