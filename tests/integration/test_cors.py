"""Pages of other origins, in real processes: preflights, answers, copies of answers, and what is said of it."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from integration.harness import FASTMESH, Origin, Sidecar, ask, free_port, until
from integration.mesh import Mesh, app
from integration.peer import Message

PAGE = (Path(__file__).parents[2] / "docs" / "cors.md").read_text()
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
Start = Callable[..., Sidecar]
A, B, EVIL = "https://a.test", "https://b.test", "https://evil.test"
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"


def said(answer: Message) -> str | None:
    return answer.get("access-control-allow-origin")


def configure(mesh: Mesh, origin: Any, **route: Any) -> None:
    mesh.configure({
        "access_log": {"format": "text", "template": LOG},
        "listeners": [{"name": "web", "cors": {"allow_origins": [A, B], "allow_methods": ["PUT"]}, "routes": [
            {"name": "puts", "match": {"prefix": "/", "methods": ["PUT", "GET"]}, "cluster": "app", **route}]}],
        "clusters": [app(origin)]})


def test_a_preflight_and_its_request(mesh: Mesh) -> None:
    origin = mesh.origin()
    configure(mesh, origin)
    before = mesh.counts("cors_preflight", "cors_refused", "cors_other_origin")
    client = mesh.connect()
    asks = "access-control-request-method: PUT"
    answer = client.ask("/", "OPTIONS", f"origin: {A}", asks)
    assert (answer.status, said(answer), answer.get("access-control-allow-methods")) == (204, A, "PUT")
    answer = client.ask("/", "OPTIONS", f"origin: {EVIL}", asks)
    assert (answer.status, said(answer), answer.get("vary")) == (403, None, "Origin")
    assert not origin.has_connection()
    for page, told in ((A, A), (EVIL, None), (B, B)):
        client.send_request("/", "PUT", f"origin: {page}", body=b"hi")
        up = origin.accept() if page == A else up  # noqa: F821  (one connection)
        assert up.read_request().get("origin") == page
        up.answer("done", "200 OK", "access-control-allow-origin: *")
        answer = client.read_answer()
        assert (answer.text, said(answer), answer.get("vary")) == ("done", told, "Origin")
    assert mesh.logged(5) == ["204 - cors_preflight", "403 - cors_origin_refused", *["200 - via_upstream"] * 3]
    after = mesh.counts("cors_preflight", "cors_refused", "cors_other_origin")
    assert {name: after[name] - before[name] for name in after} == {
        "cors_preflight": 1, "cors_refused": 1, "cors_other_origin": 1}


def test_a_service_in_a_private_network(mesh: Mesh) -> None:
    asks = (f"origin: {A}", "access-control-request-method: PUT", "access-control-request-private-network: true")
    origin = mesh.origin()
    configure(mesh, origin)
    answer = mesh.connect().ask("/", "OPTIONS", *asks)
    assert (answer.status, answer.get("access-control-allow-private-network")) == (204, None)
    configure(mesh, origin, cors={"allow_origins": [A], "allow_methods": ["PUT"], "allow_private_network": True})
    answer = mesh.connect().ask("/", "OPTIONS", *asks)
    assert (answer.status, answer.get("access-control-allow-private-network")) == (204, "true")
    assert mesh.connect().ask("/", "OPTIONS", *asks[:2]).get("access-control-allow-private-network") is None


def test_an_options_that_no_route_takes_is_404(mesh: Mesh) -> None:
    configure(mesh, mesh.origin())
    assert mesh.connect().ask("/", "OPTIONS").status == 404
    assert mesh.connect().ask("/", "OPTIONS", f"origin: {A}", "access-control-request-method: DELETE").status == 404


def test_a_copy_is_told_whose_it_is_now(mesh: Mesh) -> None:
    """What was kept for one origin is given to another, with its own name on it."""
    origin = mesh.origin()
    configure(mesh, origin, fallback=[{"stale": {"max_age": "1h"}}])
    client = mesh.connect().send_request("/", "GET", f"origin: {A}")
    up = origin.accept()
    up.read_request()
    up.answer("kept", "200 OK", "cache-control: max-age=60", "access-control-allow-origin: https://a.test",
              "connection: close")
    assert said(client.read_answer()) == A
    origin.close()
    for page, told in ((B, B), (EVIL, None), (A, A)):
        answer = client.ask("/", "GET", f"origin: {page}")
        assert (answer.status, answer.text, said(answer)) == (200, "kept", told)
        assert (answer.get("x-fastmesh-degraded") or "").startswith("stale") and len(answer.all("vary")) == 1


def test_the_example_of_the_page(sidecar: Start, origin: Origin) -> None:
    port = free_port()
    config = yaml.safe_load(EXAMPLE)
    config["listeners"][0]["address"] = f"127.0.0.1:{port}"
    config["clusters"][0]["endpoints"] = [origin.address]
    one = sidecar({"workers": 1, **config})
    asks = {"origin": "https://pr-7.example.net", "access-control-request-method": "DELETE"}
    answer = ask(port, "/api/x", "OPTIONS", asks)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "https://pr-7.example.net")
    assert answer.headers["access-control-max-age"] == "3600"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert ask(port, "/fonts/a", headers={"origin": "https://any.test"}).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in ask(port, "/legacy", headers={"origin": "https://app.example.com"}).headers
    metrics = one.metrics()
    assert metrics["fastmesh_cors_preflight_total"] == 1
    # Somebody who waits for it is told.
    running = subprocess.Popen([FASTMESH, "explain", one.path, "--next", "OPTIONS", "/api", "--wait", "10"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: ask(port, "/api/x", "OPTIONS", asks) and running.poll() is not None)
    shown, errors = running.communicate()
    assert running.returncode == 0, errors
    assert re.search(r"^  routes\[2\] route-2 \(.*\): takes it$", shown, re.M), shown
    assert re.search(r"^it is a preflight for DELETE, and answered here$", shown, re.M), shown
    assert re.search(r"^cors \(.*\): pages of https://app.example.com, ", shown, re.M), shown
    assert "answered here: it is a preflight, of an origin that the route knows" in shown
    assert re.search(r"ended with 204 \(cors_preflight\)", shown)
