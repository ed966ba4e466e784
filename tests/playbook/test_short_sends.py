"""A send that does not do all, cut at every byte: what the peer gets is the same as ever."""

import pytest
from playbook.play import take_message, undated

GET = b"GET /path HTTP/1.1\r\nhost: x\r\nx-request-id: 1\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: today\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: today\r\n\r\n"


def exchange(play, request=GET, answer=(ANSWER,), *, up_room=None, client_room=None, trickle=1):
    """What the upstream and the client got in the end. Each takes `…_room` bytes at once, then `trickle` each time."""
    client = play.client()
    client.sends(request)
    up = play.fresh()
    if up is None:
        up = play.up("a")
    else:
        play.expect_connect("a")
        if up_room is not None:
            up.stops_reading(up_room)
        up.connected()
    if up_room is not None:
        while up.socket.queued:
            up.reads(trickle)
        up.reads()
    asked = up.expect()
    if client_room is not None:
        client.stops_reading(client_room)
    up.sends(*answer)
    if client_room is not None:
        while client.socket.queued:
            client.reads(trickle)
        client.reads()
    got = client.expect()
    client.closes()
    assert client.is_closed
    return asked, got


def test_request_head_cut_at_every_byte(play):
    play.cluster(max_requests_per_connection=1).endpoints("a")
    whole, got = exchange(play)
    assert whole.startswith(b"GET /path HTTP/1.1\r\n") and got == ANSWER
    for cut in range(len(whole)):
        assert exchange(play, up_room=cut, trickle=len(whole)) == (whole, ANSWER), cut
    assert exchange(play, up_room=0) == (whole, ANSWER)
    assert play.counter("sends_short") > len(whole)


def test_head_larger_than_its_first_room(play):
    """Heads that lie in the stream itself and heads in a block of their own."""
    play.cluster(max_requests_per_connection=1).endpoints("a")
    for size in (100, 900, 3000, 5000, 50_000):
        request = GET[:-2] + b"x-long: " + bytes([65 + size % 7]) * size + b"\r\n\r\n"
        whole, _ = exchange(play, request)
        assert b"x-long: " + bytes([65 + size % 7]) * size + b"\r\n" in whole
        for cut in (0, 1, 1023, 1024, 1025, 4095, 4096, 4097, len(whole) - 1):
            assert exchange(play, request, up_room=cut, trickle=7000) == (whole, ANSWER)


def test_request_body_cut_at_every_byte(play):
    play.cluster(max_requests_per_connection=1).endpoints("a")
    head = b"POST /path HTTP/1.1\r\nhost: x\r\nx-request-id: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    request = head + b"3\r\none\r\n5\r\nthree\r\n0\r\nx-sum: 8\r\n\r\n"
    whole, _ = exchange(play, request)
    message, n = take_message(whole, is_over=False)
    assert (message.body, message.trailers, n) == (b"onethree", [("x-sum", "8")], len(whole))
    for cut in range(len(whole)):
        assert exchange(play, request, up_room=cut, trickle=len(whole)) == (whole, ANSWER), cut
    assert exchange(play, request, up_room=0) == (whole, ANSWER)


@pytest.mark.parametrize("answer", [
    pytest.param((ANSWER,), id="length"),
    pytest.param((ANSWER[:-5], b"he", b"llo"), id="pieces"),
    pytest.param((CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",), id="chunked"),
    pytest.param((CHUNKED, b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\nx-sum: 6\r\n\r\n"), id="trailers"),
    pytest.param((b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", ANSWER), id="interim"),
])
def test_answer_cut_at_every_byte(play, answer):
    play.endpoints("a")
    _, whole = exchange(play, answer=answer)
    messages = []
    rest = whole
    while rest:
        message, n = take_message(rest, is_over=False)
        messages.append(message)
        rest = rest[n:]
    assert messages[-1].body in (b"hello", b"onetwo")
    for cut in range(len(whole)):
        assert exchange(play, answer=answer, client_room=cut, trickle=len(whole))[1] == whole, cut
    assert exchange(play, answer=answer, client_room=0)[1] == whole


def test_body_until_the_end_of_the_connection_becomes_chunks(play):
    play.endpoints("a")
    client = play.client()
    client.sends(GET)
    play.connect("a")
    client.stops_reading(0)
    play.upstream_sends("a", b"HTTP/1.1 200 OK\r\ndate: today\r\n\r\nfirst", b"second")
    play.upstream_closes("a")
    while client.socket.queued:
        client.reads(3)
    assert client.expect() == CHUNKED.replace(b"date: today\r\ntransfer", b"transfer").replace(
        b"transfer-encoding: chunked\r\ndate: today\r\n", b"date: today\r\ntransfer-encoding: chunked\r\n",
    ) + b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [2000, 2048, 2049, 4096, 4097, 20_000, 65_536, 150_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_all_sizes_in_small_sips(play, size, chunked):
    """Pieces that are copied and pieces that are passed on by reference, kept while the client is slow."""
    play.endpoints("a").listener(buffer_bytes=300_000)
    body = bytes(i * 7 % 251 for i in range(size))
    client = play.client()
    client.sends(GET)
    up = play.connect("a")
    client.stops_reading(10)
    if chunked:
        up.sends(CHUNKED)
        for i in range(0, size, 8191):
            piece = body[i:i + 8191]
            up.sends(b"%x\r\n" % len(piece) + piece + b"\r\n")
        up.sends(b"0\r\n\r\n")
    else:
        up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size,
                 *(body[i:i + 10_000] for i in range(0, size, 10_000)))
    for sip in (1, 2, 3, 500, 4000):
        client.reads(sip)
    while client.socket.queued:
        client.reads(7777)
    client.expect_answer(200, body)


def test_many_small_pieces_go_out_in_order(play):
    """More pieces than one send takes."""
    play.endpoints("a")
    client = play.client()
    client.sends(GET)
    up = play.connect("a")
    client.stops_reading(0)
    up.sends(CHUNKED)
    for i in range(300):
        up.sends(b"3\r\n%03d\r\n" % i)
    up.sends(b"0\r\n\r\n")
    client.reads(100)
    client.reads(1)
    client.reads()
    client.expect_answer(200, b"".join(b"%03d" % i for i in range(300)))


def test_many_large_pieces_go_out_in_order(play):
    play.endpoints("a").listener(buffer_bytes=10_000_000)
    client = play.client()
    client.sends(GET)
    up = play.connect("a")
    client.stops_reading(0)
    up.sends(CHUNKED)
    pieces = [bytes([i]) * 3000 for i in range(200)]
    with play.batch():
        for piece in pieces:
            up.sends(b"bb8\r\n" + piece + b"\r\n")
    up.sends(b"0\r\n\r\n")
    client.reads(100_000)
    client.reads()
    client.expect_answer(200, b"".join(pieces))


def test_local_answer_cut_at_every_byte(play):
    play.route(status=200, body=b"from here", content_type="text/x")
    first = play.client()
    first.sends(GET)
    whole = first.expect()
    assert whole.endswith(b"\r\n\r\nfrom here")
    for cut in range(len(whole)):
        client = play.client()
        client.stops_reading(cut)
        client.sends(GET)
        client.reads(1)
        client.reads()
        assert client.expect() == whole


def test_large_local_answer(play):
    body = bytes(range(256)) * 1000
    play.route(status=200, body=body)
    client = play.client()
    client.stops_reading(0)
    client.sends(GET)
    while client.socket.queued:
        client.reads(50_001)
    client.expect_answer(200, body)


def test_send_buffer_that_is_always_full_by_half(play):
    """Two exchanges on one connection while the first answer is still in the queue."""
    play.endpoints("a")
    client = play.client()
    client.stops_reading(20)
    client.sends(GET)
    play.connect("a").sends(ANSWER)
    client.sends(GET)
    play.upstream_sends("a", ANSWER.replace(b"hello", b"world"))
    client.reads(len(ANSWER))
    client.reads()
    assert client.expect() == ANSWER + ANSWER.replace(b"hello", b"world")


def test_undated():
    assert undated(b"a\r\ndate: Mon, 23 Nov 2026 01:02:03 GMT\r\nb") == b"a\r\nb"
