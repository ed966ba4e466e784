"""When Python is entered for a filter at all, and what is made of a request that nobody looks at."""

from typing import Any

import pytest
from playbook.play import Play

from fastmesh import Connection, Filter, Outcome, Request, Response
from fastmesh._core.filter.chain import PHASES, Slot, Table
from probes import wire
from probes.filter_probe import exchange_loop

GET = b"GET / HTTP/1.1\r\nhost: x\r\nx-team: blue\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"


class Ends(Filter):
    def on_complete(self, request: Request, outcome: Outcome) -> None: ...


class Doors(Filter):
    def on_connection(self, connection: Connection) -> None: ...


class Again(Filter):
    def on_upstream_error(self, request: Request, error: Any) -> None: ...
    def on_retry(self, request: Request, attempt: int) -> None: ...
    def on_request_trailers(self, request: Request, trailers: Any) -> None: ...
    def on_response_trailers(self, request: Request, trailers: Any) -> None: ...


class Uploads(Filter):
    def on_request_body(self, request: Request, body: bytes) -> None: ...


class Both(Filter):
    def on_request(self, request: Request) -> None: ...
    def on_response(self, request: Request, response: Response) -> None: ...


def entries(play: Play, request: bytes = GET, times: int = 3) -> int:
    """How often Python is entered for so many exchanges of one connection."""
    play.start()
    before = play.stage.filter_entries()
    client = play.client()
    for _ in range(times):
        client.sends(request)
        (play.connect("a") if play.fresh() else play.up("a")).answers(200, b"hello")
        client.expect_answer(200)
    return int(play.stage.filter_entries() - before)


@pytest.mark.parametrize(("made", "request_", "expected"), [
    (Ends(), GET, 3), (Doors(), GET, 1), (Again(), GET, 0), (Uploads(), GET, 0), (Uploads(), POST, 3),
    (Both(), GET, 6)])
def test_a_phase_that_a_filter_does_not_have_is_not_entered(play: Play, made: Filter, request_: bytes,
                                                            expected: int) -> None:
    play.endpoints("a").filter(made, at="listener")
    assert entries(play, request_) == expected


@pytest.mark.parametrize(("match", "share", "expected"), [
    (None, 1_000_000, 6), (wire.route("/other", status=200), 1_000_000, 0), (wire.route("/", status=200), 1_000_000, 6),
    (wire.route("/", headers=[("x-team", "red")], status=200), 1_000_000, 0), (None, 0, 0)])
def test_a_match_that_does_not_fit_never_enters_python(play: Play, match: Any, share: int, expected: int) -> None:
    play.endpoints("a").filter(Both(), match=match, share=share)
    assert entries(play) == expected


def exchanges(made: Filter, share: int = 1_000_000) -> tuple[list[tuple[bool, bool]], list[str]]:
    """Of each: whether Python was entered, and whether the head was copied."""
    told: list[str] = []
    phases = {phase: getattr(made, phase) for phase in PHASES if phase in type(made).__dict__}
    slot = Slot(made, phases, row=0, budget_ns=60 * 10**9, report=lambda what, phase, text: told.append(text))
    seen: list[tuple[bool, bool]] = []
    assert exchange_loop(Table([slot]), GET, 3, share, seen) == 0
    return seen, told


class Glances(Filter):
    def on_request(self, request: Request) -> None:
        assert request.state == {} and request.elapsed >= 0 and request.attempts == 0


class Looks(Filter):
    def on_request(self, request: Request) -> None:
        assert request.path == "/" and request.headers["X-Team"] == "blue"


class Keeps(Filter):
    def on_request(self, request: Request) -> None:
        request.headers["x-mark"] = "1"


def test_nothing_is_made_of_a_request_that_nobody_is_asked_about() -> None:
    assert exchanges(Both(), share=0) == ([(False, False)] * 3, [])


def test_a_head_is_copied_when_somebody_looks_at_it() -> None:
    assert exchanges(Both()) == ([(True, False)] * 3, [])
    assert exchanges(Glances()) == ([(True, False)] * 3, [])
    assert exchanges(Looks()) == ([(True, True)] * 3, [])
    assert exchanges(Keeps()) == ([(True, True)] * 3, [])
