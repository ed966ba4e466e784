"""One stepper for all framings: what is payload, what is not, and where a body ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.parts_probe import DONE, OPEN, TRAILERS, step_body

NONE, LENGTH, CHUNKED, CLOSE = range(4)


def cuts(data):
    """Whole, byte by byte, and cut in two at every offset."""
    yield [data]
    yield [data[i:i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def test_no_body_takes_nothing():
    assert step_body(NONE, 0, [b"next"]) == (DONE, b"", b"next", False)
    assert step_body(LENGTH, 0, [b"next"]) == (DONE, b"", b"next", False)


def test_length_ends_where_it_says():
    for pieces in cuts(b"hello" + b"next"):
        assert step_body(LENGTH, 5, pieces) == (DONE, b"hello", b"next", False)


@pytest.mark.parametrize("length", [6, 2**32 + 5, 2**62])
def test_length_that_is_not_there_yet(length):
    for pieces in cuts(b"hello"):
        assert step_body(LENGTH, length, pieces) == (OPEN, b"hello", b"", False)


def test_until_the_end_of_the_connection():
    for pieces in cuts(b"all of this"):
        assert step_body(CLOSE, 0, pieces) == (OPEN, b"all of this", b"", False)


def test_chunks_end_before_their_trailers():
    for pieces in cuts(b"3\r\none\r\n5;ext=1\r\nthree\r\n0\r\nx: y\r\n\r\n"):
        assert step_body(CHUNKED, 0, pieces) == (TRAILERS, b"onethree", b"x: y\r\n\r\n", False)


@pytest.mark.parametrize("bad", [b"x\r\n", b"3\r\nonex", b"3\none\r\n", b"-1\r\n", b"\r\n", b"3 0\r\none\r\n",
                                 b"10000000000000000\r\n"])
def test_broken_chunks_are_refused_wherever_they_are_cut(bad):
    for pieces in cuts(b"2\r\nok\r\n" + bad):
        state, payload, _, refused = step_body(CHUNKED, 0, pieces)
        assert refused and payload.startswith(b"ok") and state == OPEN


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(1, 60), max_size=8))
def test_any_chunks_cut_anywhere(chunks, sizes):
    data = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + b"\r\nnext"
    pieces = []
    at = 0
    for n in sizes:
        pieces.append(data[at:at + n])
        at += n
    pieces.append(data[at:])
    assert step_body(CHUNKED, 0, [p for p in pieces if p]) == (TRAILERS, b"".join(chunks), b"\r\nnext", False)
