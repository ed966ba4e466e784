"""Back-pressure, both ways: who sends faster than the other side reads is not read from, and nothing is lost."""

import pytest

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
SIZE = 1_000_000
BODY = bytes(i * 31 % 256 for i in range(1000)) * 1000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
PIECE = 20_000
PIECES = [BODY[i:i + PIECE] for i in range(0, SIZE, PIECE)]
CHUNK_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(piece):
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def unread(play, buffer=4096):
    """A client that has asked and does not read, and the upstream that is asked."""
    play.endpoints("a").listener(buffer_bytes=buffer)
    client = play.client()
    client.sends(GET)
    up = play.connect("a")
    client.stops_reading(0)
    return client, up


@pytest.mark.parametrize("buffer", [4096, 65_536, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_answer_faster_than_its_reader(play, buffer, chunked):
    client, up = unread(play, buffer)
    up.sends(CHUNK_HEAD if chunked else HEAD)
    for piece in PIECES:
        up.sends(chunk(piece) if chunked else piece)
    if chunked:
        up.sends(b"0\r\n\r\n")
    # Paused, with at most one more receive in the queue.
    assert buffer < client.socket.queued <= buffer + 2 * 65_536 + 1000
    assert not up.socket.is_receiving
    play.expect_counter("read_paused", 1)
    most = 0
    while not up.socket.is_receiving or client.socket.queued:
        most = max(most, client.socket.queued)
        client.reads(PIECE)
    assert most <= buffer + 2 * 65_536 + 1000
    client.reads()
    client.expect_answer(200, BODY)
    assert play.live()["idle"] == 1


def test_reading_resumes_at_half_of_the_mark(play):
    client, up = unread(play, 40_000)
    up.sends(HEAD, *PIECES[:3])
    queued = client.socket.queued
    assert queued > 40_000 and not up.socket.is_receiving
    client.reads(queued - 20_001)
    assert not up.socket.is_receiving
    client.reads(1)
    assert up.socket.is_receiving


def test_bytes_that_come_after_the_pause_are_kept(play):
    """A receive that was under way ends when it ends: its bytes belong to the answer."""
    client, up = unread(play)
    with play.batch():
        up.sends(CHUNK_HEAD)
        for piece in PIECES[:5]:
            up.sends(chunk(piece))
        up.sends(b"0\r\n\r\n")
    client.reads()
    client.expect_answer(200, b"".join(PIECES[:5]))


@pytest.mark.parametrize("missed", [0, 1, 3])
def test_receive_that_cannot_be_called_off_at_once(play, missed):
    client, up = unread(play)
    play.stage.cancels_missed = missed
    with play.batch():
        up.sends(CHUNK_HEAD, chunk(PIECES[0]))
    with play.batch():
        client.reads(10)
        up.sends(chunk(PIECES[1]))
    with play.batch():
        client.reads(100_000)
        up.sends(chunk(PIECES[2]), b"0\r\n\r\n")
    client.reads()
    client.expect_answer(200, b"".join(PIECES[:3]))


def test_end_of_the_upstream_stands_behind_what_is_not_read_yet(play):
    client, up = unread(play)
    up.sends(b"HTTP/1.1 200 OK\r\n\r\n", *PIECES[:10])
    up.closes()
    while client.socket.queued:
        client.reads(PIECE)
    client.reads()
    client.expect_answer(200, b"".join(PIECES[:10]))
    assert play.ended() == [(200, "")]


def test_upstream_that_breaks_while_it_is_not_read(play):
    client, up = unread(play)
    up.sends(HEAD, *PIECES[:5])
    up.resets()
    client.reads()
    assert client.is_closed
    assert play.ended() == [(200, "UC")]


def test_whole_answer_of_an_upstream_that_breaks_while_it_is_not_read(play):
    """What arrived before the break is the client's."""
    client, up = unread(play)
    with play.batch():
        up.sends(HEAD, *PIECES)
        up.resets()
    assert 0 < client.socket.queued < SIZE // 2
    client.reads()
    client.expect_answer(200, BODY)


def test_client_that_breaks_while_it_is_not_read(play):
    """Nobody reads on for who cannot be answered."""
    play.endpoints("a").listener(buffer_bytes=4096)
    client = play.client()
    client.sends(POST)
    up = play.connect("a")
    up.stops_reading(0)
    for piece in PIECES:
        client.sends(piece)
    assert not client.socket.is_receiving
    client.resets()
    assert client.is_closed and up.is_closed
    assert play.ended() == [(0, "DC")]


@pytest.mark.parametrize("buffer", [4096, 65_536, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_request_faster_than_its_reader(play, buffer, chunked):
    play.endpoints("a").listener(buffer_bytes=buffer)
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" if chunked else POST)
    up = play.connect("a")
    up.stops_reading(0)
    for piece in PIECES:
        client.sends(chunk(piece) if chunked else piece)
    if chunked:
        client.sends(b"0\r\n\r\n")
    assert not client.socket.is_receiving
    assert 0 < up.socket.queued < 600_000
    while not client.socket.is_receiving or up.socket.queued:
        up.reads(PIECE)
        if not up.socket.queued:
            break
    up.reads()
    assert up.expect_request("POST").body == BODY
    up.answers(body=b"all there")
    client.expect_answer(200, b"all there")
    assert play.counter("read_paused") >= 1


def test_body_that_comes_before_there_is_a_connection_is_bounded(play):
    play.endpoints("a")
    client = play.client()
    client.sends(POST, *PIECES[:5])
    assert not client.socket.is_receiving
    up = play.connect("a")
    client.sends(*PIECES[5:])
    assert up.expect_request("POST").body == BODY


def test_flood_behind_a_pause_is_cut_off(play):
    """Only what was under way may come while a client is told to stop; more than half a MiB never is."""
    play.endpoints("a")
    client = play.client()
    client.sends(POST)
    with play.batch():
        for _ in range(40):
            client.sends(bytes(20_000))
    assert play.live()["blocks"] < 60


def test_both_ways_at_once(play):
    """An upstream that answers while it still reads: neither side waits for the other."""
    play.endpoints("a").listener(buffer_bytes=20_000)
    client = play.client()
    client.sends(POST)
    up = play.connect("a")
    client.stops_reading(0)
    up.stops_reading(0)
    up.sends(HEAD)
    for piece in PIECES:
        with play.batch():
            client.sends(piece)
            up.sends(piece)
        client.reads(15_000)
        up.reads(25_000)
    up.reads()
    assert up.expect_request("POST").body == BODY
    client.reads()
    client.expect_answer(200, BODY)
    assert play.ended() == [(200, "")]


def test_pipeline_behind_a_slow_reader_is_not_answered_into_memory(play):
    play.route(status=200, body=bytes(10_000)).listener(buffer_bytes=20_000)
    client = play.client()
    client.stops_reading(0)
    for _ in range(50):
        client.sends(GET * 10)
    assert client.socket.queued < 60_000
    assert play.counter("requests") < 10
    for _ in range(500):
        client.reads(11_000)
    client.reads()
    for _ in range(500):
        client.expect_answer(200, bytes(10_000))


def test_bulk_receives_begin_and_end_with_the_long_body(play):
    play.endpoints("a")
    client = play.client()
    client.sends(POST)
    up = play.connect("a")
    assert client.socket.is_bulk
    client.sends(*PIECES)
    assert not client.socket.is_bulk
    up.sends(HEAD)
    assert up.socket.is_bulk
    up.sends(*PIECES)
    assert not up.socket.is_bulk and play.live()["idle"] == 1
    client.expect_answer(200, BODY)
