"""Copies of a route's requests for other clusters."""

import pytest
from playbook.play import Play

from probes import wire

GET = b"GET /a?b HTTP/1.1\r\nhost: shop.test:80\r\nx-a: 1\r\n\r\n"


def two(play: Play) -> Play:
    return play.endpoints("a").cluster("next").endpoints("b", cluster="next").cluster("x")


def test_a_copy_goes_to_the_mirror_and_its_answer_to_nobody(play: Play) -> None:
    two(play).mirror("next")
    play.client_sends(GET)
    copy = play.connect("b").expect_request()
    asked = play.connect("a").expect_request()
    assert copy["host"] == "shop.test-shadow:80" and asked["host"] == "shop.test:80"
    assert copy.target == asked.target == "/a?b"
    assert copy["x-request-id"] == asked["x-request-id"]
    play.up("b").answers(500, b"nobody sees this")
    play.expect_nothing()
    play.answers("a", body=b"this")
    play.expect_answer(200, b"this")
    play.expect_counter("mirrored", 1)
    play.expect_counter("cluster.next.class_5", 1)
    assert play.ended() == [(200, "")]
    # The connection to the mirror is used again.
    play.client_sends(GET)
    assert play.up("b").expect_request()["host"] == "shop.test-shadow:80"


@pytest.mark.parametrize(("host", "suffix", "copied"), [
    ("shop.test", "-shadow", "shop.test-shadow"), ("shop.test", "", "shop.test"), ("[::1]:80", "-shadow", "[::1]:80"),
    ("shop.test:8080", ".b", "shop.test.b:8080")])
def test_the_host_of_a_copy(play: Play, host: str, suffix: str, copied: str) -> None:
    two(play).mirror("next", suffix=suffix)
    play.client_sends(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    assert play.connect("b").expect_request()["host"] == copied


@pytest.mark.parametrize("head", ["content-length: 11\r\n\r\nhello world", "transfer-encoding: chunked\r\n\r\n"
                                  "5\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n"])
def test_a_body_is_copied_when_it_is_complete(play: Play, head: str) -> None:
    two(play).mirror("next").mirror("next", suffix=".two")
    whole = ("POST / HTTP/1.1\r\nhost: x\r\n" + head).encode()
    play.client_sends(whole[:-9])
    asked = play.connect("a")
    play.expect_no_connect()
    play.client_sends(whole[-9:])
    assert asked.expect_request().body == b"hello world"
    copies = [play.connect("b").expect_request() for _ in range(2)]
    assert sorted(copy["host"] for copy in copies) == ["x-shadow", "x.two"]
    assert [copy.body for copy in copies] == [b"hello world"] * 2
    play.answers("a")
    play.expect_answer(200)


def test_what_a_client_breaks_off_is_not_copied(play: Play) -> None:
    two(play).mirror("next")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello")
    play.connect("a")
    play.client_resets()
    play.expect_no_connect()
    play.expect_counter("mirror_dropped", 1)
    play.expect_counter("mirrored", 0)


def test_a_large_body_is_not_copied(play: Play) -> None:
    two(play).mirror("next")
    body = b"x" * 70_000
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n" + body)
    assert play.connect("a").expect_request().body == body
    play.expect_no_connect()
    play.expect_counter("mirror_dropped", 1)
    play.answers("a")
    play.expect_answer(200)


def test_a_mirror_that_is_gone_or_hangs_harms_nobody(play: Play) -> None:
    two(play).mirror("next")
    play.client_sends(GET)
    play.expect_connect("b").refused()
    play.connect("a").expect_request()
    play.answers("a")
    play.expect_answer(200)
    play.pass_time("31s")
    play.client_sends(GET)
    hangs = play.connect("b")
    hangs.expect_request()
    play.up("a").expect_request()
    play.answers("a")
    play.expect_answer(200)
    play.pass_time("29s")
    hangs.expect_open()
    play.pass_time("2s")
    hangs.expect_closed()
    assert play.ended() == [(200, "")] * 2


def test_a_client_that_leaves_does_not_end_a_copy(play: Play) -> None:
    two(play).mirror("next")
    play.client_sends(GET)
    copy = play.connect("b")
    copy.expect_request()
    play.connect("a")
    play.client_resets()
    copy.expect_open()
    copy.answers()
    play.expect_counter("cluster.next.class_2", 1)


def test_only_what_it_matches_and_only_its_share(play: Play) -> None:
    two(play).mirror("next", match=wire.route("/", headers=[("x-b", "1")], status=200)).mirror("next", share=0)
    play.client_sends(GET)
    play.connect("a").expect_request()
    play.answers("a")
    play.expect_answer(200)
    play.expect_counter("mirrored", 0)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-b: 1\r\n\r\n")
    play.connect("b").expect_request()


def test_upgrades_are_not_copied(play: Play) -> None:
    two(play).mirror("next")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    play.connect("a").expect_request()
    play.expect_no_connect()


def test_a_request_that_a_fault_answers_is_not_copied(play: Play) -> None:
    two(play).mirror("next").fault(status=503)
    play.client_sends(GET)
    play.expect_answer(503)
    play.expect_no_connect()


def test_a_deadline_is_told_in_the_copy_as_well(play: Play) -> None:
    two(play).deadline().mirror("next")
    play.client_sends(b"GET / HTTP/1.1\r\ngrpc-timeout: 2S\r\nhost: x\r\nx-a: 1\r\n\r\n")
    copy, asked = play.connect("b").expect_request(), play.connect("a").expect_request()
    for name in ("grpc-timeout", "x-envoy-expected-rq-timeout-ms"):
        assert copy[name] == asked[name] is not None
    assert copy["x-a"] == "1" and copy["host"] == "x-shadow"


def test_copies_that_are_too_many_are_dropped_and_all_is_given_back(play: Play) -> None:
    two(play).mirror("next")
    play.clusters["next"]["max_connections"] = 1
    for _ in range(1005):
        client = play.client()
        client.sends(GET)
    assert play.counter("mirrored") == 1000 and play.counter("mirror_dropped") == 5
    play.pass_time("31s")
    play.client_sends(GET)
    assert play.counter("mirrored") == 1001
