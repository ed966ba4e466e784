"""Limits: each has its answer and its counter, and what is within it does not notice."""

import pytest

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


def test_connections_per_endpoint_make_a_line(play):
    play.cluster(max_connections=1).endpoints("a")
    clients = [play.client() for _ in range(4)]
    for client in clients:
        client.sends(GET)
    up = play.connect("a")
    play.expect_no_connect()
    play.expect_counter("cluster.x.pending", 3)
    play.expect_counter("queued", 3)
    for i, client in enumerate(clients):
        up.expect_request()
        up.answers(body=str(i).encode())
        client.expect_answer(200, str(i).encode())
    play.expect_counter("cluster.x.pending", 0)


def test_line_moves_up_when_a_connection_ends(play):
    play.cluster(max_connections=1).endpoints("a")
    first, second = play.client(), play.client()
    first.sends(POST)
    up = play.connect("a")
    second.sends(GET)
    up.closes()
    first.expect_answer(503)
    play.connect("a").answers()
    second.expect_answer(200)


def test_line_without_its_second(play):
    play.cluster(max_connections=1).endpoints("a")
    clients = [play.client() for _ in range(3)]
    for client in clients:
        client.sends(GET)
    up = play.connect("a")
    clients[1].resets()
    up.answers(body=b"1")
    clients[0].expect_answer(200, b"1")
    up.answers(body=b"3")
    clients[2].expect_answer(200, b"3")


def test_fresh_connection_is_made_in_place_of_an_idle_one(play):
    """A retry wants a fresh one although the endpoint is at its limit."""
    play.cluster(max_connections=2).endpoints("a").pool_has("a", "a")
    client = play.client()
    client.sends(GET)
    play.asked().closes()
    play.connect("a").answers()
    client.expect_answer(200)


def test_pending_limit(play):
    play.cluster(max_pending=2).endpoints("a")
    clients = [play.client() for _ in range(3)]
    for client in clients:
        client.sends(GET)
    clients[2].expect_answer(503)
    play.expect_counter("overflow", 1)
    play.expect_counter("cluster.x.overflow", 1)
    assert play.ended() == [(503, "UO")]
    for client in clients[:2]:
        play.connect("a").answers()
        client.expect_answer(200)


def test_requests_of_an_endpoint(play):
    """Others are picked while it is full; who finds none is told so."""
    play.cluster(max_endpoint_requests=1).endpoints("a", "b")
    clients = [play.client() for _ in range(3)]
    ups = []
    for client in clients[:2]:
        client.sends(GET)
        ups.append(play.connect())
    clients[2].sends(GET)
    clients[2].expect_answer(503)
    play.expect_counter("overflow", 1)
    assert play.ended() == [(503, "UO")]
    for up, client in zip(ups, clients[:2], strict=True):
        up.answers()
        client.expect_answer(200)


def test_connections_of_a_cluster(play):
    """With none to its endpoint a request is refused; with one it waits for that."""
    play.cluster(max_cluster_connections=1).endpoints("a", "b")
    clients = [play.client() for _ in range(3)]
    clients[0].sends(GET)
    up = play.connect()
    clients[1].sends(GET)       # the turn of the other endpoint
    clients[1].expect_answer(503)
    clients[2].sends(GET)
    clients[2].expect_nothing()
    play.expect_counter("cluster.x.pending", 1)
    up.answers()
    clients[0].expect_answer(200)
    up.answers()
    clients[2].expect_answer(200)
    play.expect_counter("cluster.x.connections", 1)


def test_pending_counts_who_waits_in_line(play):
    play.cluster(max_pending=1, max_connections=1).endpoints("a")
    clients = [play.client() for _ in range(3)]
    clients[0].sends(GET)
    up = play.connect("a")
    clients[1].sends(GET)
    clients[2].sends(GET)
    clients[2].expect_answer(503)
    up.answers()
    up.answers()
    clients[0].expect_answer(200)
    clients[1].expect_answer(200)


def test_pending_timeout(play):
    play.cluster(max_connections=1, pending_timeout="5s").endpoints("a")
    clients = [play.client() for _ in range(3)]
    clients[0].sends(GET)
    up = play.connect("a")
    clients[1].sends(GET)
    play.pass_time("2s")
    clients[2].sends(GET)
    play.pass_time("2900ms")
    clients[1].expect_nothing()
    play.pass_time("150ms")
    clients[1].expect_answer(503)
    play.expect_counter("pending_timeout", 1)
    play.expect_counter("cluster.x.overflow", 1)
    play.expect_counter("cluster.x.pending", 1)
    assert play.ended() == [(503, "UO")]
    # Who came later is still in line, and who is refused may come again.
    up.answers(body=b"0")
    clients[0].expect_answer(200, b"0")
    up.answers(body=b"2")
    clients[2].expect_answer(200, b"2")
    clients[1].sends(GET)
    up.answers(body=b"1")
    clients[1].expect_answer(200, b"1")
    play.pass_time("1m")
    play.expect_counter("pending_timeout", 1)


def test_pending_timeout_of_a_tcp_client(play):
    play.tcp().cluster(max_connections=1, pending_timeout="5s").endpoints("a")
    play.client()
    play.connect("a")
    second = play.client()
    play.pass_time("5100ms")
    second.expect_closed(reset=True)
    play.first.expect_open()
    assert play.ended() == [(0, "UO")]


def test_requests_limit(play):
    play.cluster(max_requests=2).endpoints("a")
    clients = [play.client() for _ in range(3)]
    for client in clients[:2]:
        client.sends(GET)
        play.connect("a").expect()
    clients[2].sends(GET)
    clients[2].expect_answer(503)
    play.expect_counter("overflow", 1)
    play.expect_counter("cluster.x.active", 2)
    for up in play.upstreams("a"):
        up.answers()
    clients[2].sends(GET)
    play.asked().expect_request()
    play.expect_counter("cluster.x.active", 1)


def test_connections_of_a_listener(play):
    play.endpoints("a").listener(max_connections=2)
    kept = [play.client(), play.client()]
    third = play.client()
    third.expect_closed()
    play.expect_counter("shed_connections", 1)
    play.expect_counter("listener.l.shed", 1)
    kept[0].closes()
    play.client().expect_open()


def test_connections_of_a_worker(play):
    play.most_connections = 1
    play.endpoints("a").client()
    play.client().expect_closed()
    play.expect_counter("shed_connections", 1)


def test_idle_connection_makes_room(play):
    """The one that has been idle for the longest; who is busy, or has only just come, stays."""
    play.endpoints("a").listener(max_connections=3)
    busy = play.client()
    busy.sends(GET)
    up = play.connect("a")
    old = play.client()
    play.pass_time("1s")
    young = play.client()
    young.sends(GET[:5])
    play.pass_time("500ms")
    fourth = play.client()
    old.expect_closed()
    play.expect_counter("idle_evicted", 1)
    fifth = play.client()
    fifth.expect_closed()           # the fourth has not been idle for a second
    play.expect_counter("shed_connections", 1)
    play.pass_time("1s")
    sixth = play.client()
    fourth.expect_closed()
    for client in (busy, young, sixth):
        client.expect_open()
    up.answers()
    busy.expect_answer(200)


def test_idle_connections_of_another_listener_stay(play):
    play.n_listeners = 2
    play.endpoints("a").listener(max_connections=1)
    play.client()
    play.pass_time("10s")
    doors = [s for s in play.stage.sockets if s.role == "door"]
    doors[1].visit("127.0.0.1:1")
    play.settle()
    play.first.expect_open()
    play.expect_counter("idle_evicted", 0)


def test_tcp_connections_are_never_idle(play):
    play.tcp().endpoints("a").listener(max_connections=1)
    play.client()
    play.connect("a")
    play.pass_time("1m")
    play.client().expect_closed()
    play.first.expect_open()


def test_search_for_an_idle_connection_ends(play):
    """A few are looked at for each newcomer, and others for the next one."""
    play.most_connections = 201
    play.endpoints("a")
    first = play.client()
    for _ in range(200):
        play.client().sends(GET[:5])
    play.pass_time("2s")
    for _ in range(3):
        play.client().expect_closed()
    play.client().expect_open()
    first.expect_closed()
    play.expect_counter("idle_evicted", 1)


def test_idle_connections_make_room_when_descriptors_run_out(play):
    play.endpoints("a")
    idle = [play.client() for _ in range(20)]
    play.pass_time("2s")
    play.stage.no_descriptors = True
    door = next(s for s in play.stage.sockets if s.role == "door")
    door.visit("127.0.0.1:1")
    play.settle()
    assert sum(client.is_closed for client in idle) == 16
    play.expect_counter("idle_evicted", 16)
    play.stage.no_descriptors = False
    play.pass_time("30ms")
    assert sum(s.role == "client" and not s.is_closed for s in play.stage.sockets) == 5


@pytest.mark.parametrize("requests", [GET, POST])
def test_no_descriptor_for_the_upstream(play, requests):
    play.endpoints("a")
    client = play.client()
    play.stage.no_descriptors = True
    client.sends(requests)
    client.expect_answer(503)
    assert play.ended() == [(503, "UF,OM")]
    play.stage.no_descriptors = False
    client.sends(requests)
    play.connect("a").answers()
    client.expect_answer(200)


def test_no_descriptor_for_the_client(play):
    """Who waits is turned away after a moment, and the worker does not burn the core meanwhile."""
    play.endpoints("a")
    play.start()
    door = next(s for s in play.stage.sockets if s.role == "door")
    play.stage.no_descriptors = True
    door.visit("127.0.0.1:50001")
    play.settle()
    play.expect_counter("accept_failed", 1)
    before = play.counter("turns")
    play.pass_time("15ms")
    assert play.counter("turns") - before < 20
    play.pass_time("20ms")
    turned_away = [s for s in play.stage.sockets if s.role == "client"]
    assert all(s.is_closed for s in turned_away)
    play.stage.no_descriptors = False
    play.pass_time("50ms")
    play.client().expect_open()


def test_no_descriptor_for_a_while(play):
    play.endpoints("a")
    client = play.client()
    play.stage.no_descriptors = True
    door = next(s for s in play.stage.sockets if s.role == "door")
    for i in range(5):
        door.visit(f"127.0.0.1:{50_001 + i}")
    play.settle()
    for _ in range(20):
        play.pass_time("50ms")
    assert play.counter("turns") < 300
    client.expect_open()
    play.stage.no_descriptors = False
    play.pass_time("100ms")
    client.sends(GET)
    play.connect("a").answers()
    client.expect_answer(200)


@pytest.mark.parametrize("head, status, counter", [
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414, "uri_too_long"),
    (b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 70_000 + b"\r\n\r\n", 431, "head_too_large"),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, "too_many_fields"),
    (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505, "bad_version"),
    (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", 400, "bad_request"),
])
@pytest.mark.parametrize("step", [7_000, 1_000_000])
def test_heads_beyond_the_limits(play, head, status, counter, step):
    play.endpoints("a")
    for at in range(0, len(head), step):
        if not play.first.is_closed:
            play.client_sends(head[at:at + step])
    play.expect_answer(status)
    play.expect_counter(counter, 1)
    play.expect_no_connect()
    assert play.first.is_closed or play.first.socket.is_shut
