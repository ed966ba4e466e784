"""Sets one after the other: each is what it would be as the first, whatever came before."""

from typing import Any

import msgpack
import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh._core.net.addr_text import told
from fastmesh._core.net.plain_set import pack_plain
from fastmesh.filters import endpoint_sets
from fastmesh.filters.endpoint_set import WrongSet, pack_set, read_set, read_told, unpack_set
from fastmesh.filters.endpoint_sets import EndpointSets

ADDRESSES = st.sampled_from(["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:9", "localhost:9", "[::1]:80", "[0::1]:80",
                             "unix:/a", "unix:/a/b", "app:80"])
WEIGHTS = st.sampled_from([1, 2, 2**31, True, 1.0, 0])
METADATA = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "x", 1]))
ENDPOINTS = ADDRESSES | st.tuples(ADDRESSES, WEIGHTS) | st.tuples(ADDRESSES, WEIGHTS).map(list) | st.fixed_dictionaries(
    {"address": ADDRESSES}, optional={"weight": WEIGHTS, "metadata": METADATA}) | st.none()


@settings(max_examples=tries(200))
@given(st.lists(st.lists(ENDPOINTS, max_size=4) | st.lists(ADDRESSES, max_size=4), max_size=6))
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
            assert sorted(unpack_set(packed)) == sorted(unpack_set(pack_set(members))) and count == len(members)
            assert read_told(unpack_set(packed)) == members
            # The same again is the same bytes.
            assert taken.take(yielded) == (packed, count)


def test_what_was_there_is_not_read_again(monkeypatch):
    taken, read = EndpointSets(), []

    def counted(yielded: Any) -> Any:
        read.extend(yielded)
        return read_set(yielded)

    monkeypatch.setattr(endpoint_sets, "read_set", counted)
    labelled = {"address": "10.0.0.3:80", "weight": 2, "metadata": {"version": "v1"}}
    yielded = ["unix:/a", ("10.0.0.2:80", 300), labelled]
    taken.take(yielded)
    assert read == yielded
    taken.take([labelled, ["10.0.0.2:80", 300], "unix:/a"])
    taken.take(["unix:/a", labelled, "unix:/b"])
    assert read == [*yielded, "unix:/b"]
    # What is changed in its place is seen, and what went is forgotten.
    labelled["metadata"]["version"] = "v2"
    taken.take([labelled])
    taken.take(["unix:/a"])
    assert read == [*yielded, "unix:/b", labelled, "unix:/a"]


def test_plain_addresses_are_not_read_in_python_at_all(monkeypatch):
    taken = EndpointSets()
    monkeypatch.setattr(endpoint_sets, "read_set", None)
    for yielded in (["10.0.0.1:80", "[2001:db8::1]:65535"], ["10.0.0.1:80", ("10.0.0.2:80", 7)],
                    [["10.0.0.1:80", 127], ("10.0.0.2:80", 128), ("10.0.0.3:80", 2**31)],
                    [{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80", "weight": 2}],
                    [f"10.0.{k >> 8}.{k & 255}:80" for k in range(1000)], []):
        packed, count = taken.take(yielded)
        assert sorted(unpack_set(packed)) == sorted(unpack_set(pack_set(read_set(yielded))))
        assert count == len(yielded)
        # The same endpoints are the same bytes, whatever their order and their form.
        assert taken.take(yielded[::-1]) == (packed, count)
        assert taken.take([dict(zip(("address", "weight"), one, strict=True)) if type(one) is tuple else one
                           for one in yielded]) == (packed, count)


def test_another_weight_or_address_is_another_set():
    taken = EndpointSets()
    seen = [taken.take(yielded)[0] for yielded in (
        [("10.0.0.1:80", 1), ("10.0.0.2:80", 2)], [("10.0.0.1:80", 2), ("10.0.0.2:80", 1)],
        ["10.0.0.1:80", "10.0.0.2:80"], ["10.0.0.1:80", "10.0.0.3:80"], ["10.0.0.1:80"], [])]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("yielded", [
    ["10.0.0.1:80", "10.0.0.1:80"], [("10.0.0.1:80", 1), ("10.0.0.1:80", 2)],
    ["10.0.0.1:80", {"address": "10.0.0.1:80"}],
    *[[("10.0.0.1:80", weight)] for weight in (0, -1, 2**31 + 1, 2**80, True, None, 1.0)],
    [("10.0.0.1:80",)], [("10.0.0.1:80", 1, 1)], [{}], [{"address": None}], [{"weight": 1}],
    [{"address": "10.0.0.1:80", "weight": None}], [{"address": "10.0.0.1:80", "metadata": {}}],
    [{"address": "10.0.0.1:80", "zone": "a"}], [b"10.0.0.1:80"], [None], ["10.0.0.1"], [""], ["10.0.0.1:80\0"],
    ["1" * 100 + ".0.0.1:80"], ["unix:/a"],
])
def test_what_is_not_plain_is_left_to_python(yielded):
    assert pack_plain(tuple(yielded)) is None


PIECES = st.sampled_from(["0", "1", "9", "10", "01", "255", "256", "65535", "65536", ".", ":", "::", "[", "]", "f", "F",
                          "10.0.0.1", "127.0.0.1:80", "[::1]:80", "[::ffff:1.2.3.4]:1", "unix:/a", "localhost:1", " ",
                          "\0", "ü", "٣"])


@settings(max_examples=tries(500))
@given(st.lists(PIECES, max_size=9).map("".join), st.integers(-1, 300))
def test_what_is_read_without_python_is_what_python_reads(text, weight):
    found = told(text, weight)
    if found is not None:
        member, = read_set([(text, weight)])
        assert found == msgpack.packb(member.told()) and str(member.address) == text
    elif 1 <= weight <= 127:
        # What is left to Python is wrong, or written in another form than the one that it has.
        try:
            member, = read_set([(text, weight)])
        except WrongSet:
            return
        assert str(member.address) != text or text.startswith("unix:")


def test_one_that_says_it_is_equal_is_read():
    class Liar(str):
        def __hash__(self) -> int:
            return hash("10.0.0.1:80")

        def __eq__(self, other: object) -> bool:
            return True

    taken = EndpointSets()
    taken.take(["10.0.0.1:80"])
    assert taken.take([Liar("10.0.0.2:80")]) == (pack_set(read_set(["10.0.0.2:80"])), 1)
