"""Leaving: nobody new is let in, what is under way is answered, and the connections close."""

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_idle_connections_close_and_the_worker_is_done(play):
    play.endpoints("a").pool_has("a")
    client = play.client()
    play.drain()
    play.pass_time("100ms")
    client.expect_closed()
    assert play.is_drained
    assert play.live()["connections"] == 0


def test_exchange_in_flight_is_answered_and_says_close(play):
    play.endpoints("a")
    play.client_sends(GET)
    play.connect("a")
    play.drain()
    play.pass_time("5s")
    assert not play.is_drained
    play.answers("a", body=b"still here")
    assert play.expect_answer(200, b"still here")["connection"] == "close"
    play.client_closes()
    play.pass_time("100ms")
    play.expect_closed()
    assert play.is_drained and play.live()["upstreams"] == 0


def test_idle_time_of_a_drain_leaves_room_for_one_more_request(play):
    """A client that has just been answered may have its next request on the way."""
    play.endpoints("a")
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)
    play.drain(idle="500ms")
    play.pass_time("300ms")
    play.client_sends(GET)
    play.connect("a") if play.fresh() else None
    play.answers("a", body=b"last")
    assert play.expect_answer(200, b"last")["connection"] == "close"


def test_grace_is_the_end_of_patience(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.connect("a")
    play.drain(grace="10s")
    play.pass_time("9900ms")
    assert not play.is_drained and not play.first.is_closed
    play.pass_time("200ms")
    assert play.is_drained and play.first.is_closed and up.is_closed
    play.expect_counter("drain_cut", 1)


def test_half_a_head_is_waited_for(play):
    play.endpoints("a")
    play.client_sends(GET[:9])
    play.drain()
    play.pass_time("1s")
    play.first.expect_open()
    play.client_sends(GET[9:])
    play.connect("a").answers()
    assert play.expect_answer(200)["connection"] == "close"


def test_pipeline_during_a_drain_is_answered_up_to_the_close(play):
    play.endpoints("a")
    play.client_sends(GET + GET)
    play.connect("a")
    play.drain()
    play.answers("a", body=b"one")
    assert play.expect_answer(200, b"one")["connection"] == "close"


def test_slow_reader_gets_all_of_its_answer_during_a_drain(play):
    play.endpoints("a")
    play.client_sends(GET)
    play.first.stops_reading(100)
    play.connect("a")
    play.drain(grace="60s")
    play.answers("a", body=bytes(20_000))
    for _ in range(10):
        play.pass_time("2s")
        play.first.reads(2_000)
    play.first.reads()
    play.expect_answer(200, bytes(20_000))


def test_tunnels_last_until_the_grace_is_over(play):
    play.tcp().endpoints("a")
    client = play.client()
    up = play.connect("a")
    play.drain(grace="10s")
    play.pass_time("5s")
    client.sends(b"still")
    up.expect(b"still")
    play.pass_time("6s")
    assert play.is_drained and client.is_closed and up.is_closed


def test_nobody_new_is_let_in_but_who_stands_in_the_backlog_is(play):
    play.endpoints("a")
    play.client_sends(GET)
    play.connect("a")
    door = next(s for s in play.stage.sockets if s.role == "door")
    with play.batch():
        door.visit("127.0.0.1:50001")
        play.drain()
    late = [s for s in play.stage.sockets if s.role == "client"][-1]
    assert late.peer == "127.0.0.1:50001"
    assert door.is_closed


def test_pool_keeps_nothing_during_a_drain(play):
    play.endpoints("a")
    play.client_sends(GET)
    up = play.connect("a")
    play.drain()
    up.answers()
    assert up.is_closed


def test_drain_before_the_first_turn(play):
    """Control may send a snapshot and a drain in one go: every door is to be read, and to leave, at once."""
    play.endpoints("a").n_listeners = 3
    play.is_batching = True
    play.start().drain()
    play.is_batching = False
    play.pass_time("100ms")
    assert play.is_drained
    assert all(s.is_closed for s in play.stage.sockets)


def test_leaving_door_takes_nobody_with_it(play):
    """A long body whose turn is over waits to be read on; no further event will tell of it."""
    play.endpoints("a")
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 655360\r\n\r\n")
    up = play.connect("a")
    client.socket.sends(*[bytes(65_536)] * 10)
    play.stage.turn()
    play.is_batching = True
    play.n_listeners = 2
    play.stage.open_door(play.running, 1)
    play.apply()
    play.drain()
    play.is_batching = False
    play.settle()
    assert len(up.expect_request("POST").body) == 655_360
    up.answers()
    client.expect_answer(200)
