import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.path import normalize_path
from fastmesh.errors import WrongValue
from probes.http_probe import normalize

UNCLEAR = ("servers disagree about it, so a request that only one reading of leads here is refused; "
           "write the rule for what stands before it")


@pytest.mark.parametrize(("text", "normal"), [
    ("/", "/"), ("/api", "/api"), ("/api/", "/api/"), ("//api///x", "/api/x"), ("/a/../b", "/b"), ("/a/./b/.", "/a/b/"),
    ("/a/b/..", "/a/"), ("/..", "/"), ("/../..//x", "/x"), ("/%61pi", "/api"), ("/%7e", "/~"), ("/a%3ab", "/a%3Ab"),
    ("/%2e%2e/x", "/x"), ("/straße", "/stra%C3%9Fe"), ("/a.b/..c", "/a.b/..c"), ("/%2561", "/%2561"),
    ("/a*b/[x]", "/a*b/[x]")])
def test_normal_forms(text, normal):
    assert normalize_path(text) == normal
    assert normalize_path(normal) == normal


@pytest.mark.parametrize(("text", "allowed", "hint"), [
    ("api", 'a path that begins with "/", without query or fragment', "write /api"),
    ("", 'a path that begins with "/", without query or fragment', ""),
    ("https://x/", 'a path that begins with "/", without query or fragment', ""),
    ("/a?b=1", 'a path that begins with "/", without query or fragment',
     "rules see the path only: leave out the query, or write %3F for the character itself"),
    ("/a#b", 'a path that begins with "/", without query or fragment',
     "rules see the path only: leave out the fragment, or write %23 for the character itself"),
    ("/api/*", "a path without wildcards", "a prefix matches what is below it: write /api/"),
    ("/**", "a path without wildcards", "a prefix matches what is below it: write /"),
    ("/a\\b", 'a path without "\\"', "servers disagree about it; write /"),
    ("/a;b", "a path without ;", UNCLEAR), ("/a%2fb", "a path without %2f", UNCLEAR),
    ("/%5C", "a path without %5C", UNCLEAR), ("/%c0%af", "a path without %c0", UNCLEAR),
    ("/a b", "a path without spaces and control characters", "percent-encode them: a space is %20"),
    ("/a\x7f", "a path without spaces and control characters", "percent-encode them: a space is %20"),
    ("/a%", "escapes of % and two hexadecimal digits", "write %25 for the character % itself"),
    ("/a%4", "escapes of % and two hexadecimal digits", "write %25 for the character % itself"),
    ("/a%+1", "escapes of % and two hexadecimal digits", "write %25 for the character % itself"),
    ("/%00", "a path without %00", "such requests are refused before rules are asked"),
    ("/" + "a" * 4096, "at most 4,096 characters", "")])
def test_wrong_paths(text, allowed, hint):
    with pytest.raises(WrongValue) as caught:
        normalize_path(text)
    assert (caught.value.allowed, caught.value.hint) == (allowed, hint)


@given(st.one_of(st.text("/.%2eEfFaA5cC0~;=", max_size=24), st.text(max_size=24)).map(lambda text: "/" + text))
def test_rules_are_in_the_form_that_requests_are_matched_in(text):
    """The data plane's own normal form changes nothing about a rule, and makes the same of what needs no encoding."""
    try:
        normal = normalize_path(text)
    except WrongValue:
        return
    code, again = normalize(normal.encode())
    assert code >= 0 and again == normal.encode()
    if text.isascii():
        code, theirs = normalize(text.encode())
        assert code >= 0 and theirs == normal.encode()
