"""Faults that a route puts into its requests: delays, and answers in place of the cluster's."""

from playbook.play import Play

from probes import wire

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_a_delay_comes_before_everything_upstream(play: Play) -> None:
    play.endpoints("a").fault(delay="2s")
    play.client_sends(GET)
    play.expect_no_connect()
    play.pass_time("1990ms")
    play.expect_no_connect()
    play.pass_time("20ms")
    play.connect("a").expect_request()
    play.answers("a")
    play.expect_answer(200)
    play.expect_counter("fault_delayed", 1)
    play.expect_counter("fault_aborted", 0)
    assert play.ended() == [(200, "DI")]


def test_an_answer_needs_no_upstream(play: Play) -> None:
    play.endpoints("a").fault(status=503)
    play.client_sends(GET)
    play.expect_answer(503)
    play.expect_no_connect()
    play.expect_counter("fault_aborted", 1)
    assert play.ended() == [(503, "FI")]


def test_an_answer_after_a_delay_and_the_connection_goes_on(play: Play) -> None:
    play.endpoints("a").fault(delay="1s", status=418)
    for _ in range(2):
        play.client_sends(GET)
        play.expect_nothing()
        play.pass_time("1010ms")
        play.expect_answer(418)
    assert play.ended() == [(418, "DI,FI")] * 2


def test_the_longest_delay_and_the_first_answer(play: Play) -> None:
    play.endpoints("a").fault(delay="1s").fault(delay="3s", status=500).fault(delay="2s", status=502)
    play.client_sends(GET)
    play.pass_time("2990ms")
    play.expect_nothing()
    play.pass_time("20ms")
    play.expect_answer(500)


def test_only_what_it_matches(play: Play) -> None:
    play.endpoints("a").fault(status=503, match=wire.route("/", headers=[("x-chaos", "1")], status=200))
    play.client_sends(GET)
    play.connect("a").expect_request()
    play.answers("a")
    play.expect_answer(200)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-chaos: 1\r\n\r\n")
    play.expect_answer(503)


def test_a_share_of_them(play: Play) -> None:
    play.endpoints("a").fault(status=503, share=300_000)
    for _ in range(400):
        play.client_sends(GET)
        if not play.first.unseen:
            up = play.connect("a") if play.fresh() else play.asked()
            up.expect_request()
            up.answers()
        play.expect_answer()
    assert 80 < play.counter("fault_aborted") < 160


def test_none_with_a_share_of_nothing(play: Play) -> None:
    play.endpoints("a").fault(status=503, delay="1s", share=0)
    play.client_sends(GET)
    play.connect("a").expect_request()
    play.answers("a")
    play.expect_answer(200)


def test_the_time_of_a_delay_counts_for_the_request(play: Play) -> None:
    play.endpoints("a").route(timeout="1s").fault(delay="5s")
    play.client_sends(GET)
    play.pass_time("1010ms")
    play.expect_answer(504)
    play.pass_time("10s")
    play.expect_no_connect()
    assert play.ended() == [(504, "UT,DI")]


def test_a_client_that_leaves_ends_the_delay(play: Play) -> None:
    play.endpoints("a").fault(delay="5s")
    play.client_sends(GET)
    play.client_resets()
    play.pass_time("10s")
    play.expect_no_connect()
    assert play.ended() == [(0, "DI,DC")]


def test_a_body_waits_with_its_head(play: Play) -> None:
    play.endpoints("a").fault(delay="1s")
    play.client_sends(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello")
    play.pass_time("500ms")
    play.client_sends(b"12345")
    play.pass_time("510ms")
    up = play.connect("a")
    assert up.expect_request().body == b"hello12345"
    play.answers("a")
    play.expect_answer(200)


def test_an_answer_of_the_route_s_own_knows_no_faults(play: Play) -> None:
    play.endpoints("a").route("/", status=204).fault(status=503)
    play.client_sends(GET)
    play.expect_answer(204, has_body=False)


def test_as_many_as_may_be_under_way(play: Play) -> None:
    play.endpoints("a").fault(delay="1s", most=2)
    clients = [play.client() for _ in range(3)]
    for client in clients:
        client.sends(GET)
    # The third goes on at once.
    play.connect("a").answers()
    clients[2].expect_answer(200)
    play.expect_counter("fault_delayed", 2)
    play.expect_counter("fault_overflow", 1)
    # It is under way until its request has ended, however that is.
    clients[0].resets()
    clients[2].sends(GET)
    play.expect_counter("fault_delayed", 3)
    play.expect_counter("fault_overflow", 1)


def test_one_that_ends_makes_room(play: Play) -> None:
    play.endpoints("a").fault(status=503, most=1)
    for _ in range(5):
        play.client_sends(GET)
        play.expect_answer(503)
    play.expect_counter("fault_overflow", 0)


def test_the_request_says_what_falls_on_it(play: Play) -> None:
    play.endpoints("a").fault(is_asked=True)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-envoy-fault-delay-request: 1500\r\n"
                      b"X-Envoy-Fault-Abort-Request: 418\r\n\r\n")
    play.pass_time("1490ms")
    play.expect_nothing()
    play.pass_time("20ms")
    play.expect_answer(418)
    assert play.ended() == [(418, "DI,FI")]
    play.client_sends(GET)
    play.connect("a").answers()
    play.expect_answer(200)


def test_a_bandwidth_that_is_asked_for(play: Play) -> None:
    play.endpoints("a").fault(is_asked=True)
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-envoy-fault-throughput-response: 1\r\n\r\n")
    play.connect("a").answers(200, b"x" * 2048)
    play.pass_time("1900ms")
    assert play.ended() == []
    play.pass_time("200ms")
    play.expect_answer(200, b"x" * 2048)


def test_what_cannot_be_meant_is_not_done(play: Play) -> None:
    play.endpoints("a").fault(is_asked=True)
    up = None
    for said in (b"delay-request: 0", b"delay-request: 300001", b"delay-request: -1", b"delay-request: 1s",
                 b"delay-request:", b"delay-request: 99999999999999999999", b"abort-request: 101",
                 b"abort-request: 600", b"abort-grpc-request: 17", b"throughput-response: x"):
        play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-envoy-fault-" + said + b"\r\n\r\n")
        up = up or play.connect("a")
        up.expect_request()
        up.answers()
        play.expect_answer(200)
    assert play.ended() == [(200, "")] * 10


def test_only_trusted_clients_may_ask(play: Play) -> None:
    play.endpoints("a").fault(is_asked=True)
    play.trusted = []
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\nx-envoy-fault-abort-request: 503\r\n\r\n")
    play.connect("a").answers()
    play.expect_answer(200)


def test_an_answer_for_callers_of_grpc(play: Play) -> None:
    play.endpoints("a").fault(grpc=14)
    play.client_sends(b"POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc+proto\r\n"
                      b"content-length: 0\r\n\r\n")
    made = play.expect_answer(200, b"")
    assert (made["grpc-status"], made["content-type"]) == ("14", "application/grpc")
    assert made["grpc-message"] == "fault injected"
    # Others get what says the same.
    play.client_sends(GET)
    assert play.expect_answer(503)["grpc-status"] is None
    assert play.ended() == [(200, "FI"), (503, "FI")]
    play.expect_counter("fault_aborted", 2)


def test_a_status_of_grpc_that_is_asked_for(play: Play) -> None:
    play.endpoints("a").fault(is_asked=True)
    play.client_sends(b"POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n"
                      b"x-envoy-fault-abort-grpc-request: 7\r\ncontent-length: 0\r\n\r\n")
    assert play.expect_answer(200, b"")["grpc-status"] == "7"
