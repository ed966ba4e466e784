"""Faults on purpose, through real processes."""

from time import monotonic

from integration.mesh import Mesh, app
from integration.peer import pattern


def test_requests_that_ask_for_it_are_slow_and_fail(mesh: Mesh) -> None:
    origin = mesh.origin()
    chaos = {"headers": {"x-chaos": "1"}}
    mesh.configure({
        "access_log": {"format": "text", "template": "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"},
        "listeners": [{"name": "web", "routes": [{
            "match": {"prefix": "/"}, "cluster": "app",
            "faults": [{"delay": "300ms", "match": {"methods": ["POST"]}}, {"abort": 503, "match": chaos}]}]}],
        "clusters": [app(origin)]})
    before = mesh.counts("fault_delayed", "fault_aborted")
    client = mesh.connect().send_request("/", "GET", "x-chaos: 1")
    assert client.read_answer().status == 503
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    assert not origin.has_connection()
    up = origin.accept()
    request = up.read_request()
    assert (request.method, request.body) == ("POST", b"hi")
    up.answer(b"late")
    assert client.read_answer().body == b"late"
    assert mesh.logged(2) == ["503 FI fault_injected{route-0/1}", "200 DI via_upstream"]
    after = mesh.counts("fault_delayed", "fault_aborted")
    assert {name: after[name] - before[name] for name in after} == {"fault_delayed": 1, "fault_aborted": 1}


def test_they_end_with_a_reload_and_who_waits_goes_on(mesh: Mesh) -> None:
    origin = mesh.origin()
    route = {"match": {"prefix": "/"}, "cluster": "app", "faults": [{"delay": "400ms"}]}
    mesh.configure({"listeners": [{"name": "web", "routes": [route]}], "clusters": [app(origin)]})
    waits = mesh.connect().send_request("/waits")
    mesh.until_gauge("streams", 1)
    mesh.configure({"listeners": [{"name": "web", "routes": [{**route, "faults": []}]}], "clusters": [app(origin)]})
    goes = mesh.connect().send_request("/goes")
    for client, target in ((goes, "/goes"), (waits, "/waits")):
        up = origin.accept()
        assert up.read_request().target == target
        up.answer(b"", "200 OK", "connection: close")
        assert client.read_answer().status == 200
        up.close()


def test_a_bandwidth(mesh: Mesh) -> None:
    """All of it comes, and not before its time; who sends it is held up meanwhile."""
    origin = mesh.origin()
    mesh.configure({"listeners": [{"name": "web", "routes": [{
        "match": {"prefix": "/"}, "cluster": "app", "faults": [{"bandwidth": "512KiB/s"}]}]}],
        "clusters": [app(origin)]})
    body = pattern(400_000)
    before = mesh.counts("fault_slowed")
    client = mesh.connect().send_request("/")
    up = origin.accept()
    up.read_request()
    began = monotonic()
    up.answer(body)
    assert client.read_answer().body == body
    assert monotonic() - began >= len(body) / 524_288 - 0.1
    assert mesh.counts("fault_slowed")["fault_slowed"] == before["fault_slowed"] + 1
    client.send_request("/again")
    assert up.read_request().target == "/again"
    up.answer(b"")
    assert client.read_answer().status == 200


def test_a_bandwidth_of_requests(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.configure({"listeners": [{"name": "web", "routes": [{
        "match": {"prefix": "/"}, "cluster": "app", "faults": [{"request_bandwidth": "512KiB/s"}]}]}],
        "clusters": [app(origin)]})
    body = pattern(400_000)
    before = mesh.counts("fault_slowed_requests")
    client = mesh.connect()
    began = monotonic()
    client.send(f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n")
    client.send(body)
    up = origin.accept()
    assert up.read_request().body == body
    assert monotonic() - began >= len(body) / 524_288 - 0.1
    up.answer(b"thanks")
    assert client.read_answer().body == b"thanks"
    assert mesh.counts("fault_slowed_requests")["fault_slowed_requests"] == before["fault_slowed_requests"] + 1
    client.send_request("/again")
    assert up.read_request().target == "/again"
    up.answer(b"")
    assert client.read_answer().status == 200


def test_what_is_asked_for_and_what_grpc_gets(mesh: Mesh) -> None:
    origin = mesh.origin()
    grpc = {"headers": {"content-type": "application/grpc"}}
    mesh.configure({"listeners": [{"name": "web", "routes": [{
        "match": {"prefix": "/"}, "cluster": "app",
        "faults": [{"from_headers": True}, {"grpc_status": "RESOURCE_EXHAUSTED", "match": grpc}]}]}],
        "clusters": [app(origin)]})
    client = mesh.connect().send_request("/", "GET", "x-envoy-fault-abort-request: 418")
    assert client.read_answer().status == 418
    client.send("POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
    answer = client.read_answer()
    assert (answer.status, answer.get("grpc-status"), answer.body) == (200, "8", b"")
    client.send_request("/")
    up = origin.accept()
    up.read_request()
    up.answer(b"well")
    assert client.read_answer().body == b"well"
