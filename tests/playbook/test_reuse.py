"""A pooled connection that its endpoint closes just as it is used again: the commonest fault of any mesh."""

import pytest

GET = b"GET /again HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /again HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
PUT = b"PUT /again HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
EMPTY_POST = b"POST /again HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


def test_reused_connection_closed_before_any_byte_is_retried_once(play):
    """A pooled connection that dies unanswered is not the endpoint's fault."""
    play.endpoints("a", "b").pool_has("a", "b")
    play.client_sends(GET)
    play.asked().closes()
    up = play.connect()
    up.expect_request("GET /again")
    play.expect_counter("retry_reused", 1)
    play.expect_counter("cluster.x.retries", 1)
    play.expect_counter("endpoint.a.failures", 0)
    play.expect_counter("endpoint.b.failures", 0)
    up.answers(body=b"hello")
    play.expect_answer(200, b"hello")


def test_one_endpoint_is_enough_for_a_retry(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.expect_request("a", "GET /again")
    play.upstream_closes("a")
    play.connect("a").expect_request("GET /again")
    play.answers("a", body=b"hello")
    play.expect_answer(200, b"hello")
    play.expect_counter("upstream_reset", 0)


def test_reset_instead_of_an_end_is_retried_too(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.upstream_resets("a")
    play.connect("a").expect_request("GET /again")
    play.answers("a")
    play.expect_answer(200)


def test_close_while_idle_is_no_race(play):
    play.endpoints("a").pool_has("a")
    play.upstream_closes("a")
    play.expect_counter("upstream_idle_closed", 1)
    play.client_sends(GET)
    play.connect("a").expect_request("GET /again")
    play.expect_counter("retry_reused", 0)
    play.answers("a")
    play.expect_answer(200)


@pytest.mark.parametrize("request_bytes", [GET, POST, PUT], ids=["GET", "POST", "PUT"])
@pytest.mark.parametrize("end", ["closes", "resets"])
def test_end_in_the_batch_of_the_request(play, request_bytes, end):
    """The end stands behind the request in one batch of events: whatever the method, it is sent on a fresh one."""
    play.endpoints("a").pool_has("a")
    client = play.client()
    with play.batch():
        client.sends(request_bytes)
        getattr(play.up("a"), end)()
    play.connect("a").expect_request(request_bytes[:4].decode().strip())
    play.answers("a", body=b"once")
    client.expect_answer(200, b"once")


@pytest.mark.parametrize("request_bytes", [GET, POST, PUT], ids=["GET", "POST", "PUT"])
@pytest.mark.parametrize("end", ["closes", "resets"])
def test_end_before_the_request_in_one_batch(play, request_bytes, end):
    play.endpoints("a").pool_has("a")
    client = play.client()
    with play.batch():
        getattr(play.up("a"), end)()
        client.sends(request_bytes)
    play.connect("a").expect_request()
    play.answers("a", body=b"once")
    client.expect_answer(200, b"once")
    play.expect_counter("retry_reused", 0)


@pytest.mark.parametrize("end", ["closes", "resets"])
def test_post_is_never_sent_twice(play, end):
    play.endpoints("a", "b").pool_has("a")
    play.client_sends(POST)
    up = play.up("a") if play.fresh() is None else play.connect()
    assert up.expect_request("POST /again").body == b"body"
    getattr(up, end)()
    play.expect_no_connect()
    play.expect_answer(503)
    play.expect_counter("retry_reused", 0)
    play.expect_counter("upstream_reset", 1)
    assert (503, "UC") in play.ended()


def test_post_looks_before_it_leaps(play):
    """The end is in the receive queue, but its event has not come: who must not be repeated looks there first."""
    play.endpoints("a").pool_has("a")
    stale = play.up("a")
    client = play.client()
    play.stage.tell_at_a_time(1)
    with play.batch():
        client.sends(EMPTY_POST)
        stale.closes()
    play.expect_counter("reuse_stale", 1)
    assert stale.is_closed and b"POST" not in stale.socket.wire
    play.connect("a").expect_request("POST /again")
    play.answers("a")
    client.expect_answer(200)


def test_put_is_replayed_with_its_body(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(PUT)
    assert play.expect_request("a", "PUT").body == b"body"
    play.upstream_closes("a")
    assert play.connect("a").expect_request("PUT").body == b"body"
    play.answers("a")
    play.expect_answer(200)
    play.expect_counter("retry_reused", 1)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_replay_goes_on_with_what_the_client_sends_later(play, cut):
    play.endpoints("a").pool_has("a")
    play.client_sends(PUT[:-4], *([b"body"[:cut]] if cut else []))
    up = play.up("a")
    assert up.expect().endswith(b"\r\n\r\n" + b"body"[:cut])
    up.closes()
    up = play.connect("a")
    assert up.unseen.endswith(b"\r\n\r\n" + b"body"[:cut])
    play.client_sends(b"body"[cut:])
    assert up.expect_request("PUT").body == b"body"
    up.answers()
    play.expect_answer(200)


def test_chunked_body_is_replayed(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(b"PUT /again HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
                      b"3\r\none\r\n3\r\ntwo\r\n")
    assert play.up("a").expect().endswith(b"3\r\none\r\n3\r\ntwo\r\n")
    play.upstream_closes("a")
    up = play.connect("a")
    play.client_sends(b"5\r\nthree\r\n0\r\n\r\n")
    assert up.expect_request("PUT").body == b"onetwothree"
    up.answers()
    play.expect_answer(200)


def test_trailers_are_not_kept_so_there_is_no_second_try(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(b"PUT /again HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
                      b"3\r\none\r\n0\r\nx-sum: 1\r\n\r\n")
    assert play.expect_request("a").trailers == [("x-sum", "1")]
    play.upstream_closes("a")
    play.expect_no_connect()
    play.expect_answer(503)


def test_body_larger_than_is_kept_is_not_replayed(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(b"PUT /again HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n")
    for _ in range(7):
        play.client_sends(bytes(10_000))
    assert len(play.up("a").expect_request("PUT").body) == 70_000
    play.upstream_closes("a")
    play.expect_no_connect()
    play.expect_answer(503)


def test_largest_body_that_is_kept_is_replayed(play):
    play.endpoints("a").pool_has("a")
    body = bytes(range(256)) * 256
    play.client_sends(b"PUT /again HTTP/1.1\r\nhost: x\r\ncontent-length: 65536\r\n\r\n", body)
    assert play.up("a").expect_request("PUT").body == body
    play.upstream_closes("a")
    assert play.connect("a").expect_request("PUT").body == body
    play.answers("a")
    play.expect_answer(200)


def test_fresh_connection_that_dies_is_the_endpoints_fault(play):
    """What may be repeated is done by another endpoint."""
    play.endpoints("a", "b")
    play.client_sends(GET)
    play.connect("a").expect_request("GET")
    play.upstream_closes("a")
    play.connect("b").expect_request("GET")
    play.expect_counter("endpoint.a.failures", 1)
    play.expect_counter("retry_reused", 0)
    play.answers("b")
    play.expect_answer(200)


def test_every_endpoint_is_asked_once(play):
    play.endpoints("a", "b")
    play.client_sends(GET)
    play.connect("a").closes()
    play.connect("b").closes()
    play.expect_no_connect()
    play.expect_answer(503)
    assert play.ended() == [(503, "UC")]


@pytest.mark.parametrize("request_bytes", [POST, EMPTY_POST, PUT], ids=["POST", "empty POST", "PUT with a body"])
def test_fresh_connection_that_dies_with_what_cannot_be_repeated(play, request_bytes):
    play.endpoints("a", "b")
    play.client_sends(request_bytes)
    play.connect("a").expect_request()
    play.upstream_closes("a")
    play.expect_no_connect()
    play.expect_answer(503)
    play.expect_counter("endpoint.a.failures", 1)
    assert play.ended() == [(503, "UC")]


def test_retry_takes_no_other_idle_connection(play):
    """When an endpoint restarts, all its idle connections are dead, and each would be one more failure."""
    play.endpoints("a").pool_has("a", "a", "a")
    play.client_sends(GET)
    idle = play.live()["idle"]
    assert idle == 2
    play.asked().closes()
    play.connect("a").expect_request("GET /again")
    play.answers("a")
    play.expect_answer(200)
    play.expect_counter("retry_reused", 1)


def test_second_connection_that_fails_ends_the_matter(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.upstream_closes("a")
    play.connect("a").expect_request("GET")
    play.upstream_closes("a")
    play.expect_no_connect()
    play.expect_answer(503)
    play.expect_counter("retry_reused", 1)


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"])
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_part_of_an_answer_is_a_502_and_no_retry(play, part, how):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.upstream_sends("a", part)
    getattr(play.up("a"), how)()
    play.expect_no_connect()
    play.expect_answer(502)
    play.expect_counter("retry_reused", 0)
    assert (502, "UPE") in play.ended()


@pytest.mark.parametrize("part", [b"", b"he"])
def test_answer_cut_in_its_body_is_cut_for_the_client(play, part):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.upstream_sends("a", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + part)
    play.upstream_closes("a")
    play.expect_no_connect()
    got = play.first.expect()
    assert got.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n") and got.endswith(b"\r\n\r\n" + part)
    play.expect_closed()
    assert (200, "UC") in play.ended()


def test_interim_answer_shows_that_the_request_arrived(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.upstream_sends("a", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
    play.upstream_closes("a")
    play.expect_no_connect()
    assert play.first.expect_message().status == 103
    play.expect_answer(503)


def test_answer_that_nobody_asked_for_ends_an_idle_connection(play):
    """A 408 of an endpoint that got tired of waiting is not the answer to the next request."""
    play.endpoints("a").pool_has("a")
    tired = play.up("a")
    tired.sends(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    assert tired.is_closed
    play.client_sends(GET)
    play.connect("a").expect_request("GET /again")
    play.answers("a", body=b"mine")
    play.expect_answer(200, b"mine")


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"])
@pytest.mark.parametrize("request_bytes", [GET, EMPTY_POST], ids=["GET", "POST"])
@pytest.mark.parametrize("is_first", [False, True])
def test_answer_that_came_before_the_request_was_sent(play, unasked, request_bytes, is_first):
    play.endpoints("a").pool_has("a")
    client = play.client()
    idle = play.up("a")
    with play.batch():
        if is_first:
            idle.sends(unasked)
        client.sends(request_bytes)
        if not is_first:
            idle.sends(unasked)
        idle.closes()
    play.connect("a").expect_request()
    play.answers("a", body=b"mine")
    client.expect_answer(200, b"mine")


TIRED = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 5\r\n\r\nbored"


@pytest.mark.parametrize("request_bytes", [GET, PUT], ids=["GET", "PUT"])
def test_408_on_a_reused_connection_was_meant_for_nobody(play, request_bytes):
    """What an endpoint says to a connection that was idle for too long crosses the request on its way."""
    play.endpoints("a", "b").pool_has("a", "b")
    play.client_sends(request_bytes)
    tired = play.asked()
    tired.expect_request()
    tired.sends(TIRED)
    assert tired.is_closed
    up = play.connect()
    up.expect_request(request_bytes[:3].decode())
    up.answers(body=b"mine")
    play.expect_answer(200, b"mine")
    play.expect_counter("retry_reused", 1)
    for name in "ab":
        play.expect_counter(f"endpoint.{name}.failures", 0)
    play.expect_counter("local_answers", 0)


@pytest.mark.parametrize(("why", "request_bytes", "answer"), [
    ("it may have been done", POST, TIRED),
    ("the connection stays", GET, TIRED.replace(b"connection: close\r\n", b"")),
    ("something else", GET, TIRED.replace(b"408", b"400")),
])
def test_408_on_a_reused_connection_that_is_passed_on(play, why, request_bytes, answer):
    play.endpoints("a").pool_has("a")
    play.client_sends(request_bytes)
    up = play.up("a") if play.fresh() is None else play.connect()
    up.sends(answer)
    play.expect_no_connect()
    play.expect_answer(int(answer[9:12]), b"bored")


def test_408_on_a_fresh_connection_is_the_answer(play):
    play.endpoints("a")
    play.client_sends(GET)
    play.connect("a").sends(TIRED)
    play.expect_no_connect()
    play.expect_answer(408, b"bored")


def test_408_behind_an_interim_answer_is_the_answer(play):
    play.endpoints("a").pool_has("a")
    play.client_sends(GET)
    play.up("a").sends(b"HTTP/1.1 103 Early Hints\r\n\r\n", TIRED)
    play.expect_no_connect()
    assert play.first.expect_message().status == 103
    play.expect_answer(408, b"bored")


def test_bytes_behind_an_answer_end_its_connection(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad")
    play.expect_answer(200, b"ok")
    assert up.is_closed
    play.client_sends(GET)
    play.connect("a").answers(body=b"two")
    play.expect_answer(200, b"two")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                                  b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"])
def test_connection_that_its_endpoint_will_close_is_not_kept(play, head):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(head)
    play.expect_answer(200, b"ok")
    assert up.is_closed and play.live()["idle"] == 0
    play.first.expect_open()


def test_old_endpoint_that_keeps_alive_is_kept(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.connect("a")
    up.sends(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")
    play.expect_answer(200, b"ok")
    play.client_sends(GET)
    play.expect_no_connect()
    up.sends(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")
    play.expect_answer(200, b"ok")


def test_connection_is_used_so_often_and_no_more(play):
    play.cluster(max_requests_per_connection=2).endpoints("a")
    play.client_sends(GET)
    first = play.connect("a")
    first.answers()
    play.client_sends(GET)
    first.answers()
    assert first.is_closed
    play.expect_counter("upstream_retired", 1)
    play.client_sends(GET)
    play.connect("a").answers()
    for _ in range(3):
        play.expect_answer(200)


def test_last_in_first_out(play):
    play.endpoints("a").pool_has("a", "a")
    old, young = play.upstreams("a")
    play.client_sends(GET)
    assert old.unseen == b""
    young.expect_request("GET /again")
    young.answers()
    play.expect_answer(200)
