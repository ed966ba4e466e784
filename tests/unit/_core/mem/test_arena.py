"""Arenas: zeroed, aligned, disjoint, freed all at once."""

import os
import random
import subprocess
import sys
from itertools import pairwise

import pytest

from probes.mem_probe import Arena, alive, take_heap


@pytest.fixture(autouse=True)
def nothing_stays():
    before = alive()
    yield
    assert alive() == before


@pytest.mark.parametrize("first", [0, 1, 4096, 100_000])
def test_blocks_are_zeroed_aligned_and_disjoint(first):
    rng = random.Random(first)
    arena = Arena(first)
    taken = []
    for i in range(2000):
        n = rng.choice([0, 1, 15, 16, 17, 100, 4096, 4097, rng.randrange(20_000)] + [1 << 20] * (i % 400 == 0))
        at, was_zero = arena.take(n, i % 255 + 1)
        assert was_zero and at % 16 == 0
        taken.append((at, n, i % 255 + 1))
    for at, n, fill in taken:
        assert arena.read(at, n) == bytes([fill]) * n
    spans = sorted((at, n) for at, n, _ in taken if n)
    assert all(at + n <= later for (at, n), (later, _) in pairwise(spans))
    arena.close()


def test_many_small_ones_take_few_chunks():
    before = alive()
    arena = Arena(0)
    for _ in range(100_000):
        arena.take(10, 1)
    held = alive()[1] - before[1]
    arena.close()
    assert held < 3 * 1_600_000


def test_copies():
    arena = Arena(0)
    assert arena.dup(b"") == b""
    assert arena.dup(b"abc\0def") == b"abc\0def"
    assert arena.array(3, 5) % 16 == 0
    arena.close()


def test_closing_nothing():
    arena = Arena(0)
    arena.close()
    arena.close()


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 4096, 1_000_000])
def test_heap_blocks(n):
    at, was_zero = take_heap(n)
    assert was_zero and at == (0 if n >= 64 else at) and at % 16 == 0


@pytest.mark.parametrize("call", ["array(2**63, 4)", "array(2**33, 2**33)", "array(1, 2**64 - 1)",
                                  "array(2**64 - 8, 1)"])
def test_sizes_that_overflow_end_the_process(call):
    code = f"from probes.mem_probe import Arena; Arena(0).{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -6
    assert "no memory" in done.stderr
