"""Headers set, added and removed, with words of the request in them."""

import pytest
from filtering import make, run

from fastmesh import Response
from fastmesh.filters.builtin.header_rewrite import HeaderRewrite


def test_both_ways():
    rules = make(HeaderRewrite, remove_request=("x-secret",), set_request={"x-client": "{peer}"},
                 add_request={"via-list": "fm"}, remove_response=("server",), set_response={"x-id": "{id}"},
                 add_response={"set-cookie": "a=b"})
    got = run(rules, headers=[("X-Secret", "1"), ("x-client", "forged"), ("x-client", "twice"), ("via-list", "cdn")],
              answer=Response(200, text="", headers={"server": "old", "set-cookie": "c=d"}))
    assert "x-secret" not in got.request.headers
    assert got.request.headers.get_all("x-client") == [got.request.peer]
    assert got.request.headers.get_all("via-list") == ["cdn", "fm"]
    assert "server" not in got.headers and got.headers["x-id"] == got.request.id
    assert got.headers.get_all("set-cookie") == ["c=d", "a=b"]


@pytest.mark.parametrize(("text", "value"), [
    ("plain", "plain"), ("{method} {path}", "GET /a"), ("{host}", "shop.example"), ("<{header:User-Agent}>", "<ua>"),
    ("{cookie:sid}", "42"), ("{{{method}}}", "{GET}"), ("{listener}", "l0"), ("{peer}-{peer}", "127.0.0.1-127.0.0.1")])
def test_words_of_the_request(text, value):
    got = run(make(HeaderRewrite, set_request={"x-a": text}), target="/a?b=c",
              headers={"host": "shop.example", "user-agent": "ua", "cookie": "sid=42"})
    assert got.request.headers["x-a"] == value


def test_what_comes_out_empty_is_not_sent_nor_is_what_the_client_put_there():
    rules = make(HeaderRewrite, set_request={"x-user": "{label:user}"}, add_request={"x-more": "{header:nope}"})
    got = run(rules, headers={"x-user": "root"})
    assert "x-user" not in got.request.headers and "x-more" not in got.request.headers


def test_values_are_those_from_before_any_change():
    rules = make(HeaderRewrite, remove_request=("x-a",), set_request={"x-b": "{header:x-a}", "x-c": "{header:x-b}"})
    got = run(rules, headers={"x-a": "1", "x-b": "2"})
    assert (got.request.headers["x-b"], got.request.headers["x-c"]) == ("1", "2")


@pytest.mark.parametrize("text", ["{nope}", "{", "}", "a{b", "{label:}", "{header}", "{peer:x}", "{a{b}}"])
def test_what_stands_for_nothing(text):
    with pytest.raises(ValueError, match=r"set_request\.x-a: .*(doubled)"):
        make(HeaderRewrite, set_request={"x-a": text})


@pytest.mark.parametrize("settings", [
    {"set_request": {"a b": "1"}}, {"add_response": {"": "1"}}, {"set_request": {"content-length": "1"}},
    {"remove_response": ("transfer-encoding",)}])
def test_names_that_cannot_be_set(settings):
    with pytest.raises(ValueError):
        make(HeaderRewrite, **settings)
