"""A share of the visitors, and the same ones each time."""

import re

import pytest
from filtering import make, run

from fastmesh.filters.builtin.canary import STEPS, Canary


def drawn(got):
    found = re.match(r"fm-canary=(\d+);", got.headers["set-cookie"])
    assert found is not None
    return int(found[1])


def test_a_visitor_draws_once():
    canary = make(Canary, to="v2", share=0.5)
    first = run(canary, clusters=("v2",))
    number = drawn(first)
    assert (first.cluster == "v2") is (number < STEPS // 2)
    again = run(canary, headers={"cookie": f"fm-canary={number}"}, clusters=("v2",))
    assert "set-cookie" not in again.headers and again.cluster == first.cluster


def test_the_share_is_about_right_and_labelled():
    canary = make(Canary, to="v2", share=0.2)
    seen = [run(canary, clusters=("v2",)) for _ in range(300)]
    inside = [got for got in seen if got.cluster == "v2"]
    assert 25 < len(inside) < 105
    assert all(got.labels.get("canary") == ("v2" if got in inside else None) for got in seen)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_that_grows_keeps_those_who_are_in(share):
    canary = make(Canary, to="v2", share=share)
    for number in (0, 999, 1000, 4999, 5000, 9999):
        got = run(canary, headers={"cookie": f"fm-canary={number}"}, clusters=("v2",))
        assert (got.cluster == "v2") is (number < share * STEPS)


@pytest.mark.parametrize("cookie", ["", "-1", "10000", "99999999", "1.5", "x", "\u0663"])
def test_a_cookie_that_is_not_ours_is_drawn_anew(cookie):
    assert 0 <= drawn(run(make(Canary, to="v2", share=0.0), headers={"cookie": f"fm-canary={cookie}"})) < STEPS


def test_the_cookie_is_for_https_and_not_for_scripts():
    got = run(make(Canary, to="v2", share=0.0, max_age=60.0))
    assert got.headers["set-cookie"].partition("; ")[2] == "Path=/; Max-Age=60; SameSite=Lax; HttpOnly; Secure"
    got = run(make(Canary, to="v2", share=0.0, secure=False))
    assert "Secure" not in got.headers["set-cookie"]


@pytest.mark.parametrize("name", ["", "a;b", "a b", "ä"])
def test_what_cannot_be_a_cookies_name(name):
    with pytest.raises(ValueError, match="no name for a cookie"):
        make(Canary, to="v2", share=0.5, cookie=name)
