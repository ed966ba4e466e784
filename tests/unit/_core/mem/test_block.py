"""Blocks: counted, kept for reuse up to a bound, and all given back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.parts_probe import LARGE, SMALL, Blocks


def test_last_reference_frees_and_the_next_block_is_the_same():
    blocks = Blocks()
    k = blocks.new(SMALL, 1)
    blocks.get(k)
    blocks.put(k)
    assert blocks.look(k)[0] == 1 and blocks.counts() == (1, 1, 0, 0)
    blocks.put(k)
    assert blocks.counts() == (0, 1, 1, 0)
    assert blocks.new(SMALL, 2) == k
    assert blocks.counts() == (1, 1, 0, 0)
    blocks.put(k)
    blocks.close()


def test_sizes_do_not_mix_and_odd_ones_are_not_kept():
    blocks = Blocks()
    small, large, odd = blocks.new(SMALL, 1), blocks.new(LARGE, 2), blocks.new(3 * LARGE, 3)
    assert [blocks.look(k)[1] for k in (small, large, odd)] == [SMALL, LARGE, 3 * LARGE]
    for k in (small, large, odd):
        blocks.put(k)
    assert blocks.counts() == (0, 2, 1, 1)
    assert blocks.new(LARGE, 0) == large
    blocks.put(large)
    blocks.close()
    assert blocks.counts()[:2] == (0, 0)


def test_a_burst_leaves_a_bounded_mark():
    blocks = Blocks()
    taken = [blocks.new(size, 0) for size in (SMALL, LARGE) for _ in range(400)]
    assert blocks.counts()[:2] == (800, 800)
    for k in taken:
        blocks.put(k)
    live, total, small, large = blocks.counts()
    assert live == 0 and total == small + large
    assert small <= 256 and large <= 12
    blocks.close()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["small", "large", "get", "put"]), st.integers(0, 30)), max_size=120))
def test_against_a_list(steps):
    blocks = Blocks()
    held = []           # [block, references, capacity, fill]
    for n, (what, i) in enumerate(steps):
        if what in ("small", "large"):
            cap = SMALL if what == "small" else LARGE
            held.append([blocks.new(cap, n % 251), 1, cap, n % 251])
        elif held:
            one = held[i % len(held)]
            if what == "get":
                blocks.get(one[0])
                one[1] += 1
            else:
                blocks.put(one[0])
                one[1] -= 1
                if one[1] == 0:
                    held.remove(one)
        assert blocks.counts()[0] == len(held)
        assert len({one[0] for one in held}) == len(held)
    for block, refs, cap, fill in held:
        assert blocks.look(block) == (refs, cap, bytes([fill]) * cap)
        for _ in range(refs):
            blocks.put(block)
    live, total, small, large = blocks.counts()
    assert (live, total) == (0, small + large)
    blocks.close()
