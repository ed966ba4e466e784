"""Filters with a single question: what is made of the answers."""

from __future__ import annotations

import pytest
from filtering import Stand, asked_again, finished, make, run

from fastmesh import AccessLogger, Authorizer, Filter, RateLimitKey, Response, RetryPolicy, Signal


class Staff(Authorizer):
    team: str = "staff"

    def allow(self, request):
        return request.headers.get("x-team") == self.team


def test_an_authorizer_is_a_security_filter_with_one_phase():
    assert Staff.security and Staff.on_request is not Filter.on_request
    assert run(make(Staff), headers={"x-team": "staff"}).status == 200
    got = run(make(Staff, team="ops"), headers={"x-team": "staff"})
    assert got.status == 403 and not got.upstream


def test_a_response_is_the_answer():
    class Teapot(Authorizer):
        def allow(self, request):
            return Response(418)

    assert run(make(Teapot)).status == 418


@pytest.mark.parametrize("returned", [None, 0, 1, "yes", "", []])
def test_what_is_no_verdict_lets_nobody_in(returned):
    class Vague(Authorizer):
        def allow(self, request):
            return returned

    got = run(make(Vague), fails=True)
    assert got.status == 503 and not got.upstream
    assert "Vague.allow returned" in got.failures[0] and "it returns True, False or a Response" in got.failures[0]


def test_allow_may_wait():
    class Asks(Authorizer):
        async def allow(self, request):
            self.signal = Signal()
            return await self.signal

    for said in (True, False):
        gate = make(Asks)
        with Stand(gate).open() as stand:
            client = stand.asks()
            stand.play.expect_no_connect()
            client.expect_nothing()
            gate.signal.finish(said)
            stand.play.settle()
            if said:
                stand.play.connect().answers()
            client.expect_answer(200 if said else 403)


def test_whether_it_waits_is_decided_for_each_class():
    class Later(Staff):
        async def allow(self, request):
            return False

    class Sooner(Later):
        def allow(self, request):
            return True

    class Between(Sooner):
        pass

    assert run(make(Later)).status == 403
    assert run(make(Sooner)).status == run(make(Between)).status == 200


def test_an_authorizer_without_a_question_refuses():
    class Empty(Authorizer):
        pass

    got = run(make(Empty), fails=True)
    assert got.status == 503 and "Empty has no method allow" in got.failures[0]


class PerTenant(RateLimitKey):
    def key(self, request):
        return request.headers.get("x-tenant")


def test_a_key_has_its_bucket_and_none_has_no_limit():
    limit = make(PerTenant, rate=0.01)
    statuses = [run(limit, headers={"x-tenant": tenant}).status for tenant in "aabb"]
    assert statuses == [200, 429, 200, 429]
    assert [run(limit).status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize(("rate", "burst", "at_once"), [(0.5, 0, 1), (3.0, 0, 3), (0.5, 4, 4)])
def test_how_much_at_once(rate, burst, at_once):
    limit = make(PerTenant, rate=rate, burst=burst)
    assert [run(limit, headers={"x-tenant": "a"}).status for _ in range(at_once + 1)].count(200) == at_once


def test_a_policy_may_leave_it_to_the_proxy():
    class Mine(RetryPolicy):
        def again(self, request, error):
            return {"reset": True, "protocol": False}.get(error.reason)

    assert [asked_again(make(Mine), reason=reason) for reason in ("reset", "protocol", "connect_failure")] == [
        True, False, None]


def test_a_line_is_one_line_and_none_is_nothing(tmp_path):
    class Paths(AccessLogger):
        def line(self, request, outcome):
            return f"{request.path}\n\r{outcome.status}" if outcome.status != 404 else None

    log = make(Paths, path=str(tmp_path / "log"))
    for status in (200, 404, 500):
        finished(log, status=status, target="/a")
    assert (tmp_path / "log").read_bytes() == b"/a\\n\\r200\n/a\\n\\r500\n"


@pytest.mark.parametrize(("policy", "settings", "method"), [
    (RateLimitKey, {"rate": 1.0}, "key"), (AccessLogger, {}, "line")])
def test_a_policy_without_its_answer_says_so(policy, settings, method):
    got = run(make(type("Empty", (policy,), {}), **settings), fails=True)
    assert got.status == 200 and f"Empty has no method {method}" in got.failures[0]
    with pytest.raises(NotImplementedError, match="Empty has no method again"):
        asked_again(make(type("Empty", (RetryPolicy,), {})))


@pytest.mark.parametrize("again", [True, False])
def test_a_policy_decides_whether_another_endpoint_is_asked(again):
    class Decides(RetryPolicy):
        def again(self, request, error):
            return again and error.may_repeat

    with Stand(make(Decides), endpoints=("a", "b")).open() as stand:
        client = stand.asks()
        stand.play.expect_connect("a").refused()
        if again:
            stand.play.connect("b").answers()
        client.expect_answer(200 if again else 503)
