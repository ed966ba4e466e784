import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.substitution import BadReference, substitute

ENV = {"A": "one", "B_2": "two", "EMPTY": "", "REF": "${A}"}


@pytest.mark.parametrize(("text", "result"), [
    ("plain", "plain"), ("${A}", "one"), ("x${A}y${B_2}z", "xoneytwoz"), ("${EMPTY}", ""), ("${EMPTY:-d}", "d"),
    ("${NONE:-d}", "d"), ("${NONE:-}", ""), ("${A:-d}", "one"), ("${NONE:-a:b-c $x}", "a:b-c $x"), ("$A", "$A"),
    ("$${A}", "${A}"), ("$$${A}", "$${A}"), ("${REF}", "${A}"), ("}{", "}{"), ("$", "$"), ("${NONE:-:-}", ":-")])
def test_references(text, result):
    assert substitute(text, ENV) == result


@pytest.mark.parametrize(("text", "reason", "offset", "length"), [
    ("a ${NONE}", "the environment variable NONE is not set", 2, 7),
    ("${A", "found '${A' without its closing brace", 0, 3),
    ("${}", "found '${}'", 0, 3),
    ("${1A}", "found '${1A}'", 0, 5),
    ("${A-x}", "found '${A-x}'", 0, 6),
    ("${A:+x}", "found '${A:+x}'", 0, 7),
    ("${ A }", "found '${ A }'", 0, 6),
    ("${A:-${B_2}}", "found '${A:-${B_2}'", 0, 11)])
def test_wrong_references(text, reason, offset, length):
    with pytest.raises(BadReference) as caught:
        substitute(text, ENV)
    assert (caught.value.reason, caught.value.offset, caught.value.length) == (reason, offset, length)


@given(st.text(st.characters(codec="utf-8")))
def test_an_escaped_text_comes_out_as_it_was(text):
    assert substitute(text.replace("${", "$${"), {}) == text


@given(st.text("${}:-A_ "))
def test_any_text_is_replaced_or_refused(text):
    try:
        substitute(text, ENV)
    except BadReference as bad:
        assert text[bad.offset:bad.offset + bad.length].startswith("${")


def test_a_variable_that_is_no_text():
    with pytest.raises(BadReference) as caught:
        substitute("${A}", {"A": "x\udcff"})
    assert caught.value.reason == "the environment variable A is not UTF-8"
