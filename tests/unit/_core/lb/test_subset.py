"""Subsets: who is in them, where requests go that ask for them, and that each is a cluster of its own that shares all
that is known of its endpoints."""

import pytest

from probes.wire import (
    ALGORITHMS,
    LEAST_REQUEST,
    MAGLEV,
    RING_HASH,
    ROUND_ROBIN,
    SECOND,
    cluster,
    decoded,
    endpoints,
    snapshot,
)

ANY, NONE, DEFAULT = range(3)
ALL = pytest.mark.parametrize("lb", ALGORITHMS.values(), ids=ALGORITHMS)


def said(*metadata: dict[str, str]) -> list:
    """Endpoints e0, e1, … with that metadata."""
    made = endpoints(len(metadata))
    for one, words in zip(made, metadata, strict=True):
        one[-1] = [0, "", [word for pair in words.items() for word in pair]] if words else None
    return made


def split(made, selectors=(("version",),), fallback=ANY, default=(), most=256, lb=LEAST_REQUEST, balancing=None):
    subsets = [[[0, [list(names) for names in selectors], fallback, list(default), most]], [], [], []]
    return decoded(snapshot(clusters=[cluster(made, lb=lb, balancing=balancing)], subsets=subsets),
                   rows=max(1, len(made)))


def texts(s, asked) -> tuple[str, list[str]]:
    how, _, members, *_ = s.enter(asked)
    s.enter(None)
    return how, members


V1, V2 = {"version": "v1"}, {"version": "v2"}


def test_who_is_in_a_subset():
    with split(said(V1, V2, V1, {}, {"stage": "beta"}, V2 | {"stage": "beta"}),
               [("version",), ("stage", "version")]) as s:
        assert texts(s, V1) == ("subset", ["e0", "e2"])
        assert texts(s, V2) == ("subset", ["e1", "e5"])
        assert texts(s, {"stage": "beta", "version": "v2"}) == ("subset", ["e5"])
        assert s.enter(V1)[1] == V1
        assert s.subsets() == (3, 0)


def test_names_and_values_do_not_run_into_each_other():
    with split(said({"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}), [("a", "b")]) as s:
        assert texts(s, {"a": "x", "b": "yz"}) == ("subset", ["e0"])
        assert texts(s, {"a": "xy", "b": "z"}) == ("subset", ["e1"])
        assert texts(s, {"a": "xyz", "b": ""})[0] == "all instead"


@pytest.mark.parametrize(("fallback", "default", "asked", "how", "members"), [
    (ANY, (), {}, "all", ["e0", "e1", "e2"]), (ANY, (), {"version": "v9"}, "all instead", ["e0", "e1", "e2"]),
    (NONE, (), {}, "all", ["e0", "e1", "e2"]), (NONE, (), {"version": "v9"}, "nothing", []),
    (DEFAULT, ("version", "v1"), {}, "default", ["e0", "e2"]),
    (DEFAULT, ("version", "v1"), {"version": "v9"}, "default instead", ["e0", "e2"]),
    (DEFAULT, ("version", "v7"), {}, "nothing", []), (DEFAULT, ("version", "v7"), {"version": "v9"}, "nothing", []),
    (DEFAULT, ("version", "v7"), V2, "subset", ["e1"]),
    # No selector has that name.
    (ANY, (), {"stage": "v1"}, "all instead", ["e0", "e1", "e2"]), (NONE, (), {"stage": "v1"}, "nothing", []),
    (NONE, (), {"stage": "v1", "version": "v1"}, "nothing", []),
])
def test_where_a_request_goes(fallback, default, asked, how, members):
    with split(said(V1, V2, V1), fallback=fallback, default=default) as s:
        assert texts(s, asked) == (how, members)


@ALL
def test_an_endpoint_is_picked_of_the_subset_alone(lb):
    with split(said(V1, V2, V1, V2, V2), lb=lb) as s:
        assert s.enter(V2)[2] == ["e1", "e3", "e4"]
        each = s.picks(3000, now_ns=SECOND)
        assert len(each) == 3 and min(each) > 700
        assert set(s.owners(300)) == {b"e1", b"e3", b"e4"}
        # Another attempt stays inside, and there is none when all of them were tried.
        assert {s.pick(now_ns=SECOND, tried=(0, 2)) for _ in range(50)} == {1}
        assert s.pick(now_ns=SECOND, tried=(0, 1, 2)) is None


@ALL
def test_without_endpoints_nothing_is_picked(lb):
    with split(said(V1, V2), fallback=NONE, lb=lb) as s:
        s.enter({"version": "v9"})
        assert s.pick() is None and s.pick_key(7) is None


def test_weights_hold_within_a_subset():
    made = said(V1, V2, V1, V2)
    made[1][4], made[3][4] = 3, 1
    with split(made, lb=ROUND_ROBIN) as s:
        s.enter(V2)
        assert s.picks(400) == [300, 100]


def test_load_and_failures_are_the_endpoints_own():
    """What is known of an endpoint by the whole counts in each of its subsets, and the other way round."""
    with split(said(V1, V1 | {"stage": "beta"}, V1), [("version",), ("stage",)]) as s:
        s.set_active(1, 50)
        s.enter(V1)
        assert s.picks(100)[1] == 0
        s.set_active(1, 0)
        s.set_avoid(0, 2**62)
        assert s.picks(100)[0] == 0
        s.connect_failed(2, SECOND)
        s.enter(None)
        assert s.live_of(2)["failures"] == 1 and s.picks(100, now_ns=SECOND)[0] == 0
        # One whose only endpoint is avoided has no other: better a doubtful one.
        s.set_avoid(1, 2**62)
        s.enter({"stage": "beta"})
        assert s.pick(now_ns=SECOND) == 0


def test_levels_are_those_of_the_whole():
    """Two of the first level and three of the second; of v2, one and two."""
    made = said(V1, V2, V2, V1, V2)
    levels = [None, None, None, 0, [700_000, [2, 3]], None]
    with split(made, balancing=levels) as s:
        _, _, members, sizes, _ = s.enter(V2)
        assert (members, sizes) == (["e1", "e2", "e4"], [1, 2])
        assert s.picks(100) == [100, 0, 0]
        s.set_avoid(0, 2**62)
        each = s.picks(100, now_ns=SECOND)
        assert each[0] == 0 and min(each[1:]) > 0
        # v1's first level is as well as it was.
        s.enter(V1)
        assert s.picks(100, now_ns=SECOND) == [100, 0]


def test_a_subset_may_lack_a_level():
    with split(said(V1, V2, V2), balancing=[None, None, None, 0, [700_000, [1, 2]], None]) as s:
        assert s.enter(V2)[3] == [0, 2]
        assert min(s.picks(100)) > 0


def test_panic_is_of_the_subset():
    panic = [None, None, None, 500_000, None, None]
    with split(said(*[V1] * 4, *[V2] * 4), balancing=panic) as s:
        for i in range(5):
            s.set_avoid(i, 2**62)
        # None of v1 can be used, and of v2 three of four.
        s.enter(V1)
        assert min(s.picks(400, now_ns=SECOND)) > 0
        s.enter(V2)
        assert s.picks(400, now_ns=SECOND)[0] == 0


def test_sessions_stay_within_the_subset():
    sticky = [None, None, None, 0, None, [1, "home", 0, "/", bytes(16)]]
    with split(said(V1, V2, V1), balancing=sticky) as s:
        names = [s.name_of(i) for i in range(3)]
        s.enter(V1)
        # The same name in each; that of an endpoint of another subset is nobody's here.
        assert [s.name_of(i) for i in range(2)] == [names[0], names[2]]
        assert [s.named(name) for name in names] == [0, None, 1]


@pytest.mark.parametrize("lb", [RING_HASH, MAGLEV], ids=["ring_hash", "maglev"])
def test_a_bound_on_load_is_of_the_subset(lb):
    """Nobody of v2 has more than a quarter over its part of what v2 has, however idle the rest is."""
    hashed = [None, [[[0, "x-user", False, 0, ""]], 160, 65537, 125], None, 0, None, None]
    with split(said(*[V1] * 12, *[V2] * 4), lb=lb, balancing=hashed) as s:
        s.enter(V2)
        key = 2**63 + 12345
        own = s.pick_key(key)
        for i in range(4):
            s.set_active(i, 20 if i == own else 10)
        # 51 of four: a quarter over the part of each is 15.9.
        assert s.pick_key(key) != own
        for i in range(4):
            s.set_active(i, 20)
        assert s.pick_key(key) == own
        # What the others have is no part of it.
        s.enter(None)
        for i in range(12):
            s.set_active(i, 1000)
        s.enter(V2)
        s.set_active(own, 28)
        assert s.pick_key(key) != own


def test_small_subsets_have_small_tables():
    hashed = [None, [[[0, "x-user", False, 0, ""]], 160, 65537, 0], None, 0, None, None]
    made = said(*[{"shard": str(i // 2)} for i in range(60)], *[V1] * 30)
    with split(made, [("shard",), ("version",)], lb=MAGLEV, balancing=hashed) as s:
        assert s.enter({"shard": "3"})[4] == 1021
        assert s.enter(V1)[4] == 4093
        assert len(set(s.owners(3000))) == 30


def test_there_are_no_more_than_the_limit():
    with split(said(*[{"pod": str(i)} for i in range(10)], V1), [("pod",), ("version",)], most=4) as s:
        assert s.subsets() == (4, 7)
        assert texts(s, {"pod": "3"}) == ("subset", ["e3"])
        assert texts(s, {"pod": "4"})[0] == "all instead"
        assert texts(s, V1)[0] == "all instead"


def test_metadata_may_be_found_later():
    """A cluster that begins without endpoints has its subsets none the less."""
    with split([], fallback=DEFAULT, default=("version", "v1")) as s:
        assert s.subsets() == (0, 0)
        assert texts(s, V1) == ("nothing", [])


def test_many_subsets_of_many_endpoints():
    made = said(*[{"shard": str(i % 500), "version": f"v{i % 3}"} for i in range(6000)])
    with split(made, [("shard",), ("version",), ("shard", "version")], most=4096) as s:
        assert s.subsets() == (500 + 3 + 1500, 0)
        assert len(texts(s, {"shard": "77"})[1]) == 12
        assert len(texts(s, {"shard": "77", "version": "v2"})[1]) == 4
