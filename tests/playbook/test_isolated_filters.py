"""Isolated filters do what filters in place do: the same tests, with a stand-in in the worker and the filter in a host.

Left out is what cannot be alike: a generator without end is held back by whoever does not take what it gives, not
counted; a host does not know which clusters there are, so the worker finds out; labels that are set in
on_complete come too late; and what a worker's filters may await is not for a host.
"""

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from playbook import conftest, test_filter_bodies, test_filters, test_steering
from playbook.hosted import HostedPlay

from fastmesh import Filter, Request, Response
from fastmesh.filters.protocol import DONE, FAILED, GAVE, RETRY, SET, SPLIT, STATUS, WANTS

OTHERWISE = {"test_a_generator_without_end_is_stopped", "test_a_cluster_that_is_not_there",
             "test_state_and_labels_of_an_exchange", "test_an_error_in_a_piece_that_is_forgiven",
             "test_a_split_with_a_cluster_that_is_not_there", "test_an_answer_that_was_dropped_while_a_filter_thought",
             "test_an_answer_of_the_proxys_own_ends_all_attempts",
             "test_a_piece_that_a_filter_gives_between_two_attempts", "test_large_pieces_between_two_attempts"}

globals().update({name: test for module in (
    test_filters, test_filter_bodies, test_steering) for name, test in vars(module).items()
                  if name.startswith("test_") and name not in OTHERWISE})


@pytest.fixture(params=["ready", "completion"])
def play(request: pytest.FixtureRequest, spare_descriptor: None) -> Iterator[HostedPlay]:
    made = HostedPlay(request.param)
    try:
        yield made
        if request.node.stash.get(conftest.FAILED, False):
            made.abandon()
        else:
            made.end()
            assert made.calls.exchanges == {} and made.calls.running == {} and made.host.pending == {}
            assert made.nonsense == []
    finally:
        made.shut()


class Lied(Filter):
    """Of whom a host says what a test wants."""

    def on_request(self, request: Request) -> Response | None:
        return None


def lie(play: HostedPlay, *rest: Any) -> None:
    """The host answers the next call with this."""
    def take(message: list[Any]) -> None:
        play.answers.append(msgpack.packb([rest[0], message[1], *rest[1:]]))
    play.calls.take = take      # type: ignore[method-assign]


GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("reply", [
    (9, [], 0, None), (DONE,), (DONE, [], 0), (DONE, None, 0, None), (DONE, [], -1, None), (DONE, [], 0, 7),
    (DONE, [], 0, "text"), (DONE, [], 0, {}), (DONE, [], 0, [200]), (DONE, [], 0, [200, ["a"], b""]),
    (DONE, [], 0, [200, [], "text"]), (DONE, [7], 0, None), (DONE, [[]], 0, None), (DONE, [[99, 0, "", ""]], 0, None),
    (DONE, [[-1, 0, "a", "b"]], 0, None), (DONE, [[SET, 2, "a", "b"]], 0, None), (DONE, [[SET, 1, "a", "b"]], 0, None),
    (DONE, [[STATUS, 1, "", 200]], 0, None),
    (DONE, [[SPLIT, 0, "", None]], 0, None), (DONE, [[SPLIT, 0, "", [[]]]], 0, None),
    (DONE, [[RETRY, 0, "", 3]], 0, None), (DONE, [[SET, 0, 5, "b"]], 0, None), (FAILED, [], 0, "E", 1),
    (FAILED, [], 0, "E", 1, None), (GAVE,), (GAVE, "text"), (GAVE, bytes(65537)), (WANTS,)])
def test_a_host_that_says_nonsense_loses_its_line(reply: tuple[Any, ...], spare_descriptor: None) -> None:
    play = HostedPlay("ready")
    try:
        play.endpoints("a").filter(Lied(), on_error="closed")
        lie(play, *reply)
        play.client_sends(GET)
        play.first.expect_answer(503)
        assert len(play.nonsense) == 1 and not play.wire.is_open and play.host.pending == {}
        play.client_sends(GET)      # and the next one is told that there is nobody
        play.first.expect_answer(503)
        play.end()
    finally:
        play.shut()


@pytest.mark.parametrize("edit", [
    [SET, 0, "a b", "c"], [SET, 0, "a", "b\r\nc: d"], [SET, 0, "content-length", "5"], [SET, 0, "a", None],
    [SET, 0, "a", [1]], [3, 0, "", "no path"], [3, 0, "", None], [4, 0, "", " "], [5, 0, "", "z"], [6, 0, "", -1],
    [6, 0, "", "soon"], [7, 0, "", "x"], [7, 0, "a", 5],
    [10, 0, "", [[["x", -1]], "k"]], [10, 0, "", [[["z", 1]], "k"]], [10, 0, "", [[["x", 1]], 7]],
    [10, 0, "", [[["x"]], "k"]], [10, 0, "", [[7], "k"]], [11, 0, "", []], [11, 0, "", [0, ["5xx"], 0, 0, None, False]],
    [11, 0, "", [2, ["all"], 0, 0, None, False]], [11, 0, "", [2, [[]], 0, 0, None, False]]])
def test_an_edit_that_no_filter_may_make_is_an_error_of_the_phase(edit: list[Any], spare_descriptor: None) -> None:
    play = HostedPlay("ready")
    try:
        play.endpoints("a").filter(Lied(), on_error="closed")
        lie(play, DONE, [edit], 0, None)
        play.client_sends(GET)
        play.first.expect_answer(503)
        assert play.nonsense == [] and play.wire.is_open and [what for what, _, _ in play.reports] == ["error"]
        play.end()
    finally:
        play.shut()
