"""Several requests on one connection, interim answers, and answers that come before their request is whole."""

import pytest


def get(name, more=b""):
    return b"GET /%b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (name.encode(), more)


def test_answers_come_in_the_order_of_their_requests(play):
    """One is under way at a time: the second is sent when the first is answered."""
    play.endpoints("a", "b")
    play.client_sends(get("1") + get("2") + get("3"))
    up = play.connect("a")
    assert up.expect_request().target == "/1"
    play.expect_no_connect()
    up.answers(body=b"one")
    play.expect_answer(200, b"one")
    second = (play.fresh() and play.connect()) or up
    assert second.expect_request().target == "/2"
    second.answers(body=b"two")
    third = play.asked()
    assert third.expect_request().target == "/3"
    third.answers(body=b"three")
    play.expect_answer(200, b"two")
    play.expect_answer(200, b"three")
    assert play.ended() == [(200, "")] * 3


@pytest.mark.parametrize("cut", range(1, 34, 3))
def test_pipeline_cut_anywhere(play, cut):
    play.endpoints("a")
    both = get("1") + get("2")
    play.client_sends(both[:cut], both[cut:])
    play.connect("a")
    for name in ("1", "2"):
        assert play.expect_request("a").target == f"/{name}"
        play.answers("a", body=name.encode())
        play.expect_answer(200, name.encode())


def test_local_answers_wait_for_their_turn(play):
    play.endpoints("a").route("/far").route("/", status=200, body=b"near")
    play.client_sends(get("far") + get("near") + get("far") + get("near"))
    play.connect("a").answers(body=b"far")
    play.expect_answer(200, b"far")
    play.expect_answer(200, b"near")
    play.answers("a", body=b"far")
    play.expect_answer(200, b"far")
    play.expect_answer(200, b"near")


def test_body_and_the_next_request_in_one_piece(play):
    play.endpoints("a")
    play.client_sends(b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody" + get("2"))
    up = play.connect("a")
    assert up.expect_request().body == b"body"
    up.answers()
    assert up.expect_request().target == "/2"
    up.answers()
    play.expect_answer(200)
    play.expect_answer(200)


def test_bad_request_behind_a_good_one(play):
    play.endpoints("a")
    play.client_sends(get("1") + b"nonsense\r\n\r\n")
    play.connect("a").answers(body=b"one")
    play.expect_answer(200, b"one")
    play.expect_answer(400)
    play.first.expect_shut()


def test_client_that_half_closes_behind_its_pipeline_is_answered(play):
    play.half_close = True
    play.endpoints("a")
    play.client_sends(get("1") + get("2"))
    play.client_closes()
    up = play.connect("a")
    up.answers(body=b"one")
    up.answers(body=b"two")
    play.expect_answer(200, b"one")
    assert play.expect_answer(200, b"two")["connection"] == "close"
    play.expect_closed()


def test_half_a_request_behind_a_whole_one_and_then_the_end(play):
    play.half_close = True
    play.endpoints("a")
    play.client_sends(get("1") + get("2")[:9])
    play.client_closes()
    play.connect("a").answers(body=b"one")
    play.expect_answer(200, b"one")
    play.expect_closed()


def test_what_follows_connection_close_is_not_read(play):
    play.endpoints("a")
    play.client_sends(get("1", b"connection: close\r\n") + get("2"))
    play.connect("a").answers()
    assert play.expect_answer(200)["connection"] == "close"
    play.expect_counter("requests", 1)


def test_requests_limit_of_a_connection(play):
    play.endpoints("a").listener(max_requests_per_connection=2)
    play.client_sends(get("1"))
    play.connect("a").answers()
    assert play.expect_answer(200)["connection"] is None
    play.client_sends(get("2"))
    play.answers("a")
    assert play.expect_answer(200)["connection"] == "close"
    play.expect_counter("requests_limit_closed", 1)


@pytest.mark.parametrize("version, wanted, kept", [
    (b"1.0", b"", False), (b"1.0", b"connection: keep-alive\r\n", True), (b"1.1", b"", True)])
def test_versions_and_staying_open(play, version, wanted, kept):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/%b\r\nhost: x\r\n%b\r\n" % (version, wanted))
    play.connect("a").answers(body=b"x")
    play.expect_answer(200, b"x")
    assert play.first.is_closed != kept


def test_old_client_gets_no_chunks(play):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.0\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n")
    made = play.expect_answer(200, b"one")
    assert not made.is_chunked and made["connection"] == "close"
    play.expect_closed()


def test_old_client_learns_of_a_cut_by_a_reset(play):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.0\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
    play.upstream_closes("a")
    play.first.expect()
    play.expect_closed(reset=True)


# --- interim and early answers -------------------------------------------------------------------------

def test_interim_answers_are_passed_on(play):
    play.endpoints("a")
    play.client_sends(get("1"))
    up = play.connect("a")
    up.sends(b"HTTP/1.1 103 Early Hints\r\nlink: </1>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n")
    assert [play.first.expect_message().status for _ in range(2)] == [103, 102]
    up.answers(body=b"at last")
    play.expect_answer(200, b"at last")
    assert play.ended() == [(200, "")]


def test_interim_and_final_answer_in_one_piece(play):
    play.endpoints("a")
    play.client_sends(get("1"))
    play.connect("a").sends(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert play.first.expect_message().status == 100
    play.expect_answer(200, b"ok")


def test_old_client_gets_no_interim_answer(play):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.0\r\n\r\n")
    play.connect("a").sends(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    play.expect_answer(200, b"ok")


def test_too_many_interim_answers(play):
    play.endpoints("a")
    play.client_sends(get("1"))
    up = play.connect("a")
    up.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    for _ in range(16):
        assert play.first.expect_message().status == 103
    play.expect_answer(502)
    assert up.is_closed


def test_expect_continue_goes_all_the_way(play):
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    up = play.connect("a")
    assert b"expect: 100-continue" in up.unseen
    up.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert play.first.expect_message().status == 100
    play.client_sends(b"body")
    assert up.expect_request("POST").body == b"body"
    up.answers()
    play.expect_answer(200)


def test_expectation_refused(play):
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
    up = play.connect("a")
    up.answers(417)
    play.expect_answer(417)
    assert up.is_closed
    play.first.expect_shut()


def test_early_answer_ends_both_connections(play):
    """The rest of the request is swallowed: no byte of it is taken for a request."""
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n12345")
    up = play.connect("a")
    up.answers(413, b"too much")
    play.expect_answer(413, b"too much")
    assert up.is_closed and play.live()["idle"] == 0
    play.client_sends(get("smuggled") * 3)
    play.expect_no_connect()
    play.expect_counter("requests", 1)


def test_early_answer_with_a_long_body_while_the_request_goes_on(play):
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabcde")
    play.client_sends(b"67890")
    assert up.expect_request("POST").body == b"1234567890"
    up.sends(b"fghij")
    # When it began nobody knew whether the request would end in time: it had to say that it is the last.
    assert play.expect_answer(200, b"abcdefghij")["connection"] == "close"
    play.first.expect_shut()
    assert play.live()["idle"] == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n",
                                  b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"])
def test_answers_without_a_body(play, head):
    play.endpoints("a")
    for _ in range(2):
        play.client_sends(get("1"))
        ((play.fresh() and play.connect("a")) or play.up("a")).sends(head)
        play.expect_answer(int(head[9:12]), b"")
    assert play.live()["upstreams"] == 1


def test_head_has_a_length_and_no_body(play):
    play.endpoints("a")
    play.client_sends(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n" + get("2"))
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    assert play.expect_answer(200, has_body=False)["content-length"] == "1000"
    assert up.expect().count(b"GET /2") == 1
    up.answers(body=b"two")
    play.expect_answer(200, b"two")


@pytest.mark.parametrize("answer", [
    b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\nx: y\n\n", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"])
def test_answer_that_breaks_the_protocol_is_a_502(play, answer):
    play.endpoints("a")
    play.client_sends(get("1"))
    up = play.connect("a")
    up.sends(answer)
    play.expect_answer(502)
    assert up.is_closed
    play.first.expect_open()
    play.client_sends(get("2"))
    play.connect("a").answers(body=b"two")
    play.expect_answer(200, b"two")


def test_broken_chunks_cut_the_answer(play):
    play.endpoints("a")
    play.client_sends(get("1"))
    play.connect("a").sends(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\nzz\r\n")
    assert play.first.expect().endswith(b"3\r\none\r\n")
    play.expect_closed()
    assert play.ended() == [(200, "UPE")]


def test_broken_chunks_of_a_request(play):
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
    up = play.connect("a")
    play.client_sends(b"zz\r\n")
    play.expect_answer(400)
    assert up.is_closed
    assert play.ended() == [(400, "DPE")]
