"""So much for each tenant, whoever the others are."""

import pytest
from filtering import make, run

from fastmesh.filters.builtin.tenant_limit import LONGEST, TenantLimit


def test_each_tenant_has_its_own():
    limit = make(TenantLimit, by="header:x-tenant", rate=0.01, burst=2)
    statuses = [run(limit, headers={"x-tenant": tenant}).status for tenant in "aaabbb"]
    assert statuses == [200, 200, 429, 200, 200, 429]


def test_who_has_to_wait_is_told_how_long():
    limit = make(TenantLimit, by="peer", rate=0.1, burst=1, name="calls")
    assert run(limit).status == 200
    got = run(limit)
    assert got.status == 429 and not got.upstream
    assert got.headers["retry-after"] == "10"
    assert got.headers["ratelimit-policy"] == '"calls";q=1;w=10'
    assert got.headers["ratelimit"] == '"calls";r=0;t=10'


@pytest.mark.parametrize(("by", "one", "other"), [
    ("header:X-T", {"headers": {"x-t": "1"}}, {"headers": {"x-t": "2"}}),
    ("cookie:sid", {"headers": {"cookie": "sid=1"}}, {"headers": {"cookie": "sid=2"}}),
    ("param:key", {"target": "/?key=1"}, {"target": "/?key=2"}),
    ("host", {"headers": {"host": "a"}}, {"headers": {"host": "b"}}),
    ("peer", {"peer": "10.0.0.1"}, {"peer": "10.0.0.2"}),
    ("label:tenant", {"labels": {"tenant": "1"}}, {"labels": {"tenant": "2"}})])
def test_what_names_a_tenant(by, one, other):
    limit = make(TenantLimit, by=by, rate=0.01, burst=1)
    assert [run(limit, **each).status for each in (one, one, other, other)] == [200, 429, 200, 429]


@pytest.mark.parametrize(("without", "statuses"), [
    ("shared", [200, 429, 429]), ("pass", [200, 200, 200]), ("refuse", [400, 400, 400])])
def test_without_a_tenant(without, statuses):
    limit = make(TenantLimit, by="header:x-t", rate=0.01, burst=1, without=without)
    assert [run(limit).status for _ in range(3)] == statuses


def test_nobody_is_mistaken_for_the_nameless():
    limit = make(TenantLimit, by="header:x-t", rate=0.01, burst=1)
    assert run(limit).status == 200
    assert [run(limit, headers={"x-t": name}).status for name in ("-", "=", "")] == [200, 200, 200]


def test_a_name_that_is_too_long():
    limit = make(TenantLimit, by="header:x-t", rate=1.0)
    assert run(limit, headers={"x-t": "x" * LONGEST}).status == 200
    assert run(limit, headers={"x-t": "x" * (LONGEST + 1)}).status == 400


@pytest.mark.parametrize("settings", [
    {"by": "header"}, {"by": "peer:x"}, {"by": ""}, {"by": "colour:x"}, {"without": "maybe"}, {"rate": 0.0},
    {"burst": -1}])
def test_what_limits_nothing(settings):
    with pytest.raises(ValueError):
        make(TenantLimit, **{"by": "peer", "rate": 1.0, **settings})
