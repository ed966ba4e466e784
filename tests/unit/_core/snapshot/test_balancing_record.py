"""What a snapshot says of balancing is read with care: each fault with its place. What it says well is read in
tests/unit/config/test_balancing.py."""

from typing import Any

import pytest

from probes.snapshot_probe import Snapshot
from probes.wire import SECOND, cluster, endpoints, pack, registry, snapshot

HASH = [[[3, "", False, 0, ""]], 160, 65_537, 125]
GOOD: list[Any] = [[SECOND, SECOND, SECOND, SECOND], HASH, [SECOND, 1000, 100_000], 500_000, [700_000, [2, 1]],
                   [1, "home", 60, "/", bytes(16)]]
EWMA, HASHING, SLOW_START, PANIC, LEVELS, STICKY = range(6)


def of(place: int, value: Any) -> list[Any]:
    return [value if i == place else item for i, item in enumerate(GOOD)]


def key(*parts: Any) -> list[Any]:
    return of(HASHING, [[list(parts)], 160, 65_537, 0])


def refusal(balancing: Any) -> str:
    with registry() as r, pytest.raises(ValueError) as caught:
        Snapshot(pack(snapshot(clusters=[cluster(endpoints(3), balancing=balancing)])), r)
    found = str(caught.value)
    assert found.startswith("clusters[0].balancing")
    return found.removeprefix("clusters[0].balancing")


def test_everything_at_once_is_taken():
    with registry() as r:
        s = Snapshot(pack(snapshot(clusters=[cluster(endpoints(3), balancing=GOOD)])), r)
        assert sum(s.picks(100, now_ns=SECOND)) == 100
        s.close()


@pytest.mark.parametrize(("balancing", "why"), [
    ([], ": found an array of 0, must be of 6"),
    ({}, ": found a map, must be an array"),
    (of(EWMA, [1, 2, 3]), ".ewma: found an array of 3, must be of 4"),
    (of(EWMA, [2**60 + 1, 2, 3, 4]), ".ewma.decay: found 1152921504606846977, must be at most 1152921504606846976"),
    (of(HASHING, [[HASH[0][0]] * 9, 160, 65_537, 0]), ".hash.keys: found an array of 9, must be of at most 8"),
    (key(4, "", False, 0, ""), ".hash.keys[0].kind: found 4, must be at most 3"),
    (key(0, "X", False, 0, ""), ".hash.keys[0].name: must be a token in lower case"),
    (key(1, "a b", False, 0, ""), ".hash.keys[0].name: must be a token"),
    (key(2, "", False, 0, ""), ".hash.keys[0].name: found 0 bytes, must be at least 1"),
    (key(3, "x", False, 0, ""), ".hash.keys[0].name: found 1 bytes, must be at most 0"),
    (key(0, "x", True, 0, ""), ".hash.keys[0].is_made: must be false, as this is no cookie"),
    (key(1, "x", True, 2**32, ""), ".hash.keys[0].ttl: found 4294967296, must be at most 4294967295"),
    (key(1, "x", True, 0, "/\n"), ".hash.keys[0].path: found the control character 0x0a, which is not allowed"),
    (of(HASHING, [[], 0, 3, 0]), ".hash.points: found 0, must be at least 1"),
    (of(HASHING, [[], 1, 2, 0]), ".hash.table_size: found 2, must be at least 3"),
    (of(HASHING, [[], 1, 65_536, 0]), ".hash.table_size: must be a prime number"),
    (of(HASHING, [[], 1, 1021 * 1021, 0]), ".hash.table_size: must be a prime number"),
    (of(HASHING, [[], 1, 2**20, 0]), ".hash.table_size: found 1048576, must be at most 1048573"),
    (of(HASHING, [[], 1, 3, 10_001]), ".hash.load_bound: found 10001, must be at most 10000"),
    (of(SLOW_START, [1, 0, 0]), ".slow_start.aggression: found 0, must be at least 1"),
    (of(SLOW_START, [1, 1, 1_000_001]), ".slow_start.least: found 1000001, must be at most 1000000"),
    (of(PANIC, None), ".panic: found nil, must be a number"),
    (of(PANIC, 1_000_001), ".panic: found 1000001, must be at most 1000000"),
    (of(LEVELS, [0, [1, 1]]), ".levels.counts: must add up to the number of endpoints"),
    (of(LEVELS, [0, []]), ".levels.counts: must add up to the number of endpoints"),
    (of(LEVELS, [0, [2**32 - 1, 4]]), ".levels.counts: must add up to the number of endpoints"),
    (of(LEVELS, [0, [1] * 257]), ".levels.counts: found an array of 257, must be of at most 256"),
    (of(LEVELS, [1_000_001, [3]]), ".levels.spill_below: found 1000001, must be at most 1000000"),
    (of(STICKY, [0, "c", 0, "/", bytes(16)]), ".sticky.kind: found 0, must be at least 1"),
    (of(STICKY, [3, "c", 0, "/", bytes(16)]), ".sticky.kind: found 3, must be at most 2"),
    (of(STICKY, [2, "X", 0, "/", bytes(16)]), ".sticky.name: must be a token in lower case"),
    (of(STICKY, [1, "c", 0, "/", bytes(15)]), ".sticky.secret: found 15 bytes, must be at least 16"),
    (of(STICKY, [1, "c", 0, "/", bytes(17)]), ".sticky.secret: found 17 bytes, must be at most 16"),
])
def test_what_must_not_be_said(balancing, why):
    assert refusal(balancing) == why
