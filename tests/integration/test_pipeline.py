"""Pipelining: a client sends on without waiting; the answers come in the order of the requests (RFC 9112,
9.3.2)."""

import pytest
from integration.mesh import Mesh, until
from integration.peer import pattern


def request(path: str, *fields: str) -> str:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n"


def test_a_hundred_requests_in_one_piece(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send("".join(request(f"/{n}") for n in range(100)))
    up = origin.accept()
    for n in range(100):
        assert up.read_request().target == f"/{n}"
        assert up.has_nothing()  # one at a time goes upstream
        up.answer(f"answer {n}")
    for n in range(100):
        assert client.read_answer().text == f"answer {n}"
    assert mesh.cluster()["connections_opened"] == 1


def test_a_slow_first_answer_holds_back_the_second(mesh: Mesh) -> None:
    slow, quick = mesh.origin(), mesh.origin()
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [
                        {"match": {"prefix": "/slow"}, "cluster": "slow"},
                        {"match": {"prefix": "/quick"}, "cluster": "quick"},
                        {"match": {"prefix": "/"}, "response": {"status": 403, "body": "no"}},
                    ],
                }
            ],
            "clusters": [
                {"name": "slow", "endpoints": [slow.address]},
                {"name": "quick", "endpoints": [quick.address]},
            ],
        }
    )
    client = mesh.connect().send(request("/slow"), request("/quick"), request("/other"))
    up = slow.accept()
    up.read_request()
    assert client.has_nothing()
    up.answer("slow")
    other = quick.accept()
    assert other.read_request().target == "/quick"
    other.answer("quick")
    assert [client.read_answer().text for _ in range(3)] == ["slow", "quick", "no"]


def test_requests_with_bodies_in_one_piece(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(
        "POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfirst",
        "POST /2 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\nt: v\r\n\r\n",
        "PUT /3 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        request("/4"),
    )
    up = origin.accept()
    for n, body in enumerate([b"first", b"second", b"", b""], 1):
        got = up.read_request()
        assert (got.target, got.body) == (f"/{n}", body)
        up.answer(str(n))
    assert [client.read_answer().text for _ in range(4)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("size", [1, 7, 100, 4095, 4096, 4097])
def test_pieces_of_any_size(mesh: Mesh, size: int) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    body = pattern(10_000).hex()
    wire = "".join(
        f"POST /{n} HTTP/1.1\r\nhost: x\r\ncontent-length: {n * 100}\r\n\r\n{body[: n * 100]}" for n in range(12)
    )
    if size == 1:
        wire = wire[: 600 + wire[600:].index("POST")]
    client = mesh.connect()
    for at in range(0, len(wire), size):
        client.send(wire[at : at + size])
    up = origin.accept()
    for n in range(wire.count("POST")):
        got = up.read_request()
        assert (got.target, got.text) == (f"/{n}", body[: n * 100])
        up.answer(str(n))
        assert client.read_answer().text == str(n)


def test_half_a_request_behind_a_whole_one(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(request("/1"), "GET /2 HTTP/1.1\r\nhos")
    up = origin.accept()
    up.read_request()
    up.answer("1")
    assert client.read_answer().text == "1"
    client.send("t: x\r\n\r\n")
    assert up.read_request().target == "/2"
    up.answer("2")
    assert client.read_answer().text == "2"


def test_what_follows_connection_close_is_not_served(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(request("/1", "connection: close"), request("/2"))
    up = origin.accept()
    assert up.read_request().target == "/1"
    up.answer("1")
    answer = client.read_answer()
    assert (answer.text, answer.get("connection")) == ("1", "close")
    client.expect_end()
    assert up.has_nothing()


def test_a_client_that_says_all_and_then_ends_its_side_gets_every_answer(mesh: Mesh) -> None:
    """As `printf ... | nc` does."""
    origin = mesh.origin()
    mesh.http(origin, half_close=True)
    client = mesh.connect().send(request("/1"), request("/2"), request("/3")).shut()
    up = origin.accept()
    for n in (1, 2, 3):
        assert up.read_request().target == f"/{n}"
        up.answer(str(n))
    got = [client.read_answer() for _ in range(3)]
    assert [answer.text for answer in got] == ["1", "2", "3"]
    client.expect_end()


def test_half_a_request_before_the_end_is_dropped(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, half_close=True)
    client = mesh.connect().send(request("/1"), "GET /2 HTTP/1.1\r\nhost:").shut()
    up = origin.accept()
    up.read_request()
    up.answer("1")
    assert client.read_answer().text == "1"
    client.expect_end()
    assert up.has_nothing()


def test_a_thousand_local_answers_in_one_piece(mesh: Mesh) -> None:
    mesh.configure(
        {
            "listeners": [
                {"name": "web", "routes": [{"match": {"prefix": "/"}, "response": {"status": 200, "body": "here"}}]}
            ]
        }
    )
    client = mesh.connect().send(request("/") * 1000)
    assert {client.read_answer().text for _ in range(1000)} == {"here"}
    assert mesh.count("requests") == 1000


def test_a_client_that_pipelines_and_does_not_read_is_made_to_wait(mesh: Mesh) -> None:
    """Requests are not read while their answers cannot be sent."""
    mesh.configure(
        {
            "listeners": [
                {
                    "name": "web",
                    "routes": [{"match": {"prefix": "/"}, "response": {"status": 200, "body": "x" * 60_000}}],
                }
            ]
        }
    )
    client = mesh.connect()
    wire = request("/").encode() * 50_000
    sent = client.send_all_it_takes(wire)
    before = -1
    while (now := mesh.count("requests")) != before:
        before = now
        sent += client.send_all_it_takes(wire[sent:])
        mesh.live()
    assert mesh.count("requests") < 2_000
    assert mesh.more_blocks() < 400
    client.close()
    until(lambda: mesh.live()["connections"] == 0)


def test_errors_stand_in_their_place(mesh: Mesh) -> None:
    """A bad request behind a good one: first the good answer, then 400 and the end."""
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send(request("/1"), "NONSENSE\r\n\r\n", request("/3"))
    up = origin.accept()
    up.read_request()
    up.answer("1")
    assert client.read_answer().text == "1"
    bad = client.read_answer()
    assert (bad.status, bad.get("connection")) == (400, "close")
    client.expect_end()
    assert up.has_nothing()
