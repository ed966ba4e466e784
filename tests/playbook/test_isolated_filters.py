"""Isolated filters do what filters in place do: the same tests, with a stand-in in the worker and the filter in a host.

Left out is what cannot be alike: a generator without end is held back by whoever does not take what it gives, not
counted; a host does not know which clusters there are, so the worker finds out; and the time of a filter that is
isolated is not the worker's.
"""

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from playbook import conftest, test_filter_bodies, test_filter_calls, test_filter_subsets, test_filters, test_steering
from playbook.hosted import HostedPlay

from fastmesh import Filter, Outcome, Request, Response
from fastmesh.filters.protocol import DONE, FAILED, GAVE, PIECE_MOST, RETRY, SET, SPLIT, STATUS, WANTS
from fastmesh.host.mesh import HostMesh

OTHERWISE = {(test_filter_bodies, "test_a_generator_without_end_is_stopped"),
             (test_filters, "test_a_cluster_that_is_not_there"),
             (test_filters, "test_a_filter_that_takes_too_much_of_a_second_is_left_alone"),
             (test_filter_bodies, "test_an_error_in_a_piece_that_is_forgiven"),
             (test_filter_bodies, "test_a_body_ends_once_however_late_a_shadow_of_it_is"),
             (test_filter_bodies, "test_trailers_are_asked_about_once_however_late_a_shadow_of_the_body_is"),
             (test_filter_calls, "test_calls_outside_of_a_worker"),
             (test_steering, "test_a_split_with_a_cluster_that_is_not_there"),
             (test_steering, "test_an_answer_that_was_dropped_while_a_filter_thought"),
             (test_steering, "test_an_answer_of_the_proxys_own_ends_all_attempts"),
             (test_steering, "test_a_piece_that_a_filter_gives_between_two_attempts"),
             (test_steering, "test_large_pieces_between_two_attempts")}

globals().update({name: test for module in (test_filters, test_filter_bodies, test_filter_calls, test_filter_subsets,
                                            test_steering)
                  for name, test in vars(module).items()
                  if name.startswith("test_") and (module, name) not in OTHERWISE})


@pytest.fixture(params=["ready", "completion"])
def play(request: pytest.FixtureRequest, spare_descriptor: None,
         monkeypatch: pytest.MonkeyPatch) -> Iterator[HostedPlay]:
    made = HostedPlay(request.param)
    monkeypatch.setattr(test_filter_calls, "Mesh", lambda: HostMesh(made.calls.asks))
    try:
        yield made
        if request.node.stash.get(conftest.FAILED, False):
            made.abandon()
        else:
            made.end()
            assert made.calls.exchanges == {} and made.calls.running == {} and made.host.pending == {}
            assert made.calls.asks.waiting == {} and made.calls.asks.weight == 0
            assert made.host.errands.asks == {} and made.host.errands.weight == 0
            assert made.nonsense == []
    finally:
        made.shut()


class Lied(Filter):
    """Of whom a host says what a test wants."""

    def on_request(self, request: Request) -> Response | None:
        return None


def lie(play: HostedPlay, *rest: Any) -> None:
    """The host answers the next call with this."""
    def take(packed: bytes) -> None:
        play.answers.append(msgpack.packb([rest[0], msgpack.unpackb(packed)[1], *rest[1:]]))
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


class Marks(Filter):
    """Keeps something in the exchange from its beginning to its end."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_request(self, request: Request) -> None:
        request.state["mark"] = id(self)

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        self.seen.append(dict(request.state))


class Passes(Filter):
    """Has no word at the end."""

    def on_request(self, request: Request) -> None:
        pass


@pytest.mark.parametrize("others", [[Passes], [Marks], [Passes, Marks], []])
def test_the_state_of_an_exchange_is_there_when_the_first_filter_hears_of_its_end(
        play: HostedPlay, others: list[type[Filter]]) -> None:
    first = Marks()
    play.endpoints("a").filter(first)
    for other in others:
        play.filter(other())
    play.client_sends(GET)
    play.connect("a").answers(200)
    play.first.expect_answer(200)
    assert len(first.seen) == 1 and "mark" in first.seen[0]


class Ask(Filter):
    """Sends a body to another cluster, and makes the answer its own."""

    def __init__(self, play: HostedPlay, body: bytes) -> None:
        self.mesh = HostMesh(play.calls.asks)
        self.body = body

    async def on_request(self, request: Request) -> Response | None:
        reply = await self.mesh.post("auth", "/check", body=self.body, limit=1 << 24)
        assert len(reply.headers["x-long"]) == 8000
        return Response(reply.status, body=reply.body[::-1])


@pytest.mark.parametrize("size", [1, PIECE_MOST // 4, PIECE_MOST // 4 + 1, PIECE_MOST, 3 * PIECE_MOST + 5])
def test_long_bodies_go_and_come_in_pieces(play: HostedPlay, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Ask(play, body))
    play.client_sends(GET)
    auth = play.connect("b")
    assert auth.expect_request("POST /check").body == body
    auth.answers(200, body, ["x-long: " + "v" * 8000])
    play.first.expect_answer(200, body[::-1])
    play.expect_no_connect()


def test_a_host_that_dies_gives_its_calls_up(spare_descriptor: None) -> None:
    play = HostedPlay("ready")
    try:
        play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Ask(play, b"x"), on_error="open")
        play.client_sends(GET)
        auth = play.connect("b")
        auth.expect_request("POST /check")
        play.host.lost("it has ended")
        play.settle()
        auth.expect_closed()
        play.connect("a").answers()
        play.first.expect_answer(200)
        assert play.host.errands.asks == {}
        play.calls.asks.end()       # the filter hears of it, too
        play.settle()
        play.end()
    finally:
        play.shut()


SECRETS = b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer s3cret\r\nX-Wanted: yes\r\nx-other: hidden\r\n\r\n"


class Sees(Filter):
    """Tells which headers it sees, and sets one that it does not."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def on_request(self, request: Request) -> None:
        self.seen.append(list(request.headers))
        assert request.headers.get("authorization") is None and "x-other" not in request.headers
        request.headers["x-other"] = "mine"

    def on_response(self, request: Request, response: Response) -> None:
        self.seen.append(list(response.headers))
        del response.headers["x-hidden"]


def carried(play: HostedPlay) -> list[bytes]:
    """All that the host is told, from now on."""
    said: list[bytes] = []
    send = play.wire.send

    def note(data: bytes, is_owed: bool = False) -> bool:
        said.append(data)
        return send(data, is_owed)

    play.wire.send = note  # type: ignore[method-assign]
    return said


def test_headers_that_a_filter_does_not_declare_do_not_travel(play: HostedPlay) -> None:
    made = Sees()
    play.endpoints("a").filter(made)
    play.host.needs = (b"x-wanted", b"x-seen")      # as of a filter with needs = ("x-wanted", "x-seen")
    told = carried(play)
    play.client_sends(SECRETS)
    upstream = play.connect("a")
    # They are on their way to the upstream all the same, but for the one that the filter has set.
    asked = upstream.expect_request("GET /")
    assert [asked[name] for name in ("authorization", "x-other", "x-wanted")] == ["Bearer s3cret", "mine", "yes"]
    upstream.answers(200, fields=["x-seen: 1", "x-hidden: topsecret"])
    play.first.expect_answer(200)
    assert made.seen == [["x-wanted"], ["x-seen"]]
    for hidden in (b"s3cret", b"hidden", b"authorization", b"topsecret"):
        assert hidden not in b"".join(told)
    assert b"yes" in b"".join(told)


def test_without_needs_all_headers_travel(play: HostedPlay) -> None:
    class All(Filter):
        def on_request(self, request: Request) -> Response:
            return Response(200, text=request.headers["authorization"])

    play.endpoints("a").filter(All())
    told = carried(play)
    play.client_sends(SECRETS)
    play.first.expect_answer(200)
    assert b"s3cret" in b"".join(told)


class Note(Filter):
    """Labels an exchange when it is over, after a while."""

    def __init__(self, play: HostedPlay) -> None:
        self.play = play

    def on_request(self, request: Request) -> None:
        request.labels["early"] = "yes"
        request.labels["gone"] = "yes"

    async def on_complete(self, request: Request, outcome: Outcome) -> None:
        reply = await HostMesh(self.play.calls.asks).get("auth", "/kind")
        assert dict(request.labels) == {"early": "yes", "gone": "yes"}
        request.labels["kind"] = reply.text
        del request.labels["gone"]


@pytest.mark.parametrize("kind", ["paid", '"p=a,i"d\\'])
def test_a_line_of_the_log_waits_for_labels_that_come_late(play: HostedPlay, kind: str) -> None:
    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Note(play))
    play.logged((5, ""), (26, "kind"), (27, ""), (26, "none"), (5, ""))
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    auth = play.connect("b")
    auth.expect_request("GET /kind")
    assert play.stage.log() == []
    auth.answers(200, kind.encode())
    told = kind.replace("\\", "\\\\").replace('"', '\\"')
    assert play.stage.log() == [f"200 {told} early=yes,kind={told} - 200"]


def test_a_request_is_counted_by_labels_that_come_late(play: HostedPlay) -> None:
    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Note(play), timeout_ns=50_000_000)
    play.metric_labels = [["early", "gone", "kind"], 10]
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    assert play.stage.labelled() == {}
    play.connect("b").answers(200, b"paid")
    counted = [{**dict(zip(parts[3::2], parts[4::2], strict=True)), "2xx": row[2]}
               for parts, row in play.stage.labelled().items()]
    assert counted == [{"early": "yes", "gone": "", "kind": "paid", "2xx": 1}]
    # And of one whose labels do not come, with those that it has.
    play.first.sends(GET)
    play.up("a").answers()
    play.first.expect_answer(200)
    play.pass_time("60ms")
    counted = [{**dict(zip(parts[3::2], parts[4::2], strict=True)), "2xx": row[2]}
               for parts, row in play.stage.labelled().items()]
    assert counted[1:] == [{"early": "yes", "gone": "yes", "kind": "", "2xx": 1}]


def test_labels_that_do_not_come_do_not_hold_the_line_for_ever(play: HostedPlay) -> None:
    play.endpoints("a").cluster("auth").endpoints("b", cluster="auth").filter(Note(play), timeout_ns=50_000_000)
    play.logged((27, ""))
    play.client_sends(GET)
    play.connect("a").answers()
    play.first.expect_answer(200)
    auth = play.connect("b")
    auth.expect_request("GET /kind")
    assert play.stage.log() == []
    play.pass_time("60ms")
    assert play.stage.log() == ["early=yes,gone=yes"]
    auth.expect_closed()
