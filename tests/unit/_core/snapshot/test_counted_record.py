"""The rows of routes that are counted: what is taken, and what is refused at which place."""

import pytest

from probes.snapshot_probe import Snapshot
from probes.wire import listener, pack, registry, route, snapshot


def packed(counted: object) -> bytes:
    value = snapshot([listener([route("/a"), route("/b")]), listener([route("/")], number=1, name="m")])
    value[14] = counted
    return pack(value)


def test_it_is_taken() -> None:
    with registry() as r:
        Snapshot(packed([[0, 1, 4095], [0, 0, 0], [1, 0, 0]]), r).close()


@pytest.mark.parametrize(("counted", "why"), [
    (None, "counted: found nil, must be an array"), ([0, "x" * 20], "counted[0]: found a number, must be an array"),
    ([[0, 0, 0, 0]], "counted[0]: found an array of 4, must be of 3"),
    ([[2, 0, 0]], "counted[0].listener: found 2, but there are 2 listeners"),
    ([[0, 2, 0]], "counted[0].route: found 2, but there are 2 routes"),
    ([[0, 0, 4096]], "counted[0].row: found 4096, must be at most 4095"),
    ([[0, 0, -1]], "counted[0].row: found a signed number, must be a number"),
    ([[0, 0, 1], [0, 0, 2]], "counted[1]: this route has its row already")])
def test_what_is_refused(counted: object, why: str) -> None:
    with registry() as r, pytest.raises(ValueError, match="counted") as caught:
        Snapshot(packed(counted), r)
    assert str(caught.value).startswith(why)
