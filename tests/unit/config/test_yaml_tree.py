"""The compiled parser and the one in Python must give the same tree."""

import pytest
import yaml

from fastmesh.config.source import Source
from fastmesh.config.yaml_tree import MAX_KEYS, Tree, compose
from fastmesh.errors import ConfigError


@pytest.fixture(params=["compiled", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setattr(yaml, "CSafeLoader", None)
    else:
        assert yaml.CSafeLoader is not None
    return str(request.param)


def tree(text: str, **env: str) -> Tree:
    return compose(Source("f", text), env)


def problems(text: str, **env: str) -> list[str]:
    try:
        return [str(problem) for problem in tree(text, **env).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


def test_scalars_stay_text():
    value = tree("a: 1.10\nb: on\nc: 0x1F\nd: 2024-01-01\ne: '~'\nf: !!str 5\n1: 2\n").value
    assert value == {"a": "1.10", "b": "on", "c": "0x1F", "d": "2024-01-01", "e": "~", "f": "5", "1": "2"}


def test_nothing():
    assert tree("a:\nb: ~\nc: null\nd: ''\n").value == {"a": None, "b": None, "c": None, "d": ""}


def test_substitution_in_every_style():
    text = "a: ${X}\nb: '${X}'\nc: \"${X}\"\nd: |\n  l ${X}\ne: [\"${X}\"]\n${X}: 1\nf: ${NO:-}\ng: '${NO:-}'\n"
    assert tree(text, X="x: [y]").value == {
        "a": "x: [y]", "b": "x: [y]", "c": "x: [y]", "d": "l x: [y]\n", "e": ["x: [y]"], "${X}": "1", "f": None,
        "g": ""}


@pytest.mark.parametrize(("text", "place"), [
    ("a: ${X}", "f:1:4"), ("a: 'é ${X}'", "f:1:7"), ('a: "b\\n ${X}"', "f:1:9"), ("a: |\n  one\n  two ${X}", "f:3:7"),
    ("a: ${Y:-}${X}", "f:1:10"), ("a: ${Y:-${X}}", "f:1:4")])
def test_the_place_of_a_reference(text, place):
    (problem,) = problems(text)
    assert problem.startswith(place + ":")


def test_the_second_of_two_equal_references_is_meant():
    assert problems("a: $${X} ${X}") == ["f:1:10: the environment variable X is not set"]


def test_marks():
    found = tree("a: 1\nlist:\n  - é: xy\n    b: [p, 'q r']\n")
    mark, taken = found.find(("list", 0, "b", 1))
    assert taken == 4 and found.source.position(mark.start) == (4, 12) and mark.end - mark.start == 5
    mark, taken = found.find(("list", 0, "none", "deeper"))
    assert taken == 2 and found.source.position(mark.start) == (3, 5)
    mark, taken = found.find(("list", 7))
    assert taken == 1


def test_aliases_and_merges():
    text = "a: &x {k: 1, l: [2]}\nb: *x\nc: {<<: *x, k: 3}\nd:\n  <<: [*x, {m: 4, k: 5}]\n"
    assert tree(text).value == {
        "a": {"k": "1", "l": ["2"]}, "b": {"k": "1", "l": ["2"]}, "c": {"k": "3", "l": ["2"]},
        "d": {"k": "1", "l": ["2"], "m": "4"}}


@pytest.mark.parametrize(("text", "found"), [
    ("a: 1\nb: 2\na: 3\n", ["f:3:1: the key 'a' is there twice"]),
    ("x: {a: 1, b: 2, a: 3, a: 4}", ["f:1:17: the key 'a' is there twice", "f:1:23: the key 'a' is there twice"]),
    ("a: !!int 5\nb: !Ref x\nc: !!set {x}\n",
     ["f:1:4: found the tag '!!int', allowed: plain values without tags",
      "f:2:4: found the tag '!Ref', allowed: plain values without tags",
      "f:3:4: found the tag '!!set', allowed: plain values without tags"]),
    ("a: 1\n---\nb: 2\n", ["f:2:1: found a second document, allowed: one document to a file"]),
    ("? [a]\n: 1\n", ["f:1:3: found a list as a key, allowed: a name as a key"]),
    ("{a: 1}: 2\n", ["f:1:1: found a mapping as a key, allowed: a name as a key"]),
    ("a: &x 1\n*x : 2\n", ["f:2:1: found an alias as a key, allowed: a name as a key"]),
    ("a: *nobody\n", ["f:1:4: the alias *nobody has no anchor"]),
    ("a: &x [*x]\n", ["f:1:8: the alias *x has no anchor"]),
    ("a: {<<: 5}", ["f:1:9: '<<' merges something that is not a mapping, allowed: an alias of a mapping, or a list "
                    "of them"]),
    ("a: " + "[" * 40 + "]" * 40, ["f:1:35: values are nested more than 32 deep"]),
    ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(12)),
     ["f:6:36: aliases expand to more than 1,000,000 values"]),
    ("x: {" + ", ".join(f"k{i}: 1" for i in range(MAX_KEYS + 1)) + "}",
     [f"f:1:{8 + sum(len(f'k{i}: 1, ') for i in range(MAX_KEYS)) - 3}: a mapping has more than 1,024 keys"]),
])
def test_what_is_wrong_with_the_yaml(text, found):
    assert problems(text) == found


@pytest.mark.parametrize("text", [
    "a: [1, 2\nb: 3\n", "a:\n\t- x\n", "a: 'x\n", "a: b: c\n", "a: @x\n", "- a\n b: c\n", "a: |\n  x\n y: 1\n",
    "{a: 1}}\n", "a: \"\\q\"\n", "%YAML 9.0\n---\na: 1\n", "a: [${X}]\n", "&\n", "a: *\n", "!<\n"])
def test_what_is_no_yaml_has_a_place(text):
    (problem,) = problems(text)
    assert problem.startswith("f:") and problem.split(":")[1].isdigit()


@pytest.mark.parametrize(("text", "hint"), [
    ("a:\n\t- x\n", "indent with spaces"),
    ("a: [${X}]\n", 'inside [ ] and { } write "${NAME}" in quotes'),
    ("a: {x: ${X}}\n", 'inside [ ] and { } write "${NAME}" in quotes'),
    ("a: [::1]:80\n", 'put IPv6 addresses in quotes, as "[::1]:8080"'),
    ("a: [[2001:db8::1]:80]\n", 'put IPv6 addresses in quotes, as "[::1]:8080"')])
def test_what_to_do_about_it(text, hint):
    with pytest.raises(ConfigError) as caught:
        tree(text)
    assert caught.value.problems[-1].hint == hint
