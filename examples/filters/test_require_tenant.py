"""A request names its tenant, or goes no further."""

from filtering import make, run
from require_tenant import RequireTenant


def test_a_request_with_a_tenant_goes_on_and_is_labelled():
    got = run(make(RequireTenant), headers={"X-Tenant": "acme"})
    assert got.status == 200 and got.labels == {"tenant": "acme"}


def test_one_without_is_refused():
    got = run(make(RequireTenant, header="x-team"), headers={"x-tenant": "acme"})
    assert got.status == 400 and got.body == b"missing x-team\n" and not got.upstream
