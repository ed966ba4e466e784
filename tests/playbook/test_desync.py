"""What one side says must not become a part of somebody else's exchange."""

import pytest

UPGRADE = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: %b\r\n\r\n"


@pytest.mark.parametrize(("offered", "fields"), [
    ("websocket", ""), ("websocket", "upgrade:\r\n"), ("websocket", "upgrade: tcp\r\n"),
    ("websocket", "upgrade: ,\r\n"),
    ("websocket", "upgrade: websocket, tcp\r\n"), ("web", "upgrade: websocket\r\n"), ("websocket", "upgrade: web\r\n"),
    ("a, b", "upgrade: a,b,c\r\n"),
])
def test_a_switch_to_what_was_not_offered(play, offered, fields):
    play.endpoints("a")
    play.client_sends(UPGRADE % offered.encode())
    play.connect("a").sends(f"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\n{fields}\r\n".encode())
    play.expect_answer(502)
    play.client_sends(b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a")
    assert play.expect_request("a", "GET /next")


@pytest.mark.parametrize(("offered", "chosen"), [
    ("websocket", "WebSocket"), ("a, b", "b"), ("a,b/2", "B/2"), ("a, b", "a, b"), ("\ta ,b", "b"),
])
def test_a_switch_to_what_was_offered(play, offered, chosen):
    play.endpoints("a")
    play.client_sends(UPGRADE % offered.encode())
    play.connect("a").sends(f"HTTP/1.1 101 Switching\r\nupgrade: {chosen}\r\n\r\n".encode())
    assert play.expect_answer(101)["upgrade"] == chosen
    play.client_sends(b"opaque")
    assert play.up("a").unseen.endswith(b"opaque")


@pytest.mark.parametrize("fields", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
def test_a_body_that_cannot_be_is_not_waited_for(play, fields):
    """Whoever announces a body with 204 may send it: after the next request it would be its answer."""
    play.endpoints("a")
    play.client_sends(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
    one = play.connect("a")
    one.sends(b"HTTP/1.1 204 No Content\r\n" + fields + b"\r\n")
    answer = play.expect_answer(204)
    assert answer["content-length"] is None and answer["transfer-encoding"] is None
    assert one.is_closed
    play.client_sends(b"GET /two HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a").answers(200, b"two")
    play.expect_answer(200, b"two")


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
])
def test_a_length_that_is_no_body_keeps_the_connection(play, head):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    up = play.connect("a")
    up.sends(head)
    play.expect_answer(has_body=False)
    up.expect_open()


@pytest.mark.parametrize("expects", [b"", b"expect: 100-continue\r\n"])
def test_an_answer_before_the_requests_end_says_that_it_is_the_last(play, expects):
    """The client would otherwise send its next request into a connection that ends."""
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n" + expects + b"\r\n")
    play.connect("a").answers(417, b"no")
    assert play.expect_answer(417, b"no")["connection"] == "close"
    play.first.expect_shut()


def test_what_426_asks_for_is_passed_on(play):
    """RFC 9110 section 15.5.22: without it the status says nothing."""
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    up = play.connect("a")
    up.answers(426, fields=["connection: upgrade", "upgrade: websocket"])
    answer = play.expect_answer(426)
    assert (answer["upgrade"], answer["connection"]) == ("websocket", "upgrade")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    up.answers(426, fields=["connection: upgrade", "upgrade: h2c"])
    assert play.expect_answer(426)["upgrade"] is None
    play.client_sends(b"GET / HTTP/1.0\r\n\r\n")
    up.answers(426, fields=["connection: upgrade", "upgrade: websocket"])
    assert play.expect_answer(426)["upgrade"] is None


def test_who_waits_for_a_connection_is_told_when_there_are_no_descriptors(play):
    play.endpoints("a").cluster(max_connections=1)
    clients = [play.client() for _ in range(4)]
    for client in clients:
        client.sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    up = play.connect("a")
    play.stage.no_descriptors = True
    up.sends(b"nonsense\r\n\r\n")
    clients[0].expect_answer(502)
    for client in clients[1:]:
        client.expect_answer(503)
    play.expect_no_connect()
    play.stage.no_descriptors = False
    clients[0].sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a").answers()
    clients[0].expect_answer(200)
