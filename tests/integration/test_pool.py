"""Connections to origins: used again, limited, waited for, and given up without the client noticing where
that is safe."""

import pytest
from integration.mesh import Mesh, app, elapse, http_listener, until
from integration.peer import Origin, Peer, pattern

FLAGS = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:PATH)%\n"
FAILED = "upstream_reset_before_response_started{connection_failure}"
CLOSED = "upstream_reset_before_response_started{connection_termination}"


def warm(mesh: Mesh, *origins: Origin, **more: object) -> tuple[Peer, Peer]:
    """A client, and an idle connection to the origin behind it."""
    made = origins or (mesh.origin(),)
    mesh.http(*made, log=FLAGS, **more)
    client = mesh.connect().send_request("/warm")
    up = made[0].accept()
    up.read_request()
    up.answer("warm")
    assert client.read_answer().text == "warm"
    assert mesh.logged() == ["200 - via_upstream /warm"]
    return client, up


def full(mesh: Mesh, origin: Origin) -> None:
    """Fills the backlog: further connects get no answer."""
    for _ in range(8):
        sock = type(origin.sock)(origin.sock.family)
        sock.setblocking(False)
        sock.connect_ex(origin.sock.getsockname())
        mesh.opened.append(Peer(sock))


# --- use and limits ---


def test_the_connection_given_back_last_is_taken_first(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    clients = [mesh.connect() for _ in range(3)]
    ups = []
    for n, client in enumerate(clients):
        client.send_request(f"/{n}")
        ups.append(origin.accept())
        ups[-1].read_request()
    for n in (1, 2, 0):
        ups[n].answer()
        clients[n].read_answer()
    for _ in (0, 1, 2):
        clients[0].send_request("/again")
        assert ups[0].read_request().target == "/again"
        ups[0].answer()
        clients[0].read_answer()
    row = mesh.cluster()
    assert (row["connections_opened"], row["reused"], row["connections"]) == (3, 3, 3)


def test_requests_wait_for_a_connection_and_are_served_in_their_order(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_connections": 1})
    clients = []
    for n in range(5):
        clients.append(mesh.connect().send_request(f"/{n}"))
        until(lambda n=n: mesh.cluster()["active"] == n + 1)
    up = origin.accept()
    until(lambda: mesh.cluster()["pending"] == 4)
    for n, client in enumerate(clients):
        assert up.read_request().target == f"/{n}"
        up.answer(f"answer {n}")
        assert client.read_answer().text == f"answer {n}"
    row = mesh.cluster()
    assert (row["connections_opened"], row["pending"], row["active"]) == (1, 0, 0)
    assert not origin.has_connection()


def test_one_that_waits_gets_a_new_connection_when_the_old_one_ends(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_connections": 1})
    first = mesh.connect().send_request("/1")
    up = origin.accept()
    up.read_request()
    second = mesh.connect().send_request("/2", "POST", body=b"two")
    until(lambda: mesh.cluster()["pending"] == 1)
    up.answer("1", "200 OK", "connection: close")
    assert first.read_answer().text == "1"
    up.expect_end()
    again = origin.accept()
    assert again.read_request().body == b"two"
    again.answer("2")
    assert second.read_answer().text == "2"


def test_a_client_that_leaves_the_line_makes_room(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_connections": 1})
    first = mesh.connect().send_request("/1")
    up = origin.accept()
    up.read_request()
    gone = mesh.connect().send_request("/gone")
    until(lambda: mesh.cluster()["pending"] == 1)
    last = mesh.connect().send_request("/3")
    until(lambda: mesh.cluster()["pending"] == 2)
    gone.reset()
    until(lambda: mesh.cluster()["pending"] == 1)
    up.answer("1")
    assert first.read_answer().text == "1"
    assert up.read_request().target == "/3"
    up.answer("3")
    assert last.read_answer().text == "3"


def test_a_full_line_is_503(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_connections": 1, "max_pending": 1}, log=FLAGS)
    first = mesh.connect().send_request("/1")
    up = origin.accept()
    up.read_request()
    second = mesh.connect().send_request("/2")
    until(lambda: mesh.cluster()["pending"] == 1)
    third = mesh.connect()
    assert third.ask("/3").status == 503
    assert mesh.logged() == ["503 UO overflow{max_pending} /3"]
    assert mesh.counts("overflow", "local_answers") == {"overflow": 1, "local_answers": 1}
    up.answer("1")
    assert first.read_answer().text == "1"
    up.read_request()
    up.answer("2")
    assert second.read_answer().text == "2"
    third.send_request("/4")  # its connection has not suffered
    assert up.read_request().target == "/4"
    up.answer("4")
    assert third.read_answer().text == "4"


def test_more_requests_than_the_cluster_may_have_are_503(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_requests": 2}, log=FLAGS)
    busy = [mesh.connect().send_request("/busy") for _ in range(2)]
    ups = [origin.accept() for _ in busy]
    for up in ups:
        up.read_request()
    assert mesh.connect().ask("/3").status == 503
    assert mesh.logged() == ["503 UO overflow{max_requests} /3"]
    for up, client in zip(ups, busy, strict=True):
        up.answer()
        client.read_answer()


def test_a_fresh_connection_takes_the_place_of_an_idle_one(mesh: Mesh) -> None:
    """A TCP client never gets a used connection, and the only one that is allowed is idle."""
    origin = mesh.origin()
    mesh.configure({"listeners": [http_listener(), {"name": "raw", "protocol": "tcp", "cluster": "app"}],
                    "clusters": [app(origin, max_connections=1)]})
    client = mesh.connect().send_request()
    up = origin.accept()
    up.read_request()
    up.answer()
    client.read_answer()
    raw = mesh.connect("raw").send(b"raw")
    up.expect_end()
    origin.accept().expect(b"raw").send(b"too")
    raw.expect(b"too")
    assert mesh.endpoint(origin)["connections"] == 1


@pytest.mark.parametrize(("status", "failures"), [("499 X", 0), ("500 X", 1), ("503 X", 1)])
def test_what_counts_as_a_failure_of_an_endpoint(mesh: Mesh, status: str, failures: int) -> None:
    origin = mesh.origin()
    mesh.http(origin)
    client = mesh.connect().send_request()
    up = origin.accept()
    up.read_request()
    up.answer("", status)
    client.read_answer()
    assert mesh.endpoint(origin)["failures"] == failures


def test_an_idle_connection_is_closed_after_its_time(mesh: Mesh) -> None:
    client, up = warm(mesh, cluster={"idle_timeout": "60ms"})
    up.expect_end()
    assert mesh.live()["idle"] == 0
    client.send_request("/more")
    again = mesh.origins[0].accept()
    again.read_request()
    again.answer("more")
    assert client.read_answer().text == "more"


def test_a_connection_is_not_used_more_often_than_allowed(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, cluster={"max_requests_per_connection": 2})
    client = mesh.connect()
    for _ in range(3):
        client.send_request("/1")
        up = origin.accept()
        up.read_request()
        up.answer()
        client.read_answer()
        client.send_request("/2")
        assert up.read_request().target == "/2"
        up.answer()
        client.read_answer()
        up.expect_end()


def test_bytes_behind_an_answer_end_the_connection(mesh: Mesh) -> None:
    """They would be taken for the answer to the next request."""
    client, up = warm(mesh)
    client.send_request("/2")
    up.read_request()
    up.answer("two").send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    assert client.read_answer().text == "two"
    up.expect_gone()
    client.send_request("/3")
    again = mesh.origins[0].accept()
    assert again.read_request().target == "/3"
    again.answer("three")
    assert client.read_answer().text == "three"


def test_bytes_on_an_idle_connection_end_it(mesh: Mesh) -> None:
    client, up = warm(mesh)
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    up.expect_gone()
    client.send_request("/2")
    again = mesh.origins[0].accept()
    again.read_request()
    again.answer("good")
    assert client.read_answer().text == "good"


# --- the keep-alive race ---


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_repeatable_request_on_a_connection_that_closes_is_sent_again(mesh: Mesh, method: str, how: str) -> None:
    client, up = warm(mesh)
    client.send_request("/race", method)
    first = up.read_request()
    getattr(up, how)()
    again = mesh.origins[0].accept()
    second = again.read_request()
    assert second.head == first.head  # the same request, with the same id
    again.answer("" if method == "HEAD" else "answer")
    assert client.read_answer(method).status == 200
    assert mesh.counts("retry_reused", "upstream_reset") == {"retry_reused": 1, "upstream_reset": 0}
    assert mesh.logged() == ["200 - via_upstream /race"]
    assert mesh.endpoint(mesh.origins[0])["failures"] == 0


def test_it_is_sent_again_once_and_on_a_fresh_connection(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, log=FLAGS)
    clients = [mesh.connect().send_request("/warm") for _ in range(3)]
    ups = [origin.accept() for _ in clients]
    for up in ups:
        up.read_request()
        up.answer()
    for client in clients:
        client.read_answer()
    mesh.logged(3)
    clients[0].send_request("/race")
    racing = next(up for up in ups if up.becomes_readable())
    racing.read_request()
    racing.close()
    fresh = origin.accept()  # although two more were idle
    fresh.read_request()
    fresh.close()
    assert clients[0].read_answer().status == 503
    assert mesh.logged() == [f"503 UC {CLOSED} /race"]
    assert mesh.count("retry_reused") == 1


def test_no_byte_of_an_answer_may_have_come(mesh: Mesh) -> None:
    for answer in ("HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-le", "H"):
        origin = mesh.origin()
        client, up = warm(mesh, origin)
        client.send_request("/race")
        up.read_request()
        up.send(answer).close()
        if "103" in answer:
            assert client.read_answer().status == 103
        assert client.read_answer().status in (502, 503)
        assert not origin.has_connection()
        mesh.logged()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_post_that_was_sent_is_not_sent_again(mesh: Mesh, how: str) -> None:
    client, up = warm(mesh)
    client.send_request("/pay", "POST", body=b"amount=1")
    assert up.read_request().body == b"amount=1"
    getattr(up, how)()
    assert client.read_answer().status == 503
    assert mesh.logged() == [f"503 UC {CLOSED} /pay"]
    assert not mesh.origins[0].has_connection()
    assert mesh.counts("retry_reused", "upstream_reset") == {"retry_reused": 0, "upstream_reset": 1}


def test_a_request_on_a_fresh_connection_that_closes_is_not_sent_again(mesh: Mesh) -> None:
    origin = mesh.origin()
    mesh.http(origin, log=FLAGS)
    client = mesh.connect().send_request("/one")
    up = origin.accept()
    up.read_request()
    up.close()
    assert client.read_answer().status == 503
    assert mesh.logged() == [f"503 UC {CLOSED} /one"]
    assert not origin.has_connection()


@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_put_with_a_small_body_is_sent_again_whole(mesh: Mesh, coding: str) -> None:
    client, up = warm(mesh)
    body = pattern(40_000)
    if coding == "length":
        client.send_request("/put", "PUT", body=body)
    else:
        client.send("PUT /put HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        client.chunk(body[:100], body[100:30_000], body[30_000:]).send("0\r\n\r\n")
    assert up.read_request().body == body
    up.close()
    again = mesh.origins[0].accept()
    assert again.read_request().body == body
    again.answer("stored")
    assert client.read_answer().text == "stored"
    assert mesh.count("retry_reused") == 1


def test_a_put_that_is_still_coming_goes_on_on_the_fresh_connection(mesh: Mesh) -> None:
    client, up = warm(mesh)
    client.send("PUT /put HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n0123456789")
    up.read_head()
    up.expect(b"0123456789").close()
    again = mesh.origins[0].accept()
    again.read_head()
    again.expect(b"0123456789")
    client.send(b"0123456789")
    again.expect(b"0123456789")
    client.send(b"0123456789")
    again.expect(b"0123456789").answer("stored")
    assert client.read_answer().text == "stored"


@pytest.mark.parametrize("kind", ["large", "trailers"])
def test_a_put_that_cannot_be_repeated_is_not(mesh: Mesh, kind: str) -> None:
    client, up = warm(mesh)
    if kind == "large":
        client.send_request("/put", "PUT", body=pattern(70_000))
    else:
        client.send("PUT /put HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")
    up.read_request()
    up.close()
    assert client.read_answer().status == 503
    assert not mesh.origins[0].has_connection()


@pytest.mark.parametrize(("method", "counter"), [("POST", "reuse_stale"), ("GET", "retry_reused")])
def test_a_connection_that_closed_and_nobody_has_noticed_yet(mesh: Mesh, method: str, counter: str) -> None:
    """The request is here first, the end of the idle connection behind it: a POST looks before it is sent.

    The epoll engine hears of both at once and takes the end first; the io_uring engine takes them as they came.
    """
    client, up = warm(mesh)
    with mesh.frozen():
        client.send_request("/late", method, body=b"x" if method == "POST" else b"")
        up.close()
    again = mesh.origins[0].accept()
    assert again.read_request().target == "/late"
    again.answer("fine")
    assert client.read_answer().text == "fine"
    assert mesh.count("upstream_idle_closed" if mesh.engine == "epoll" else counter) == 1


def test_a_stale_connection_with_something_to_say_is_not_used_for_a_post(mesh: Mesh) -> None:
    client, up = warm(mesh)
    with mesh.frozen():
        client.send_request("/late", "POST", body=b"x")
        up.send("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").close()
    again = mesh.origins[0].accept()
    assert again.read_request().target == "/late"
    again.answer("fine")
    assert client.read_answer().text == "fine"


# --- connects that fail ---


def test_a_refused_connect_moves_on(mesh: Mesh) -> None:
    bad, good = mesh.origin(), mesh.origin()
    mesh.http(
        bad, good, cluster={"load_balancer": "round_robin"}, log="%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST%\n"
    )
    bad.refuse()
    up = None
    for n in range(6):
        client = mesh.connect().send_request("/", "POST", body=b"%d" % n)  # safe: nothing was sent
        up = up or good.accept()
        assert up.read_request().body == b"%d" % n
        up.answer()
        assert client.read_answer().status == 200
    assert mesh.counts("connect_failed", "retry_connect") == {"connect_failed": 1, "retry_connect": 1}
    assert mesh.logged(6) == [f"200 - {good.address}"] * 6
    assert mesh.endpoint(bad)["connect_failures"] == 1


def test_all_refuse(mesh: Mesh) -> None:
    origins = [mesh.origin() for _ in range(4)]
    mesh.http(*origins, cluster={"connect_attempts": 3}, log=FLAGS)
    for origin in origins:
        origin.refuse()
    client = mesh.connect()
    assert client.ask("/").status == 503
    assert mesh.logged() == [f"503 UF,URX {FAILED} /"]
    assert mesh.count("connect_failed") == 3
    assert client.ask("/again").status == 503  # all are avoided, and tried nevertheless
    assert mesh.count("connect_failed") > 3


def test_one_attempt_means_one(mesh: Mesh) -> None:
    origins = [mesh.origin() for _ in range(3)]
    mesh.http(*origins, cluster={"connect_attempts": 1})
    for origin in origins:
        origin.refuse()
    assert mesh.connect().ask("/").status == 503
    assert mesh.counts("connect_failed", "retry_connect") == {"connect_failed": 1, "retry_connect": 0}


def test_a_cluster_without_endpoints(mesh: Mesh) -> None:
    mesh.http(log=FLAGS)
    assert mesh.connect().ask("/").status == 503
    assert mesh.logged() == ["503 UH no_healthy_upstream /"]
    assert mesh.count("no_endpoint") == 1


def test_an_avoided_endpoint_is_used_again_when_its_time_is_over(mesh: Mesh) -> None:
    back, good = mesh.origin(), mesh.origin()
    port = back.port
    mesh.http(back, good, cluster={"load_balancer": "round_robin", "avoid": {"base": "150ms", "max": "150ms"}})
    back.refuse()
    client = mesh.connect()
    up = None

    def ask() -> None:
        nonlocal up
        client.send_request("/")
        up = up or good.accept()
        up.read_request()
        up.answer()
        client.read_answer()

    ask()
    ask()
    assert mesh.endpoint(back)["avoid_until_ns"] > 0
    again = Origin(port=port)
    mesh.origins.append(again)
    until(lambda: mesh.is_past(mesh.endpoint(back)["avoid_until_ns"]))
    for _ in range(2):
        client.send_request("/")
        if again.has_connection_soon(up):
            break
        up.read_request()
        up.answer()
        client.read_answer()
    fresh = again.accept()
    fresh.read_request()
    fresh.answer("back")
    assert client.read_answer().text == "back"
    assert mesh.endpoint(back)["avoid_until_ns"] == 0


@pytest.mark.parametrize("family", ["4", "unix"])
def test_a_connect_that_gets_no_answer(mesh: Mesh, family: str) -> None:
    origin = mesh.origin(family, backlog=0)
    full(mesh, origin)
    mesh.http(origin, cluster={"connect_timeout": "80ms"}, log=FLAGS)
    status = mesh.connect().ask("/").status
    (line,) = mesh.logged()
    if family == "4":
        assert status == 504
        assert line == "504 UF,URX upstream_reset_before_response_started{connection_timeout} /"
        assert mesh.count("connect_timeout") == 1
    else:
        # A Unix socket says at once that there is no room, where it is asked not to wait.
        assert status in (503, 504)
        assert " UF,URX " in line


def test_a_connect_that_gets_no_answer_moves_on(mesh: Mesh) -> None:
    dead, good = mesh.origin(backlog=0), mesh.origin()
    full(mesh, dead)
    mesh.http(dead, good, cluster={"connect_timeout": "80ms", "load_balancer": "round_robin"})
    up = None
    for n in range(4):
        client = mesh.connect().send_request("/", "PUT", body=b"%d" % n)
        up = up or good.accept()
        assert up.read_request().body == b"%d" % n
        up.answer()
        client.read_answer()
    assert mesh.count("connect_timeout") == 1


def test_the_end_of_the_client_while_connecting(mesh: Mesh) -> None:
    dead = mesh.origin(backlog=0)
    full(mesh, dead)
    mesh.http(dead, cluster={"connect_timeout": "200ms"})
    client = mesh.connect().send_request("/")
    until(lambda: mesh.cluster()["pending"] == 1)
    client.reset()
    until(lambda: mesh.cluster()["pending"] == 0)
    until(lambda: mesh.live()["streams"] == 0)
    mesh.until_count("connect_timeout")


def test_a_connection_made_for_one_who_left_serves_the_next(mesh: Mesh) -> None:
    dead = mesh.origin(backlog=0)
    full(mesh, dead)
    mesh.http(dead, cluster={"connect_timeout": "10s"})
    client = mesh.connect().send_request("/gone")
    until(lambda: mesh.cluster()["pending"] == 1)
    client.reset()
    until(lambda: mesh.live()["streams"] == 0)

    # Room in the backlog, again and again, for others stand in it too: the kernel repeats the connect by itself.
    def has_come() -> bool:
        if dead.has_connection():
            dead.accept()
        return mesh.live()["idle"] == 1

    until(has_come, seconds=15)
    other = mesh.connect().send_request("/next")

    def is_asked() -> bool:
        if dead.has_connection():
            dead.accept()
        return any(peer.becomes_readable(0) for peer in dead.peers)

    until(is_asked)
    up = next(peer for peer in dead.peers if peer.becomes_readable(0))
    assert up.read_request().target == "/next"
    up.answer("next")
    assert other.read_answer().text == "next"
    assert mesh.cluster()["connections_opened"] == 1


def test_an_endpoint_that_is_not_there_at_all(mesh: Mesh) -> None:
    mesh.http("unix:/nonexistent/socket", log=FLAGS)
    assert mesh.connect().ask("/").status == 503
    assert mesh.logged() == [f"503 UF,URX {FAILED} /"]


@pytest.mark.parametrize("family", ["4", "6", "unix"])
def test_endpoints_of_every_kind(mesh: Mesh, family: str) -> None:
    origin = mesh.origin(family)
    mesh.http(origin, family=family)
    client = mesh.connect().send_request("/1")
    up = origin.accept()
    request = up.read_request()
    assert request.get("x-forwarded-for") == {"4": "127.0.0.1", "6": "::1", "unix": "unix"}[family]
    up.answer("1")
    assert client.read_answer().text == "1"
    client.send_request("/2")
    assert up.read_request().target == "/2"
    up.answer("2")
    assert client.read_answer().text == "2"


def test_what_a_reload_leaves_out_is_closed(mesh: Mesh) -> None:
    old, new = mesh.origin(), mesh.origin()
    client, up = warm(mesh, old)
    busy = mesh.connect().send_request("/busy")
    assert up.read_request().target == "/busy"
    other = mesh.connect().send_request("/idle")
    idle = old.accept()
    idle.read_request()
    idle.answer()
    other.read_answer()
    mesh.http(new)
    idle.expect_end()  # nobody will ask for it any more
    up.answer("late")
    assert busy.read_answer().text == "late"
    up.expect_end()
    client.send_request("/new")
    fresh = new.accept()
    assert fresh.read_request().target == "/new"
    fresh.answer()
    client.read_answer()
    elapse(0)
