"""One id for a request: upstream, in the answer, and in the log."""

import pytest
from filtering import make, run

from fastmesh.filters.builtin.request_id import LONGEST, RequestId


def test_the_proxys_own_id_goes_both_ways():
    got = run(make(RequestId))
    assert got.request.headers["x-request-id"] == got.headers["x-request-id"] == got.request.id


def test_another_header():
    got = run(make(RequestId, header="x-correlation-id"))
    assert got.request.headers["x-correlation-id"] == got.headers["x-correlation-id"] == got.request.id


@pytest.mark.parametrize("theirs", ["abc-1", "01HZY/9+=:._", "x" * LONGEST])
def test_a_clients_own_is_believed_when_asked_to(theirs):
    got = run(make(RequestId, header="x-trace", accept=True), headers={"x-trace": theirs})
    assert got.request.headers["x-trace"] == got.headers["x-trace"] == theirs
    assert got.labels["request_id"] == theirs
    got = run(make(RequestId, header="x-trace"), headers={"x-trace": theirs})
    assert got.request.headers["x-trace"] == got.headers["x-trace"] != theirs


@pytest.mark.parametrize("theirs", ["", "a b", 'a"b', "a,b", "ä", "x" * (LONGEST + 1)])
def test_what_is_no_id_is_not_believed(theirs):
    got = run(make(RequestId, header="x-trace", accept=True), headers={"x-trace": theirs})
    assert got.request.headers.get_all("x-trace") == [got.headers["x-trace"]] != [theirs]


def test_it_can_be_kept_from_the_client():
    assert "x-trace" not in run(make(RequestId, header="x-trace", answer=False)).headers


def test_an_empty_name():
    with pytest.raises(ValueError, match="the name is empty"):
        make(RequestId, header="")
