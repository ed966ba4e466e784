"""What policies may yield, and what is said about all else."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.cluster import MAX_ENDPOINTS, MAX_WEIGHT
from fastmesh.filters.endpoint_set import WrongSet, pack_set, read_set, read_told, unpack_set


def written(yielded: object) -> list[tuple[str, int]]:
    return [(str(member.address), member.weight) for member in read_set(yielded)]


def test_the_forms_of_an_endpoint():
    yielded = ["10.0.0.2:80", ("10.0.0.1:80", 3), ["localhost:9", 1], {"address": "[::0:1]:80"},
               {"address": "unix:/run/app.sock", "weight": 2}]
    assert written(yielded) == [("unix:/run/app.sock", 2), ("10.0.0.1:80", 3), ("10.0.0.2:80", 1), ("127.0.0.1:9", 1),
                                ("[::1]:80", 1)]
    assert written({"10.0.0.1:80"}) == written(("10.0.0.1:80",)) == [("10.0.0.1:80", 1)]
    assert written([]) == []


@given(st.permutations(["10.0.0.1:80", "10.0.0.1:81", "[::1]:80", "unix:/a", ("10.0.0.2:80", 5)]))
def test_the_order_means_nothing(yielded):
    assert written(yielded) == written(sorted(yielded, key=str))


@pytest.mark.parametrize(("yielded", "said"), [
    (None, "found nothing, allowed: a list of endpoints"),
    ("10.0.0.1:80", "found '10.0.0.1:80', allowed: a list of endpoints; write yield ['10.0.0.1:80']"),
    ({"address": "10.0.0.1:80"}, "found a dict, allowed: a list of endpoints"),
    (iter(["10.0.0.1:80"]), "found a list_iterator, allowed: a list of endpoints"),
    (["10.0.0.1:80", "app:80"], "endpoint 2 of 2: found the host name 'app', allowed: an IP address: "),
    (["10.0.0.1"], "endpoint 1 of 1: found '10.0.0.1', allowed: "),
    (["10.0.0.1:0"], "endpoint 1 of 1: found '10.0.0.1:0', allowed: a port from 1 to 65535"),
    ([7], "endpoint 1 of 1: found 7, allowed: an address, a pair of address and weight, or a mapping of them"),
    ([("10.0.0.1:80",)], "endpoint 1 of 1: found a tuple of 1, allowed: an address, a pair"),
    ([(b"10.0.0.1:80", 2)], "endpoint 1 of 1: found a bytes, allowed: "),
    ([("10.0.0.1:80", 0)], "endpoint 1 of 1: found the weight 0, allowed: a whole number from 1 to 2147483648; leave "
                           "out an endpoint that gets no requests"),
    ([("10.0.0.1:80", MAX_WEIGHT + 1)], "found the weight 2147483649, allowed: a whole number from 1 to 2147483648"),
    ([("10.0.0.1:80", 1.5)], "found the weight 1.5, allowed"), ([("10.0.0.1:80", True)], "found the weight True"),
    ([{"address": "10.0.0.1:80", "wieght": 2}], "found the key 'wieght', allowed: address, weight, priority, "
     "zone and metadata"),
    ([{"weight": 2}], "found no address, allowed: address, weight, priority, zone and metadata"),
    (["10.0.0.1:80", "10.0.0.2:80", ("10.0.0.1:80", 2)], "endpoint 3 of 3: 10.0.0.1:80 is there twice, first as "
     "endpoint 1; to give it more requests, give it a weight"),
    (range(MAX_ENDPOINTS + 1), "found 65,537 endpoints, allowed: at most 65,536")])
def test_what_is_refused(yielded, said):
    with pytest.raises(WrongSet) as caught:
        read_set(yielded)
    assert said in str(caught.value)


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats() | st.binary(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner)))
def test_whatever_it_is_the_answer_is_a_set_or_a_sentence(yielded):
    try:
        found = read_set(yielded)
    except WrongSet as wrong:
        assert "allowed" in str(wrong) or "twice" in str(wrong)
    else:
        assert all(member.weight >= 1 for member in found)


def test_metadata():
    found, = read_set([{"address": "10.0.0.1:80", "weight": 2, "metadata": {"zone": "b", "a": "é"}}])
    assert found.metadata == (("a", "é"), ("zone", "b"))
    assert found.told() == ("10.0.0.1:80", 2, ("a", "é", "zone", "b"))
    assert read_told(unpack_set(pack_set([found]))) == [found]
    plain, = read_set([("10.0.0.1:80", 2)])
    assert plain.metadata == () and plain.told() == ("10.0.0.1:80", 2)
    assert read_told(unpack_set(pack_set([plain]))) == [plain]


def test_priority_and_zone():
    found = read_set([{"address": "10.0.0.1:80", "priority": 127}, {"address": "10.0.0.2:80", "zone": "é"},
                      {"address": "10.0.0.3:80", "priority": 1, "zone": "b", "metadata": {"a": "b"}}])
    assert [(member.priority, member.zone) for member in found] == [(127, ""), (0, "é"), (1, "b")]
    assert [member.told()[2:] for member in found] == [((), 127, ""), ((), 0, "é"), (("a", "b"), 1, "b")]
    assert read_told(unpack_set(pack_set(found))) == found


@pytest.mark.parametrize(("key", "value", "said"), [
    ("priority", -1, "found the priority -1, allowed: a whole number from 0, which is asked first, to 127"),
    ("priority", 128, "found the priority 128, allowed"), ("priority", True, "found the priority True"),
    ("priority", "1", "found the priority '1'"), ("zone", 1, "found the zone 1, allowed: text"),
    ("zone", "a\n", "allowed: text without control characters"), ("zone", None, "found the zone nothing")])
def test_priorities_and_zones_that_are_refused(key, value, said):
    with pytest.raises(WrongSet) as caught:
        read_set([{"address": "10.0.0.1:80", key: value}])
    assert said in str(caught.value)


@pytest.mark.parametrize("row", [
    ("10.0.0.1:80", 1, (), 128, ""), ("10.0.0.1:80", 1, (), 0), ("10.0.0.1:80", 1, (), 0, 1),
    ("10.0.0.1:80", 1, 0, 0, ""),
    ("10.0.0.1:80", 1, ("a",)), ("10.0.0.1:80", 1, ("a", 2)), ("10.0.0.1:80", 1, ("a", "b", "a", "c")),
    ("10.0.0.1:80", 1, "ab"), ("10.0.0.1:80", 1, ((), ())), ("10.0.0.1:80", 0, ("a", "b")), (1, 1, ()), ((), (), ())])
def test_what_nobody_has_packed_like_that(row):
    with pytest.raises(WrongSet):
        read_told(unpack_set(msgpack.packb([row])))


@pytest.mark.parametrize(("metadata", "said"), [
    (None, "found the metadata nothing, allowed: a mapping of text to text"),
    ([("a", "b")], "found the metadata a list"),
    ({"version": 2}, 'found 2 in the metadata, allowed: text; write "2"'),
    ({2: "version"}, 'found 2 in the metadata, allowed: text; write "2"'),
    ({"a": None}, "found nothing in the metadata, allowed: text"),
    ({"a": "b\n"}, "allowed: text without control characters, at most 1,024 characters"),
    ({"a" * 1025: "b"}, "at most 1,024 characters"),
    ({str(i): "" for i in range(33)}, "found metadata with 33 names, allowed: at most 32")])
def test_metadata_that_is_refused(metadata, said):
    with pytest.raises(WrongSet) as caught:
        read_set([{"address": "10.0.0.1:80", "metadata": metadata}])
    assert said in str(caught.value)
