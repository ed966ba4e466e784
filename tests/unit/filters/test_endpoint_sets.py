"""Sets one after the other: each is what it would be as the first, whatever came before."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.filters import endpoint_sets
from fastmesh.filters.endpoint_set import WrongSet, pack_set, read_set, read_told, unpack_set
from fastmesh.filters.endpoint_sets import EndpointSets

ADDRESSES = st.sampled_from(["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:9", "localhost:9", "[::1]:80", "[0::1]:80",
                             "unix:/a", "unix:/a/b", "app:80"])
WEIGHTS = st.sampled_from([1, 2, 2**31, True, 1.0, 0])
METADATA = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "x", 1]))
ENDPOINTS = ADDRESSES | st.tuples(ADDRESSES, WEIGHTS) | st.tuples(ADDRESSES, WEIGHTS).map(list) | st.fixed_dictionaries(
    {"address": ADDRESSES}, optional={"weight": WEIGHTS, "metadata": METADATA}) | st.none()


@settings(max_examples=200)
@given(st.lists(st.lists(ENDPOINTS, max_size=4), max_size=6))
def test_each_is_what_it_would_be_as_the_first(sets):
    taken = EndpointSets()
    for yielded in sets:
        try:
            members = read_set(yielded)
        except WrongSet as wrong:
            with pytest.raises(WrongSet) as caught:
                taken.take(yielded)
            assert str(caught.value) == str(wrong)
        else:
            packed, count = taken.take(yielded)
            assert packed == pack_set(members) and count == len(members)
            assert read_told(unpack_set(packed)) == members


def test_what_was_there_is_not_read_again(monkeypatch):
    taken, read = EndpointSets(), []

    def counted(yielded: Any) -> Any:
        read.extend(yielded)
        return read_set(yielded)

    monkeypatch.setattr(endpoint_sets, "read_set", counted)
    labelled = {"address": "10.0.0.3:80", "weight": 2, "metadata": {"version": "v1"}}
    yielded = ["10.0.0.1:80", ("10.0.0.2:80", 3), labelled]
    taken.take(yielded)
    assert read == yielded
    taken.take([labelled, ["10.0.0.2:80", 3], "10.0.0.1:80"])
    taken.take(["10.0.0.1:80", "10.0.0.4:80"])
    assert read == [*yielded, "10.0.0.4:80"]
    # What is changed in its place is seen, and what went is forgotten.
    labelled["metadata"]["version"] = "v2"
    taken.take([labelled])
    taken.take(["10.0.0.1:80"])
    assert read == [*yielded, "10.0.0.4:80", labelled, "10.0.0.1:80"]


def test_one_that_says_it_is_equal_is_read():
    class Liar(str):
        def __hash__(self) -> int:
            return hash("10.0.0.1:80")

        def __eq__(self, other: object) -> bool:
            return True

    taken = EndpointSets()
    taken.take(["10.0.0.1:80"])
    assert taken.take([Liar("10.0.0.2:80")]) == (pack_set(read_set(["10.0.0.2:80"])), 1)
