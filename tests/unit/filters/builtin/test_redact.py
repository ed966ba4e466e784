"""What nobody should read does not leave, however the body is cut into pieces."""

import re
from itertools import pairwise

import pytest
from filtering import make, run
from hypothesis import example, given
from hypothesis import strategies as st

from fastmesh import Response
from fastmesh.filters.builtin.redact import BEFORE, Redact, luhn

MAIL = b"write to anna.b@example.com, or bob@x.co.uk."
CARDS = b"pay 4111 1111 1111 1111 or 5500-0000-0000-0004, ref 4111111111111112 and 12 4111111111111111"


def redacted(redact, text, cuts=()):
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    return run(redact, answer=Response(200, body=text, content_type="text/plain"), chunks=pieces).body


@pytest.mark.parametrize(("text", "wanted"), [
    (MAIL, b"write to [redacted], or [redacted]."),
    (CARDS, b"pay [redacted] or [redacted], ref 4111111111111112 and 12 [redacted]"),
    (b"", b""), (b"@", b"@"), (b"a@b", b"a@b"), (b"a@b.c", b"a@b.c"), (b"x@y.de", b"[redacted]"),
    (b"4111111111111111", b"[redacted]"), (b"94111111111111111", b"94111111111111111"),
    (b"4111 1111 1111 1111 22", b"[redacted] 22"), (b"7 4111-1111-1111-1111", b"7 [redacted]"),
    (b"12345678901234567890123456789", b"12345678901234567890123456789")])
def test_what_is_found(text, wanted):
    assert redacted(make(Redact), text) == wanted


@pytest.mark.parametrize("text", [MAIL, CARDS, MAIL + CARDS, b"x" * 500 + MAIL + b"1" * 50 + CARDS + b"a@b.c"])
def test_every_way_to_cut_it_in_two(text):
    redact = make(Redact)
    wanted = redacted(redact, text)
    for at in range(len(text) + 1):
        assert redacted(redact, text, [at]) == wanted, at
    assert redacted(redact, text, range(1, len(text))) == wanted


PATTERNS = (r"\bab{1,3}\b", r"[0-9]{2,4}-[ab]{0,3}", r"(?:ab|abab|ababab)c", r"(a)\1b")


@given(st.text("ab01-c @.x", max_size=200).map(str.encode), st.lists(st.integers(0, 200), max_size=12))
@example(b"ababab" * 3 + b"c", [5])
def test_any_text_in_any_pieces(text, cuts):
    redact = make(Redact, patterns=PATTERNS, mask="#")
    assert redacted(redact, text, [min(cut, len(text)) for cut in cuts]) == redacted(redact, text)


def test_it_agrees_with_re_on_a_whole_text():
    text = b"ab abb xab 12-ab 1234-b ababc aab " * 3
    redact = make(Redact, emails=False, cards=False, patterns=(r"\bab{1,3}\b",), mask="#")
    assert redacted(redact, text) == re.sub(rb"\bab{1,3}\b", b"#", text)


def test_what_is_held_back_is_bounded():
    redact = make(Redact)
    got = run(redact, answer=Response(200, body=b"", content_type="text/plain"), chunks=[b"x" * 10_000, b""])
    assert len(got.pieces[0]) >= 10_000 - redact.reach and redact.reach < 400
    got = run(redact, answer=Response(200, body=b"", content_type="text/plain"), chunks=[b"y"])
    held = got.request.state[redact.name]
    for _ in range(100):
        redact.redacted(held, b"z" * 1000, False)
        assert len(held.text) <= redact.reach + BEFORE


def test_the_upstream_is_asked_for_plain_answers_in_one_piece():
    got = run(make(Redact), headers={"accept-encoding": "gzip, br", "range": "bytes=0-9", "if-range": '"x"'})
    assert got.request.headers["accept-encoding"] == "identity"
    assert "range" not in got.request.headers and "if-range" not in got.request.headers


def test_a_compressed_answer_is_refused():
    answer = Response(200, body=MAIL, content_type="text/plain", headers={"content-encoding": "gzip"})
    got = run(make(Redact), answer=answer)
    assert got.status == 502 and MAIL not in got.body


@pytest.mark.parametrize(("content_type", "is_read"), [
    ("text/html; charset=utf-8", True), ("Application/JSON", True), ("image/png", False), (None, True)])
def test_types(content_type, is_read):
    answer = Response(200, headers={} if content_type is None else {"content-type": content_type})
    assert (b"[redacted]" in run(make(Redact), answer=answer, chunks=[MAIL]).body) is is_read


@pytest.mark.parametrize(("pattern", "why"), [
    ("a+", "more than 1024"), ("a*b", "more than 1024"), ("(?:ab{1,40}){1,40}", "more than 1024"), ("^a", r"\^ or"),
    ("a$", r"\$ or"), (r"a\Z", r"\$ or"), ("(?=a)b", r"\(\?=…\)"), ("b(?!a)", r"\(\?=…\)"), ("(?<=a)b", r"\(\?=…\)"),
    ("", "the empty text"), ("a{0,3}", "the empty text"), ("(", "unterminated")])
def test_patterns_that_cannot_be_right_at_every_cut(pattern, why):
    with pytest.raises(ValueError, match=why):
        make(Redact, patterns=(pattern,))


def test_nothing_to_look_for():
    with pytest.raises(ValueError, match="nothing to look for"):
        make(Redact, emails=False, cards=False)


@pytest.mark.parametrize(("number", "is_right"), [
    ("4111111111111111", True), ("4111111111111112", False), ("378282246310005", True), ("0", True), ("18", True)])
def test_luhn(number, is_right):
    assert luhn([int(digit) for digit in number]) is is_right
