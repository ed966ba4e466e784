"""What a class may declare as a setting, and how the text of a file becomes its value."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from fastmesh.filters.blob import pack, unpack
from fastmesh.filters.settings import read, settings_of
from fastmesh.filters.types import Duration, Secret, Share, Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nowhere import Unknown


class Base:
    name: str


class One(Base):
    kept: ClassVar[int] = 1
    _own: dict[str, Unknown]
    header: str
    limit: int | None = None
    bad: Unknown
    worse: dict[float, str]
    bare: list
    thing: object = None


class Two(One):
    header: Secret = "x"
    thing: ClassVar[int] = 3


def test_declared():
    settings, bad = settings_of(Two, Base)
    assert [(setting.name, setting.is_required, setting.is_secret) for setting in settings] == [
        ("header", False, True), ("limit", False, False)]
    assert bad == [
        ("bad", "its annotation cannot be evaluated: NameError: name 'Unknown' is not defined"),
        ("worse", "it has the type dict[float, str], whose keys are neither str nor int"),
        ("bare", "it has the type list of nobody knows what: write list[…]")]
    assert ("thing", "it has the type object") in settings_of(One, Base)[1]


@pytest.mark.parametrize(("annotation", "given", "value"), [
    (str, "x", "x"), (int, "-5", -5), (int, 5, 5), (float, "1.5e3", 1500.0), (float, 2, 2.0), (bool, "true", True),
    (bool, "False", False), (int | None, None, None), (int | str, "5", 5), (str | int, "5", 5),
    (int | str, "five", "five"),
    (bool | str, "true", True), (Duration, "250ms", 0.25), (Duration, 3, 3.0), (Size, "64KiB", 65536),
    (Share, "10%", 0.1), (Annotated[int | None, Field(ge=1)], "1", 1), (Annotated[int | None, Field(ge=1)], None, None),
    (Share, 0.5, 0.5), (Secret, "s", "s"), (Literal["a", "b"], "b", "b"), (Literal[1, 2], "2", 2),
    (Literal[True, "x"], "true", True), (Literal["a", None], None, None), (list[int], ["1", "2"], [1, 2]),
    (set[str], ["a", "a"], {"a"}), (frozenset[int], ["1"], frozenset((1,))), (tuple[int, str], ["1", "x"], (1, "x")),
    (tuple[int, ...], ["1", "2", "3"], (1, 2, 3)), (tuple[int, ...], [], ()),
    (dict[str, list[int]], {"a": ["1"]}, {"a": [1]}), (dict[int, bool], {"7": "true"}, {7: True}),
    (list[int] | None, ["1"], [1]), (Annotated[int, Field(ge=1)], "1", 1), (Annotated[int, "words"], "1", 1),
    (dict[str, tuple[Secret, ...]], {"a": ["b"]}, {"a": ("b",)})])
def test_read(annotation, given, value):
    found, wrong = read(annotation, given)
    assert wrong == []
    assert found == value and type(found) is (Secret if annotation is Secret else type(value))
    back = unpack(pack(found))
    assert back == found and type(back) is type(found)


@pytest.mark.parametrize(("annotation", "given", "at", "found", "allowed", "hint"), [
    (str, None, (), "nothing", "text", ""), (str, ["x"], (), "a list", "text", ""),
    (int, "1_0", (), "'1_0'", "a whole number", ""), (int, str(2**63), (), repr(str(2**63)), "a whole number", ""),
    (int, True, (), "True", "a whole number", ""), (int, "1.5", (), "'1.5'", "a whole number", ""),
    (float, "nan", (), "'nan'", "a number", ""), (float, {}, (), "a mapping", "a number", ""),
    (bool, "yes", (), "'yes'", "true or false", "write true"),
    (Duration, "5", (), "'5'", "a number with one of ms, s, m, h", "write 5s"),
    (Duration, -1, (), "-1", "a number with one of ms, s, m, h", ""),
    (Size, "1kb", (), "'1kb'", "a number with one of B, KiB, MiB, GiB", "write 1KiB"),
    (Share, "0.5", (), "'0.5'", "a number from 0 to 100 with %", "write 50%"),
    (Share, "5", (), "'5'", "a number from 0 to 100 with %", "write 5%"),
    (Secret, ["s"], (), "no text", "text", ""),
    (Literal["closed", "open"], "opne", (), "'opne'", "closed or open", "write open"),
    (int | None, "x", (), "'x'", "a whole number or nothing", ""),
    (list[int], "5", (), "'5'", "a list", "write [5]"), (list[int], ["1", "x"], (1,), "'x'", "a whole number", ""),
    (tuple[int, int], ["1"], (), "a list of 1", "a list of 2", ""),
    (tuple[int, ...], "x", (), "'x'", "a list", "write [x]"),
    (dict[str, int], ["a"], (), "a list", "a mapping", ""),
    (dict[str, int], {"a": "x"}, ("a",), "'x'", "a whole number",
     ""),
    (list[int] | None, ["x"], (0,), "'x'", "a whole number", ""),
    (Annotated[int, Field(ge=1, le=9)], "0", (), "'0'", "greater than or equal to 1", ""),
    (list[Annotated[str, Field(min_length=2)]], ["ab", "c"], (1,), "'c'", "String should have at least 2 characters",
     ""),
    (Annotated[Secret, Field(min_length=2)], "s", (), "a secret", "String should have at least 2 characters", "")])
def test_refused(annotation, given, at, found, allowed, hint):
    _, wrong = read(annotation, given)
    assert [(one.at, one.what.found, one.what.allowed, one.what.hint) for one in wrong] == [(at, found, allowed, hint)]


def test_everything_wrong_is_found():
    _, wrong = read(dict[str, list[int]], {"a": ["x", "1", "y"], "b": "z"})
    assert [one.at for one in wrong] == [("a", 0), ("a", 2), ("b",)]


def test_a_secret_is_not_shown():
    key: Any = unpack(pack({"key": Secret("hidden")}))["key"]
    assert repr(key) == "Secret('…')" and key == "hidden" and f"{key}" == "hidden"
    assert "hidden" not in f"{[key]}"


def test_what_is_no_plain_data_is_not_packed():
    with pytest.raises(TypeError, match="object is no plain data"):
        pack({"a": object()})


def test_sets_are_packed_alike_whatever_their_order():
    assert pack({"b", "a", "c"}) == pack({"c", "b", "a"}) and unpack(pack({1, 2})) == {1, 2}
