import msgpack
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.snapshot.registry import Numbers, Registry, endpoint_key


def test_numbers_are_kept():
    numbers = Numbers(10)
    assert numbers.assign(["a", "b"]) == {"a": 0, "b": 1}
    assert numbers.assign(["b", "c"]) == {"b": 1, "c": 2}
    assert numbers.assign(["a", "b"]) == {"a": 0, "b": 1}      # it came back, and so did its number
    assert numbers.reused == []


def test_the_longest_gone_gives_its_number_when_there_is_no_other():
    numbers = Numbers(4)        # three, and the last for everybody else
    numbers.assign(["a", "b", "c"])
    numbers.assign(["c"])       # a and b went, a first in the order of the list
    assert numbers.assign(["c", "d"]) == {"c": 2, "d": 0}
    assert numbers.reused == [0]
    assert numbers.assign(["c", "d", "e"]) == {"c": 2, "d": 0, "e": 1}
    assert numbers.assign(["c", "d", "e", "f", "g"]) == {"c": 2, "d": 0, "e": 1, "f": 3, "g": 3}


def test_what_shared_the_last_row_gets_its_own_when_there_is_room():
    numbers = Numbers(2)
    assert numbers.assign(["a", "b"]) == {"a": 0, "b": 1}
    assert numbers.assign(["b"]) == {"b": 0}
    assert numbers.reused == [0] and numbers.gone == {}


def test_a_name_that_keeps_its_number_never_loses_it_to_a_new_one():
    numbers = Numbers(3)
    numbers.assign(["a", "b"])
    numbers.assign(["b"])
    assert numbers.assign(["new", "a", "b"]) == {"a": 0, "b": 1, "new": 2}


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=12), st.integers(2, 9))
def test_no_two_share_a_number_but_the_last(rounds, capacity):
    numbers = Numbers(capacity)
    before: dict[str, int] = {}
    for names in rounds:
        live = numbers.assign(names)
        assert set(live) == set(names)
        own = [number for number in live.values() if number != capacity - 1]
        assert len(own) == len(set(own)) and all(0 <= number < capacity for number in live.values())
        for name in set(before) & set(live):
            assert live[name] == before[name] or before[name] == capacity - 1
        assert not set(numbers.gone) & set(live) and not set(numbers.gone.values()) & set(own)
        before = dict(live)
        numbers = Numbers(capacity, numbers.live, numbers.gone, numbers.next_free)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=12), st.integers(2, 9))
def test_an_exchange_is_an_assignment_of_all(rounds, capacity):
    """As long as there is room: which of the gone ones gives its number first may differ."""
    exchanged, assigned = Numbers(capacity), Numbers(capacity)
    for names in rounds:
        before = dict(exchanged.live)
        came = exchanged.exchange([name for name in before if name not in names], names)
        assigned.assign(names)
        assert set(exchanged.live) == set(names) and set(came) == set(names) - set(before)
        assert all(exchanged.live[name] == number for name, number in before.items() if name in names)
        own = [number for number in exchanged.live.values() if number != exchanged.overflow]
        assert len(own) == len(set(own))
        assert not set(exchanged.gone.values()) & set(own)
        if capacity > 8:
            assert exchanged.live == assigned.live


def test_a_registry_survives_msgpack():
    registry = Registry()
    registry.clusters.assign(["a", "b"])
    registry.clusters.assign(["b"])
    registry.endpoints.assign([endpoint_key("b", "127.0.0.1:1")])
    packed = msgpack.packb(registry.to_dict())
    again = Registry.from_dict(msgpack.unpackb(packed))
    assert again.to_dict() == registry.to_dict()
    assert again.clusters.assign(["a", "c"]) == {"a": 0, "c": 2}


def test_anything_else_is_an_empty_registry():
    for value in (None, {}, {"clusters": 5}, {"clusters": {}}, {"clusters": {"live": None}}):
        assert Registry.from_dict(value).clusters.assign(["a"]) == {"a": 0}
