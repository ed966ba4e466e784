"""Which failed attempts are made again."""

import pytest
from filtering import asked_again, make

from fastmesh.filters.builtin.retry_safe import RetrySafe


@pytest.mark.parametrize(("case", "again"), [
    ({}, True), ({"method": "HEAD"}, True), ({"method": "POST"}, False), ({"reason": "protocol"}, False),
    ({"reason": "reset"}, True), ({"attempt": 2}, False), ({"may_repeat": False}, False),
    ({"timeout": 1.0, "elapsed": 0.6}, False), ({"timeout": 1.0, "elapsed": 0.4}, True)])
def test_again(case, again):
    assert asked_again(make(RetrySafe), **case) is again


def test_what_is_configured():
    policy = make(RetrySafe, methods=("POST",), reasons=("status",), attempts=3, within=1.0)
    assert asked_again(policy, method="POST", reason="status", attempt=2, timeout=1.0, elapsed=0.9) is True
    assert asked_again(policy, method="GET", reason="status") is False


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"within": 0.0}, {"within": 1.5}])
def test_what_is_no_policy(settings):
    with pytest.raises(ValueError):
        make(RetrySafe, **settings)
