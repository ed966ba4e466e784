"""The msgpack reader against msgpack itself, and against everything cut short."""

import msgpack
import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.snapshot_probe import unpack

TRUNCATED, KIND = -20, -21
EDGES = [0, 1, 31, 32, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)


@pytest.mark.parametrize("value", [*EDGES, 2**63, 2**64 - 1])
def test_numbers(value):
    packed = msgpack.packb(value)
    assert unpack("uint", packed) == (0, value, len(packed), "a number")
    assert unpack("int", packed) == (0, min(value, 2**63 - 1), len(packed), "a number")


@pytest.mark.parametrize("value", [-1, -32, -33, -128, -129, -32768, -32769, -2**31, -2**31 - 1, -2**63])
def test_negative_numbers(value):
    packed = msgpack.packb(value)
    assert unpack("int", packed) == (0, value, len(packed), "a signed number")
    assert unpack("uint", packed) == (KIND, None, 0, "a signed number")


@pytest.mark.parametrize("packed", [b"\xd0\x05", b"\xd1\0\x05", b"\xd2\0\0\0\x05", b"\xd3\0\0\0\0\0\0\0\x05",
                                    b"\xcc\x05"])
def test_numbers_in_wider_forms_than_needed(packed):
    assert unpack("int", packed)[:3] == (0, 5, len(packed))


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65535, 65536])
def test_strings(size):
    for packed, kind in ((msgpack.packb("x" * size), "a string"), (msgpack.packb(b"x" * size), "bytes")):
        assert unpack("bytes", packed) == (0, b"x" * size, len(packed), kind)
        assert unpack("bytes", packed + b"more") == (0, b"x" * size, len(packed), kind)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 65535, 65536])
def test_arrays(size):
    packed = msgpack.packb([None] * size)
    code, value, used, came = unpack("array", packed)
    assert (code, value, came) == (0, size, "an array")
    assert used == len(packed) - size


@pytest.mark.parametrize("head", [b"\x9f", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdd\0\0\0\x05abcd"])
def test_a_count_larger_than_the_rest_is_refused(head):
    assert unpack("array", head)[0] == TRUNCATED


@pytest.mark.parametrize("head", [b"\xbf", b"\xd9\xff", b"\xda\xff\xff", b"\xdb\xff\xff\xff\xff",
                                  b"\xc6\xff\xff\xff\xff", b"\xc4\x05abcd", b"\xa5abcd"])
def test_a_length_larger_than_the_rest_is_refused(head):
    assert unpack("bytes", head)[0] == TRUNCATED


def test_booleans_and_nil():
    assert unpack("bool", b"\xc2") == (0, False, 1, "a boolean")
    assert unpack("bool", b"\xc3") == (0, True, 1, "a boolean")
    assert unpack("nil", b"\xc0") == (0, None, 1, "nil")
    assert unpack("nil", b"\xc2")[0] == -1
    assert unpack("nil", b"")[0] == -1


@settings(max_examples=tries(300), deadline=None)
@given(ANYTHING, st.sampled_from(["uint", "int", "bool", "bytes", "array"]))
def test_only_what_is_asked_for_is_read(value, kind):
    packed = msgpack.packb(value)
    code, got, used, came = unpack(kind, packed)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    fits = {"uint": is_int and value >= 0, "int": is_int, "bool": isinstance(value, bool),
            "bytes": isinstance(value, str | bytes), "array": isinstance(value, list)}[kind]
    assert (code == 0) == fits
    assert (used > 0) == fits
    names = {type(None): "nil", bool: "a boolean", float: "a floating-point number", str: "a string", bytes: "bytes",
             list: "an array", dict: "a map"}
    assert came == (names[type(value)] if not is_int else "a number" if value >= 0 else "a signed number")
    if fits:
        wanted = value.encode() if isinstance(value, str) else len(value) if kind == "array" else value
        assert got == (min(wanted, 2**63 - 1) if kind == "int" else wanted)


@settings(max_examples=tries(300), deadline=None)
@given(st.binary(max_size=12), st.sampled_from(["uint", "int", "bool", "bytes", "array", "nil"]))
def test_any_bytes(data, kind):
    code, _, used, _ = unpack(kind, data)
    assert code in (0, -1, TRUNCATED, KIND)
    assert 0 <= used <= len(data)
    assert (code == 0) == (used > 0)


@settings(max_examples=tries(300), deadline=None)
@given(st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=300))
def test_cut_short_anywhere(value):
    packed = msgpack.packb(value)
    for end in range(len(packed)):
        for kind in ("uint", "int", "bytes"):
            assert unpack(kind, packed[:end])[0] != 0
