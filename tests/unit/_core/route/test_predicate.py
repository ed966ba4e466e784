"""What headers, parameters and cookies must say, in all the readings that a request has."""

import re
import struct
from typing import Any
from urllib.parse import unquote_plus

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config.automaton import Automaton
from fastmesh.config.regex import compile_regex
from probes.snapshot_probe import Request
from probes.wire import (
    CONTAINS,
    EXACT,
    PATTERN,
    PREFIX,
    PRESENT,
    RANGE,
    SUFFIX,
    decoded,
    further,
    listener,
    route,
    snapshot,
    value,
)


def pattern(automaton: Automaton) -> list[bytes]:
    return [automaton.classes, automaton.flags, struct.pack(f"<{len(automaton.table)}H", *automaton.table)]


REGEX = "[a-c]+[0-9]?"
PATTERNS = [pattern(compile_regex(REGEX).automaton)]


def answer(made: list[Any], **request: Any) -> tuple[bool, bool]:
    """Whether the route takes the request, and whether it is torn."""
    with decoded(snapshot([listener([made])], patterns=PATTERNS)) as s:
        head = Request(b"GET", b"", b"/", request.get("fields", ()), request.get("query"))
        is_taken = s.route(head) == 0
        return is_taken, is_taken and s.is_torn(head, 0)


def by_header(condition: list[Any], *fields: tuple[bytes, bytes]) -> tuple[bool, bool]:
    return answer(route(headers=[condition]), fields=fields)


def by_query(condition: list[Any], query: bytes | None) -> tuple[bool, bool]:
    return answer(route(more=further(query=[condition])), query=query)


def by_cookie(condition: list[Any], *cookies: bytes) -> tuple[bool, bool]:
    return answer(route(more=further(cookies=[condition])), fields=[(b"Cookie", cookie) for cookie in cookies])


TAKEN, LEFT, TORN = (True, False), (False, False), (True, True)


@pytest.mark.parametrize(("condition", "text", "expected"), [
    (("a", EXACT), "a", True), (("a", EXACT), "A", False), (("", EXACT), "", True),
    (("ab", PREFIX), "abc", True), (("ab", PREFIX), "ab", True), (("ab", PREFIX), "a", False), (("ab", PREFIX), "xab",
                                                                                                False),
    (("ab", SUFFIX), "xab", True), (("ab", SUFFIX), "ab", True), (("ab", SUFFIX), "b", False), (("ab", SUFFIX), "abx",
                                                                                                False),
    (("ab", CONTAINS), "xabx", True), (("ab", CONTAINS), "ab", True), (("ab", CONTAINS), "axb", False),
    (("ab", CONTAINS), "", False),
    (("", PRESENT), "", True), (("", PRESENT), "x", True),
    (("", PATTERN), "abc1", True), (("", PATTERN), "abc12", False), (("", PATTERN), "", False),
    (("", RANGE), "-5", True), (("", RANGE), "10", True), (("", RANGE), "11", False), (("", RANGE), "-6", False),
    (("", RANGE), "007", True), (("", RANGE), "", False), (("", RANGE), "-", False), (("", RANGE), "5x", False),
    (("", RANGE), " 5", False), (("", RANGE), "+5", False), (("", RANGE), "9" * 18, False), (("", RANGE), "0" * 19,
                                                                                             False),
    (("", RANGE), "1.0", False),
])
def test_kinds(condition, text, expected):
    text_wanted, kind = condition
    low, high = (-5, 10) if kind == RANGE else (0, 0)
    for invert in (False, True):
        made = value("x-a", text_wanted, kind, invert, low, high)
        assert by_header(made, (b"X-A", text.encode())) == (expected != invert, False)
        assert by_query(value("q", text_wanted, kind, invert, low, high), b"q=" + text.encode().replace(b"+", b"%2B"))[
            0] == (expected != invert)


@pytest.mark.parametrize("kind", [EXACT, PREFIX, SUFFIX, CONTAINS, PRESENT, RANGE, PATTERN])
def test_what_is_missing_is_taken_only_inverted(kind):
    assert by_header(value("x", "a", kind)) == LEFT
    assert by_header(value("x", "a", kind, True)) == TAKEN
    assert by_query(value("x", "a", kind), None) == LEFT
    assert by_query(value("x", "a", kind, True), b"y=1") == TAKEN
    assert by_cookie(value("x", "a", kind)) == LEFT
    assert by_cookie(value("x", "a", kind, True), b"y=1") == TAKEN


@pytest.mark.parametrize(("condition", "fields", "expected"), [
    # Several of one name: some servers see the first, some the last, some all in a list.
    (value("x-a", "1"), ["1", "1"], TAKEN), (value("x-a", "1"), ["1", "2"], TORN), (value("x-a", "1"), ["2", "1"],
                                                                                    TORN),
    (value("x-a", "1"), ["2", "3"], LEFT),
    (value("x-a", "1", invert=True), ["2", "1"], TORN), (value("x-a", "1", invert=True), ["1", "1"], LEFT),
    (value("x-a", "1", PREFIX), ["12", "13"], TORN), (value("x-a", "1", PREFIX), ["12", "12"], TAKEN),
    (value("x-a", kind=PRESENT), ["1", "2"], TAKEN), (value("x-a", kind=PRESENT, invert=True), ["1", "2"], LEFT),
    (value("x-a", kind=PATTERN), ["a", "zz"], TORN),
])
def test_several_headers_of_one_name(condition, fields, expected):
    assert by_header(condition, *((b"x-a", text.encode()) for text in fields)) == expected


def test_a_name_that_only_some_take_for_the_same():
    assert by_header(value("x-a", "1"), (b"x_a", b"1")) == TORN
    assert by_header(value("x-a", "1"), (b"x_a", b"2")) == LEFT
    assert by_header(value("x-a", "1", invert=True), (b"x_a", b"1")) == TORN
    assert by_header(value("x-a", "1", invert=True), (b"x_a", b"2")) == TORN
    assert by_header(value("x-a", kind=PRESENT, invert=True), (b"X_A", b"1")) == TORN
    assert by_header(value("x-a", kind=PRESENT, invert=True), (b"X-A", b"1")) == LEFT
    assert by_header(value("x-a", kind=PRESENT), (b"X_A", b"1")) == TORN


@pytest.mark.parametrize(("condition", "query", "expected"), [
    (value("v", "2"), b"v=2", TAKEN), (value("v", "2"), b"a=1&v=2&b", TAKEN), (value("v", "2"), b"V=2", LEFT),
    (value("v", "2"), b"", LEFT), (value("v", "2"), b"vv=2", LEFT), (value("v", "2"), b"=2", LEFT),
    (value("v", "2"), b"%76=%32", TAKEN), (value("a b", "c d"), b"a+b=c%20d", TAKEN), (value("v", "2"), b"v%3D2", LEFT),
    (value("v", "a=b"), b"v=a=b", TAKEN), (value("v", "%zz"), b"v=%zz", TAKEN), (value("v", "%2"), b"v=%2", TAKEN),
    (value("v", ""), b"v", TAKEN), (value("v", ""), b"v=", TAKEN), (value("v", kind=PRESENT), b"&&v", TAKEN),
    (value("v", "2"), b"v=1&v=2", TORN), (value("v", "2"), b"v=2&v=2", TAKEN), (value("v", "2"), b"v=1&v=3", LEFT),
    (value("v", "2", PREFIX), b"v=21&v=22", TAKEN),
    (value("v", "2"), b"a=1;v=2", TORN), (value("v", "2"), b"v=2;a=1", TORN), (value("v", "2;x"), b"v=2;x", TORN),
    (value("v", "2"), b"a;b&v=2", TAKEN), (value("v", "2", invert=True), b"a=1;v=2", TORN),
    (value("v", kind=PRESENT), b"v=1;a", TAKEN), (value("v", kind=PRESENT), b"a;v", TORN),
])
def test_queries(condition, query, expected):
    assert by_query(condition, query) == expected


@pytest.mark.parametrize(("condition", "cookies", "expected"), [
    (value("t", "blue"), [b"t=blue"], TAKEN), (value("t", "blue"), [b"a=1; t=blue;b=2"], TAKEN),
    (value("t", "blue"), [b"a=1", b"t=blue"], TAKEN), (value("t", "blue"), [b"T=blue"], LEFT),
    (value("t", "blue"), [b"tt=blue"], LEFT), (value("t", "blue"), [b"t = blue"], TAKEN),
    (value("t", "a=b"), [b"t=a=b"], TAKEN), (value("t", "blue"), [b"t=blue; t=red"], TORN),
    (value("t", "blue"), [b"t=blue", b"t=red"], TORN), (value("t", "blue"), [b"t=blue; t=blue"], TAKEN),
    (value("t", "blue"), [b't="blue"'], TORN), (value("t", '"blue"'), [b't="blue"'], TORN),
    (value("t", kind=PRESENT), [b't="blue"'], TAKEN), (value("t", "blue", invert=True), [b't="blue"'], TORN),
    (value("t", ""), [b"t"], TAKEN), (value("t", "blue"), [b";;; ; =x"], LEFT), (value("t", "%20"), [b"t=%20"], TAKEN),
])
def test_cookies(condition, cookies, expected):
    assert by_cookie(condition, *cookies) == expected


# --- against a model ---

def fits(condition: list[Any], text: str) -> bool:
    _, want, kind, _, low, high = condition
    return {
        EXACT: text == want, PREFIX: text.startswith(want), SUFFIX: text.endswith(want), CONTAINS: want in text,
        PRESENT: True, RANGE: re.fullmatch("-?[0-9]{1,18}", text) is not None and low <= int(text) <= high,
        PATTERN: re.fullmatch(REGEX, text) is not None}[kind]


CONDITIONS = st.one_of(
    st.builds(value, st.just("x-a"), st.sampled_from(["a", "ab", "b1"]), st.integers(EXACT, RANGE), st.booleans(),
              st.sampled_from([-3, 0]), st.sampled_from([0, 7])),
    st.builds(value, st.just("x-a"), st.just(""), st.just(PATTERN), st.booleans()))
VALUES = st.text("ab1-", max_size=4)


@settings(max_examples=tries(400), deadline=None)
@given(CONDITIONS, st.lists(st.tuples(st.sampled_from(["x-a", "X-A", "x_a", "X_a", "x-ab"]), VALUES), max_size=4))
def test_headers_and_model_agree(condition, fields):
    """Readings: names with or without "_" for "-"; of those the first, or the last."""
    readings = []
    for same in (lambda name: name.lower() == "x-a", lambda name: name.lower().replace("_", "-") == "x-a"):
        values = [text for name, text in fields if same(name)]
        readings += [values[0], values[-1], *values] if values else [None]
    verdicts = {(text is not None and fits(condition, text)) != condition[3] for text in readings}
    takes, is_torn = by_header(condition, *((name.encode(), text.encode()) for name, text in fields))
    assert takes == (True in verdicts)
    if len(verdicts) == 2:
        assert is_torn


@settings(max_examples=tries(400), deadline=None)
@given(CONDITIONS, st.text("x-a=&;%6+1b", max_size=24))
def test_queries_and_model_agree(condition, query):
    readings = []
    for separators in ("&", "[&;]"):
        pairs = [piece.partition("=") for piece in re.split(separators, query)]
        values = [unquote_plus(text, "latin-1") for name, _, text in pairs if unquote_plus(name, "latin-1") == "x-a"]
        readings += values or [None]
    verdicts = {(text is not None and fits(condition, text)) != condition[3] for text in readings}
    assert by_query(condition, query.encode()) == (True in verdicts, len(verdicts) == 2)


def test_much_of_everything():
    """The largest head there is costs what it has bytes, once for each condition."""
    condition = value("v", "2")
    assert by_query(condition, b"&".join([b"v=%32"] * 10_000)) == TAKEN
    assert by_query(condition, b";" * 60_000) == LEFT
    assert by_cookie(value("t", "1"), b"t=1; " * 12_000) == TAKEN
    assert by_header(value("x", "a" * 1000, CONTAINS), (b"x", b"a" * 999 + b"b" + b"a" * 60_000)) == TAKEN
