import pytest

from fastmesh.config.template import compile_template
from fastmesh.errors import WrongValue


@pytest.mark.parametrize(("template", "taken", "refused"), [
    ("/users/{id}", ["/users/1", "/users/a.b"], ["/users", "/users/", "/users/1/", "/users/1/2"]),
    ("/users/{id}/orders/**", ["/users/1/orders", "/users/1/orders/", "/users/1/orders/2/3"],
     ["/users/1/ordersx", "/users//orders", "/users/1"]),
    ("/files/{path=**}", ["/files", "/files/a/b"], ["/file"]),
    ("/**", ["/", "/a", "/a/b"], ["*"]),
    ("/a/*/b", ["/a/x/b"], ["/a/b", "/a/x/y/b", "/a//b"]),
    ("/{file}.json", ["/x.json", "/.json.json"], ["/.json", "/x.xml", "/a/x.json"]),
    ("/v{n}/x-{y}", ["/v1/x-2"], ["/v/x-2", "/v1/x-"]),
    ("/a", ["/a"], ["/a/", "/"]),
    ("//a/./{x}", ["/a/1"], ["//a/1"]),
    ("/é/{x}", ["/%C3%A9/1"], ["/é/1"]),
])
def test_what_is_taken(template, taken, refused):
    automaton = compile_template(template).automaton
    assert [text for text in taken if not automaton.matches(text.encode())] == []
    assert [text for text in refused if automaton.matches(text.encode())] == []


@pytest.mark.parametrize(("template", "hint"), [
    ("users/{id}", "write /users/{id}"),
    ("/a/**/b", "write ** only as the last segment"),
    ("/a/x**", "write ** only as the last segment"),
    ("/{a=**}/b", "write {a=**} only as the last segment"),
    ("/{a}/{a}", "give the second {a} another name"),
    ("/{a}/{a=**}", "give the second {a} another name"),
    ("/{a}{b}", ""),
    ("/{a", "a name is letters, digits and _; percent-encode a brace that is meant as itself, as %7B"),
    ("/{a-b}", "a name is letters, digits and _; percent-encode a brace that is meant as itself, as %7B"),
    ("/{}", "a name is letters, digits and _; percent-encode a brace that is meant as itself, as %7B"),
    ("/{a}/../b", ""),
    ("/{a}?x=1", "rules see the path only: leave out the query, or write %3F for the character itself"),
    ("/{a};x", "servers disagree about it, so a request that only one reading of leads here is refused; write the rule "
               "for what stands before it"),
])
def test_what_is_refused(template, hint):
    with pytest.raises(WrongValue) as caught:
        compile_template(template)
    assert caught.value.hint == hint


def test_where_it_is_filed():
    assert compile_template("/users/{id}/x").literal == b"/users/"
    assert compile_template("/**").literal == b""
