"""Hedging through real processes, on both engines: origins that are slow, stand still or fail."""

from integration.mesh import Mesh, app
from integration.peer import Origin, Peer

GET = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_HOST%\n"


def hedge(mesh: Mesh, **more: object) -> list[Origin]:
    origins = [mesh.origin(), mesh.origin()]
    mesh.http(*origins, log=LOG, cluster={"load_balancer": "round_robin"},
              hedge={"delay": "100ms", "budget": {"share": "100%", "per_second": 100}}, **more)
    return origins


def both(origins: list[Origin]) -> tuple[Peer, Peer, Origin]:
    """Of a request, its first attempt and the one beside it, and where that one is."""
    found = {}
    for origin in origins:
        up = origin.accept()
        found[up.read_request().get("x-envoy-attempt-count")] = up, origin
    (first, _), (beside, second) = found["1"], found["2"]
    return first, beside, second


def counts(mesh: Mesh) -> tuple[int, int, int]:
    row = mesh.cluster()
    return row["hedges"], row["hedge_won"], row["hedge_lost"]


def test_an_endpoint_that_stands_still(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    slow, fast, winner = both(origins)
    fast.answer("fast")
    assert client.read_answer().text == "fast"
    slow.expect_gone()
    assert mesh.logged() == [f"200 - 2 {winner.address}"]
    assert counts(mesh) == (1, 1, 0)
    assert all(mesh.endpoint(one)["failures"] == 0 for one in origins)


def test_the_first_is_faster_after_all(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    first, beside, _ = both(origins)
    first.answer("first")
    assert client.read_answer().text == "first"
    beside.expect_gone()
    assert counts(mesh) == (1, 0, 1)


def test_the_first_dies_meanwhile(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    first, beside, _ = both(origins)
    first.reset()
    beside.answer("beside")
    assert client.read_answer().text == "beside"
    assert counts(mesh) == (1, 1, 0)


def test_a_large_answer_of_the_winner(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    _, beside, _ = both(origins)
    body = bytes(range(256)) * 8192
    beside.answer(body)
    assert client.read_answer().body == body


def test_a_body_goes_to_both(mesh: Mesh) -> None:
    origins = hedge(mesh)
    body = "x" * 60_000
    client = mesh.connect().send(f"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}")
    _, beside, _ = both(origins)
    beside.answer("ok")
    assert client.read_answer().text == "ok"


def test_a_client_that_leaves(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    first, beside, _ = both(origins)
    client.reset()
    first.expect_gone()
    beside.expect_gone()
    mesh.until_gauge("streams", 0)
    assert mesh.cluster()["active"] == 0


def test_a_reload_without_the_endpoint_meanwhile(mesh: Mesh) -> None:
    origins = hedge(mesh)
    client = mesh.connect().send(GET)
    _, beside, winner = both(origins)
    left = next(one for one in origins if one is not winner)
    mesh.configure({"listeners": [{"name": "web", "routes": [{"match": {"prefix": "/"}, "cluster": "app"}]}],
                    "clusters": [app(left)]})
    beside.answer("beside")
    assert client.read_answer().text == "beside"
    beside.expect_gone()


def test_a_session_stays_where_it_is(mesh: Mesh) -> None:
    """It begins with who answers, and its next requests go nowhere else, however long they take."""
    origins = [mesh.origin(), mesh.origin()]
    mesh.http(*origins, hedge={"delay": "100ms", "budget": {"share": "100%", "per_second": 100}},
              cluster={"balancing": {"sticky": {"header": "x-home", "secret": "0123456789abcdef"}}})
    client = mesh.connect().send(GET)
    _, beside, winner = both(origins)
    beside.answer("beside")
    home = client.read_answer().get("x-home")
    assert home
    client.send_request("/", "GET", f"x-home: {home}")
    beside.read_request()
    other = next(one for one in origins if one is not winner)
    assert not client.becomes_readable(0.3) and not other.has_connection()       # three times the delay
    beside.answer("at home")
    assert client.read_answer().text == "at home"
    assert mesh.cluster()["hedges"] == 1


def test_after_per_try_timeout(mesh: Mesh) -> None:
    origins = [mesh.origin(), mesh.origin()]
    mesh.http(*origins, cluster={"load_balancer": "round_robin"}, timeouts={"request": "10s"},
              retry={"per_try_timeout": "200ms"}, hedge={"on": "per_try_timeout"})
    client = mesh.connect().send(GET)
    first, beside, _ = both(origins)
    assert not client.becomes_readable(0.3)      # neither is given up after its own time
    first.answer("first")
    assert client.read_answer().text == "first"
    beside.expect_gone()
    assert counts(mesh) == (1, 0, 1)
