"""Another endpoint is tried while that can help."""

import pytest
from filtering import asked_again, finished, make
from try_elsewhere import TryElsewhere


@pytest.mark.parametrize(("case", "again"), [
    ({}, True), ({"attempt": 3}, False), ({"may_repeat": False}, False), ({"elapsed": 0.3}, False)])
def test_again(case, again):
    policy = make(TryElsewhere)
    assert asked_again(policy, **case) is again
    assert policy.given_up.labels(reason="connect_failure").value == (0 if again else 1)


def test_attempts_are_counted():
    policy = make(TryElsewhere)
    finished(policy)
    assert policy.tries.labels().count == 1
