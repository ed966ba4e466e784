"""The hash of byte ranges: every byte counts, and the low bits are good enough to index with."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from probes.mem_probe import hash_of


@given(st.binary(max_size=200))
def test_equal_bytes_hash_equal(what):
    assert hash_of(what) == hash_of(bytes(bytearray(what)))


def test_every_bit_changes_about_half_of_the_hash():
    rng = random.Random(1)
    flips = []
    for n in [*range(1, 40), 63, 64, 65, 200]:
        what = bytearray(rng.randbytes(n))
        before = hash_of(bytes(what))
        for bit in range(8 * n):
            what[bit // 8] ^= 1 << bit % 8
            flips.append((before ^ hash_of(bytes(what))).bit_count())
            what[bit // 8] ^= 1 << bit % 8
    assert min(flips) >= 8
    assert abs(sum(flips) / len(flips) - 32) < 1


def test_length_and_seed_count():
    assert len({hash_of(bytes(n)) for n in range(100)}) == 100
    assert len({hash_of(b"name", seed) for seed in range(100)}) == 100


def test_names_that_differ_little_spread_over_a_table():
    for names in ([f"service-{i}.ns.svc.cluster.local" for i in range(16_384)], [f"/api/v1/{i}" for i in range(16_384)],
                  [str(i) for i in range(16_384)]):
        places = Counter(hash_of(name.encode()) & 16_383 for name in names)
        # Balls into bins: a fullest bin of 8 is already rare.
        assert max(places.values()) <= 12
        assert 0.60 < len(places) / 16_384 < 0.66
        assert len({hash_of(name.encode()) for name in names}) == 16_384
