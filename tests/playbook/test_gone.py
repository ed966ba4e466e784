"""A peer that goes away, in every state of an exchange, on either side and in either way."""

import pytest

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def nothing(play):
    play.first.expect_open()


def half_a_head(play):
    play.client_sends(GET[:10])


def connecting(play):
    play.client_sends(GET)
    play.expect_connect("a")


def waiting(play):
    play.cluster(max_connections=1)
    other = play.client()
    play.peers.insert(0, play.client())
    other.sends(GET)
    play.connect("a")
    play.client_sends(GET)


def body_before_the_connection(play):
    play.client_sends(HEAD + b"12345")
    play.expect_connect("a")


def half_a_body(play):
    play.client_sends(HEAD + b"12345")
    play.connect("a")


def awaiting(play):
    play.client_sends(GET)
    play.connect("a")


def pipelined(play):
    play.client_sends(GET + GET)
    play.connect("a")


def interim(play):
    awaiting(play)
    play.upstream_sends("a", b"HTTP/1.1 103 Early Hints\r\n\r\n")


def half_an_answers_head(play):
    awaiting(play)
    play.upstream_sends("a", LONG[:20])


def answers_head(play):
    awaiting(play)
    play.upstream_sends("a", LONG)


def half_an_answer(play):
    awaiting(play)
    play.upstream_sends("a", LONG + b"12345")


def half_a_chunk(play):
    awaiting(play)
    play.upstream_sends("a", CHUNKS + b"a\r\n12345")


def unread_answer(play):
    play.listener(buffer_bytes=4096)
    play.client_sends(GET)
    play.connect("a")
    play.first.stops_reading(100)
    play.upstream_sends("a", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", bytes(30_000))


def early_answer(play):
    half_a_body(play)
    play.upstream_sends("a", LONG + b"12345")


def lingering(play):
    half_a_body(play)
    play.answers("a", 413)


def tunnel(play):
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: u\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: u\r\n\r\n")


STATES = [nothing, half_a_head, connecting, waiting, body_before_the_connection, half_a_body, awaiting, pipelined,
          interim, half_an_answers_head, answers_head, half_an_answer, half_a_chunk, unread_answer, early_answer,
          lingering, tunnel]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("batched", [False, True])
def test_client_is_reset(play, state, batched):
    play.endpoints("a")
    state(play)
    client = play.first
    if batched:
        with play.batch():
            client.sends(b"last words" if state is not lingering else b"x")
            client.resets()
    else:
        client.resets()
    # At once, whether he is read from or not.
    assert client.is_closed
    for up in play.upstreams():
        if up.socket.is_connecting:
            up.connected()
            up.expect_open()
        elif state is not waiting:
            assert up.is_closed


@pytest.mark.parametrize("state", [s for s in STATES if s not in (
    tunnel, pipelined, body_before_the_connection)])
def test_client_that_closes_has_left(play, state):
    """All that is seen of it is that it says no more; nothing is seen while what it has sent waits."""
    play.endpoints("a")
    state(play)
    client = play.first
    client.closes()
    if state in (early_answer, lingering):
        play.pass_time("2s")
    assert client.is_closed, state.__name__
    for up in play.upstreams():
        if up.socket.is_connecting:
            # There may be use for it yet.
            up.connected()
            up.expect_open()
        elif state is not waiting:
            assert up.is_closed


@pytest.mark.parametrize("state", [s for s in STATES if s is not tunnel])
def test_client_says_no_more(play, state):
    """Where it may end its side alone, who asked a whole question is answered."""
    play.half_close = True
    play.endpoints("a")
    state(play)
    client = play.first
    client.closes()
    if state in (nothing, half_a_head, half_a_body, early_answer, lingering, body_before_the_connection):
        play.pass_time("2s")
        assert client.is_closed, state.__name__
        return
    client.reads()
    if state is connecting:
        play.up("a").connected()
    rest = {answers_head: b"1234567890", half_an_answer: b"67890", half_a_chunk: b"67890\r\n0\r\n\r\n",
            half_an_answers_head: LONG[20:] + b"1234567890", unread_answer: bytes(70_000),
            }.get(state, LONG + b"1234567890")
    play.upstream_sends("a", rest)
    if state in (pipelined, waiting):
        play.upstream_sends("a", rest)
    if state is interim:
        assert client.expect_message().status == 103
    for _ in range(2 if state is pipelined else 1):
        client.expect_answer(200)
    assert client.is_closed


@pytest.mark.parametrize("state", [s for s in STATES if s not in (nothing, half_a_head, connecting, waiting,
                                                                  body_before_the_connection, lingering)])
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_upstream_is_gone(play, state, how):
    play.endpoints("a")
    state(play)
    client = play.first
    getattr(play.up("a"), how)()
    if state is tunnel:
        if how == "closes":
            client.expect_shut()
            client.closes()
        assert client.is_closed
    elif state in (answers_head, half_an_answer, half_a_chunk, unread_answer, early_answer):
        client.reads()
        play.pass_time("2s")
        assert client.is_closed and not client.unseen.endswith(b"\r\n0\r\n\r\n")
    elif state is half_an_answers_head:
        client.expect_answer(502)
        client.expect_open()
    else:
        if state is interim:
            assert client.expect_message().status == 103
        client.expect_answer(503)


@pytest.mark.parametrize("state", STATES)
def test_worker_closes_in_every_state(play, state):
    """What `close` leaves behind would show in the counts of arenas, snapshots and descriptors."""
    play.endpoints("a")
    state(play)
    play.running.close()
    assert all(s.is_closed for s in play.stage.sockets)
    play.worker = None


@pytest.mark.parametrize("state", STATES)
def test_drain_ends_in_every_state(play, state):
    play.endpoints("a")
    state(play)
    play.drain(grace="5s")
    play.pass_time("6s")
    assert play.is_drained


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("seconds", [1, 120])
def test_time_passes_in_every_state(play, state, seconds):
    """Without a word from anybody nothing spins, and every time-out ends well."""
    play.endpoints("a").route(timeout="60s")
    state(play)
    before = play.counter("turns")
    play.pass_time(f"{seconds}s")
    assert play.counter("turns") - before < 60 * seconds + 60


@pytest.mark.parametrize("state", STATES)
def test_both_go_in_one_batch(play, state):
    play.endpoints("a")
    state(play)
    client = play.first
    with play.batch():
        for up in play.upstreams():
            if not up.is_closed and not up.socket.is_connecting:
                up.resets()
        client.resets()
    play.pass_time("30s")
    assert client.is_closed


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", ["the endpoint", "the listener"])
def test_what_serves_it_is_taken_out_of_the_configuration_in_every_state(play, state, what):
    """Whoever is in the middle of something keeps what it began with; time ends the rest."""
    play.endpoints("a")
    state(play)
    client = play.first
    if what == "the endpoint":
        play.endpoints("b").apply()
    else:
        play.is_gone = True
        play.apply()
    if state is awaiting:
        play.upstream_sends("a", LONG + b"1234567890")
        client.expect_answer(200)
        assert what == "the listener" or all(up.is_closed for up in play.upstreams("a"))
    before = play.counter("turns")
    play.pass_time("400s")
    assert play.counter("turns") - before < 60 * 400


@pytest.mark.parametrize("state", STATES)
def test_there_are_no_descriptors_in_any_state(play, state):
    """What has what it needs goes on, the rest is told, and nobody waits for ever."""
    play.endpoints("a")
    state(play)
    client = play.first
    play.stage.no_descriptors = True
    for up in play.upstreams():
        if not up.is_closed:
            up.refused() if up.socket.is_connecting else up.resets()
    play.pass_time("90s")
    assert not play.counter("streams") and not play.counter("cluster.x.pending"), play.live()
    play.stage.no_descriptors = False
    if not client.is_closed and not client.socket.is_shut and state is not half_a_head:
        client.reads()
        client.expect()
        client.sends(GET)
        play.pass_time("20s")


@pytest.mark.parametrize("state", STATES)
def test_every_byte_of_a_flood_is_bounded_in_every_state(play, state):
    """A client and an upstream who say as much as the kernel lets them: nobody keeps it all."""
    play.endpoints("a")
    state(play)
    client = play.first
    for _ in range(200):
        with play.batch():
            if client.socket.is_receiving and not client.is_closed:
                client.sends(b"x" * 16_384)
            for up in play.upstreams():
                if up.socket.is_receiving and not up.is_closed:
                    up.sends(b"y" * 16_384)
    assert play.live()["blocks"] < 100, play.live()
