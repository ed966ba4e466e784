"""An endpoint that is new, or has come back, gets its share little by little, whatever the algorithm."""

from contextlib import contextmanager

import pytest

from fastmesh.observe.stats import warm_share
from probes.snapshot_probe import Snapshot
from probes.wire import (
    ALGORITHMS,
    FAILURE_AWARE_EWMA,
    MAGLEV,
    PEAK_EWMA,
    RING_HASH,
    ROUND_ROBIN,
    SECOND,
    cluster,
    endpoints,
    pack,
    registry,
    snapshot,
)

ALL = pytest.mark.parametrize("lb", ALGORITHMS.values(), ids=ALGORITHMS)
WINDOW = 100 * SECOND


def record(window: int = WINDOW, aggression: int = 1000, least: int = 100_000):
    return [None, None, [window, aggression, least], 0, None, None]


@contextmanager
def one_more(lb: int, count: int = 9, new: int = 1, weights: tuple[int, ...] = (), balancing=None):
    """A cluster that gets new endpoints, at the end of its list, by a second snapshot."""
    weights = weights or (1,) * (count + new)
    balancing = balancing or record()
    with registry(count + new) as r:
        first = Snapshot(pack(snapshot(clusters=[cluster(endpoints(count, weights[:count]), lb=lb,
                                                         balancing=balancing)])), r)
        second = Snapshot(pack(snapshot(clusters=[cluster(endpoints(count + new, weights), lb=lb,
                                                          balancing=balancing)], version=2)), r)
        first.close()
        if lb in (PEAK_EWMA, FAILURE_AWARE_EWMA):
            for i in range(count + new):
                second.observe(i, SECOND // 100, now_ns=SECOND)
        yield second
        second.close()


def share(s: Snapshot, at: int, now: int, count: int = 40_000) -> float:
    picks = s.picks(count, now_ns=now)
    return picks[at] / count


@ALL
def test_the_share_grows_with_the_time(lb):
    with one_more(lb) as s:
        start = 5 * SECOND
        # The window begins when it is first looked at.
        while s.live_of(9)["warm_since"] == 1:
            s.pick(now_ns=start)
        shares = [share(s, 9, start + part * WINDOW // 100) for part in (0, 5, 25, 50, 75, 99)]
        full = share(s, 9, start + WINDOW)
        assert abs(full - 0.1) < 0.03
        for part, now in zip((0.1, 0.1, 0.25, 0.5, 0.75, 0.99), shares, strict=True):
            assert abs(now - part * full) < 0.012
        assert s.live_of(9)["warm_since"] == 0


@pytest.mark.parametrize("weights", [(1, 2, 3, 4), (5, 5, 5, 90)])
@pytest.mark.parametrize("lb", [v for k, v in ALGORITHMS.items() if "hash" not in k and k != "least_request"])
def test_it_is_the_part_of_its_weight(lb, weights):
    with one_more(lb, 3, weights=weights) as s:
        s.picks(100, now_ns=SECOND)
        expected = weights[3] / sum(weights) / 2
        assert abs(share(s, 3, SECOND + WINDOW // 2) - expected) < 0.02 + 0.3 * expected


@pytest.mark.parametrize(("aggression", "at", "part"), [
    (1000, 0.36, 0.36), (2000, 0.36, 0.6), (500, 0.5, 0.25), (10_000, 0.5, 0.933), (1000, 0.01, 0.1)])
def test_aggression_bends_the_line(aggression, at, part):
    with one_more(ROUND_ROBIN, balancing=record(aggression=aggression)) as s:
        s.picks(20, now_ns=SECOND)
        assert abs(share(s, 9, SECOND + int(at * WINDOW)) - 0.1 * part) < 0.006


@pytest.mark.parametrize("lb", [RING_HASH, MAGLEV])
def test_keys_come_one_by_one_and_stay(lb):
    with one_more(lb) as s:
        s.owners(100, now_ns=SECOND)
        before: set[int] = set()
        for part in (0, 20, 40, 60, 80, 100):
            owners = s.owners(5000, now_ns=SECOND + part * WINDOW // 100)
            now = {key for key, owner in enumerate(owners) if owner == b"e9"}
            assert before <= now
            before = now
        assert len(before) > 300


@ALL
def test_a_cluster_that_begins_has_nobody_to_wait_for(lb):
    with registry(4) as r:
        s = Snapshot(pack(snapshot(clusters=[cluster(endpoints(4), lb=lb, balancing=record())])), r)
        assert [s.live_of(i)["warm_since"] for i in range(4)] == [0] * 4
        s.close()


@ALL
def test_when_all_are_new_all_are_equal(lb):
    with one_more(lb, 1, 9) as s:
        s.set_avoid(0, 2**63)
        counts = s.picks(9000, now_ns=SECOND)
        assert counts[0] == 0
        assert all(count > 500 for count in counts[1:])


@ALL
def test_one_that_comes_back_warms_up_again(lb):
    with one_more(lb, 10, 0) as s:
        assert s.live_of(3)["warm_since"] == 0
        s.connect_failed(3, SECOND)
        s.connect_ok(3)
        s.picks(100, now_ns=2 * SECOND)
        assert 0 < share(s, 3, 2 * SECOND) < 0.03
        assert share(s, 3, 3 * SECOND + WINDOW) > 0.06


def test_without_slow_start_new_ones_have_their_share_at_once():
    with one_more(ROUND_ROBIN, balancing=[None, None, None, 0, None, None]) as s:
        assert s.picks(1000, now_ns=SECOND) == [100] * 10


@ALL
@pytest.mark.parametrize("balancing", [record(1, 1, 0), record(2**60, 1_000_000, 0), record(2**60, 1000, 1_000_000)])
def test_any_settings(lb, balancing):
    with one_more(lb, 2, 3, balancing=balancing) as s:
        for now in (0, 1, 2, 3, 2**62, 5):
            assert sum(s.picks(100, now_ns=now)) == 100
            for tried in ([0], [0, 1], [0, 1, 2, 3]):
                assert s.pick(now_ns=now, tried=tried) not in tried
        assert s.pick(now_ns=9, tried=list(range(5))) is None


@ALL
def test_those_who_look_on_see_since_when(lb):
    def both(s, i):
        assert s.row(i)["warm_since_ns"] == s.live_of(i)["warm_since"]
        return s.row(i)["warm_since_ns"]

    with one_more(lb, 9, 1) as s:
        assert both(s, 0) == 0 and both(s, 9) == 1
        s.picks(1000, now_ns=2 * SECOND)
        assert both(s, 9) == 2 * SECOND
        s.picks(1000, now_ns=3 * SECOND + WINDOW)
        assert both(s, 9) == 0
        s.connect_failed(3, 4 * SECOND + WINDOW)
        s.connect_ok(3)
        assert both(s, 3) == 1


@pytest.mark.parametrize(("aggression", "least"), [(1000, 100_000), (2000, 0), (500, 0), (1000, 400_000)])
@pytest.mark.parametrize("at", [1, 25, 50, 90])
def test_what_they_make_of_it_is_the_share_that_it_has(aggression, least, at):
    balancing = record(aggression=aggression, least=least)
    with one_more(ROUND_ROBIN, 9, 1, balancing=balancing) as s:
        s.picks(1000, now_ns=SECOND)
        now = SECOND + WINDOW * at // 100
        told = warm_share(s.row(9)["warm_since_ns"], balancing[2], now)
        assert abs(s.picks(40_000, now_ns=now)[9] / 4000 - told) < 0.05


@pytest.mark.parametrize(("jump", "begins_anew"), [(86_400 * SECOND, False), (-3_600 * SECOND, True)])
def test_a_clock_that_jumps(jump, begins_anew):
    """Set back it begins anew, by the clock as it is then: it is not cold for as long as the clock was set back."""
    start = 10_000 * SECOND
    with one_more(ROUND_ROBIN) as s:
        s.picks(20, now_ns=start)
        assert abs(share(s, 9, start + WINDOW // 2) - 0.05) < 0.006
        now = start + jump
        assert abs(share(s, 9, now) - (0.01 if begins_anew else 0.1)) < 0.006
        assert abs(share(s, 9, now + WINDOW // 2) - (0.05 if begins_anew else 0.1)) < 0.006
        assert abs(share(s, 9, now + WINDOW) - 0.1) < 0.006
