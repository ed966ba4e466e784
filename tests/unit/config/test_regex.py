"""Regular expressions: they take what Python's take of whole texts, and nothing makes one slow."""

import re
import time

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmesh.config.automaton import MAX_STATES, TooLarge, build
from fastmesh.config.regex import MAX_TEXT, compile_regex
from fastmesh.errors import WrongValue


def takes(pattern: str, text: str) -> bool:
    return compile_regex(pattern).automaton.matches(text.encode())


@pytest.mark.parametrize(("pattern", "taken", "refused"), [
    ("/a", ["/a"], ["/", "/a/", "x/a", ""]),
    ("^/a$", ["/a"], ["/ab"]),
    ("/api/v[0-9]+/.*", ["/api/v1/", "/api/v22/x/y"], ["/api/v/x", "/api/v1"]),
    ("/(cart|orders?)(/.*)?", ["/cart", "/order", "/orders", "/cart/", "/orders/1"], ["/carts", "/orderss"]),
    ("(?i)bearer .+", ["Bearer x", "BEARER y"], ["Bearer ", "bearer"]),
    ("(?i)[a-c]_[^d]", ["B_e", "a_D"[:2] + "x"], ["b_D", "b_d", "d_x"]),
    (r"\d{3}-\d{2,}", ["123-45", "123-456789"], ["12-45", "123-4"]),
    (r"a{0}b", ["b"], ["ab"]),
    (r"a{2,3}", ["aa", "aaa"], ["a", "aaaa", ""]),
    (r"(ab){2}", ["abab"], ["ab", "ababab"]),
    (r"(a?){3}b", ["b", "aaab"], ["aaaab"]),
    (r"a*?b+?", ["b", "aabb"], ["a"]),
    (r"[]a]", ["]", "a"], ["b"]),
    (r"[^]a]", ["b"], ["]", "a"]),
    (r"[a-]", ["a", "-"], ["b"]),
    (r"[\w.-]+", ["a.b-c_1"], ["a b"]),
    (r"[[:alpha:]]+[[:digit:]]", ["ab1"], ["1", "ab"]),
    (r"\x41\.\\", ["A.\\"], ["Ax\\"]),
    ("é+", ["é"], ["e", "éé"[:1] + "x"]),
    (r"(?P<id>[a-f0-9]{8})", ["deadbeef"], ["deadbee"]),
    ("a||b", ["a", "b", ""], ["ab"]),
    ("()", [""], ["a"]),
    (r"\$\^\(\)", ["$^()"], ["$"]),
    (".*", ["", "x", "a/b", "a\nb"], []),
])
def test_what_is_taken(pattern, taken, refused):
    assert [text for text in taken if not takes(pattern, text)] == []
    assert [text for text in refused if takes(pattern, text)] == []


@pytest.mark.parametrize(("pattern", "found", "hint"), [
    ("", "an empty one", ""),
    ("a" * (MAX_TEXT + 1), "1,025 characters", ""),
    (r"(a)\1", r"'(a)\\1' with the back-reference \1 at character 4", ""),
    ("(?=a)b", "'(?=a)b' with looking around at character 1", "write what the text is, not what it is not"),
    ("(?<!a)b", "'(?<!a)b' with looking around at character 1", "write what the text is, not what it is not"),
    ("a(?i)b", "'a(?i)b' with (?i at character 2",
     "(?:…) is a group, (?i) at the beginning ignores the case of letters"),
    ("(a", "'(a' with a ( that is not closed at character 1", "write \\( for the character itself"),
    ("a)", "'a)' with a ) that closes nothing at character 2", "write \\) for the character itself"),
    ("[a", "'[a' with a [ that is not closed at character 1", "write \\[ for the character itself"),
    ("*a", "'*a' with * behind nothing at character 1", "write \\* for the character itself"),
    ("a$b", "'a$b' with $ in the middle at character 2",
     "the whole text is matched: leave it out, or write it at the end; the character itself is \\$"),
    ("a^b", "'a^b' with ^ in the middle at character 2",
     "the whole text is matched: leave it out, or write it at the beginning; the character itself is \\^"),
    (r"a\b", r"'a\\b' with the unknown escape \b at character 2",
     "\\b, \\A and \\Z are not there: the whole text is matched"),
    ("a\\", r"'a\\' with a \ behind which nothing stands at character 2", "write \\\\ for the character itself"),
    ("[z-a]", "'[z-a]' with a range that goes backwards, or to a class at character 1", ""),
    ("a{", "'a{' with { that is no count at character 2", "write \\{ for the character itself"),
    ("a{2,1}", "'a{2,1}' with {2,1} at character 2", "at most 1,000 times, the smaller number first"),
    ("a{1001}", "'a{1001}' with {1001} at character 2", "at most 1,000 times, the smaller number first"),
    ("a*+", "'a*+' with a possessive quantifier at character 3", "leave out the +"),
    (r"\xg0", r"'\\xg0' with \x without two hexadecimal digits at character 1", ""),
    ("[é]", "'[é]' with 'é' in a class, where only ASCII stands at character 1", "write (?:…|…)"),
    ("(" * 33 + ")" * 33, f"'{'(' * 33}{')' * 24}…' with more than 32 groups within each other at character 33", ""),
    (".*a.{20}", "'.*a.{20}'", "make what repeats shorter, or write several routes"),
    ("((a{100}){100}){100}", "'((a{100}){100}){100}'", "make what repeats shorter, or write several routes"),
    ("((){1000}){1000}", "'((){1000}){1000}'", "make what repeats shorter, or write several routes"),
])
def test_what_is_refused(pattern, found, hint):
    with pytest.raises(WrongValue) as caught:
        compile_regex(pattern)
    assert (caught.value.found, caught.value.hint) == (found, hint)


@pytest.mark.parametrize("pattern", [
    "(a|a)*b", "(a*)*b", "(a+)+$", "((a*)*)*x", "(.*)(.*)(.*)(.*)(.*)y", "(a?){50}a{50}", "([a-z]+)*[0-9]",
    "(a|ab|b)*c"])
def test_what_explodes_elsewhere_is_small_here(pattern):
    automaton = compile_regex(pattern).automaton
    assert len(automaton.flags) <= 110
    assert not automaton.matches(b"a" * 50_000 + b"!")


def test_a_refusal_is_bounded_work():
    """Counted, not timed: the processor time is far above what the bound allows."""
    before = time.process_time()
    for pattern in (".*a.{30}", "((a|b)*a(a|b){100})+", "(.{0,400}x){4}", "(a?){900}", "([a-z]?[0-9]?){400}"):
        try:
            assert len(compile_regex(pattern).automaton.flags) <= MAX_STATES
        except WrongValue:
            pass
    assert time.process_time() - before < 60


def test_what_texts_begin_with():
    assert compile_regex("/api/v[0-9]+").literal == b"/api/v"
    assert compile_regex("/api|/x").literal == b""
    assert compile_regex("/a(b/c)d").literal == b"/ab/c"
    assert compile_regex("(?i)/a").literal == b"/"
    assert compile_regex("/a?").literal == b"/"
    assert compile_regex(".*").literal == b""


def test_an_absorbing_state_is_marked():
    assert 2 in compile_regex("/a/.*").automaton.flags
    assert 2 not in compile_regex("/a/[0-9]").automaton.flags


# --- against Python's own ---

ATOMS = st.sampled_from(["a", "b", "/", ".", "[ab]", "[^a]", r"\d", r"\w", "1", "()", r"\.", "[a-c1]"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "{3}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}")),
    max_leaves=8)
TEXTS = st.lists(st.text("ab/1.c", max_size=8), min_size=5, max_size=20)


@settings(max_examples=tries(600), deadline=None)
@given(EXPRESSIONS, TEXTS, st.booleans())
def test_the_same_as_re(pattern, texts, folds):
    pattern = f"(?i){pattern}" if folds else pattern
    try:
        found = compile_regex(pattern)
    except WrongValue as wrong:
        assert wrong.hint.startswith("make what repeats shorter")
        return
    reference = re.compile(pattern.encode(), re.ASCII | re.DOTALL)
    for text in texts:
        data = text.encode()
        matches = reference.fullmatch(data) is not None
        assert found.automaton.matches(data) == matches
        if matches:
            assert data.startswith(found.literal)
            assert all(found.automaton.may_begin(data[:n]) for n in range(len(data)))


def test_build_gives_up_by_itself():
    with pytest.raises(TooLarge):
        build(("repeat", ("repeat", ("set", 1), 1000, 1000), 1000, 1000))
