"""The rule that authors write: what it may be made of, and what is said of all else."""

import copy
import pickle

import pytest

from fastmesh import Retry
from fastmesh._core.filter.retry_rule import retry_heard, retry_told


def test_what_is_not_said():
    rule = Retry()
    assert (rule.attempts, rule.on) == (2, {"connect-failure", "reset"})
    assert (rule.backoff, rule.backoff_max, rule.per_try_timeout, rule.non_idempotent) == (0.025, 0.25, None, False)
    assert rule.retry_after_max == 25.0


def test_what_is_said():
    rule = Retry(3, ["reset", 503, "timeout", 503], backoff=0.1, backoff_max=2, per_try_timeout=1, non_idempotent=True)
    assert rule.on == {"reset", "timeout", 503} and rule.backoff_max == 2.0 and rule.per_try_timeout == 1.0
    assert repr(rule) == ("Retry(attempts=3, on={'reset', 'timeout', 503}, backoff=0.1, backoff_max=2.0, "
                          "per_try_timeout=1.0, non_idempotent=True)")
    assert repr(Retry(retry_after_max=0)).endswith(", retry_after_max=0.0)")
    assert repr(Retry(on={"5xx"})) == "Retry(attempts=2, on={'5xx'}, backoff=0.025)"


def test_the_longest_pause_has_a_limit_of_its_own():
    assert Retry(backoff=30).backoff_max == 60.0


def test_alike_or_not():
    assert Retry(on=["reset", "5xx"]) == Retry(on=("5xx", "reset")) and Retry() != Retry(3) and Retry() != "Retry"
    assert len({Retry(), Retry(), Retry(3)}) == 2


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        Retry().attempts = 5


@pytest.mark.parametrize("rule", [
    Retry(), Retry(8, {"5xx", 429}, backoff=0, per_try_timeout=0.5, non_idempotent=True), Retry(backoff_max=1.0),
    Retry(retry_after_max=300), Retry(on={"unavailable", "cancelled", 503})])
def test_it_travels(rule):
    assert retry_heard(list(retry_told(rule))) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule == copy.deepcopy(rule)


@pytest.mark.parametrize(("wrong", "says"), [
    ({"attempts": 0}, "attempts=0: 1 to 8 are allowed, the first one counted"),
    ({"attempts": 9}, "1 to 8"), ({"attempts": True}, "1 to 8"), ({"attempts": 2.0}, "1 to 8"),
    ({"attempts": 10**30}, "1 to 8"),
    ({"on": ()}, "`on` is empty: name what is tried again, or set request.retry to None"),
    ({"on": "5xx"}, "on='5xx': a set is allowed, as {'5xx'}"), ({"on": 503}, "on=503: a set is allowed, as {503}"),
    ({"on": {"connect"}}, 'there is no condition \'connect\': allowed are "5xx", "connect-failure", "gateway-error", '
     '"protocol-error", "reset", "retriable-4xx", "timeout", "cancelled", "deadline-exceeded", "internal", '
     '"resource-exhausted", "unavailable", and statuses from 400 to 599; did you mean '
     '"connect-failure"?'),
    ({"on": {"connect_failure"}}, 'did you mean "connect-failure"?'), ({"on": {"RESET"}}, 'did you mean "reset"?'),
    ({"on": {"503"}}, "did you mean 503, without quotes?"), ({"on": {""}}, "there is no condition ''"),
    ({"on": {200}}, "an answer with 200 is none to be tried again"), ({"on": {600}}, "600"), ({"on": {-1}}, "-1"),
    ({"on": {True}}, "True is no condition"), ({"on": {5.03}}, "5.03 is no condition"), ({"on": None}, "iterable"),
    ({"on": {"timeout"}}, "there is no per_try_timeout"),
    ({"backoff": -1}, "backoff=-1: 0 to 60 seconds are allowed"), ({"backoff": float("nan")}, "backoff=nan"),
    ({"backoff": float("inf")}, "backoff=inf"), ({"backoff": "25ms"}, "backoff='25ms': seconds are a number"),
    ({"backoff": 1, "backoff_max": 0.5}, "backoff_max=0.5: 1 to 60 seconds are allowed"),
    ({"per_try_timeout": 0}, "per_try_timeout=0: 0.001 to 86400"), ({"per_try_timeout": True}, "seconds are a number"),
    ({"retry_after_max": -1}, "retry_after_max=-1: 0 to 300 seconds are allowed"),
    ({"retry_after_max": 301}, "0 to 300"), ({"retry_after_max": None}, "retry_after_max=None: seconds are a number"),
    ({"non_idempotent": 1}, "non_idempotent=1: True or False"),
])
def test_what_makes_no_sense(wrong, says):
    with pytest.raises((ValueError, TypeError)) as caught:
        Retry(**wrong)
    assert says in str(caught.value)
