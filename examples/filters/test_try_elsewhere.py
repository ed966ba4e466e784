"""Another endpoint is tried while that can help."""

import pytest
from try_elsewhere import TryElsewhere


@pytest.mark.parametrize(("attempts", "status", "given_up"), [(3, 200, 0), (1, 503, 1)])
def test_a_refused_connection(filter_kit, attempts, status, given_up):
    kit = filter_kit(TryElsewhere(attempts=attempts))
    kit.cluster("pair", endpoints=2).fails("connect_failure", times=1)
    kit.route(prefix="/", cluster="pair")
    before = kit.metric("given_up", reason="connect_failure")
    assert kit.get("/").status == status
    assert kit.metric("given_up", reason="connect_failure") == before + given_up


def test_attempts_are_counted(filter_kit):
    kit = filter_kit(TryElsewhere)
    before = kit.metric("tries")
    kit.get("/")
    assert kit.metric("tries") == before + 1
