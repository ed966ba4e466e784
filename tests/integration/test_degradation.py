"""Fallbacks through real processes: origins that fail in every way a chain may begin with, and each kind of step."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.harness import Origin as Server
from integration.harness import Sidecar, ask, cluster, free_port, http_listener
from integration.mesh import Mesh, app, elapse
from integration.peer import Origin, Peer

PAGE = (Path(__file__).parents[2] / "docs" / "degradation.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %DEGRADED%"
RESPONSE = {"status": 200, "body": "instead", "content_type": "text/plain"}


def web(fallback: list[dict[str, Any]], **route: Any) -> dict[str, Any]:
    return {"name": "web", "routes": [{"match": {"prefix": "/"}, "cluster": "app", "fallback": fallback, **route}]}


def configure(mesh: Mesh, fallback: list[dict[str, Any]], origin: Origin | str, backup: Origin | None = None,
              route: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **listener: Any) -> None:
    mesh.configure({
        "access_log": {"format": "text", "template": LOG},
        "listeners": [{**web(fallback, **(route or {})), **listener}],
        "clusters": [app(origin, connect_attempts=1, outlier={"enabled": False}, **(cluster or {})),
                     *([app(backup, name="backup", outlier={"enabled": False})] if backup is not None else [])]})


# --- each way to fail, each kind of step ---

def no_endpoint(mesh: Mesh, origin: Origin) -> None:
    pass


def connect_failure(mesh: Mesh, origin: Origin) -> None:
    pass


def reset(mesh: Mesh, origin: Origin) -> None:
    up = origin.accept()
    up.read_request()
    up.reset()


def protocol_error(mesh: Mesh, origin: Origin) -> None:
    up = origin.accept()
    up.read_request()
    up.send("nonsense\r\n\r\n")


def timeout(mesh: Mesh, origin: Origin) -> None:
    origin.accept().read_request()


def status(mesh: Mesh, origin: Origin) -> None:
    up = origin.accept()
    up.read_request()
    up.answer("broken", "503 Broken")
    up.expect_gone()


Fail = Callable[[Mesh, Origin], None]
FAILURES: list[tuple[str, Fail, dict[str, Any], str]] = [
    ("no-endpoint", no_endpoint, {}, "UH"), ("connect-failure", connect_failure, {}, "UF,URX"),
    ("reset", reset, {"retry": {"attempts": 1}}, "UC"), ("protocol-error", protocol_error, {}, "UPE"),
    ("timeout", timeout, {"timeout": "150ms"}, "UT"), ("503", status, {}, "")]


def closed() -> str:
    made = Origin()
    made.close()
    return made.address


def flags(more: str) -> str:
    return f"{more},FB" if more else "FB"


def begin(mesh: Mesh, on: str, step: dict[str, Any], more: dict[str, Any], origin: Origin,
          backup: Origin | None = None) -> None:
    endpoint: Origin | str = closed() if on == "connect-failure" else origin
    config: dict[str, Any] = {
        "access_log": {"format": "text", "template": LOG},
        "listeners": [web([{"on": [on], **step}], **more)],
        "clusters": [{"name": "app", "endpoints": []} if on == "no-endpoint" else
                     app(endpoint, connect_attempts=1)]}
    if backup is not None:
        config["clusters"].append(app(backup, name="backup"))
    mesh.configure(config)


@pytest.mark.parametrize(("on", "fail", "more", "shown"), FAILURES, ids=[row[0] for row in FAILURES])
def test_a_response(mesh: Mesh, on: str, fail: Fail, more: dict[str, Any], shown: str) -> None:
    origin = mesh.origin()
    begin(mesh, on, {"response": RESPONSE}, more, origin)
    client = mesh.connect().send_request("/a")
    fail(mesh, origin)
    answer = client.read_answer()
    assert (answer.status, answer.text) == (200, "instead")
    assert answer.get("x-fastmesh-degraded") == f"response; reason={on}"
    assert mesh.logged() == [f"200 {flags(shown)} response; reason={on}"]
    assert mesh.count("local_answers") == 1


@pytest.mark.parametrize(("on", "fail", "more", "shown"), FAILURES, ids=[row[0] for row in FAILURES])
def test_another_cluster(mesh: Mesh, on: str, fail: Fail, more: dict[str, Any], shown: str) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    begin(mesh, on, {"cluster": "backup", "timeout": "5s"}, more, origin, backup)
    client = mesh.connect().send_request("/a?b", "GET", "x-some: thing")
    fail(mesh, origin)
    up = backup.accept()
    asked = up.read_request()
    assert (asked.target, asked.get("x-some")) == ("/a?b", "thing")
    up.answer("from there")
    answer = client.read_answer()
    assert (answer.status, answer.text) == (200, "from there")
    assert answer.get("x-fastmesh-degraded") == f"cluster; reason={on}; name=backup"
    assert mesh.logged() == [f"200 {flags(shown)} cluster; reason={on}; name=backup"]
    assert mesh.count("local_answers") == 0
    assert mesh.cluster("backup")["requests"] == 1


@pytest.mark.parametrize(("on", "fail", "more", "shown"), FAILURES[1:], ids=[row[0] for row in FAILURES[1:]])
def test_a_copy(mesh: Mesh, on: str, fail: Fail, more: dict[str, Any], shown: str) -> None:
    origin = mesh.origin()
    begin(mesh, "gateway-error", {"stale": {}}, more, origin)
    if on == "connect-failure":
        begin(mesh, "reset", {"on": ["gateway-error"], "stale": {}}, more, origin)
    client = mesh.connect().send_request("/a")
    up = origin.accept()
    up.read_request()
    up.answer("good", "200 OK", "content-type: text/x", "etag: \"1\"", "connection: close")
    fresh = client.read_answer()
    assert fresh.text == "good" and fresh.get("x-fastmesh-degraded") is None
    if on == "connect-failure":
        origin.sock.close()
    client.send_request("/a")
    fail(mesh, origin)
    answer = client.read_answer()
    assert (answer.status, answer.text) == (200, "good")
    assert (answer.get("content-type"), answer.get("etag")) == ("text/x", '"1"')
    assert answer.get("x-fastmesh-degraded") == f"stale; reason={on}; age={answer.get('age')}"
    assert answer.get("age") is not None and answer.get("server") is None
    assert answer.get("date") is not None and answer.get("content-length") == "4"
    assert mesh.logged(2)[1] == f"200 {flags(shown)} stale; reason={on}; age={answer.get('age')}"


def test_no_copy_of_no_endpoint(mesh: Mesh) -> None:
    """Nothing was ever kept: the failure is the answer."""
    begin(mesh, "no-endpoint", {"stale": {}}, {}, mesh.origin())
    answer = mesh.connect().ask("/a")
    assert answer.status == 503 and answer.get("x-fastmesh-degraded") is None
    assert mesh.logged() == ["503 UH -"]


def test_overflow(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"on": ["overflow"], "cluster": "backup"}], origin, backup, cluster={"max_requests": 1})
    first = mesh.connect().send_request("/1")
    held = origin.accept()
    held.read_request()
    second = mesh.connect().send_request("/2")
    up = backup.accept()
    assert up.read_request().target == "/2"
    up.answer("other")
    answer = second.read_answer()
    assert (answer.text, answer.get("x-fastmesh-degraded")) == ("other", "cluster; reason=overflow; name=backup")
    held.answer("own")
    assert first.read_answer().text == "own"


def test_rate_limit(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    limit = {"name": "few", "rate": "1/h", "burst": 1}
    configure(mesh, [{"on": ["rate-limit"], "cluster": "backup"}], origin, backup,
              route={"rate_limits": [limit], "rewrite": {"prefix": "/v2"}})
    client = mesh.connect().send_request("/1")
    up = origin.accept()
    assert up.read_request().target == "/v2/1"
    up.answer("own")
    assert client.read_answer().text == "own"
    client.send_request("/2")
    other = backup.accept()
    assert other.read_request().target == "/v2/2"
    other.answer("other")
    answer = client.read_answer()
    assert (answer.text, answer.get("x-fastmesh-degraded")) == ("other", "cluster; reason=rate-limit; name=backup")


def test_a_rate_limit_names_its_status_too(mesh: Mesh) -> None:
    configure(mesh, [{"on": [429], "response": RESPONSE}], mesh.origin(),
              route={"rate_limits": [{"name": "none", "rate": "1/h", "burst": 1}]})
    client = mesh.connect().send_request("/1")
    up = mesh.origins[0].accept()
    up.read_request()
    up.answer("own")
    client.read_answer()
    answer = client.ask("/2")
    assert (answer.text, answer.get("x-fastmesh-degraded")) == ("instead", "response; reason=rate-limit")


def test_deadline(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, [{"on": ["deadline"], "response": RESPONSE}], origin)
    client = mesh.connect().send_request("/", "GET", "x-envoy-expected-rq-timeout-ms: 100")
    origin.accept().read_request()
    answer = client.read_answer()
    assert (answer.text, answer.get("x-fastmesh-degraded")) == ("instead", "response; reason=deadline")


def test_an_injected_failure_counts_as_its_status(mesh: Mesh) -> None:
    configure(mesh, [{"response": RESPONSE}], mesh.origin(), route={"faults": [{"abort": 503}]})
    answer = mesh.connect().ask("/")
    assert (answer.status, answer.get("x-fastmesh-degraded")) == (200, "response; reason=503")


def test_what_is_not_named_is_the_answer(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, [{"on": ["500-502"], "response": RESPONSE}], origin)
    client = mesh.connect().send_request("/")
    up = origin.accept()
    up.read_request()
    up.answer("busy", "503 Busy")
    answer = client.read_answer()
    assert (answer.status, answer.text) == (503, "busy")
    client.send_request("/")
    up.read_request()
    up.answer("bad", "501 Bad")
    assert client.read_answer().text == "instead"


# --- a chain ---

def test_steps_are_tried_in_order_and_the_failure_is_the_answer_when_none_can(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}, {"stale": {}}], origin, backup)
    client = mesh.connect().send_request("/a")
    up = origin.accept()
    up.read_request()
    up.answer("first", "504 Late")
    other = backup.accept()
    other.read_request()
    other.answer("second", "503 Busy")
    answer = client.read_answer()
    assert answer.status == 504 and answer.get("x-fastmesh-degraded") is None
    assert mesh.logged() == ["504 - -"]


def test_a_step_behind_a_cluster_that_fails_too(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup", "rewrite": {"prefix": "/else", "host": "backup.test"},
                      "request_headers": {"set": {"x-why": "%REQ(x-who)%"}, "remove": ["x-gone"]}}, {"stale": {}},
                     {"response": RESPONSE}], origin, backup, route={"match": {"prefix": "/api"}})
    client = mesh.connect().send_request("/api/x?y", "GET", "x-who: me", "x-gone: 1")
    up = origin.accept()
    up.read_request()
    up.answer("good")
    assert client.read_answer().text == "good"
    client.send_request("/api/x?y", "GET", "x-who: me", "x-gone: 1")
    up.read_request()
    up.answer("bad", "502 Bad")
    other = backup.accept()
    asked = other.read_request()
    assert (asked.target, asked.get("host"), asked.get("x-why"), asked.get("x-gone")) == (
        "/else/x?y", "backup.test", "me", None)
    other.reset()
    answer = client.read_answer()
    assert answer.text == "good"
    assert (answer.get("x-fastmesh-degraded") or "").startswith("stale; reason=502; age=")
    client.send_request("/api/z")
    up = origin.accept()
    up.read_request()
    up.answer("bad", "502 Bad")
    other = backup.accept()
    other.read_request()
    other.reset()
    assert client.read_answer().get("x-fastmesh-degraded") == "response; reason=502"


def test_retries_come_first(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, [{"response": RESPONSE}], origin, route={
        "retry": {"on": [503], "attempts": 3, "backoff": {"base": "1ms"}}})
    client = mesh.connect().send_request("/")
    for _ in range(3):
        up = origin.accept()
        up.read_request()
        up.answer("busy", "503 Busy")
    assert client.read_answer().text == "instead"


def test_a_listener_s_chain_is_for_routes_without_one(mesh: Mesh) -> None:
    none = {"name": "app", "endpoints": []}
    mesh.configure({"listeners": [{"name": "web", "fallback": [{"response": RESPONSE}], "routes": [
        {"match": {"prefix": "/own"}, "cluster": "app", "fallback": [{"response": {"status": 202}}]},
        {"match": {"prefix": "/none"}, "cluster": "app", "fallback": []},
        {"match": {"prefix": "/"}, "cluster": "app"}]}], "clusters": [none]})
    client = mesh.connect()
    assert [client.ask(path).status for path in ("/own", "/none", "/")] == [202, 503, 200]


def test_a_body_is_sent_again(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}], origin, backup)
    client = mesh.connect()
    client.send("PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"abc")
    up = origin.accept()
    up.read_head()
    up.read_until(b"abc")
    up.answer("no", "503 No")
    other = backup.accept()
    client.chunk(b"def").send("0\r\n\r\n")
    assert other.read_request().body == b"abcdef"
    other.answer("yes")
    assert client.read_answer().text == "yes"


@pytest.mark.parametrize(("step", "goes"), [({}, False), ({"non_idempotent": True}, True)])
def test_what_may_do_twice_what_it_does(mesh: Mesh, step: dict[str, Any], goes: bool) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup", **step}], origin, backup)
    client = mesh.connect().send_request("/", "POST", body=b"order")
    up = origin.accept()
    up.read_request()
    up.answer("no", "503 No")
    if goes:
        other = backup.accept()
        assert other.read_request().body == b"order"
        other.answer("yes")
    answer = client.read_answer()
    assert (answer.status, answer.text) == ((200, "yes") if goes else (503, "no"))


def test_a_post_that_was_never_sent_goes_on(mesh: Mesh) -> None:
    backup = mesh.origin()
    configure(mesh, [{"cluster": "backup"}], closed(), backup)
    client = mesh.connect().send_request("/", "POST", body=b"order")
    other = backup.accept()
    assert other.read_request().body == b"order"
    other.answer("yes")
    assert client.read_answer().text == "yes"


def test_a_body_that_is_not_held_goes_nowhere(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}, {"response": RESPONSE}], origin, backup)
    client = mesh.connect().send_request("/", "PUT", body=b"x" * 70_000)
    up = origin.accept()
    up.read_request()
    up.answer("no", "503 No")
    assert client.read_answer().get("x-fastmesh-degraded") == "response; reason=503"


def test_time_that_is_over_is_over(mesh: Mesh) -> None:
    """Without a timeout of its own a cluster has nothing left."""
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}], origin, backup, route={"timeout": "100ms"})
    client = mesh.connect().send_request("/")
    origin.accept().read_request()
    assert client.read_answer().status == 504
    assert not backup.has_connection()


def test_a_step_s_own_time_ends_too(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup", "timeout": "100ms"}], origin, backup, route={"timeout": "100ms"})
    client = mesh.connect().send_request("/")
    origin.accept().read_request()
    backup.accept().read_request()
    assert client.read_answer().status == 504
    assert mesh.count("request_timeout") == 2


def test_a_client_that_leaves_ends_it(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}], origin, backup)
    client = mesh.connect().send_request("/")
    up = origin.accept()
    up.read_request()
    up.answer("no", "503 No")
    other = backup.accept()
    other.read_request()
    client.reset()
    other.expect_gone()
    assert mesh.logged() == ["0 DC cluster; reason=503; name=backup"]


def test_an_answer_that_breaks_off_is_not_replaced(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, [{"response": RESPONSE}], origin)
    client = mesh.connect().send_request("/")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    client.read_until(b"half")
    up.reset()
    assert client.expect_gone() == b""


def test_an_upgrade_has_no_chain(mesh: Mesh) -> None:
    configure(mesh, [{"response": RESPONSE}], closed())
    client = mesh.connect().send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert client.read_answer().status == 503


def test_what_an_upstream_says_behind_a_replaced_answer_is_nobody_s(mesh: Mesh) -> None:
    """The body of the answer that is not wanted, and what pretends to be the next one."""
    origin = mesh.origin()
    configure(mesh, [{"response": RESPONSE}], origin)
    client = mesh.connect().send_request("/")
    up = origin.accept()
    up.read_request()
    up.send("HTTP/1.1 503 No\r\ncontent-length: 50\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert client.read_answer().text == "instead"
    up.expect_gone()
    client.send_request("/2")
    fresh = origin.accept()
    fresh.read_request()
    fresh.answer("fine")
    assert client.read_answer().text == "fine"


def test_an_expectation_waits_on(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"cluster": "backup"}], origin, backup)
    client = mesh.connect().send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    up = origin.accept()
    up.read_head()
    up.answer("no", "503 No")
    other = backup.accept()
    other.read_head()
    other.send("HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read_head().status == 100
    client.send("abc")
    assert other.read(3) == b"abc"
    other.answer("yes")
    assert client.read_answer().text == "yes"


def test_a_request_that_was_refused_has_its_time_elsewhere(mesh: Mesh) -> None:
    origin, backup = mesh.origin(), mesh.origin()
    configure(mesh, [{"on": ["rate-limit"], "cluster": "backup"}], origin, backup, route={
        "timeout": "200ms", "rate_limits": [{"name": "timed", "rate": "1/h", "burst": 1}]})
    client = mesh.connect().send_request("/1")
    up = origin.accept()
    up.read_request()
    up.answer("own")
    assert client.read_answer().text == "own"
    client.send_request("/2")
    backup.accept().read_request()
    assert client.read_answer().status == 429


# --- an answer of the configuration's ---

@pytest.mark.parametrize(("content_type", "shown"), [
    ("application/json", '{"path": "/a\\"<b>"}\n'), ("text/html", '{"path": "/a&quot;&lt;b&gt;"}\n'),
    ("text/plain", '{"path": "/a"<b>"}\n')])
def test_variables_are_escaped(mesh: Mesh, content_type: str, shown: str) -> None:
    configure(mesh, [{"response": {"status": 203, "content_type": content_type, "body": '{"path": "%REQ(x-p)%"}\n',
                                   "headers": {"x-route": "%ROUTE_NAME%", "x-status": "%RESPONSE_CODE%"}}}], closed(),
              route={"name": "all"})
    answer = mesh.connect().ask("/", "GET", 'x-p: /a"<b>')
    assert (answer.status, answer.text, answer.get("content-type")) == (203, shown, content_type)
    assert (answer.get("x-route"), answer.get("x-status")) == ("all", "203")


def test_head(mesh: Mesh) -> None:
    configure(mesh, [{"response": RESPONSE}], closed())
    answer = mesh.connect().ask("/", "HEAD")
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "7", b"")


# --- copies ---

class Copies:
    """A route with copies in front of an origin that fails when it is told to."""

    def __init__(self, mesh: Mesh, route: dict[str, Any] | None = None, **stale: Any) -> None:
        self.mesh = mesh
        self.origin = mesh.origin()
        configure(mesh, [{"on": [500], "stale": stale}], self.origin, route=route)
        self.client = mesh.connect()
        self.up: Peer | None = None

    def ask(self, path: str, *fields: str, answer: tuple[str, ...] = (), method: str = "GET", status: str = "200 OK",
            asked: bytes = b"") -> Any:
        self.client.send_request(path, method, *fields, body=asked)
        self.up = self.up or self.origin.accept()
        self.up.read_request()
        if method == "HEAD":
            self.up.send(f"HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\n")
        else:
            self.up.answer(path, status, *answer)
        return self.client.read_answer(method)

    def fails(self, path: str, *fields: str, method: str = "GET") -> str | None:
        """The body of the copy; None when there is none."""
        self.client.send_request(path, method, *fields)
        self.up = self.up or self.origin.accept()
        self.up.read_request()
        self.up.answer(b"" if method == "HEAD" else "failed", "500 Failed")
        answer = self.client.read_answer(method)
        if answer.status == 500:
            assert answer.get("x-fastmesh-degraded") is None
            assert method == "HEAD" or answer.text == "failed"
            return None
        self.up = None
        assert (answer.get("x-fastmesh-degraded") or "").startswith("stale; ")
        return answer.text if method != "HEAD" else f"HEAD {answer.get('content-length')}"


@pytest.mark.parametrize(("fields", "status", "is_kept"), [
    ((), "200 OK", True), (("cache-control: max-age=60",), "200 OK", True),
    (("cache-control: no-store",), "200 OK", False),
    (("cache-control: private",), "200 OK", False), (("cache-control: no-cache",), "200 OK", False),
    (("cache-control: must-revalidate",), "200 OK", False),
    (("cache-control: must-revalidate, max-age=60",), "200 OK", True), (("vary: *",), "200 OK", False),
    (("set-cookie: a=b",), "200 OK", False), (("cache-control: stale-if-error=60",), "200 OK", True),
    (("cache-control: stale-if-error=0",), "200 OK", False), ((), "404 None", True), ((), "410 Gone", True),
    ((), "403 No", False), ((), "302 Found", False), (("age: 4000",), "200 OK", False)])
def test_what_is_kept(mesh: Mesh, fields: tuple[str, ...], status: str, is_kept: bool) -> None:
    copies = Copies(mesh)
    copies.ask("/a", answer=fields, status=status)
    assert copies.fails("/a") == ("/a" if is_kept else None)


@pytest.mark.parametrize(("ignore", "asked", "answer"), [
    ("cache-control", (), ("cache-control: no-store",)), ("authorization", ("authorization: Basic eA==",), ()),
    ("cookie", ("cookie: a=b",), ()), ("set-cookie", (), ("set-cookie: a=b",)), ("vary", (), ("vary: *",))])
def test_what_is_ignored_is_kept(mesh: Mesh, ignore: str, asked: tuple[str, ...], answer: tuple[str, ...]) -> None:
    copies = Copies(mesh)
    copies.ask("/a", *asked, answer=answer)
    assert copies.fails("/a", *asked) is None
    copies = Copies(mesh, ignore=[ignore])
    copies.ask("/b", *asked, answer=answer)
    assert copies.fails("/b", *asked) == "/b"


def test_who_says_who_he_is_gets_no_other_s(mesh: Mesh) -> None:
    copies = Copies(mesh)
    copies.ask("/a")
    assert copies.fails("/a", "cookie: me=1") is None
    assert copies.fails("/a", "authorization: Bearer x") is None
    copies.ask("/p", "authorization: Bearer x", answer=("cache-control: public",))
    assert copies.fails("/p", "authorization: Bearer y") == "/p"


def test_copies_are_told_apart(mesh: Mesh) -> None:
    copies = Copies(mesh, headers=["accept-language"])
    copies.ask("/a?x=1", "accept-language: de")
    copies.ask("/v", "accept: text/x", answer=("vary: accept, x-other",))
    copies.ask("/v", "accept: text/y", "x-other: 1", answer=("vary: Accept", "vary: x-other"))
    assert copies.fails("/a?x=1", "accept-language: de") == "/a?x=1"
    for path, *fields in (("/a?x=2", "accept-language: de"), ("/a?x=1", "accept-language: en"), ("/a?x=1",),
                          ("/a", "accept-language: de"), ("/v", "accept: text/z"), ("/v", "accept: text/y"),
                          ("/v", "accept: text/x", "x-other: 2")):
        assert copies.fails(path, *fields) is None, (path, fields)
    assert copies.fails("/v", "accept: text/x") == "/v"
    assert copies.fails("/v", "x-other: 1", "accept: text/y") == "/v"
    assert mesh.count("stale_copies") == 3


def test_head_has_the_copy_of_get(mesh: Mesh) -> None:
    copies = Copies(mesh)
    copies.ask("/none", method="HEAD")
    assert copies.fails("/none", method="HEAD") is None
    copies.ask("/some")
    assert copies.fails("/some", method="HEAD") == "HEAD 5"


def test_what_is_changed_is_no_more(mesh: Mesh) -> None:
    copies = Copies(mesh)
    copies.ask("/a")
    assert copies.fails("/a") == "/a"
    assert copies.ask("/a", method="PUT", asked=b"new").status == 200
    assert copies.fails("/a") is None
    copies.ask("/b")
    copies.ask("/b", answer=("cache-control: no-store",))
    assert copies.fails("/b") is None


def test_what_a_copy_is_for_is_not_kept(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, [{"on": [404], "stale": {}}], origin)
    client = mesh.connect()
    client.send_request("/a")
    up = origin.accept()
    for _ in range(2):
        up.read_request()
        up.answer("gone", "404 Gone")
        assert client.read_answer().status == 404
        client.send_request("/a")
    up.read_request()
    up.answer("good")
    assert client.read_answer().text == "good"
    client.send_request("/a")
    up.read_request()
    up.answer("gone", "404 Gone")
    assert client.read_answer().text == "good"


def test_age_has_an_end(mesh: Mesh) -> None:
    copies = Copies(mesh, max_age="1s")
    copies.ask("/a")
    assert copies.fails("/a") == "/a"
    elapse(1.05)
    assert copies.fails("/a") is None


def test_memory_is_bounded(mesh: Mesh) -> None:
    copies = Copies(mesh, max_entries=2, max_bytes="64KiB", max_body="16B")
    for path in ("/a", "/b"):
        copies.ask(path)
    assert copies.fails("/a") == "/a"
    copies.ask("/c")
    assert [copies.fails(path) for path in ("/a", "/b", "/c")] == ["/a", None, "/c"]
    copies.ask("/" + 30 * "x")
    assert copies.fails("/" + 30 * "x") is None
    assert mesh.counts("stale_kept", "stale_evicted", "stale_dropped") == {
        "stale_kept": 3, "stale_evicted": 1, "stale_dropped": 1}
    assert mesh.count("stale_copies") == 2 and 0 < mesh.count("stale_bytes") < 65_536


@pytest.mark.parametrize("end", ["cut", "long", "close"])
def test_what_is_not_whole_is_not_kept(mesh: Mesh, end: str) -> None:
    copies = Copies(mesh, max_body="1KiB")
    copies.client.send_request("/a")
    up = copies.origin.accept()
    up.read_request()
    if end == "close":
        up.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall").close()
        assert copies.client.read_answer().text == "all"
    else:
        up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(b"x" * 600, b"y" * 300)
        if end == "long":
            up.chunk(b"z" * 300).send("0\r\n\r\n")
            assert len(copies.client.read_answer().body) == 1200
            copies.up = up
        else:
            copies.client.read_until(b"y")
            up.reset()
            copies.client.expect_gone()
            copies.client = mesh.connect()
    assert copies.fails("/a") is None
    assert mesh.count("stale_kept") == 0 and mesh.count("stale_dropped") == 1


def test_a_chunked_answer_is_kept_as_one(mesh: Mesh) -> None:
    copies = Copies(mesh)
    copies.client.send_request("/a")
    copies.up = copies.origin.accept()
    copies.up.read_request()
    copies.up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").chunk(*[b"%05d" % i for i in range(3000)])
    copies.up.send("0\r\n\r\n")
    whole = copies.client.read_answer().text
    assert copies.fails("/a") == whole and len(whole) == 15_000


def test_copies_outlive_a_reload_of_their_route_and_not_its_end(mesh: Mesh) -> None:
    copies = Copies(mesh, route={"name": "kept"})
    copies.ask("/a")
    configure(mesh, [{"on": [500], "stale": {"max_age": "10m"}}], copies.origin, route={"name": "kept"})
    assert copies.fails("/a") == "/a"
    assert mesh.count("stale_copies") == 1
    configure(mesh, [], copies.origin, route={"name": "kept"})
    assert mesh.count("stale_copies") == 0 and mesh.count("stale_bytes") == 0


def test_what_the_route_does_to_answers_was_done(mesh: Mesh) -> None:
    copies = Copies(mesh, route={"response_headers": {
        "set": {"x-one": "1"}, "add": {"x-two": "2"}, "remove": ["x-gone"]}})
    copies.ask("/a", answer=("x-one: 0", "x-gone: 1"))
    copies.client.send_request("/a")
    assert copies.up is not None
    copies.up.read_request()
    copies.up.answer("no", "500 No")
    answer = copies.client.read_answer()
    assert (answer.all("x-one"), answer.all("x-two"), answer.all("x-gone")) == (["1"], ["2"], [])


# --- filters ---

FILTERS = """
from fastmesh import Filter, Request, Response

class Marks(Filter):
    def on_request(self, request: Request) -> Response | None:
        if request.headers.get("x-let") == "no":
            return Response(403, text="no")

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["x-seen"] = str(response.status)

class Asks(Marks):
    def on_upstream_error(self, request, error):
        return None
"""


@pytest.mark.parametrize("use", ["Marks", "Asks"])
def test_filters_see_the_answer_that_goes_out(tmp_path: Path, use: str) -> None:
    (tmp_path / "filters.py").write_text(FILTERS)
    port, dead = free_port(), free_port()
    server = Server("own")
    broken = {"name": "broken", "address": f"127.0.0.1:{dead}", "routes": [
        {"match": {"path": "/good"}, "response": {"status": 200, "body": "good"}},
        {"match": {"prefix": "/"}, "response": {"status": 503, "body": "bad"}}]}
    routes = [{"match": {"prefix": "/other"}, "cluster": "app", "fallback": [{"cluster": "backup"}]},
              {"match": {"prefix": "/"}, "cluster": "app", "filters": [{"use": f"./filters.py:{use}"}],
               "rate_limits": [{"name": "few", "rate": "1/h", "burst": 3}],
               "fallback": [{"on": ["rate-limit"], "cluster": "backup"}, {"response": RESPONSE},
                            {"on": ["rate-limit"], "response": {"status": 429, "body": "slow"}}]}]
    config = {"listeners": [{**http_listener(port, "app"), "routes": routes}, broken],
              "clusters": [cluster("app", f"127.0.0.1:{dead}"), cluster("backup", server.address)]}
    try:
        with Sidecar(tmp_path, config, is_warm=True) as sidecar:
            answer = ask(port, "/")
            assert (answer.status, answer.text, answer.headers["x-seen"]) == (200, "instead", "200")
            assert answer.headers["x-fastmesh-degraded"] == "response; reason=503"
            assert ask(port, "/good").headers["x-seen"] == "200"
            assert ask(port, "/", headers={"x-let": "no"}).status == 403
            # The fourth is one too many: filters have not been asked, and no cluster gets what they might refuse.
            answer = ask(port, "/", headers={"x-let": "no"})
            assert (answer.status, answer.text) == (429, "slow")
            assert answer.headers["x-fastmesh-degraded"] == "response; reason=rate-limit"
            assert server.requests == 0
            assert ask(port, "/other").text == "own"
            found = sidecar.metrics()
            assert found['fastmesh_fallback_total{cluster="app",step="response",reason="status"}'] == 1
            assert found['fastmesh_fallback_total{cluster="app",step="response",reason="rate-limit"}'] == 1
            assert found['fastmesh_fallback_total{cluster="app",step="cluster",reason="status"}'] == 1
    finally:
        server.close()


def test_exhausted_is_counted(tmp_path: Path) -> None:
    port, dead = free_port(), free_port()
    config = {"listeners": [http_listener(port, "app", fallback=[{"stale": {}}])],
              "clusters": [cluster("app", f"127.0.0.1:{dead}")]}
    with Sidecar(tmp_path, config, is_warm=True) as sidecar:
        assert ask(port, "/").status == 503
        found = sidecar.metrics()
        assert found['fastmesh_fallback_exhausted_total{cluster="app",reason="connect-failure"}'] == 1
