"""Which cluster a key gets: by its weight, the same again, and another one only when it has to."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.filter.split import choose

KEYS = [f"user-{i}" for i in range(40_000)]


def chosen(weights):
    return [choose(weights, key) for key in KEYS]


@pytest.mark.parametrize("weights", [
    {"app": 90, "app-next": 10}, {"app": 0.995, "app-next": 0.005}, {"a": 1, "b": 2, "c": 3, "d": 4}, {"a": 1},
    {"a": 1e-300, "b": 1e-300}, {f"c{i}": 1 for i in range(64)}])
def test_each_gets_its_share(weights):
    found, total = Counter(chosen(weights)), sum(weights.values())
    for name, weight in weights.items():
        expected = len(KEYS) * weight / total
        # Five standard deviations of the binomial distribution.
        assert abs(found[name] - expected) <= 5 * (expected * (1 - weight / total)) ** 0.5 + 1


def test_a_weight_of_0_gets_nothing():
    assert set(chosen({"app": 100, "next": 0, "old": 0.0})) == {"app"}


def test_a_weight_that_is_lost_beside_another_breaks_nothing():
    assert set(chosen({"app": 1e300, "next": 5e-324})) == {"app"}


def test_five_percent_more_move_five_percent():
    before, after = chosen({"app": 90, "app-next": 10}), chosen({"app": 85, "app-next": 15})
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert set(moved) == {("app", "app-next")}       # who was in stays in
    assert 0.045 < len(moved) / len(KEYS) < 0.055


def test_among_three_few_more_move_than_must():
    before, after = chosen({"a": 50, "b": 25, "c": 25}), chosen({"a": 45, "b": 25, "c": 30})
    moved = sum(a != b for a, b in zip(before, after, strict=True)) / len(KEYS)
    assert 0.05 <= moved < 0.07
    assert not any(a == "c" != b for a, b in zip(before, after, strict=True))


def test_one_more_takes_only_for_itself():
    before, after = chosen({"a": 2, "b": 1}), chosen({"a": 2, "b": 1, "c": 1})
    assert {(a, b) for a, b in zip(before, after, strict=True) if a != b} == {("a", "c"), ("b", "c")}


def test_neither_order_nor_sum_counts():
    ways = [chosen(dict(order)) for order in permutations({"a": 1, "b": 2, "c": 3}.items())]
    ways.append(chosen({"a": 10, "b": 20, "c": 30}))
    assert all(way == ways[0] for way in ways)


def test_splits_of_other_clusters_are_independent():
    both = Counter(zip(chosen({"a": 1, "b": 1}), chosen({"c": 1, "d": 1}), strict=True))
    assert all(abs(n / len(KEYS) - 0.25) < 0.015 for n in both.values()) and len(both) == 4


def test_the_choice_is_the_same_for_ever():
    """Whoever changes these moves the users of everybody who upgrades."""
    moved = [i for i in range(64) if choose({"app": 80, "next": 20}, f"user-{i}") == "next"]
    assert moved == [3, 5, 6, 9, 14, 20, 24, 27, 28, 32, 40, 41, 42, 55, 62]


def test_str_and_bytes_are_the_same_key():
    assert choose({"a": 1, "b": 1}, "käse") == choose({"a": 1, "b": 1}, "käse".encode())


@pytest.mark.parametrize(("weights", "by", "says"), [
    ({}, "k", "a split of nothing"), ([("a", 1)], "k", "a split by list: a mapping of clusters to weights"),
    (None, "k", "a split by NoneType"), ("app", "k", "a split by str"),
    ({"a": 0, "b": 0}, "k", "all weights of the split are 0"), ({"a": -1}, "k", "the weight of 'a' is -1"),
    ({"a": float("nan")}, "k", "the weight of 'a' is nan"), ({"a": float("inf")}, "k", "the weight of 'a' is inf"),
    ({"a": "90"}, "k", "the weight of 'a' is '90'"), ({"a": [1]}, "k", "the weight of 'a' is [1]"),
    ({"a": 10**400}, "k", "the weight of 'a' is 1"), ({"a": None}, "k", "a number from 0 up is allowed"),
    ({"a": 1.7e308, "b": 1.7e308}, "k", "too large to be added up"), ({7: 1}, "k", "7 is no name of a cluster"),
    ({f"c{i}": 1 for i in range(65)}, "k", "a split over 65 clusters: at most 64"),
    ({"a": 1}, 7, "by=7: a str, bytes, or None"), ({"a": 1}, None, "by=None"),
])
def test_what_is_no_split(weights, by, says):
    for _ in range(2):      # what is wrong is wrong the second time, too
        with pytest.raises((ValueError, TypeError)) as caught:
            choose(weights, by)
        assert says in str(caught.value)


def test_what_is_kept_of_splits_is_bounded():
    for i in range(2000):
        assert choose({"a": i + 1}, "k") == "a"


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.floats(0, 1e9), min_size=1, max_size=8), st.binary(max_size=20))
def test_any_split(weights, by):
    if not any(weights.values()):
        return
    found = choose(weights, by)
    assert weights[found] > 0 and choose(weights, by) == found
