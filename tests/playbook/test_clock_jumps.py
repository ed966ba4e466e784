"""Copies of answers when the clock is set on or back: how old they are is known, or they are not given."""

import pytest
from playbook.play import SECOND, Play

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
STALE, CONNECT = 2, 1 << 2
HOUR = 3600 * SECOND


@pytest.mark.parametrize(("jump", "is_given"), [
    (0, True), (HOUR // 2, True), (24 * HOUR, False), (-5 * SECOND, False), (-HOUR // 4, False)])
def test_a_copy_that_is_of_no_known_age_is_not_given(play: Play, jump: int, is_given: bool) -> None:
    copies = ["x", HOUR, 65_536, 1 << 20, 10, [], 0]
    play.endpoints("a").falling_back([STALE, CONNECT, [], copies])
    play.client_sends(GET)
    play.connect("a").expect_request()
    play.answers("a", 200, b"kept", ["connection: close"])
    play.expect_answer(200, b"kept")
    play.stage.jump(jump)
    play.client_sends(GET)
    play.expect_connect("a").refused()
    if is_given:
        answer = play.expect_answer(200, b"kept")
        assert answer["age"] == str(jump // SECOND)
        return
    play.expect_answer(503)
    # The next good answer is kept again, by the clock as it is now.
    play.pass_time("1100ms")
    play.client_sends(GET)
    play.expect_connect("a").connected()
    play.answers("a", 200, b"new", ["connection: close"])
    play.expect_answer(200, b"new")
    play.client_sends(GET)
    play.expect_connect("a").refused()
    play.expect_answer(200, b"new")
