"""Header fields in a host: what lies in the worker's message undecoded is no other than what a dictionary would say."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh._core.filter.headers import HeaderError, ViewClosed
from fastmesh._core.hosted.exchange import Hosted, Request
from fastmesh._core.hosted.fields import Headers
from fastmesh.filters.filter import Filter
from fastmesh.filters.protocol import CALL, DONE, FAILED, PHASES
from fastmesh.host.calls import Calls

FACTS = ["web/route-0", "app", None, None, 0, 0.001, None, None, None]


class Does(Filter):
    def __init__(self, work: Callable[[Request], Any]) -> None:
        self.work = work

    def on_request(self, request: Request) -> None:
        self.work(request)


def within(flat: list[Any], work: Callable[[Headers], Any]) -> list[Any]:
    """Does it with the header fields of a request; what the host says of that."""
    said: list[bytes] = []
    made = Calls([Hosted(Does(lambda request: work(request.headers)), ["on_request"], 60)], said.append)
    made.take(msgpack.packb([
        CALL, 1, 0, 0, PHASES.index("on_request"),
        ["GET", "/", "", None, "x", "http", "1.1", None, 0, False, flat, ["127.0.0.1", 1, "web", 1]], FACTS, None,
        None]))
    reply: list[Any] = msgpack.unpackb(said[0])
    if reply[0] == FAILED:
        raise AssertionError(reply[6])
    assert reply[0] == DONE
    return list(reply[2])


NAMES = st.sampled_from(["a", "A", "x-user", "X-User", "x-other", "via"])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.lists(st.tuples(
    st.sampled_from(["get", "in", "set", "add", "discard", "len", "all"]), NAMES, VALUES), max_size=14))
def test_they_are_a_list_of_pairs_whatever_is_done_in_whatever_order(
        fields: list[tuple[str, str]], steps: list[tuple[str, str, str]]) -> None:
    model = list(fields)

    def work(headers: Headers) -> None:
        nonlocal model
        for step, name, value in steps:
            there = [held for known, held in model if known.lower() == name.lower()]
            if step == "get":
                assert headers.get(name, "-") == (there[0] if there else "-")
            elif step == "in":
                assert (name in headers) == bool(there)
            elif step == "set":
                headers[name] = value
                model = [field for field in model if field[0].lower() != name.lower()] + [(name, value)]
            elif step == "add":
                headers.add(name, value)
                model.append((name, value))
            elif step == "discard":
                headers.discard(name)
                model = [field for field in model if field[0].lower() != name.lower()]
            elif step == "len":
                assert len(headers) == len({known.lower() for known, _ in model})
            else:
                assert headers.get_all(name) == there and headers.fields() == model
        assert headers.fields() == model

    edits = within([part for field in fields for part in field], work)
    assert len(edits) == sum(step in ("set", "add", "discard") for step, _, _ in steps)


def test_values_that_are_no_ascii() -> None:
    def work(headers: Headers) -> None:
        assert headers["a"] == "ü" and headers["b"] == "ÿ" and headers.raw("b") == b"\xff"
        assert headers.get("ä") is None and "Å" not in headers

    within(["A", "ü".encode(), "b", b"\xff"], work)


def test_no_more_are_added_than_a_head_can_have() -> None:
    def many(headers: Headers) -> None:
        for i in range(250):
            headers.add(f"x-{i}", "")
        headers["x-1"] = "1"
        with pytest.raises(HeaderError, match="does not fit"):
            for i in range(10):
                headers.add("x-last", str(i))

    def one_again(headers: Headers) -> None:
        for i in range(900):
            headers["x-a"] = str(i)
        assert headers.fields() == [("host", "x"), ("x-a", "899")]

    def long(headers: Headers) -> None:
        headers["x-a"] = "x" * 40_000
        with pytest.raises(HeaderError, match="does not fit"):
            headers["x-b"] = "x" * 40_000
        assert "x-b" not in headers

    for work in (many, one_again, long):
        within(["host", "x"], work)


def test_what_was_kept_is_closed_after_the_phase() -> None:
    kept: list[Headers] = []
    within(["host", "x"], kept.append)
    for look in (lambda: kept[0].get("host"), lambda: kept[0]["host"], lambda: "host" in kept[0],
                 kept[0].fields, lambda: kept[0].get_all("host")):
        with pytest.raises(ViewClosed, match="is over"):
            look()
    with pytest.raises(RuntimeError):
        kept[0]["x-a"] = "b"


def test_nothing_but_text_is_a_name() -> None:
    def work(headers: Headers) -> None:
        for wrong in (b"host", None, 5):
            with pytest.raises(TypeError):
                headers.get(wrong)      # type: ignore[arg-type]
            assert wrong not in headers

    within(["host", "x"], work)
