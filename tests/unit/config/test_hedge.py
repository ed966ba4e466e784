"""Rules for attempts beside the first: what may be written, what is said when it may not, and what comes of it."""

import pytest

from fastmesh.config.load import load_text
from fastmesh.errors import ConfigError
from fastmesh.snapshot.hedges import hedges

TEXT = """listeners:
  - name: in
    address: 127.0.0.1:1
    {shared}
    routes:
      - match: {{prefix: /}}
        {where}
        hedge: {hedge}
clusters:
  - name: app
    endpoints: [127.0.0.1:2]
"""


def written(hedge: str, where: str = "cluster: app", shared: str = "via: x") -> str:
    return TEXT.format(hedge=hedge, where=where, shared=shared)


@pytest.mark.parametrize(("hedge", "record"), [
    ("{}", [2, 0, 5_000_000, 950_000, 50_000, 1, False, False, True]),
    ("{delay: p99.9, min_delay: 1ms}", [2, 0, 1_000_000, 999_000, 50_000, 1, False, False, True]),
    ("{delay: 40ms, attempts: 4}", [4, 40_000_000, 0, 0, 50_000, 1, False, False, True]),
    ("{budget: {share: 10%, per_second: 3}, non_idempotent: true, tell: false}",
     [2, 0, 5_000_000, 950_000, 100_000, 3, False, True, False]),
])
def test_what_is_written(hedge: str, record: list[object]) -> None:
    assert hedges(load_text(written(hedge), "f", {}).config) == [[record], [[0, 0, 0]]]


def test_after_an_attempt_that_was_too_slow() -> None:
    text = written("{on: per_try_timeout}", shared="retry: {per_try_timeout: 1s}")
    assert hedges(load_text(text, "f", {}).config) == [[[2, 0, 0, 0, 50_000, 1, True, False, True]], [[0, 0, 0]]]


def test_a_route_without_has_that_of_its_listener() -> None:
    text = written("", shared="hedge: {delay: 7ms}")
    assert hedges(load_text(text, "f", {}).config)[0][0][:2] == [2, 7_000_000]


def test_none_is_none() -> None:
    assert hedges(load_text(written(""), "f", {}).config) == [[], []]


DELAYS = "allowed: p50 to p99.99, as p95: a percentile of the cluster's recent times; or a duration from 1ms to 5m"


@pytest.mark.parametrize(("hedge", "why"), [
    ("{delay: p49}", f"f:8:24: listeners[0].routes[0].hedge.delay: found 'p49', {DELAYS}"),
    ("{delay: p100}", f"f:8:24: listeners[0].routes[0].hedge.delay: found 'p100', {DELAYS}"),
    ("{delay: 0}", f"f:8:24: listeners[0].routes[0].hedge.delay: found '0', {DELAYS}"),
    ("{delay: 6m}", f"f:8:24: listeners[0].routes[0].hedge.delay: found '6m', {DELAYS}"),
    ("{delay: 50}", "f:8:24: listeners[0].routes[0].hedge.delay: found '50', allowed: a number with one of ms, "
     "s, m, h"),
    ("{attempts: 1}", "f:8:27: listeners[0].routes[0].hedge.attempts: found '1', allowed: a whole number from 2 to 4"),
    ("{attempts: 5}", "f:8:27: listeners[0].routes[0].hedge.attempts: found '5'"),
    ("{on: timeout}", "f:8:21: listeners[0].routes[0].hedge.on: found 'timeout', allowed: delay or per_try_timeout"),
    ("{on: per_try_timeout}", "f:8:21: listeners[0].routes[0].hedge.on: no attempt is ever too slow, as the retry of "
     "the route has no per_try_timeout"),
    ("{delay: 5ms, min_delay: 1ms}", "f:8:29: listeners[0].routes[0].hedge.min_delay: delay is no percentile, so "
     "min_delay says nothing"),
    ("{budget: 5%}", "f:8:25: listeners[0].routes[0].hedge.budget: found"),
])
def test_what_may_not_be_written(hedge: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(written(hedge), "f", {})
    (found,) = (str(problem) for problem in caught.value.problems)
    assert found.startswith(why)


@pytest.mark.parametrize(("where", "shared", "hedge", "why"), [
    ("response: {status: 200}", "via: x", "{}", "the route has a response, so nothing is sent anywhere"),
    ("redirect: {scheme: https}", "via: x", "{}", "the route has a redirect, so nothing is sent anywhere"),
    ("cluster: app", "timeouts: {request: 1s}", "{delay: 1s}", "it is 1s, and the whole request may take only 1s"),
    ("cluster: app", "retry: {per_try_timeout: 1s}", "{on: per_try_timeout, delay: 5ms}",
     "on is per_try_timeout, so delay says nothing"),
])
def test_what_does_not_go_together(where: str, shared: str, hedge: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(written(hedge, where, shared), "f", {})
    (found,) = (str(problem) for problem in caught.value.problems)
    assert why in found


def test_tcp_has_no_requests() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text("listeners: [{name: in, address: 127.0.0.1:1, protocol: tcp, cluster: app, hedge: {}}]\n"
                  "clusters: [{name: app, endpoints: [127.0.0.1:2]}]\n", "f", {})
    assert "a tcp listener has no requests that could be sent twice" in str(caught.value.problems[0])
