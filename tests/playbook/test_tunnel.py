"""Opaque bytes: upgrades, handed over with what was read too early, and TCP listeners."""

import pytest

UPGRADE = b"GET /chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def upgraded(play):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    up = play.connect("a")
    up.expect_request("GET /chat")
    up.sends(SWITCH)
    assert play.first.expect_message().status == 101
    return play.first, up


def wired(play):
    play.tcp().endpoints("a")
    client = play.client()
    return client, play.connect("a")


@pytest.fixture(params=[upgraded, wired])
def pair(request, play):
    """The two ends of a tunnel, made by an upgrade or by a TCP listener."""
    return request.param(play)


def test_both_ways(pair):
    client, up = pair
    client.sends(b"ping")
    up.expect(b"ping")
    up.sends(b"pong")
    client.expect(b"pong")


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 100_000, 1_000_000])
def test_sizes_that_are_copied_and_sizes_that_are_spliced(pair, size):
    client, up = pair
    body = bytes(i * 13 % 255 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    client.sends(body)
    up.expect(body)
    up.sends(body)
    client.expect(body)
    for _ in range(10):
        client.sends(b"small")
    up.expect(b"small" * 10)


@pytest.mark.parametrize("size", [100, 40_000, 300_000])
@pytest.mark.parametrize("sip", [7, 1000, 50_000])
def test_reader_that_sips(pair, size, sip):
    client, up = pair
    if size // sip > 500:
        sip = size // 500
    body = bytes(i * 13 % 255 for i in range(100)) * (size // 100)
    up.stops_reading(3)
    client.sends(body)
    client.stops_reading(1)
    up.sends(body)
    for _ in range(size // sip + 2):
        up.reads(sip)
        client.reads(sip)
    up.expect(body)
    client.expect(body)


def test_half_close_is_kept_either_way(pair):
    client, up = pair
    client.sends(b"all I have")
    client.closes()
    up.expect(b"all I have")
    up.expect_shut()
    up.sends(b"and this is mine")
    client.expect(b"and this is mine")
    client.expect_open()
    up.closes()
    assert client.is_closed and up.is_closed


def test_half_close_from_the_upstream(pair):
    client, up = pair
    up.closes()
    client.expect_shut()
    client.sends(b"more")
    up.expect(b"more")
    client.closes()
    assert client.is_closed and up.is_closed


def test_end_stands_behind_the_bytes(pair):
    client, up = pair
    up.stops_reading(0)
    client.sends(bytes(50_000))
    client.closes()
    assert not up.socket.is_shut
    up.reads()
    up.expect(bytes(50_000))
    up.expect_shut()


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_reset_is_passed_on(pair, play, who):
    client, up = pair
    (client if who == "client" else up).resets()
    assert client.is_closed and up.is_closed
    assert (up if who == "client" else client).socket.was_reset
    assert play.ended()[0][1] == ("DC" if who == "client" else "UC")


def test_early_bytes_behind_the_upgrade_are_not_lost(play):
    """From both sides, in the very pieces of the request and of the 101."""
    play.endpoints("a")
    play.client_sends(UPGRADE + b"early from the client")
    up = play.connect("a")
    up.expect_request("GET /chat")
    up.sends(SWITCH + b"early from the upstream")
    assert play.first.expect_message().status == 101
    play.first.expect(b"early from the upstream")
    up.expect(b"early from the client")
    play.client_sends(b"!")
    up.expect(b"!")


@pytest.mark.parametrize("missed", [0, 2])
def test_bytes_in_the_batch_of_the_hand_over(play, missed):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    up = play.connect("a")
    up.expect_request()
    play.stage.cancels_missed = missed
    with play.batch():
        up.sends(SWITCH, b"one ", b"two ")
        play.client_sends(b"eins ", b"zwei ")
    with play.batch():
        up.sends(b"three")
        play.client_sends(b"drei")
    assert play.first.expect_message().status == 101
    play.first.expect(b"one two three")
    up.expect(b"eins zwei drei")


def test_client_that_does_not_read_its_101(play):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    up = play.connect("a")
    play.first.stops_reading(10)
    up.sends(SWITCH + b"first words")
    play.client_sends(b"impatient")
    play.pass_time("100ms")
    play.first.reads()
    play.pass_time("20ms")
    assert play.first.expect_message().status == 101
    play.first.expect(b"first words")
    assert up.expect().endswith(b"\r\n\r\nimpatient")


def test_end_with_the_hand_over(play):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    up = play.connect("a")
    with play.batch():
        up.sends(SWITCH + b"bye")
        up.closes()
    assert play.first.expect_message().status == 101
    play.first.expect(b"bye")
    play.first.expect_shut()
    play.client_closes()
    play.expect_closed()


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_break_with_the_hand_over(play, who):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    up = play.connect("a")
    with play.batch():
        up.sends(SWITCH)
        (play.first if who == "client" else up).resets()
    play.pass_time("1s")
    assert play.first.is_closed and up.is_closed
    assert len(play.ended()) == 1


def test_refused_upgrade_is_an_ordinary_answer(play):
    play.endpoints("a")
    play.client_sends(UPGRADE)
    play.connect("a").answers(426, b"no")
    play.expect_answer(426, b"no")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.answers("a")
    play.expect_answer(200)


def test_upgrade_to_http2_is_not_passed_on(play):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    assert play.connect("a").expect_request()["upgrade"] is None


def test_tunnel_counts_its_bytes(play):
    client, up = upgraded(play)
    client.sends(b"12345")
    up.sends(b"1234567")
    client.closes()
    up.closes()
    (_, code, _, count, _, received, sent), = play.stage.series()
    assert (code, count) == (101, 1) and sent == 7
    assert received == 5 + len(UPGRADE)
    play.expect_counter("upgrades", 1)


def test_open_connection_is_counted_every_few_seconds(pair, play):
    client, up = pair
    is_tcp = play.is_tcp

    def counted():
        found = [(received, sent) for _, _, _, _, _, received, sent in play.stage.series()]
        return sum(r for r, _ in found), sum(s for _, s in found)

    before = play.counter("cluster.x.bytes_sent"), play.counter("cluster.x.bytes_received")
    client.sends(b"12345")
    up.sends(b"1234567")
    play.pass_time("4900ms")
    assert (play.counter("cluster.x.bytes_sent"), play.counter("cluster.x.bytes_received")) == before
    play.pass_time("200ms")
    play.expect_counter("cluster.x.bytes_sent", before[0] + 5)
    play.expect_counter("cluster.x.bytes_received", before[1] + 7)
    assert counted() == ((5, 7) if is_tcp else (0, 0))
    turns = play.counter("turns")
    play.pass_time("60s")
    assert play.counter("turns") - turns < 150       # nothing moves, nothing is told
    client.sends(b"1")
    play.pass_time("6s")
    client.sends(b"1")
    client.closes()
    up.closes()
    play.expect_counter("cluster.x.bytes_sent", before[0] + 7)
    if is_tcp:
        assert counted() == (7, 7)


def test_connection_that_a_drain_cuts_is_counted(pair, play):
    client, _ = pair
    before = play.counter("cluster.x.bytes_sent")
    client.sends(b"12345")
    play.drain("1s")
    play.pass_time("2s")
    assert play.is_drained
    play.expect_counter("cluster.x.bytes_sent", before + 5)


def test_upgraded_connection_is_never_pooled(play):
    client, up = upgraded(play)
    client.closes()
    up.closes()
    assert play.live()["idle"] == 0 and up.is_closed


# --- TCP listeners -------------------------------------------------------------------------------------

def test_client_that_speaks_before_there_is_a_connection(play):
    play.tcp().endpoints("a")
    client = play.client()
    client.sends(b"hello")
    assert not client.socket.is_receiving
    play.connect("a").expect(b"hello")


def test_client_that_says_all_before_there_is_a_connection(play):
    play.tcp().endpoints("a")
    client = play.client()
    client.sends(b"hello")
    client.closes()
    up = play.connect("a")
    up.expect(b"hello")
    up.expect_shut()
    up.sends(b"bye")
    client.expect(b"bye")
    up.closes()
    client.expect_closed()


@pytest.mark.parametrize("said", [b"", b"hello"])
def test_client_that_leaves_before_there_is_a_connection(play, said):
    play.tcp().endpoints("a")
    client = play.client()
    up = play.expect_connect("a")
    if said:
        client.sends(said)
    client.resets()
    assert client.is_closed and up.is_closed
    assert play.ended() == [(0, "DC")]


def test_tcp_moves_on_to_the_next_endpoint(play):
    play.tcp().endpoints("a", "b")
    play.client()
    first = play.expect_connect()
    first.refused()
    second = play.connect()
    assert second.socket.peer != first.socket.peer
    play.client_sends(b"hello")
    second.expect(b"hello")


def test_tcp_without_an_endpoint_is_reset(play):
    play.tcp().endpoints("a")
    client = play.client()
    play.expect_connect("a").refused()
    client.expect_closed(reset=True)
    assert play.ended() == [(0, "UF,URX")]


def test_tcp_takes_no_used_connection(play):
    play.tcp().endpoints("a")
    first = play.client()
    play.connect("a")
    first.closes()
    play.up("a").closes()
    play.client()
    play.connect("a")


def test_splicing_gives_its_pipes_back(play):
    client, up = wired(play)
    for _ in range(3):
        client.sends(bytes(200_000))
        up.sends(bytes(200_000))
    up.expect(bytes(600_000))
    client.expect(bytes(600_000))
