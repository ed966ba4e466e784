"""Who is preferred keeps the requests while enough of them can be used; who is left at all when few can."""

import pytest

from fastmesh.snapshot.wire import WEIGHING
from probes.wire import ALGORITHMS, LEAST_REQUEST, ROUND_ROBIN, SECOND, cluster, decoded, endpoints, snapshot

ALL = pytest.mark.parametrize("lb", ALGORITHMS.values(), ids=ALGORITHMS)
BY_WEIGHT = pytest.mark.parametrize("lb", [ALGORITHMS[name] for name in WEIGHING], ids=WEIGHING)
MS = SECOND // 1000


def leveled(counts: list[int], lb: int = LEAST_REQUEST, spill_below: int = 700_000, panic: int = 0, seed: int = 1):
    levels = [spill_below, counts] if len(counts) > 1 else None
    total = sum(counts)
    balancing = [None, None, None, panic, levels, None]
    return decoded(snapshot(clusters=[cluster(endpoints(total), lb=lb, balancing=balancing)]), seed,
                   rows=max(1, total))


def by_level(s, counts: list[int], now: int, picks: int = 20_000) -> list[float]:
    """The part of the picks that each level got."""
    each = s.picks(picks, now_ns=now)
    shares, at = [], 0
    for count in counts:
        shares.append(sum(each[at:at + count]) / picks)
        at += count
    return shares


def avoid(s, which: range) -> None:
    for i in which:
        s.set_avoid(i, 2**63)


@ALL
def test_the_first_level_keeps_all_while_enough_can_be_used(lb):
    with leveled([10, 10, 10], lb) as s:
        assert by_level(s, [10, 10, 10], SECOND) == [1, 0, 0]
        avoid(s, range(3))
        assert by_level(s, [10, 10, 10], 3 * SECOND) == [1, 0, 0]
        assert s.picks(100, now_ns=3 * SECOND)[0] == 0


@ALL
def test_below_the_next_gets_what_is_missing(lb):
    """Half of the first can be used: 50 of 70 % are 71 % of the requests."""
    with leveled([10, 10, 10], lb) as s:
        avoid(s, range(5))
        one, two, three = by_level(s, [10, 10, 10], SECOND)
        assert abs(one - 5 / 7) < 0.02 and abs(two - 2 / 7) < 0.02 and three == 0
        avoid(s, range(10, 19))
        # A tenth of the second: 14 % there, and the rest to the third.
        one, two, three = by_level(s, [10, 10, 10], 3 * SECOND)
        assert abs(one - 5 / 7) < 0.02 and abs(two - 1 / 7) < 0.02 and abs(three - 1 / 7) < 0.02


@ALL
def test_when_all_lack_something_they_share_it(lb):
    with leveled([10, 10], lb) as s:
        avoid(s, range(7))
        avoid(s, range(10, 17))
        one, two = by_level(s, [10, 10], SECOND)
        assert abs(one - 0.5) < 0.02 and abs(two - 0.5) < 0.02


@ALL
def test_a_level_that_is_gone_gives_all_away_and_has_it_back(lb):
    with leveled([4, 4], lb) as s:
        avoid(s, range(4))
        assert by_level(s, [4, 4], SECOND) == [0, 1]
        for i in range(4):
            s.set_avoid(i, 0)
        assert by_level(s, [4, 4], 3 * SECOND) == [1, 0]


@pytest.mark.parametrize(("spill_below", "usable", "share"), [
    (1_000_000, 9, 0.9), (500_000, 5, 1), (500_000, 4, 0.8), (0, 1, 1), (0, 0, 0), (1, 1, 1)])
def test_where_it_spills_over_can_be_said(spill_below, usable, share):
    with leveled([10, 10], spill_below=spill_below) as s:
        avoid(s, range(usable, 10))
        assert abs(by_level(s, [10, 10], SECOND)[0] - share) < 0.02


def test_usable_ones_are_counted_again_after_a_while():
    with leveled([4, 4]) as s:
        assert by_level(s, [4, 4], SECOND) == [1, 0]
        avoid(s, range(2))
        # Not at once: but nobody is sent where nobody answers.
        assert by_level(s, [4, 4], SECOND + 9 * MS) == [1, 0]
        assert s.picks(100, now_ns=SECOND)[:2] == [0, 0]
        assert abs(by_level(s, [4, 4], SECOND + 10 * MS)[0] - 5 / 7) < 0.02


@ALL
def test_tried_ones_lead_to_the_next_level(lb):
    with leveled([2, 2, 1], lb) as s:
        tried: list[int] = []
        while (pick := s.pick(now_ns=SECOND, tried=tried)) is not None:
            tried.append(pick)
        assert [set(tried[:2]), set(tried[2:4]), tried[4:]] == [{0, 1}, {2, 3}, [4]]


@pytest.mark.parametrize("lb", [ALGORITHMS["ring_hash"], ALGORITHMS["maglev"]])
def test_a_key_stays_in_its_level(lb):
    with leveled([10, 10], lb) as s:
        avoid(s, range(5))
        owners = s.owners(2000, now_ns=SECOND)
        assert s.owners(2000, now_ns=SECOND) == owners
        second = sum(int(owner[1:]) >= 10 for owner in owners)
        assert abs(second / 2000 - 2 / 7) < 0.05


# --- panic ---

@ALL
def test_in_panic_all_are_asked(lb):
    with leveled([10], lb, panic=500_000) as s:
        avoid(s, range(5))
        assert s.picks(2000, now_ns=SECOND)[:5] == [0] * 5
        avoid(s, range(5, 6))
        counts = s.picks(4000, now_ns=3 * SECOND)
        assert all(count > 150 for count in counts)


def test_without_a_threshold_there_is_no_panic():
    with leveled([10]) as s:
        avoid(s, range(9))
        assert s.picks(100, now_ns=SECOND)[9] == 100


@ALL
def test_no_panic_while_another_level_has_room(lb):
    with leveled([10, 10], lb, panic=500_000) as s:
        avoid(s, range(9))
        assert s.picks(1000, now_ns=SECOND)[:9] == [0] * 9
        avoid(s, range(10, 17))
        # 1 of 7 and 3 of 7 are less than all there is to do.
        counts = s.picks(4000, now_ns=3 * SECOND)
        assert all(count > 0 for count in counts)


def test_when_all_are_gone_and_there_is_no_panic_the_first_to_come_back_is_asked():
    with leveled([2, 2]) as s:
        for i, until in enumerate((400, 300, 100, 200)):
            s.set_avoid(i, until * SECOND)
        assert s.pick(now_ns=SECOND) == 2


# --- sizes that nobody has in mind ---

@ALL
@pytest.mark.parametrize("counts", [[0, 3], [3, 0], [0, 0, 1], [1, 1], [0, 0], [1] * 256, [1, 9_999]])
def test_any_sizes(lb, counts):
    total = sum(counts)
    with leveled(counts, lb, panic=500_000) as s:
        for now in (0, 1, 5 * SECOND, 3):
            pick = s.pick(now_ns=now)
            assert (pick is None) == (total == 0)
        if total:
            first = next(i for i, count in enumerate(counts) if count)
            assert by_level(s, counts, 9 * SECOND, 50)[first] == 1
            for i in range(total):
                s.set_avoid(i, 2**63)
            assert s.pick(now_ns=20 * SECOND) is not None


def test_rounds_go_on_within_a_level():
    with leveled([3, 3], ROUND_ROBIN) as s:
        assert s.picks(300, now_ns=SECOND) == [100, 100, 100, 0, 0, 0]


@BY_WEIGHT
def test_weights_that_are_given_count_within_each_level(lb):
    with leveled([2, 3], lb) as s:
        s.weigh([1, 3, 1, 0, 1])
        one, two, *others = s.picks(20_000, now_ns=SECOND)
        assert abs(one / 20_000 - 1 / 4) < 0.02 and others == [0, 0, 0]
        avoid(s, range(2))
        one, two, three, four, five = s.picks(20_000, now_ns=3 * SECOND)
        assert (one, two, four) == (0, 0, 0) and abs(three - five) < 1_000
        s.weigh(None)
        assert min(s.picks(20_000, now_ns=5 * SECOND)[2:]) > 5_000


@BY_WEIGHT
def test_a_level_without_weights_is_none(lb):
    """Its requests go to the next, also when there is none that can be used and in panic."""
    with leveled([2, 2], lb, panic=500_000) as s:
        s.weigh([0, 0, 1, 1])
        assert by_level(s, [2, 2], SECOND) == [0, 1]
        avoid(s, range(2, 4))
        assert by_level(s, [2, 2], 3 * SECOND) == [0, 1]
        s.weigh([1, 0, 0, 0])
        assert s.picks(100, now_ns=5 * SECOND) == [100, 0, 0, 0]
        s.weigh([0, 0, 0, 0])
        assert by_level(s, [2, 2], 7 * SECOND) == [1, 0]


@BY_WEIGHT
def test_health_is_that_of_endpoints_with_a_weight(lb):
    with leveled([4, 4], lb) as s:
        s.weigh([1, 1, 0, 0, 1, 1, 1, 1])
        avoid(s, range(2, 4))
        assert by_level(s, [4, 4], SECOND) == [1, 0]


def noted(notes: list, zone: str | None = None, spill_below: int = 700_000, panic: int = 0):
    """Endpoints with a priority and a zone each, or nothing; levels are formed of that."""
    made = endpoints(len(notes))
    for one, note in zip(made, notes, strict=True):
        one[-1] = [*note, []] if note else None
    balancing = [None, None, None, panic, [spill_below, zone], None]
    return decoded(snapshot(clusters=[cluster(made, balancing=balancing)]), rows=max(1, len(notes)))


@pytest.mark.parametrize(("notes", "zone", "levels", "order"), [
    ([], None, [], []), ([None, None], None, [], ["e0", "e1"]), ([(3, "a"), (3, "b")], None, [], ["e0", "e1"]),
    ([(1, ""), None, (0, "x"), (127, "")], None, [2, 1, 1], ["e1", "e2", "e0", "e3"]),
    ([None, (0, "a"), (1, "b"), (1, "a"), (0, "a")], "a", [2, 1, 1, 1], ["e1", "e4", "e0", "e3", "e2"]),
    # Nobody is in the own zone, or all are.
    ([(0, "b"), (0, "c")], "a", [], ["e0", "e1"]), ([(0, "a"), (0, "a")], "a", [], ["e0", "e1"]),
    ([(0, "aa"), (0, "a"), None], "a", [1, 2], ["e1", "e0", "e2"])])
def test_levels_are_formed_by_what_is_said_of_each(notes, zone, levels, order):
    with noted(notes, zone) as s:
        made = s.dump()["clusters"][0]
        assert [text.decode() for *_, text in made["endpoints"]] == order
        assert made["settings"]["levels"] == levels
        assert made["settings"]["spill_below"] == 0.7


def test_they_spill_over_as_others_do():
    with noted([(1, "")] * 2 + [None] * 2, spill_below=500_000) as s:
        assert s.dump()["clusters"][0]["settings"]["spill_below"] == 0.5
        # In the order of their levels: the last two are those of priority 1.
        assert min(s.picks(100)[:2]) > 0 and s.picks(100)[2:] == [0, 0]
        avoid(s, range(1))
        assert s.picks(100, now_ns=3 * SECOND)[2:] == [0, 0]
        avoid(s, range(2))
        assert s.picks(100, now_ns=6 * SECOND)[:2] == [0, 0]
