"""What routes do to requests and answers: redirects, other paths and hosts, headers."""

import re
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from integration.mesh import Mesh, app, elapse
from integration.peer import Message

EXAMPLE = Path(__file__).parents[2] / "examples" / "config" / "redirects.yaml"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def one_route(mesh: Mesh, route: dict[str, Any], match: dict[str, Any] | None = None, log: str = "",
              **listener: Any) -> Any:
    """A route to the origin that is returned, or one that answers."""
    origin = mesh.origin()
    where = {} if {"redirect", "response"} & set(route) else {"cluster": "app"}
    config: dict[str, Any] = {
        "listeners": [{"name": "web", "routes": [{"name": "it", "match": match or {"prefix": "/"}, **where, **route}],
                       **listener}],
        "clusters": [app(origin)]}
    if log:
        config["access_log"] = {"format": "text", "template": log}
    mesh.configure(config)
    return origin


def passed(mesh: Mesh, origin: Any, target: str, *fields: str, answer: str = "") -> tuple[Message, Message]:
    """What the origin gets, and what the client."""
    client = mesh.connect().send_request(target, "GET", *fields)
    up = origin.accept()
    request = up.read_request()
    up.send(f"HTTP/1.1 200 OK\r\n{answer}content-length: 0\r\n\r\n")
    found = request, client.read_answer()
    up.close()
    return found


# --- redirects ---


@pytest.mark.parametrize(
    ("redirect", "target", "host", "location"),
    [
        ({}, "/a?b", "x", "http://x/a?b"),
        ({}, "//a/../b", "x:8080", "http://x:8080/b"),
        ({"scheme": "https"}, "/a", "x:8080", "https://x/a"),
        ({"scheme": "https", "port": 8443}, "/a", "[::1]:80", "https://[::1]:8443/a"),
        ({"host": "www.x"}, "/a?b=c", "x:80", "http://www.x/a?b=c"),
        ({"port": 81}, "/a", "x:80", "http://x:81/a"),
        ({"path": "/new", "strip_query": True}, "/a?b=c", "x", "http://x/new"),
        ({"prefix": "/new"}, "/a/b?c", "x", "http://x/new/a/b?c"),
        ({}, "http://y/a", "x", "http://y/a"),
        ({"prefix": "/"}, "/../a", "x", "http://x/a"),
        ({}, "/a%0D%0Aset-cookie:x", "x", "http://x/a%0D%0Aset-cookie:x"),
    ],
    ids=str,
)
def test_a_redirect(mesh: Mesh, redirect: dict[str, Any], target: str, host: str, location: str) -> None:
    origin = one_route(mesh, {"redirect": redirect})
    answer = mesh.connect().send(f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").read_answer()
    assert (answer.status, answer.get("location")) == (302, location)
    assert not origin.has_connection()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_statuses_of_redirects(mesh: Mesh, status: int) -> None:
    one_route(mesh, {"redirect": {"status": status}}, log="%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(:PATH)%")
    assert mesh.connect().ask("/x").status == status
    assert mesh.logged() == [f"{status} direct_response /x"]


def test_a_redirect_without_a_host(mesh: Mesh) -> None:
    one_route(mesh, {"redirect": {"path": "/b"}})
    assert mesh.connect().send("GET /a HTTP/1.0\r\n\r\n").read_answer().get("location") == "/b"


def test_the_scheme_that_a_trusted_client_tells(mesh: Mesh) -> None:
    one_route(mesh, {"redirect": {}})
    assert mesh.connect().ask("/", "GET", "x-forwarded-proto: https").get("location") == "https://x/"
    one_route(mesh, {"redirect": {}}, trusted_clients=["10.0.0.0/8"])
    assert mesh.connect().ask("/", "GET", "x-forwarded-proto: https").get("location") == "http://x/"


# --- other paths and hosts ---


@pytest.mark.parametrize(
    ("match", "rewrite", "target", "received"),
    [
        ({"prefix": "/api"}, {"prefix": "/v2"}, "/api/x?q", "/v2/x?q"),
        ({"prefix": "/api"}, {"prefix": "/v2"}, "/api", "/v2"),
        ({"prefix": "/api"}, {"prefix": "/"}, "/api/x", "/x"),
        ({"prefix": "/api"}, {"prefix": "/"}, "/api", "/"),
        ({"prefix": "/api"}, {"prefix": "/"}, "/api?q", "/?q"),
        ({"prefix": "/api"}, {"prefix": "/v2/"}, "/api/x", "/v2/x"),
        ({"prefix": "/api/"}, {"prefix": "/v2"}, "/api/x/", "/v2/x/"),
        ({"prefix": "/"}, {"prefix": "/v2"}, "/x", "/v2/x"),
        ({"prefix": "/"}, {"prefix": "/v2"}, "*", "*"),
        ({"prefix": "/api"}, {"prefix": "/v2"}, "//x/..//%61pi/./y", "/v2/y"),
        ({"starts_with": "/api"}, {"prefix": "/v"}, "/api2/x", "/v2/x"),
        ({"starts_with": "/api"}, {"prefix": "/"}, "/api/x", "/x"),
        ({"regex": "/a+"}, {"path": "/b"}, "/aa?q=1", "/b?q=1"),
        ({"prefix": "/"}, {"path": "/"}, "http://x/y", "/"),
        ({"template": "/users/{id}/**"}, {"template": "/v2/{id}/all{2}"}, "/users/7/x?q", "/v2/7/all/x?q"),
        ({"template": "/f/{path=**}"}, {"template": "{path}"}, "/f", "/"),
        ({"regex": "/v([0-9]+)/(.*)"}, {"template": "/{2}/{1}"}, "/v1/a/b", "/a/b/1"),
        ({"regex": "/x(.?)(.*)"}, {"template": "/a/{1}{2}/b"}, "/x../c", "/c/b"),
        ({"starts_with": "/api"}, {"prefix": "/"}, "/api../x", "/x"),
    ],
    ids=str,
)
def test_another_path(mesh: Mesh, match: dict[str, Any], rewrite: dict[str, Any], target: str, received: str) -> None:
    origin = one_route(mesh, {"rewrite": rewrite}, match, log="%REQ(:PATH)% %ROUTE_NAME%")
    client = mesh.connect().send(f"{'OPTIONS' if target == '*' else 'GET'} {target} HTTP/1.1\r\nhost: x\r\n\r\n")
    up = origin.accept()
    assert up.read_request().target == received
    up.answer()
    assert client.read_answer().status == 200
    assert mesh.logged() == [f"{target} it"]


@pytest.mark.parametrize("target", ["/a", "http://other/a"])
def test_another_host(mesh: Mesh, target: str) -> None:
    origin = one_route(mesh, {"rewrite": {"host": "app.internal"}})
    request, _ = passed(mesh, origin, target)
    assert request.all("host") == ["app.internal"] and request.target == "/a"


# --- headers ---


def test_headers_of_the_request(mesh: Mesh) -> None:
    origin = one_route(mesh, {"request_headers": {
        "remove": ["x-gone"], "set": {"x-set": "1", "x-new": "%PROTOCOL%/%%"}, "add": {"x-add": "2"}}})
    request, _ = passed(mesh, origin, "/", "X-Gone: a", "x-gone: b", "X-Set: a", "x-set: b", "x-add: 1", "x-kept: k")
    assert {name: request.all(name) for name in ("x-gone", "x-set", "x-new", "x-add", "x-kept")} == {
        "x-gone": [], "x-set": ["1"], "x-new": ["HTTP/1.1/%"], "x-add": ["1", "2"], "x-kept": ["k"]}


def test_what_can_be_told(mesh: Mesh) -> None:
    told = {
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "id": "%REQUEST_ID%",
        "cluster": "%UPSTREAM_CLUSTER%", "route": "%ROUTE_NAME%", "listener": "%LISTENER%", "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "host": "%REQ(:AUTHORITY)%", "agent": "%REQ(USER-AGENT)%",
        "none": "[%REQ(X-NONE)%]"}
    origin = one_route(mesh, {"request_headers": {"set": {f"x-{name}": text for name, text in told.items()}},
                              "response_headers": {"set": {f"x-{name}": text for name, text in told.items()} | {
                                  "x-code": "%RESPONSE_CODE%", "x-upstream": "%UPSTREAM_HOST%"}}},
                       trusted_clients=["10.0.0.0/8"])
    request, answer = passed(mesh, origin, "//a?b", "user-agent: me", "x-request-id: not-believed")
    assert re.fullmatch(UUID, request.get("x-id") or "")
    assert request.all("x-request-id") == [request.get("x-id")] == [answer.get("x-id")]
    expected = {"client": "127.0.0.1", "cluster": "app", "route": "it", "listener": "web", "method": "GET",
                "path": "//a?b",
                "host": "x", "agent": "me", "none": "[-]"}
    assert {name: request.get(f"x-{name}") for name in expected} == expected
    assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", request.get("x-peer") or "")
    assert re.fullmatch(r"20[0-9]{2}-[0-9T:.-]+Z", request.get("x-time") or "")
    assert answer.get("x-peer") == request.get("x-peer") and answer.get("x-cluster") == "app"
    assert (answer.get("x-code"), answer.get("x-upstream"), answer.get("x-agent")) == ("200", origin.address, "me")


def test_a_number_that_is_believed_is_told(mesh: Mesh) -> None:
    origin = one_route(mesh, {"request_headers": {"set": {"x-id": "%REQUEST_ID%"}}})
    request, _ = passed(mesh, origin, "/", "x-request-id: mine")
    assert (request.all("x-request-id"), request.get("x-id")) == (["mine"], "mine")


def test_headers_of_the_answer(mesh: Mesh) -> None:
    origin = one_route(mesh, {"response_headers": {
        "remove": ["server"], "set": {"x-set": "1"}, "add": {"set-cookie": "b=2"}}}, log="%RESP(X-SET)%")
    _, answer = passed(mesh, origin, "/", answer="Server: s\r\nX-Set: a\r\nx-set: b\r\nset-cookie: a=1\r\n")
    assert {name: answer.all(name) for name in ("server", "x-set", "set-cookie")} == {
        "server": [], "x-set": ["1"], "set-cookie": ["a=1", "b=2"]}
    assert mesh.logged() == ["1"]


@pytest.mark.parametrize("target", [{"response": {"status": 403}}, {"redirect": {"path": "/x"}}], ids=str)
def test_headers_of_the_proxys_own_answers(mesh: Mesh, target: dict[str, Any]) -> None:
    one_route(mesh, {**target, "response_headers": {
        "set": {"x-a": "%RESPONSE_CODE% %REQ(X-B)% %UPSTREAM_HOST%", "server": "no"}, "add": {"x-a": "2"},
        "remove": ["date"]}})
    answer = mesh.connect().ask("/", "GET", "x-b: c")
    assert answer.all("x-a") == [f"{answer.status} c -", "2"]
    assert answer.all("server") == ["fastmesh"] and len(answer.all("date")) == 1


def test_headers_of_failures(mesh: Mesh) -> None:
    origin = one_route(mesh, {"response_headers": {"set": {"x-a": "1"}}})
    origin.close()
    answer = mesh.connect().ask("/")
    assert (answer.status, answer.get("x-a")) == (503, "1")


def test_a_request_that_becomes_too_large(mesh: Mesh) -> None:
    values = {f"x-{n}": "%REQ(X-LONG)%" for n in range(8)}
    origin = one_route(mesh, {"request_headers": {"set": values}}, log="%RESPONSE_CODE_DETAILS%")
    assert mesh.connect().ask("/", "GET", f"x-long: {'a' * 9000}").status == 431
    assert not origin.has_connection()
    assert mesh.logged() == ["request_headers_too_large"]
    assert mesh.live()["streams"] == 0


def test_an_answer_that_would_become_too_large(mesh: Mesh) -> None:
    values = {f"x-{n}": "%REQ(X-LONG)%" for n in range(8)}
    origin = one_route(mesh, {"response_headers": {"set": values}})
    _, answer = passed(mesh, origin, "/", f"x-long: {'a' * 9000}")
    assert answer.status == 200
    assert 1 <= sum(answer.get(f"x-{n}") == "a" * 9000 for n in range(8)) < 8


def test_a_request_that_is_sent_again_is_the_same(mesh: Mesh) -> None:
    """The second endpoint gets what the first would have got."""
    gone, origin = mesh.origin(), mesh.origin()
    gone.close()
    mesh.configure({
        "listeners": [{"name": "web", "routes": [{
            "match": {"prefix": "/a"}, "cluster": "app", "rewrite": {"prefix": "/b"},
            "request_headers": {"set": {"x-a": "1"}}}]}],
        "clusters": [app(gone, origin, load_balancer="round_robin")]})
    for _ in range(2):
        request, _ = passed(mesh, origin, "/a/x")
        assert (request.target, request.all("x-a")) == ("/b/x", ["1"])


def test_bodies_pass_as_they_are(mesh: Mesh) -> None:
    origin = one_route(mesh, {"rewrite": {"prefix": "/b"}, "request_headers": {"set": {"x-a": "1"}},
                              "response_headers": {"set": {"x-b": "2"}}}, {"prefix": "/a"})
    client = mesh.connect().send_request("/a/x", "POST", body=b"to " * 30_000)
    up = origin.accept()
    request = up.read_request()
    assert (request.target, request.get("x-a"), request.body) == ("/b/x", "1", b"to " * 30_000)
    up.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    answer = client.read_answer()
    assert (answer.get("x-b"), answer.body) == ("2", b"abc")
    client.send("POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")
    client.send("2\r\nhi\r\n0\r\n\r\n")
    request = up.read_request()
    assert (request.target, request.body) == ("/b", b"hi")
    up.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert client.read_answer().status == 100
    assert (answer := client.read_answer()).status == 204 and answer.get("x-b") == "2"
    client.send_request("/a", "HEAD")
    assert up.read_request().target == "/b"
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
    assert client.read_answer("HEAD").get("x-b") == "2"


def test_an_upgrade_passes(mesh: Mesh) -> None:
    origin = one_route(mesh, {"rewrite": {"prefix": "/b"}, "response_headers": {"set": {"x-b": "2"}}}, {"prefix": "/a"})
    client = mesh.connect().send_request("/a", "GET", "connection: upgrade", "upgrade: websocket")
    up = origin.accept()
    request = up.read_head()
    assert (request.target, request.get("upgrade")) == ("/b", "websocket")
    up.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "hello")
    assert client.read_head().status == 101
    client.expect(b"hello")


def test_the_example_of_the_documents(mesh: Mesh) -> None:
    yaml = pytest.importorskip("yaml")
    origin = mesh.origin()
    config = yaml.safe_load(EXAMPLE.read_text())
    for cluster in config["clusters"]:
        cluster["endpoints"] = [origin.address]
    mesh.configure(config)
    client = mesh.connect("edge")
    answer = client.ask("/old-shop/a?b")
    assert (answer.status, answer.get("location")) == (308, "https://shop.example.com/shop/a?b")
    assert client.ask("/users/7/a?b").get("location") == "http://x/people/7/a?b"
    assert client.ask("/login?debug=1").get("location") == "http://x/login"
    assert client.ask("/").get("x-robots-tag") == "noindex"
    client.send_request("/api/v1/cart", "GET", "x-debug: 1")
    up = origin.accept()
    request = up.read_request()
    assert (request.target, request.get("host"), request.get("x-debug")) == ("/cart", "app.internal", None)
    assert request.get("x-client") == "127.0.0.1"
    assert request.get("x-asked-for") == "GET /api/v1/cart HTTP/1.1"
    assert re.fullmatch(f"versioned of edge, number {UUID}", request.get("x-route") or "")
    up.send("HTTP/1.1 200 OK\r\nserver: s\r\ncontent-length: 0\r\n\r\n")
    answer = client.read_answer()
    assert (answer.get("server"), answer.get("set-cookie")) == (None, "seen=1")
    assert answer.get("x-served-by") == f"app at {origin.address}"


def test_the_time_of_the_upstream_in_an_answer(mesh: Mesh) -> None:
    """Of one that thinks for a while: at least that, at most what the client saw, and what the log says."""
    origin = one_route(mesh, {"response_headers": {"set": {"x-took": "%UPSTREAM_SERVICE_TIME%"}}},
                       log="%UPSTREAM_SERVICE_TIME%\n")
    begun = monotonic()
    client = mesh.connect().send_request("/", "GET")
    up = origin.accept()
    up.read_request()
    elapse(0.05)
    up.answer()
    took = client.read_answer().get("x-took") or ""
    assert 45 <= int(took) <= (monotonic() - begun) * 1000
    assert mesh.logged() == [took]


def test_no_time_of_an_upstream_in_an_answer_of_the_proxy(mesh: Mesh) -> None:
    one_route(mesh, {"response": {"status": 200},
                     "response_headers": {"set": {"x-took": "%UPSTREAM_SERVICE_TIME%"}}})
    assert mesh.connect().ask("/").get("x-took") == "-"
