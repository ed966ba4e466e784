"""Pages of allowed origins may read answers, others may not, and caches tell them apart."""

import pytest
from filtering import make, run

from fastmesh import Response
from fastmesh.filters.builtin.cors import Cors

ORIGINS = ("https://app.example.com", "https://*.example.org")


def preflight(cors, origin, method="PUT", **more):
    return run(cors, "OPTIONS", headers={"origin": origin, "access-control-request-method": method, **more})


def test_a_preflight_is_answered_here():
    cors = make(Cors, origins=ORIGINS, methods=("GET", "PUT"), headers=("content-type",), max_age=60.0)
    got = preflight(cors, "https://app.example.com")
    assert got.status == 204 and not got.upstream and got.body == b""
    assert got.headers["access-control-allow-origin"] == "https://app.example.com"
    assert got.headers["access-control-allow-methods"] == "GET, PUT"
    assert got.headers["access-control-allow-headers"] == "content-type"
    assert got.headers["access-control-max-age"] == "60"
    assert "Origin" in got.headers["vary"]
    assert "access-control-allow-credentials" not in got.headers


@pytest.mark.parametrize(("origin", "method"), [
    ("https://other.example.com", "PUT"), ("http://app.example.com", "PUT"), ("https://example.org", "PUT"),
    ("https://.example.org", "PUT"), ("https://app.example.com.evil.org", "PUT"), ("null", "PUT"),
    ("https://app.example.com", "DELETE")])
def test_a_preflight_that_is_not_granted(origin, method):
    got = preflight(make(Cors, origins=ORIGINS, methods=("GET", "PUT")), origin, method)
    assert got.status == 403 and "access-control-allow-origin" not in got.headers
    assert "Origin" in got.headers["vary"]


def test_options_that_are_no_preflight_go_upstream():
    cors = make(Cors, origins=ORIGINS)
    assert run(cors, "OPTIONS", headers={"origin": "https://app.example.com"}).upstream
    assert run(cors, "OPTIONS").upstream


def test_an_answer_is_marked_for_its_origin_and_for_caches():
    cors = make(Cors, origins=ORIGINS, credentials=True, expose=("x-total",))
    upstream = Response(200, text="x", headers={"access-control-allow-origin": "*", "vary": "Accept"})
    got = run(cors, headers={"origin": "https://a.b.example.org"}, answer=upstream)
    assert got.headers.get_all("access-control-allow-origin") == ["https://a.b.example.org"]
    assert got.headers["access-control-allow-credentials"] == "true"
    assert got.headers["access-control-expose-headers"] == "x-total"
    assert got.headers.get_all("vary") == ["Accept", "Origin"]


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}])
def test_for_others_nothing_of_it_is_left(headers):
    upstream = Response(200, text="x", headers={"access-control-allow-origin": "*", "vary": "origin"})
    got = run(make(Cors, origins=ORIGINS), headers=headers, answer=upstream)
    assert got.status == 200 and "access-control-allow-origin" not in got.headers
    assert got.headers.get_all("vary") == ["origin"]


def test_any_origin():
    cors = make(Cors, origins=("*",), headers=("*",))
    got = run(cors, headers={"origin": "https://who.example"})
    assert got.headers["access-control-allow-origin"] == "*" and "vary" not in got.headers
    got = preflight(cors, "https://who.example", "GET", **{"access-control-request-headers": "x-a, x-b"})
    assert got.headers["access-control-allow-headers"] == "x-a, x-b"


@pytest.mark.parametrize(("settings", "why"), [
    ({"origins": ("*",), "credentials": True}, "any page could act as its visitor"),
    ({"origins": ("https://a*.com",)}, "a star stands for hosts below"),
    ({"origins": ("https://*.*.com",)}, "a star stands for hosts below"),
    ({"origins": ("app.example.com",)}, "is no origin"), ({"origins": ("https://a.com/",)}, "is no origin")])
def test_what_cannot_be_allowed(settings, why):
    with pytest.raises(ValueError, match=why):
        make(Cors, **settings)
