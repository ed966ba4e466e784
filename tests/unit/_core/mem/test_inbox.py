"""Bytes that wait: in order, moved as little as possible, within a bound."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.parts_probe import Inbox

LIMIT = -4
MOST = 524_288


def test_small_ones_lie_in_a_small_block():
    inbox = Inbox()
    assert inbox.live == 0
    assert inbox.add(b"one ") == 0 and inbox.add(b"two") == 0
    assert inbox.content == b"one two" and inbox.capacity == 4096 and inbox.live == 1
    inbox.clear()
    assert inbox.live == 0
    inbox.close()


@pytest.mark.parametrize("size, capacity", [(4096, 4096), (4097, 65_536), (65_536, 65_536), (65_537, 131_072),
                                            (MOST, MOST)])
def test_it_grows_as_it_must(size, capacity):
    inbox = Inbox()
    body = bytes(i % 251 for i in range(size))
    for at in range(0, size, 4000):
        assert inbox.add(body[at:at + 4000]) == 0
    assert inbox.content == body and inbox.capacity == capacity and inbox.live == 1
    inbox.close()


def test_there_is_an_end_to_it():
    inbox = Inbox()
    assert inbox.add(bytes(MOST)) == 0
    assert inbox.add(b"x") == LIMIT
    assert inbox.content == bytes(MOST)
    inbox.close()


def test_room_in_front_is_used_before_another_block():
    inbox = Inbox()
    inbox.add(bytes(4000))
    inbox.consume(3900)
    inbox.add(b"x" * 3000)
    assert inbox.capacity == 4096 and inbox.content == bytes(100) + b"x" * 3000
    inbox.close()


def test_bytes_that_somebody_holds_are_not_written_over():
    """A piece that is queued to a slow reader lies in the very block."""
    inbox = Inbox()
    inbox.add(b"held" + b"." * 3000)
    _, block = inbox.consume(4, keep=True)
    for _ in range(5):
        inbox.add(b"x" * 500)
    assert inbox.held(block)[:3004] == b"held" + b"." * 3000
    assert inbox.content == b"." * 3000 + b"x" * 2500
    inbox.close()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.tuples(st.just("add"), st.sampled_from([1, 7, 1000, 4096, 5000, 70_000])),
                          st.tuples(st.sampled_from(["consume", "keep"]), st.integers(0, 100))), max_size=30))
def test_against_bytes(steps):
    inbox = Inbox()
    content = b""
    held = []
    for n, (what, size) in enumerate(steps):
        if what == "add":
            piece = bytes([n % 256]) * size
            if len(content) + size > MOST:
                assert inbox.add(piece) == LIMIT
            else:
                assert inbox.add(piece) == 0
                content += piece
        elif content:
            take = max(1, len(content) * size // 100)
            got, block = inbox.consume(take, keep=what == "keep")
            assert got == content[:take]
            if block is not None:
                held.append((block, got))
            content = content[take:]
        assert inbox.content == content
    for block, got in held:
        assert got in inbox.held(block)
    inbox.clear()
    assert inbox.live == 0
    inbox.close()
