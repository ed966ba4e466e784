"""What all picks have in common, and the avoidance of endpoints that cannot be connected to."""

import pytest

from probes.wire import ALGORITHMS, ROUND_ROBIN, SECOND, cluster, decoded, endpoints, snapshot

ALL = pytest.mark.parametrize("lb", ALGORITHMS.values(), ids=ALGORITHMS)
WEIGHTED = pytest.mark.parametrize("is_weighted", [False, True])


def one_cluster(count: int, lb: int, is_weighted: bool = False, seed: int = 1, **more):
    weights = [1 + i % 3 for i in range(count)] if is_weighted else [1] * count
    return decoded(snapshot(clusters=[cluster(endpoints(count, weights), lb=lb, **more)]), seed)


@ALL
def test_the_name_of_the_algorithm(lb):
    with one_cluster(2, lb) as s:
        assert ALGORITHMS[s.dump()["clusters"][0]["ops"]] == lb


@ALL
def test_no_endpoint_no_pick(lb):
    with one_cluster(0, lb) as s:
        assert s.pick() is None
        assert s.pick(ops_only=True) is None


@ALL
def test_one_endpoint_is_picked_even_when_avoided(lb):
    with one_cluster(1, lb) as s:
        assert s.pick() == 0
        s.set_avoid(0, 10)
        assert s.pick(now_ns=5, ops_only=True) is None
        assert s.pick(now_ns=5) == 0
        assert s.pick(now_ns=5, tried=[0]) is None


@ALL
@WEIGHTED
@pytest.mark.parametrize("count", [2, 3, 4, 5, 50])
def test_each_endpoint_is_tried_once_then_none_is_left(lb, is_weighted, count):
    for seed in range(20):
        with one_cluster(count, lb, is_weighted, seed) as s:
            tried: list[int] = []
            while (pick := s.pick(tried=tried)) is not None:
                assert pick not in tried
                tried.append(pick)
            assert sorted(tried) == list(range(count))


@ALL
@WEIGHTED
def test_all_avoided_gives_the_one_that_is_free_first(lb, is_weighted):
    with one_cluster(20, lb, is_weighted) as s:
        until = [1000 + (7 * i + 5) % 20 for i in range(20)]
        for i, each in enumerate(until):
            s.set_avoid(i, each)
        tried: list[int] = []
        for expected in sorted(range(20), key=lambda i: until[i]):
            assert s.pick(now_ns=999, tried=tried, ops_only=True) is None
            assert s.pick(now_ns=999, tried=tried) == expected
            tried.append(expected)
        assert s.pick(now_ns=999, tried=tried) is None


@ALL
@WEIGHTED
def test_an_avoidance_ends_on_time(lb, is_weighted):
    with one_cluster(6, lb, is_weighted) as s:
        for i in range(6):
            s.set_avoid(i, 1000 + i)
        assert s.picks(300, now_ns=999)[0] == 300
        for now in range(1000, 1006):
            counts = s.picks(600, now_ns=now)
            assert [count > 0 for count in counts] == [1000 + i <= now for i in range(6)]


@ALL
def test_a_failed_connect_is_avoided_twice_as_long_each_time(lb):
    with one_cluster(3, lb) as s:
        now = 5 * SECOND
        for expected in [1, 2, 4, 8, 16, 30, 30, 30, 30]:
            until = s.connect_failed(1, now)
            pause = (until - now) / SECOND
            assert 0.8 * expected <= pause <= 1.2 * expected
            assert 1 not in {s.pick(now_ns=until - 1) for _ in range(50)}
            now = until
        live = s.live_of(1)
        assert live["failures"] == 9
        s.connect_ok(1)
        assert (s.live_of(1)["failures"], s.live_of(1)["avoid_until"]) == (0, 0)
        assert s.picks(300, now_ns=now)[1] > 50
        assert s.connect_failed(1, now) - now <= 1.2 * SECOND


def test_rows_tell_of_failures():
    with one_cluster(3, ROUND_ROBIN) as s:
        s.connect_failed(1, SECOND)
        row = s.row(1)
        assert (row["failures"], row["connect_failures"]) == (1, 1)
        assert row["avoid_until_ns"] == s.live_of(1)["avoid_until"]
        s.connect_ok(1)
        assert s.row(1)["avoid_until_ns"] == 0
        assert s.row(0)["failures"] == 0


def test_connects_that_fail_together_count_as_one_piece_of_news():
    with one_cluster(3, ROUND_ROBIN) as s:
        until = s.connect_failed(0, SECOND)
        for _ in range(100):
            assert s.connect_failed(0, SECOND + 1) == until
        assert s.live_of(0)["failures"] == 1
        assert s.row(0)["connect_failures"] == 101


def test_pauses_differ():
    pauses = set()
    for seed in range(100):
        with one_cluster(2, ROUND_ROBIN, seed=seed) as s:
            pauses.add(s.connect_failed(0, 0))
    assert len(pauses) > 95
    assert min(pauses) < 0.85 * SECOND and max(pauses) > 1.15 * SECOND


@pytest.mark.parametrize(("base", "most", "expected"), [(0, 0, 0), (0, SECOND, 0), (SECOND, 0, 0), (5, 3, 3),
                                                        (2**60, 2**60, 2**60)])
def test_odd_limits_of_avoidance(base, most, expected):
    with one_cluster(2, ROUND_ROBIN, avoid_base=base, avoid_max=most) as s:
        for _ in range(3):
            now = s.live_of(0)["avoid_until"] + 1
            assert s.connect_failed(0, now) - now <= 1.2 * expected
