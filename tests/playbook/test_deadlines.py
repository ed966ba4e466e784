"""Deadlines that cross hops: read, kept, shrunk, told to the upstream."""

import pytest

ENVOY, GRPC = "x-envoy-expected-rq-timeout-ms", "grpc-timeout"


def get(*fields: str, body: str = "") -> bytes:
    lines = ["POST / HTTP/1.1" if body else "GET / HTTP/1.1", "host: x", *fields]
    return "\r\n".join([*lines, *([f"content-length: {len(body)}"] if body else []), "", body]).encode()


def left(request, name: str = ENVOY) -> int | None:
    value = request[name]
    return None if value is None else int(value.removesuffix("m"))


@pytest.mark.parametrize(("field", "name", "value"), [
    (f"{ENVOY}: 1500", ENVOY, "1500"), (f"{GRPC}: 1500m", GRPC, "1500m"), ("X-Left: 1500", "x-left", "1500"),
    ("Grpc-Timeout: 2S", GRPC, "2000m"), (f"{GRPC}: 1M", GRPC, "60000m"), (f"{GRPC}: 3H", GRPC, "10800000m"),
    (f"{GRPC}: 2500000u", GRPC, "2500m"), (f"{GRPC}: 99999999n", GRPC, "99m"), (f"{GRPC}: 99999999H", GRPC, "8640000S"),
    (f"{ENVOY}: 9999999999", ENVOY, "8640000000")])
def test_what_the_client_says_goes_on(play, field, name, value):
    play.endpoints("a").deadline(send=False, header="x-left")
    play.client_sends(get(field))
    asked = play.connect("a").expect_request()
    assert asked[name] == value
    assert [each for each in (ENVOY, GRPC, "x-left") if asked[each] is not None] == [name]
    play.answers("a")
    play.expect_answer(200)


@pytest.mark.parametrize("value", ["", "m", "1", "1500", "-1m", "1.5S", "123456789m", "1 m", "1x"])
def test_what_cannot_be_read_goes_on_as_it_is(play, value):
    play.endpoints("a").deadline()
    play.client_sends(get(f"{GRPC}: {value}"))
    asked = play.connect("a").expect_request()
    assert asked[GRPC] == value and asked[ENVOY] is None
    play.expect_counter("bad_deadline", 1)
    play.pass_time("20s")
    play.answers("a")
    play.expect_answer(200)


def test_of_envoys_field_0_is_no_limit(play):
    play.endpoints("a").deadline()
    play.client_sends(get(f"{ENVOY}: 0"))
    assert play.connect("a").expect_request()[ENVOY] == "0"
    play.pass_time("20s")
    play.answers("a")
    play.expect_answer(200)


def test_the_time_that_the_client_gives_ends_its_request(play):
    play.endpoints("a").deadline().route(timeout="30s")
    play.client_sends(get(f"{GRPC}: 2S"))
    up = play.connect("a")
    assert left(up.expect_request()) == 2000
    play.pass_time("1990ms")
    play.expect_nothing()
    play.pass_time("20ms")
    play.expect_answer(504)
    assert up.is_closed
    play.expect_counter("deadline_exceeded", 1)
    play.expect_counter("request_timeout", 0)
    assert play.ended() == [(504, "UT")]
    # The next one on this connection has a time of its own.
    play.client_sends(get())
    assert left(play.connect("a").expect_request()) == 30_000


def test_the_shortest_of_all_limits_holds(play):
    play.endpoints("a").deadline(header="x-left").route(timeout="5s")
    play.client_sends(get(f"{GRPC}: 9S", f"{ENVOY}: 7000", "x-left: 6000", "x-left: 8000"))
    asked = play.connect("a").expect_request()
    assert (left(asked), left(asked, GRPC), left(asked, "x-left")) == (5000, 5000, 5000)
    play.pass_time("5010ms")
    play.expect_answer(504)
    play.expect_counter("request_timeout", 1)
    play.expect_counter("deadline_exceeded", 0)


def test_it_runs_while_the_body_is_still_to_come(play):
    play.endpoints("a").deadline().route(timeout="5s")
    play.client_sends(get(f"{ENVOY}: 2000", body="1234567890")[:-5])
    asked = play.connect("a")
    asked.expect_message(False)
    play.pass_time("2010ms")
    play.expect_answer(504)
    play.expect_counter("deadline_exceeded", 1)


def test_the_body_does_not_prolong_it(play):
    play.endpoints("a").deadline().route(timeout="5s")
    whole = get(f"{ENVOY}: 2000", body="1234567890")
    play.client_sends(whole[:-5])
    play.connect("a")
    play.pass_time("1500ms")
    play.client_sends(whole[-5:])
    play.pass_time("510ms")
    play.expect_answer(504)


def test_what_is_left_is_told_with_each_attempt(play):
    play.cluster(connect_timeout="1s").endpoints("a", "b").deadline()
    play.client_sends(get(f"{GRPC}: 5S"))
    play.expect_connect("a")
    play.pass_time("1010ms")
    asked = play.connect("b").expect_request()
    assert 3900 <= left(asked) <= 4000 and 3900 <= left(asked, GRPC) <= 4000


def test_what_arrives_dead_is_refused(play):
    play.endpoints("a").deadline()
    play.client_sends(get(f"{GRPC}: 0m"))
    play.expect_no_connect()
    play.expect_answer(504)
    play.expect_counter("deadline_exceeded", 1)
    play.expect_counter("cluster.x.requests", 0)


def test_what_is_past_its_time_in_the_middle_of_an_answer_is_cut(play):
    play.endpoints("a").deadline()
    play.client_sends(get(f"{ENVOY}: 2000"))
    up = play.connect("a")
    up.expect_request()
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
    play.pass_time("2010ms")
    play.first.expect()
    play.expect_closed()
    assert play.ended() == [(200, "UT")]


def test_without_any_limit_nothing_is_told(play):
    play.endpoints("a").deadline()
    play.client_sends(get())
    assert play.connect("a").expect_request()[ENVOY] is None


def test_where_nothing_is_read_nothing_is_changed(play):
    play.endpoints("a").deadline(read=False, send=False)
    play.client_sends(get(f"{ENVOY}: 20", f"{GRPC}: 20m"))
    asked = play.connect("a").expect_request()
    assert (asked[ENVOY], asked[GRPC]) == ("20", "20m")
    play.pass_time("1s")
    play.answers("a")
    play.expect_answer(200)


def test_where_it_is_only_told_the_route_decides(play):
    play.endpoints("a").deadline(read=False).route(timeout="3s")
    play.client_sends(get(f"{ENVOY}: 20"))
    assert left(play.connect("a").expect_request()) == 3000


def test_no_time_left_is_told_as_the_shortest(play):
    """0 would be read as no limit."""
    play.endpoints("a").deadline()
    play.client_sends(get(f"{GRPC}: 100u"))
    assert left(play.connect("a").expect_request()) == 1
