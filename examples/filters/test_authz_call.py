"""A question is asked once, and its answer believed for a while."""

import pytest
from authz_call import AuthzCall

from fastmesh import shared


@pytest.fixture(autouse=True)
def nothing_is_shared_with_other_tests():
    shared.detach()


def test_the_answer_is_remembered_for_who_asked_what(filter_kit):
    kit = filter_kit(AuthzCall)
    authz = kit.cluster("authz").answers(200, times=1).answers(403)
    statuses = [kit.get(path, headers={"x-user": user}).status
                for user, path in (("anna", "/a"), ("anna", "/a"), ("bob", "/a"), ("bob", "/a"))]
    assert statuses == [200, 200, 403, 403]
    assert len(authz.requests) == 2 and authz.requests[0].path == "/v1/check"
    assert authz.requests[0].json() == {"user": "anna", "peer": "127.0.0.1", "method": "GET", "path": "/a"}


@pytest.mark.parametrize("trouble", ["status", "connect_failure", "silence"])
def test_no_verdict_is_an_error_and_so_nobody_passes(filter_kit, trouble):
    kit = filter_kit(AuthzCall, raises=False)
    authz = kit.cluster("authz")
    if trouble == "status":
        authz.answers(500)
    else:
        authz.fails(trouble)
    reply = kit.get("/", headers={"x-user": "carl"})
    assert reply.status == 503 and reply.errors and not kit.upstream.requests
