"""Requests shared out among clusters."""

import random
from collections import Counter
from typing import Any

import pytest

from probes.snapshot_probe import Request
from probes.wire import cluster, decoded, listener, route, snapshot


def table(weights: list[int], header: str = "", cookie: str = ""):
    split = [[[i, weight] for i, weight in enumerate(weights)], header, cookie]
    return decoded(snapshot([listener([route(split=split)])],
                            [cluster([], i, f"c{i}") for i in range(len(weights))]))


def asked(**fields: str) -> Request:
    return Request(b"GET", b"", b"/",
                   [(name.replace("_", "-").encode(), text.encode()) for name, text in fields.items()])


@pytest.mark.parametrize("weights", [[90, 10], [1, 1, 1], [0, 5, 0, 5], [1, 2**24 - 1], [7]])
def test_by_chance(weights):
    rng = random.Random(3)
    with table(weights) as s:
        counts = Counter(s.split(asked(), rng.getrandbits(64)) for _ in range(20_000))
    for i, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(counts[i] - 20_000 * share) <= 6 * (20_000 * share * (1 - share)) ** 0.5 + (1 if share else 0)


@pytest.mark.parametrize(("sticky", "field"), [({"header": "x-user"}, "X_User"), ({"cookie": "u"}, "Cookie")])
def test_who_says_the_same_goes_the_same_way(sticky: dict[str, Any], field: str):
    rng = random.Random(4)
    counts: Counter[int] = Counter()
    with table([80, 20], **sticky) as s:
        for n in range(5_000):
            text = f"a=b; u=user-{n}" if "cookie" in sticky else f"user-{n}"
            ways = {s.split(asked(**{field: text}), rng.getrandbits(64)) for _ in range(3)}
            assert len(ways) == 1
            counts[ways.pop()] += 1
        assert len({s.split(asked(), rng.getrandbits(64)) for _ in range(200)}) == 2
        assert len({s.split(asked(**{field: ""}), rng.getrandbits(64)) for _ in range(200)}) == 2
    assert abs(counts[1] - 1_000) < 6 * (5_000 * 0.2 * 0.8) ** 0.5


def test_more_weight_for_the_last_moves_nobody_away_from_it():
    moved = []
    with table([90, 10], header="x-user") as before, table([70, 30], header="x-user") as after:
        for n in range(2_000):
            ways = [s.split(asked(X_User=str(n)), 0) for s in (before, after)]
            assert ways != [1, 0]
            moved.append(ways == [0, 1])
    assert abs(sum(moved) - 400) < 6 * (2_000 * 0.2 * 0.8) ** 0.5


def test_a_header_that_is_not_the_one():
    with table([1, 1], header="x-user") as s:
        assert len({s.split(asked(X_Users="a"), draw << 60) for draw in range(16)}) == 2
