"""The chunked coding: round trips over every split, and a table of what must not pass."""

import random

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.http_probe import chunk_size, dechunk

GOOD = {
    "nothing": (b"0\r\n", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n", b"hello"),
    "hexadecimal, both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n", b"0123456789" * 2),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n", b"hello"),
    "extensions": (b'5;a=b;c="d e"\r\nhello\r\n0;last\r\n', b"hello"),
    "extension with white space inside": (b"1; a = b\t\r\nx\r\n0\r\n", b"x"),
    "white space before an extension": (b"5 ;ext\r\nhello\r\n0\t ;a=b\r\n", b"hello"),
    "sizes that are filled up": (b"5    \r\nhello\r\n0  \t\r\n", b"hello"),
    "payload that looks like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n", b"\r\n0\r\n\r\n"),
    "any byte": (b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n", bytes(range(256))),
    "a size line of 256 bytes": (b"1;" + b"a" * 254 + b"\r\nx\r\n0\r\n", b"x"),
}

BAD = {
    "no size": b"\r\n",
    "no size before an extension": b";a\r\nx\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "bare CR after the size": b"5\rhello\r\n",
    "bare CR, then LF": b"5\r\rhello",
    "bare LF after the payload": b"5\r\nhello\n",
    "bare CR after the payload": b"5\r\nhello\r5",
    "payload longer than its size": b"5\r\nhello!\r\n",
    "payload shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "plus": b"+5\r\nhello\r\n",
    "minus": b"-5\r\nhello\r\n",
    "space first": b" 5\r\nhello\r\n",
    "tab first": b"\t5\r\nhello\r\n",
    "space within a size": b"5 0\r\nhello\r\n",
    "a word after white space": b"5 ext\r\nhello\r\n",
    "bare LF after white space": b"5 \nhello\r\n",
    "white space that does not end": b"5" + b" " * 256 + b"\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "no hexadecimal digit": b"g\r\n",
    "dot": b"5.0\r\nhello\r\n",
    "comma": b"5,5\r\nhello\r\n",
    "NUL in the size": b"5\0\r\nhello\r\n",
    "NUL in an extension": b"5;\0\r\nhello\r\n",
    "LF in an extension": b"5;a\nhello\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n",
    "control character in an extension": b"5;a\x01\r\nhello\r\n",
    "2**62": b"4000000000000000\r\n",
    "2**64": b"10000000000000000\r\n",
    "2**64 + 5": b"10000000000000005\r\nhello\r\n",
    "endless digits": b"f" * 100 + b"\r\n",
    "endless zeros": b"0" * 300 + b"\r\n",
    "an extension that does not end": b"5;" + b"a" * 255 + b"\r\nhello\r\n",
    "an extension of one size line, many times over": b"5;" + b"a" * 10_000,
    "full-width digit": "５\r\nhello\r\n".encode(),
}


def ways(coded: bytes):
    """Whole, each cut, byte by byte."""
    yield [coded]
    yield [coded[i:i + 1] for i in range(len(coded))]
    for cut in range(1, len(coded)):
        yield [coded[:cut], coded[cut:]]


@pytest.mark.parametrize("name", GOOD)
def test_good_bodies(name: str) -> None:
    coded, payload = GOOD[name]
    for pieces in ways(coded):
        assert dechunk(pieces) == (payload, "done", b""), pieces
        assert dechunk([*pieces, b"rest"]) == (payload, "done", b"rest")
    assert dechunk([coded + b"x: y\r\n\r\n"]) == (payload, "done", b"x: y\r\n\r\n")
    assert dechunk([coded], front=True)[1] == "done"


@pytest.mark.parametrize("name", GOOD)
def test_a_body_cut_short_is_waited_for(name: str) -> None:
    coded, payload = GOOD[name]
    for cut in range(len(coded)):
        got, state, _ = dechunk([coded[:cut]])
        assert state == "more"
        assert payload.startswith(got)


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(name: str) -> None:
    for pieces in ways(BAD[name][:400]):
        payload, state, _ = dechunk(pieces)
        assert state == "bad", pieces
        assert len(payload) <= 5


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 2**20, 2**31, 2**32, 2**62 - 1])
def test_sizes_are_written_as_they_are_read(size: int) -> None:
    line = chunk_size(size)
    assert line == b"%x\r\n" % size
    assert dechunk([line]) == (b"", "more", b"")


def test_the_largest_size_is_accepted() -> None:
    assert dechunk([b"3fffffffffffffff\r\nx"]) == (b"x", "more", b"")


def test_round_trips_over_random_splits() -> None:
    rng = random.Random(20240611)
    for _ in range(300):
        chunks = [rng.randbytes(rng.choice([1, 2, 15, 16, 17, 100, 3000])) for _ in range(rng.randrange(8))]
        coded = b"".join(chunk_size(len(c)) + c + b"\r\n" for c in chunks) + b"0\r\n"
        pieces, at = [], 0
        while at < len(coded):
            n = rng.choice([1, 2, 3, 7, 100, 5000])
            pieces.append(coded[at:at + n])
            at += n
        assert dechunk(pieces) == (b"".join(chunks), "done", b"")


def reference(coded: bytes) -> bytes | None:
    """RFC 9112 section 7.1 by regular expression; the payload when all of `coded` is one body."""
    import re

    line = re.compile(rb"([0-9a-fA-F]{1,15})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
    out, at = b"", 0
    while m := line.match(coded, at):
        size = int(m[1], 16)
        at = m.end()
        if size == 0:
            return out if at == len(coded) else None
        if coded[at + size:at + size + 2] != b"\r\n":
            return None
        out += coded[at:at + size]
        at += size + 2
    return None


@settings(max_examples=tries(800), deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([b"0", b"1", b"2", b"a", b";", b";x=y", b"\r\n", b"\r", b"\n", b" ", b"x", b"hello",
                                 b"5",
                                 b"0\r\n", b"1\r\nz\r\n", b"\0", b"\t", b"f"]), max_size=12), st.integers(0, 60))
def test_agrees_with_the_grammar(words: list[bytes], cut: int) -> None:
    coded = b"".join(words)
    payload, state, rest = dechunk([coded[:cut], coded[cut:]])
    if state == "done":
        assert reference(coded[:len(coded) - len(rest)]) == payload
    else:
        assert reference(coded) is None
