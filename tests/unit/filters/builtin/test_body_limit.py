"""Bodies end where they are too large."""

import pytest
from filtering import Stand, make, run

from fastmesh.filters.builtin.body_limit import BodyLimit


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b"x" * 10, 200), (b"x" * 11, 413)])
def test_by_what_is_announced(body, status):
    got = run(make(BodyLimit, limit=10), "POST", body=body)
    assert got.status == status and got.upstream is (status == 200)
    if got.upstream:
        assert got.request.body == body


def test_what_is_announced_need_not_come():
    with Stand(make(BodyLimit, limit=10)).open() as stand:
        stand.asks("POST", headers={"content-length": str(10**12)}).expect_answer(413)
        stand.play.expect_no_connect()


@pytest.mark.parametrize(("pieces", "status"), [
    ([b"12345", b"67890"], 200), ([b"12345", b"678901"], 413), ([b"12345678901"], 413), ([b"1"] * 11, 413),
    ([b"1"] * 10, 200), ([], 200)])
def test_by_what_comes(pieces, status):
    assert run(make(BodyLimit, limit=10), "POST", sent=pieces).status == status


def test_nothing_beyond_it_goes_upstream():
    with Stand(make(BodyLimit, limit=10)).open() as stand:
        client = stand.asks("POST", headers={"transfer-encoding": "chunked"})
        up = stand.play.connect()
        client.sends(b"5\r\n12345\r\n")
        client.sends(b"6\r\n678901\r\n")
        client.expect_answer(413)
        assert b"12345" in bytes(up.socket.wire) and b"678" not in bytes(up.socket.wire) and up.is_closed


def test_each_request_is_counted_by_itself():
    limit = make(BodyLimit, limit=10)
    assert [run(limit, "POST", sent=[b"12345678"]).status for _ in range(3)] == [200] * 3
