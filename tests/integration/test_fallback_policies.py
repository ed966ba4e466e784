"""Policies of fallbacks in real processes: asked about every failure, left out when they fail, marked, counted,
reloaded, and in a process of their own."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin as Server
from integration.harness import Sidecar, ask, cluster, free_port, named_place, until
from integration.peer import Origin, Peer, connect

Start = Callable[..., Sidecar]

POLICIES = '''
import time

from fastmesh import Failure, Fallback, Filter, Request, Response, sleep

VERSION = 1


class Says(Fallback):
    """What made it begin."""

    word: str = "instead"

    def start(self):
        self.asked = self.metrics.counter("asked", help="Requests.")

    def answer(self, request, failure):
        self.asked.inc()
        request.labels["asked"] = failure.reason
        return Response(200, headers={"x-word": self.word, "x-version": str(VERSION)}, json={
            "reason": failure.reason, "status": failure.status, "flags": failure.flags, "details": failure.details,
            "cluster": failure.cluster, "endpoint": failure.endpoint, "attempts": failure.attempts,
            "message": failure.message, "method": request.method, "path": request.path, "id": bool(request.id)})


class Early(Says):
    before_filters = True


class Does(Fallback):
    """What the request says."""

    def answer(self, request, failure):
        what = request.headers["x-do"]
        if what == "none":
            return None
        if what == "number":
            return 200
        if what == "edit":
            request.headers["x-a"] = "1"
        if what == "exit":
            raise SystemExit(3)
        if what == "block":
            time.sleep(0.02)
        if what == "hang":
            while True:
                pass
        if what == "wait":
            return self.later()
        return Response(200, text=what)

    async def later(self):
        await sleep(30)


class Waits(Fallback):
    """As long as the request says."""

    async def answer(self, request, failure):
        await sleep(float(request.headers["x-wait"]))
        return Response(200, text=f"waited {request.path}") if request.headers.get("x-do") != "none" else None


class FromElsewhere(Fallback):
    source: str = "other"

    async def answer(self, request, failure):
        reply = await self.mesh.get(self.source, request.path)
        return Response(reply.status, body=reply.body, content_type="text/plain")


class Apart(Fallback):
    """In a process of its own."""

    isolated = True
    needs = ("x-do",)

    async def answer(self, request: Request, failure: Failure) -> Response | None:
        import asyncio
        import os
        what = request.headers.get("x-do")
        if what == "none":
            return None
        if what == "raise":
            raise ValueError("no such thing")
        if what == "number":
            return 5
        if what == "wait":
            await asyncio.sleep(30)
        if what == "die":
            os._exit(1)
        reply = await self.mesh.get("other", "/")
        request.labels["apart"] = failure.reason
        return Response(200, text=f"{failure.reason} {failure.cluster} {failure.attempts} {reply.text} {request.path}")


class Guard(Filter):
    def on_request(self, request):
        if request.headers.get("x-let") == "no":
            return Response(403, text="no")

    def on_response(self, request, response):
        response.headers["x-seen"] = str(response.status)
'''
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DEGRADED%"
LAST = {"response": {"status": 200, "body": "last"}}
PLAIN: dict[str, Any] = {"outlier": {"enabled": False}, "connect_attempts": 1}


class Place:
    """A sidecar whose routes stand for as many ways to fail."""

    def __init__(self, start: Start, directory: Path, routes: list[dict[str, Any]], *clusters: dict[str, Any],
                 **more: Any) -> None:
        self.port = free_port()
        self.config: dict[str, Any] = {
            "access_log": {"format": "text", "template": LOG},
            "listeners": [{"name": "web", "address": f"127.0.0.1:{self.port}", "routes": routes, **more}],
            "clusters": [{"name": "none", "endpoints": []}, *clusters]}
        self.file = directory / "policies.py"
        self.file.write_text(POLICIES)
        for step in self.steps():
            if "use" in step:
                step["use"] = f"{self.file}:{step['use']}"
        for route in routes:
            for item in route.get("filters", ()):
                item["use"] = f"{self.file}:{item['use']}"
        self.sidecar = start(self.config)

    def steps(self) -> Iterator[dict[str, Any]]:
        for listener in self.config["listeners"]:
            yield from listener.get("fallback", ())
            for route in listener["routes"]:
                yield from route.get("fallback", ())

    def connect(self) -> Peer:
        return connect(("127.0.0.1", self.port))

    def logged(self, pattern: str) -> None:
        """Until the access log has a line that begins so."""
        path = self.sidecar.stdout_path
        until(lambda: re.search(f"^{pattern}", path.read_text(), re.M), f"{pattern} in {path}")


def step(use: str, *on: Any, **more: Any) -> dict[str, Any]:
    return {"use": use, "on": list(on) or ["gateway-error"], **more}


def to(path: str, cluster: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": path.strip("/") or "all", "match": {"prefix": path}, "cluster": cluster, "fallback": list(steps),
            **more}


@pytest.fixture
def raw() -> Iterator[Origin]:
    """An origin that the test speaks for."""
    made = Origin()
    yield made
    made.close()


def test_each_failure(sidecar: Start, tmp_path: Path, raw: Origin, origin: Server) -> None:
    dead = free_port()
    place = Place(
        sidecar, tmp_path,
        [to("/none", "none", step("Says", "no-endpoint")),
         to("/dead", "dead", step("Says", "connect-failure")),
         to("/slow", "full", step("Says", "overflow")),
         to("/late", "raw", step("Says", "timeout"), timeout="150ms"),
         to("/bad", "raw", step("Says", "500-503")),
         to("/few", "own", step("Early", "rate-limit"), rate_limits=[{"name": "few", "rate": "1/h", "burst": 1}])],
        cluster("dead", f"127.0.0.1:{dead}", **PLAIN), cluster("full", origin.address, max_requests=1, **PLAIN),
        cluster("raw", raw.address, **PLAIN), cluster("own", origin.address, **PLAIN))
    port = place.port

    def said(path: str, name: str, **facts: Any) -> None:
        answer = until(lambda: (found := ask(port, path)).headers.get("x-fastmesh-degraded") and found)
        reason = facts["reason"] if facts["reason"] != "status" else facts["status"]
        assert answer.headers["x-fastmesh-degraded"] == f"use; reason={reason}; name={name}"
        found = answer.json
        assert found["method"] == "GET" and found["path"] == path and found["id"] is True and found["message"]
        assert {key: found[key] for key in facts} == facts

    said("/none", "Says@web/none", reason="no-endpoint", status=503, flags="UH", cluster="none", attempts=0,
         endpoint=None, details="no_healthy_upstream")
    said("/dead", "Says@web/dead", reason="connect-failure", status=503, flags="UF,URX", cluster="dead", attempts=1,
         endpoint=f"127.0.0.1:{dead}")
    with closing(place.connect()) as holder:
        holder.send_request("/slow")
        until(lambda: origin.held == 1)
        said("/slow", "Says@web/slow", reason="overflow", status=503, flags="UO", cluster="full", attempts=0)
        origin.release.set()
        assert holder.read_answer().text == "origin"
    said("/late", "Says@web/late", reason="timeout", status=504, flags="UT", cluster="raw", attempts=1,
         endpoint=raw.address, details="response_timeout{route}")
    raw.accept().read_request()
    with closing(place.connect()) as client:
        client.send_request("/bad")
        up = raw.accept()
        up.read_request()
        up.answer("broken", "502 Broken")
        up.expect_gone()
        answer = client.read_answer()
        assert answer.get("x-fastmesh-degraded") == "use; reason=502; name=Says@web/bad"
        assert json.loads(answer.text)["message"] == "raw answered with 502"
    assert ask(port, "/few").text == "origin"
    said("/few", "Early@web/few", reason="rate-limit", status=429, flags="RL", cluster="own", attempts=0)
    found = place.sidecar.metrics()
    for name, reason in (("none", "no-endpoint"), ("dead", "connect-failure"), ("full", "overflow"), ("raw", "timeout"),
                         ("raw", "status"), ("own", "rate-limit")):
        assert found[f'fastmesh_fallback_total{{cluster="{name}",step="use",reason="{reason}"}}'] == 1, name
    assert found['fastmesh_filter_calls_total{filter="Says@web/none",phase="answer"}'] == 1
    assert found['fastmesh_filter_Says_web_none_asked_total'] == 1
    place.logged("200 UH,FB no_healthy_upstream use; reason=no-endpoint; name=Says@web/none$")
    place.logged("200 FB via_upstream use; reason=502; name=Says@web/bad$")


def test_one_that_fails_leaves_it_to_the_next(sidecar: Start, tmp_path: Path) -> None:
    place = Place(sidecar, tmp_path, [
        to("/", "none", step("Does", timeout="500ms", name="does", quarantine={"failures": 0}), LAST)])

    def do(what: str) -> str:
        return ask(place.port, "/", headers={"x-do": what}).text

    assert do("good") == "good"
    for what in ("none", "number", "edit", "exit", "wait"):
        assert do(what) == "last", what
    # What takes long in one go counts, and its answer is one.
    assert do("block") == "block"
    # One that runs on is interrupted.
    assert do("hang") == "last"
    assert do("good") == "good"
    place.sidecar.wait_log("does.*TypeError: returned a int: None or a Response is allowed")
    place.sidecar.wait_log("FilterTimeout: waited for longer than its `timeout`")
    place.sidecar.wait_log("answer took [0-9.]+ ms in one go, its budget is 2 ms")
    for _ in range(3):
        assert do("number") == "last"
    assert place.sidecar.log.count("returned a int") <= 2       # the line, and perhaps its traceback's last
    found = place.sidecar.metrics()
    assert found['fastmesh_filter_errors_total{filter="does",phase="answer"}'] == 8
    assert found['fastmesh_filter_overruns_total{filter="does",phase="answer"}'] >= 2
    assert found['fastmesh_fallback_total{cluster="none",step="use",reason="no-endpoint"}'] == 3
    assert found['fastmesh_fallback_total{cluster="none",step="response",reason="no-endpoint"}'] == 9
    assert found['fastmesh_filter_in_flight{filter="does"}'] == 0


def test_one_that_fails_too_often_is_left_alone(sidecar: Start, tmp_path: Path) -> None:
    place = Place(sidecar, tmp_path, [
        to("/", "none", step("Does", name="does", quarantine={"failures": 3, "pause": "1h", "longest": "1h"}), LAST)])
    for _ in range(3):
        assert ask(place.port, "/", headers={"x-do": "number"}).text == "last"
    assert ask(place.port, "/", headers={"x-do": "good"}).text == "last"
    assert place.sidecar.metrics()['fastmesh_filter_quarantined{filter="does"}'] == 1
    place.sidecar.wait_log("requests go on without it")


def test_when_none_can_answer_the_failure_is_the_answer(sidecar: Start, tmp_path: Path, raw: Origin) -> None:
    place = Place(sidecar, tmp_path, [
        to("/sync", "raw", step("Does", 500)), to("/later", "raw", step("Waits", 500)),
        to("/none", "none", step("Does"))], cluster("raw", raw.address, **PLAIN))
    assert ask(place.port, "/none", headers={"x-do": "none"}).status == 503
    client = place.connect()
    # One that says nothing at once leaves the upstream's answer as it is, and its connection as well.
    client.send_request("/sync", "GET", "x-do: none")
    up = raw.accept()
    up.read_request()
    up.answer("what broke", "500 Broken", "x-why: this")
    answer = client.read_answer()
    assert (answer.status, answer.text, answer.get("x-why")) == (500, "what broke", "this")
    assert answer.get("x-fastmesh-degraded") is None
    # Of one that it has waited for, only the status is left.
    client.send_request("/later", "GET", "x-do: none", "x-wait: 0.05")
    assert up.read_request().target == "/later"
    up.answer("what broke", "500 Broken")
    up.expect_gone()
    answer = client.read_answer()
    assert answer.status == 500 and "what broke" not in answer.text
    assert place.sidecar.metrics()['fastmesh_fallback_exhausted_total{cluster="raw",reason="status"}'] == 2
    client.close()


def test_the_next_step_may_be_a_cluster(sidecar: Start, tmp_path: Path, origin: Server) -> None:
    """Behind one that has thought, also with a body that was not read so far."""
    place = Place(sidecar, tmp_path, [to("/", "none", step("Waits"), {"cluster": "own"})],
                  cluster("own", origin.address))
    answer = ask(place.port, "/", "POST", headers={"x-wait": "0.02", "x-do": "none"}, body=b"x" * 100_000)
    assert (answer.status, answer.text) == (200, "origin")
    assert answer.headers["x-fastmesh-degraded"] == "cluster; reason=no-endpoint; name=own"


def test_a_connection_goes_on(sidecar: Start, tmp_path: Path) -> None:
    place = Place(sidecar, tmp_path, [to("/say", "none", step("Says")), to("/wait", "none", step("Waits"))])
    client = place.connect()
    client.send_request("/say", "HEAD")
    head = client.read_answer("HEAD")
    assert head.status == 200 and int(head.get("content-length") or 0) > 100
    assert head.get("x-fastmesh-degraded") == "use; reason=no-endpoint; name=Says@web/say"
    # Several at once, the first of which takes its time.
    client.send_request("/wait/1", "GET", "x-wait: 0.05").send_request("/say/2")
    client.send_request("/wait/3", "GET", "x-wait: 0")
    assert client.read_answer().text == "waited /wait/1"
    assert json.loads(client.read_answer().text)["path"] == "/say/2"
    assert client.read_answer().text == "waited /wait/3"
    # One with a body that nobody reads.
    client.send_request("/say/4", "POST", body=b"x" * 10)
    assert json.loads(client.read_answer().text)["method"] == "POST"
    client.close()
    client = place.connect()
    client.send("POST /wait/5 HTTP/1.1\r\nhost: a\r\nx-wait: 0.05\r\ncontent-length: 1000000\r\n\r\n", b"x" * 1000)
    answer = client.read_answer()
    assert (answer.text, answer.get("connection")) == ("waited /wait/5", "close")
    client.close()


def test_it_has_its_own_time_and_no_more_than_the_client(sidecar: Start, tmp_path: Path, raw: Origin) -> None:
    place = Place(
        sidecar, tmp_path,
        [to("/late", "raw", step("Waits", "timeout", timeout="5s"), timeout="100ms"),
         to("/", "none", step("Waits", timeout="10s", name="waits"), LAST)],
        cluster("raw", raw.address, **PLAIN), deadlines={"read": True})
    # The request's timeout is over, and what the policy takes is not part of it.
    assert ask(place.port, "/late", headers={"x-wait": "0.2"}).text == "waited /late"
    # A client that waits for less is answered by the next step, which is nobody's fault.
    answer = ask(place.port, "/", headers={"x-wait": "9", "x-envoy-expected-rq-timeout-ms": "100"})
    assert answer.text == "last"
    found = place.sidecar.metrics()
    assert found.get('fastmesh_filter_errors_total{filter="waits",phase="answer"}', 0) == 0
    # A client that leaves is not waited for.
    client = place.connect()
    client.send_request("/", "GET", "x-wait: 9")
    until(lambda: place.sidecar.metrics()['fastmesh_filter_in_flight{filter="waits"}'] == 1)
    client.close()
    until(lambda: place.sidecar.metrics()['fastmesh_filter_in_flight{filter="waits"}'] == 0)
    assert place.sidecar.metrics().get('fastmesh_filter_errors_total{filter="waits",phase="answer"}', 0) == 0


def test_it_asks_the_mesh(sidecar: Start, tmp_path: Path, origin: Server) -> None:
    place = Place(sidecar, tmp_path, [
        to("/one", "none", step("FromElsewhere")), to("/two", "none", step("FromElsewhere", source="nowhere"), LAST)],
        cluster("other", origin.address))
    assert ask(place.port, "/one").text == "origin"
    assert ask(place.port, "/two").text == "last"
    place.sidecar.wait_log("CallFailed: there is no cluster 'nowhere'")


def test_filters_see_it_and_come_first(sidecar: Start, tmp_path: Path) -> None:
    limit = {"name": "few", "rate": "1/h", "burst": 2}
    place = Place(sidecar, tmp_path, [
        to("/a", "none", step("Says", "gateway-error", "rate-limit"), filters=[{"use": "Guard"}],
           rate_limits=[limit]),
        to("/b", "none", step("Early", "gateway-error", "rate-limit"), filters=[{"use": "Guard", "name": "b"}],
           rate_limits=[{**limit, "name": "less"}])])
    for path, status in (("/a", 429), ("/b", 200)):
        answer = ask(place.port, path)
        assert (answer.status, answer.headers["x-seen"]) == (200, "200")
        assert ask(place.port, path, headers={"x-let": "no"}).status == 403
        # Filters are asked behind the limit: only one that says so answers whom they have not let pass.
        assert ask(place.port, path, headers={"x-let": "no"}).status == status


def test_reload(sidecar: Start, tmp_path: Path) -> None:
    place = Place(sidecar, tmp_path, [to("/", "none", step("Says", name="says"))])
    one = place.sidecar
    assert ask(place.port, "/").headers["x-word"] == "instead"
    place.config["listeners"][0]["routes"][0]["fallback"][0]["word"] = "other"
    one.reload(place.config)
    assert ask(place.port, "/").headers["x-word"] == "other"
    place.file.write_text(POLICIES.replace("VERSION = 1", "VERSION = 2"))
    until(lambda: one.admin("/reload", "POST").status == 200 and ask(place.port, "/").headers["x-version"] == "2")
    # A version that cannot be had changes nothing.
    place.file.write_text(POLICIES.replace("        self.asked = self.metrics",
                                           "        raise ValueError('not today')\n        self.asked = self.metrics"))
    refused = one.admin("/reload", "POST")
    assert refused.status >= 400 and "not today" in refused.text
    assert named_place(one, refused.text, "listeners[0].routes[0].fallback[0].use")
    place.file.write_text(POLICIES.replace("def answer(self, request, failure):\n        self.asked",
                                           "def answer(self, request):\n        self.asked"))
    refused = one.admin("/reload", "POST")
    assert refused.status >= 400 and "Says.answer(self, request)" in refused.text
    assert ask(place.port, "/").headers["x-version"] == "2"


def test_isolated(sidecar: Start, tmp_path: Path, origin: Server) -> None:
    apart = step("Apart", name="apart", timeout="1s", quarantine={"failures": 0})
    place = Place(sidecar, tmp_path, [to("/", "none", apart, LAST)], cluster("other", origin.address))
    one = place.sidecar

    def do(what: str = "") -> str:
        return ask(place.port, "/x", headers={"x-do": what}).text

    good = "no-endpoint none 0 origin /x"
    assert until(lambda: (text := do()) != "last" and text) == good
    for what in ("none", "raise", "number", "wait"):
        assert do(what) == "last", what
    assert do() == good
    one.wait_log("ValueError: no such thing")
    one.wait_log("returned a int: None or a Response is allowed")
    assert do("die") == "last"
    # Another process takes its place.
    until(lambda: do() == good)
    assert one.metrics()['fastmesh_filter_in_flight{filter="apart"}'] == 0


def test_explain_next_says_who_answered(sidecar: Start, tmp_path: Path) -> None:
    place = Place(sidecar, tmp_path, [to("/", "none", step("Says", name="says"))])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place.sidecar.admin, "/explain?path=/&seconds=10", "POST")
        until(lambda: ask(place.port, "/") and asked.done())
        told = asked.result().json
    assert told["degraded"] == "use; reason=no-endpoint; name=says"
    assert (told["status"], told["flags"]) == (200, "UH,FB")
