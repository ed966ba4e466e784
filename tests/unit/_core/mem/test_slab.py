"""Slabs: objects on cache lines of their own, handed out once."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.parts_probe import Slab


@pytest.mark.parametrize("size", [8, 63, 64, 65, 200, 4000])
@pytest.mark.parametrize("per_chunk", [1, 3, 128])
def test_objects_are_aligned_and_apart(size, per_chunk):
    slab = Slab(size, per_chunk)
    assert slab.size % 64 == 0 and size <= slab.size < size + 64
    taken = [slab.take(i % 256) for i in range(300)]
    assert all(at % 64 == 0 for at in taken)
    gaps = sorted(taken)
    assert all(b - a >= slab.size for a, b in pairwise(gaps))
    assert all(slab.read(at) == bytes([i % 256]) * slab.size for i, at in enumerate(taken))
    assert slab.live == 300
    for at in taken:
        slab.give(at)
    assert slab.live == 0
    slab.close()


def test_what_was_given_back_is_taken_first():
    slab = Slab(64, 4)
    first = slab.take(1)
    slab.give(first)
    assert slab.take(2) == first
    slab.give(first)
    slab.close()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=200), st.sampled_from([1, 2, 7, 64]))
def test_against_a_set(steps, per_chunk):
    slab = Slab(100, per_chunk)
    held = {}
    for n, (takes, i) in enumerate(steps):
        if takes:
            at = slab.take(n % 256)
            assert at not in held
            held[at] = n % 256
        elif held:
            at = sorted(held)[i % len(held)]
            assert slab.read(at) == bytes([held.pop(at)]) * slab.size
            slab.give(at)
        assert slab.live == len(held)
    assert all(slab.read(at) == bytes([fill]) * slab.size for at, fill in held.items())
    slab.close()
