import pytest

from fastmesh.config.capture import captures_of, pieces_of
from fastmesh.config.regex import compile_regex
from fastmesh.config.template import compile_template
from fastmesh.errors import WrongValue


def test_the_names_of_parts():
    assert captures_of(compile_regex("/a/(?P<v>[0-9]+)/(b|c)(?:d)?")).places == {"1": 1, "v": 1, "2": 3}
    assert captures_of(compile_template("/{a}/*/{c=**}")).places == {"1": 1, "a": 1, "2": 3, "3": 4, "c": 4}
    assert captures_of(compile_regex("/x")).places == {}
    assert captures_of(compile_regex("(/x)")).places == {"1": 0}
    # Within another, repeated, or one of several: nobody can say what it was.
    assert captures_of(compile_regex("/((a)|b)(c)*(?:(d)|e)")).places == {"1": 1}


def test_pieces():
    found = compile_template("/{a}/{b=**}")
    assert pieces_of("/x/{b}/{a}-{1}", found) == [(-1, b"/x/"), (2, b""), (-1, b"/"), (1, b""), (-1, b"-"), (1, b"")]
    assert pieces_of("{b}", found) == [(2, b"")]
    assert pieces_of("/only", found) == [(-1, b"/only")]


@pytest.mark.parametrize(("text", "hint"), [
    ("/{c}", "{c} is no name of the match, or a group that repeats, may be missing or stands within another"),
    ("/{", "percent-encode a brace that is meant as itself, as %7B"),
    ("/{a}?x", "rules see the path only: leave out the query, or write %3F for the character itself"),
    ("/{a}/../b", ""),
])
def test_what_is_refused(text, hint):
    with pytest.raises(WrongValue) as caught:
        pieces_of(text, compile_template("/{a}/{b}"))
    assert caught.value.hint == hint


def test_too_many_groups():
    with pytest.raises(WrongValue) as caught:
        captures_of(compile_regex("/" + "(a)b" * 20))
    assert caught.value.allowed == "at most 15 groups"
