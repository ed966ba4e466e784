"""The wide scanners and the tables say the same about every byte at every place."""

import random
import re
from pathlib import Path

import pytest

from probes.http_probe import class_of, name_id, name_lists, scan
from probes.scalar_probe import scan as scan_by_table

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = b"0123456789"
TCHAR = frozenset(b"!#$%&'*+-.^_`|~" + LETTERS + DIGITS)
VALUE = frozenset([9, *range(32, 127), *range(128, 256)])
TARGET = frozenset(range(0x21, 0x7F)) - frozenset(b"#")
PATH = TARGET - frozenset(b"?")
HOST = frozenset(LETTERS + DIGITS + b"-._~!$&'()*+;=")
SETS = {"name": TCHAR, "value": VALUE, "target": TARGET, "path": PATH, "host": HOST}
CLASSES = {1: TCHAR, 2: VALUE, 4: TARGET, 8: PATH, 16: HOST, 32: frozenset(b"0123456789abcdefABCDEF"),
           64: frozenset(LETTERS + DIGITS + b"-._~")}


@pytest.mark.parametrize("bit", CLASSES)
def test_classes_are_what_the_grammar_says(bit: int) -> None:
    assert {c for c in range(256) if class_of(c, bit)} == CLASSES[bit]


@pytest.mark.parametrize("what", SETS)
def test_every_byte_stops_a_scan_or_does_not(what: str) -> None:
    for c in range(256):
        for at in (0, 1, 7, 15, 16, 17, 31, 33):
            for tail in (0, 3, 20):
                line = b"a" * at + bytes([c]) + b"a" * tail
                expected = len(line) if c in SETS[what] else at
                assert scan(what, line) == scan(what, line, front=True) == expected, (c, at, tail)


@pytest.mark.parametrize("what", [*SETS, "plain_path"])
def test_scans_stop_at_the_first_of_several_wherever_they_begin(what: str) -> None:
    for n in range(70):
        for start in range(n + 1):
            assert scan(what, b"a" * n, start) == n
        for at in range(n):
            stop = b"\\" if what == "plain_path" else b"\0"
            line = b"a" * at + stop * (n - at)
            for start in (0, at // 2, at):
                assert scan(what, line, start) == at


@pytest.mark.parametrize("what", ["name", "value", "target", "path", "plain_path"])
def test_the_wide_and_the_plain_form_find_the_same(what: str) -> None:
    rng = random.Random(4)
    for _ in range(4000):
        line = bytes(rng.choice(b"abcdXYZ09-_/. ") if rng.random() < 0.9 else rng.randrange(256)
                     for _ in range(rng.randrange(70)))
        start = rng.randrange(len(line) + 1)
        assert scan(what, line, start) == scan_by_table(what, line, start), (line, start)


NAMES = {name.removeprefix("HEADER_").replace("_", "-").lower(): int(number)
         for name, number in re.findall(r"(HEADER_\w+) = (\d+)",
                                        (Path(__file__).parents[4] / "src/fastmesh/_core/http/token.pxd").read_text())}
del NAMES["none"]


@pytest.mark.parametrize("name", NAMES)
def test_known_names_have_their_number(name: str) -> None:
    assert name_id(name.encode()) == name_id(name.upper().encode()) == name_id(name.title().encode()) == NAMES[name], (
        "not in field_name.h; if its place there is taken, its two factors have to change")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_almost_known_have_none(name: str) -> None:
    text = name.encode()
    near = [text + b"s", b"x" + text, text[:-1], text[1:], text[::-1] if text[::-1] != text else text * 2,
            *(text[:i] + bytes([c]) + text[i + 1:] for i in range(len(text)) for c in TCHAR if (c | 32) != text[i])]
    for other in near:
        if other and other.decode().lower() not in NAMES:
            assert name_id(other) == 0, other


def test_lists_of_names() -> None:
    kept_only_with_more = (b"x-forwarded-", b"content-")
    assert name_lists(b"Authorization") == name_lists(b"x-forwarded-client-cert") == (True, False)
    assert name_lists(b"If-None-Match") == (False, True)
    assert name_lists(b"x-forwarded") == name_lists(b"authorization2") == name_lists(b"a") == (False, False)
    assert all(name_lists(name)[0] for name in kept_only_with_more)
