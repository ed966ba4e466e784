"""What is not to be looked at any more is overwritten, or no test of this folder would see a late look."""


def test_memory_that_is_given_back_is_spoilt(play):
    play.endpoints("a")
    play.client_sends(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    play.connect("a")
    play.expect_request("a", "GET /")
    play.answers("a", body=b"x" * 100)
    play.expect_answer(200, b"x" * 100)
    found = play.stage.scratch()
    assert found and set(found) == {b"\xdd" * 16}
