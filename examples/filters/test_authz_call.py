"""A question is asked once, and its answer believed for a while."""

from authz_call import AuthzCall
from filtering import FakeMesh, Reply, make, run


def test_the_answer_is_remembered_for_who_asked_what():
    gate = make(AuthzCall, mesh=FakeMesh(Reply(200, {}), Reply(403, {})))
    statuses = [run(gate, target=target, headers={"x-user": user}).status
                for user, target in (("anna", "/a"), ("anna", "/a"), ("bob", "/a"), ("bob", "/a"))]
    assert statuses == [200, 200, 403, 403]
    assert gate.mesh.asked == [("authz", "/v1/check")] * 2
    assert gate.mesh.told[0] == {"user": "anna", "peer": "127.0.0.1", "method": "GET", "path": "/a"}


def test_no_verdict_is_an_error_and_so_nobody_passes():
    gate = make(AuthzCall, mesh=FakeMesh(Reply(500, {})))
    got = run(gate, headers={"x-user": "carl"}, fails=True)
    assert got.status == 503 and not got.upstream and "authz answered 500" in got.failures[0]
