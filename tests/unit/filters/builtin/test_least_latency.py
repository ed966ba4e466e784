"""Requests go where answers come soon."""

import pytest

from fastmesh.filters.builtin.least_latency import LeastLatency
from fastmesh.testing import Answer, endpoint


def started(**settings):
    made = LeastLatency(**settings)
    for name in ("shortest", "least", "step"):
        setattr(made, name, getattr(made, name))
    made.start()
    return made


def test_nothing_is_known():
    assert started().weights([endpoint("a"), endpoint("b")]) is None


def test_twice_as_fast_is_twice_the_weight():
    a, b = started().weights([endpoint("a", latency=0.02), endpoint("b", latency=0.01)])
    assert b == pytest.approx(2 * a)


def test_configured_weights_count():
    a, b = started().weights([endpoint("a", latency=0.02, weight=4), endpoint("b", latency=0.01)])
    assert a == pytest.approx(2 * b)


def test_what_is_fast_enough_is_alike_and_the_slow_keep_something():
    a, b, c = started().weights([
        endpoint("a", latency=0.0001), endpoint("b", latency=0.001), endpoint("c", latency=9.0)])
    assert a == b and c == pytest.approx(0.05 * a)


def test_a_new_one_is_as_good_as_the_average():
    a, b, c = started().weights([endpoint("a", latency=0.01), endpoint("b", latency=0.03), endpoint("c")])
    assert c == pytest.approx((a + b) / 2)


def test_only_what_happened_since_counts():
    made = started(step=1.0)
    made.weights([endpoint("a", answers=100, answer_time=1.0, latency=0.01),
                  endpoint("b", answers=100, answer_time=1.0, latency=0.01)])
    a, b = made.weights([endpoint("a", answers=110, requests=10, answer_time=1.1, latency=0.5),
                         endpoint("b", answers=110, requests=10, answer_time=1.4, latency=0.5)])
    assert a == pytest.approx(4 * b)


def test_it_goes_half_of_the_way():
    made = started()
    made.weights([endpoint("a", answers=1, answer_time=0.01, latency=0.01), endpoint("b", latency=0.01, answers=1,
                                                                                    answer_time=0.01)])
    a, b = made.weights([endpoint("a", answers=2, requests=1, answer_time=0.01 + 0.005, latency=0.01),
                         endpoint("b", answers=2, requests=1, answer_time=0.02, latency=0.01)])
    assert a / b == pytest.approx(1.5)


def test_who_fails_fast_attracts_nobody():
    made = started(step=1.0)
    before = [endpoint(name, requests=100, answers=100, answer_time=10.0, latency=0.1) for name in "ab"]
    made.weights(before)
    a, b = made.weights([endpoint("a", requests=200, answers=200, failures=100, answer_time=10.1, latency=0.001),
                         endpoint("b", requests=200, answers=200, answer_time=20.0, latency=0.1)])
    assert a == pytest.approx(0.05 * b)


def test_what_is_silent_keeps_what_it_had():
    made = started()
    first = made.weights([endpoint("a", latency=0.01), endpoint("b", latency=0.02)])
    assert made.weights([endpoint("a", latency=0.01, answers=1), endpoint("b", latency=0.02, answers=1)]) == first


@pytest.mark.parametrize("settings", [{"shortest": 0.0}, {"least": 0.0}, {"step": 0.0}])
def test_what_cannot_be(settings):
    with pytest.raises(ValueError, match="above 0"):
        started(**settings)


def test_with_traffic(filter_kit):
    """The fast one of two has nine times the requests of the slow one, after a while."""
    kit = filter_kit().balance(LeastLatency(), endpoints=2)
    fast, slow = kit.upstream.endpoints
    kit.upstream.answers(lambda asked: Answer(after=0.01 if asked.endpoint == fast else 0.09))
    for _ in range(8):
        kit.shares(40)
        kit.pass_time(1)
    assert kit.shares(100)[fast] == pytest.approx(0.9, abs=0.03)
    kit.upstream.answers(lambda asked: Answer(after=0.01 if asked.endpoint == slow else 0.09))
    for _ in range(12):
        kit.shares(40)
        kit.pass_time(1)
    assert kit.shares(100)[slow] == pytest.approx(0.9, abs=0.05)
