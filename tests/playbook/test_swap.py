"""A new snapshot in the middle of everything: each exchange keeps the rules that it began with."""

import pytest
from playbook.play import SnapshotRefused

from fastmesh._core.play.stage import left

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_exchange_keeps_its_snapshot_and_the_next_has_the_new_one(play):
    play.endpoints("a")
    play.client_sends(GET)
    old = play.connect("a")
    play.endpoints("b").apply()
    old.answers(body=b"old")
    play.expect_answer(200, b"old")
    play.client_sends(GET)
    play.connect("b").answers(body=b"new")
    play.expect_answer(200, b"new")


def test_removed_endpoint_loses_its_idle_connections(play):
    play.endpoints("a", "b").pool_has("a", "b")
    gone, kept = play.up("a"), play.up("b")
    play.endpoints("b").apply()
    assert gone.is_closed and not kept.is_closed
    play.client_sends(GET)
    kept.expect_request()
    kept.answers()
    play.expect_answer(200)


def test_connection_of_a_removed_endpoint_is_not_kept(play):
    play.endpoints("a", "b")
    play.client_sends(GET)
    up = play.connect("a")
    play.endpoints("b").apply()
    up.answers()
    play.expect_answer(200)
    assert up.is_closed


def test_connection_of_a_removed_endpoint_is_not_kept_while_another_one_closes(play):
    play.endpoints("a")
    first, second = play.client(), play.client()
    first.sends(GET)
    up = play.connect("a")
    second.sends(GET)
    idle = play.connect("a")
    idle.answers()
    second.expect_answer(200)
    with play.batch():
        play.endpoints("b").apply()
        up.answers()
    first.expect_answer(200)
    assert idle.is_closed and up.is_closed


def test_kept_endpoint_keeps_its_connections_and_what_is_known_of_it(play):
    play.cluster(avoid_base="10s").endpoints("a", "b")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.connect("b").answers()
    play.expect_answer(200)
    avoided = play.counter("endpoint.a.avoid_until_ns")
    play.endpoints("a", "b", "c").apply()
    assert play.counter("endpoint.a.avoid_until_ns") == avoided
    assert play.live()["idle"] == 1


@pytest.mark.parametrize("then", ["connected", "refused"])
def test_swap_while_connecting(play, then):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.expect_connect("a")
    play.endpoints("b").apply()
    getattr(up, then)()
    if then == "connected":
        up.answers(body=b"old")
        play.expect_answer(200, b"old")
    else:
        play.expect_answer(503)


def test_swap_while_in_the_waiting_line(play):
    play.cluster(max_connections=1).endpoints("a")
    first, second = play.client(), play.client()
    first.sends(GET)
    up = play.connect("a")
    second.sends(GET)
    play.endpoints("b").apply()
    up.answers(body=b"one")
    first.expect_answer(200, b"one")
    last = (play.fresh() and play.connect("a")) or play.up("a")
    last.answers(body=b"two")
    second.expect_answer(200, b"two")


def test_swap_in_the_middle_of_a_body(play):
    play.endpoints("a")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
    up = play.connect("a")
    for name in "bcd":
        play.endpoints(name).apply()
    play.client_sends(b"67890")
    assert up.expect_request("POST").body == b"1234567890"
    up.sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
    play.endpoints("a").apply()
    up.sends(b"lf")
    play.expect_answer(200, b"half")


def test_swap_under_a_tunnel(play):
    play.tcp().endpoints("a")
    client = play.client()
    up = play.connect("a")
    play.endpoints("b").apply()
    client.sends(b"on")
    up.expect(b"on")


def test_limits_of_the_next_request_are_new(play):
    play.endpoints("a").listener(idle_timeout="60s")
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)
    play.listener(idle_timeout="5s").apply()
    play.client_sends(GET)
    play.answers("a")
    play.expect_answer(200)
    play.pass_time("5010ms")
    play.expect_closed()


def test_removed_listener_serves_whom_it_has(play):
    play.endpoints("a")
    client = play.client()
    play.is_gone = True
    play.apply()
    assert next(s for s in play.stage.sockets if s.role == "door").is_closed
    client.sends(GET)
    play.connect("a").answers()
    client.expect_answer(200)


def test_refused_snapshot_changes_nothing(play):
    play.endpoints("a").pool_has("a")
    before = play.live()
    with pytest.raises(SnapshotRefused):
        play.running.apply(b"\x96\x00")
    assert play.live() == before
    play.expect_counter("snapshots_refused", 1)
    play.client_sends(GET)
    play.answers("a")
    play.expect_answer(200)


def test_fifty_swaps_leave_one_snapshot(play):
    play.endpoints("a")
    client = play.client()
    for i in range(50):
        play.endpoints("a", "b", "c") if i % 2 else play.endpoints("a")
        client.sends(GET)
        ((play.fresh() and play.connect()) or play.asked()).answers()
        client.expect_answer(200)
        play.apply()
    assert left()["snapshots"] <= 2
