"""A request names its tenant, or goes no further."""

from require_tenant import RequireTenant


def test_a_request_with_a_tenant_goes_on_and_is_labelled(filter_kit):
    reply = filter_kit(RequireTenant).get("/", headers={"X-Tenant": "acme"})
    assert reply.status == 200 and reply.labels == {"tenant": "acme"}


def test_one_without_is_refused(filter_kit):
    reply = filter_kit(RequireTenant(header="x-team")).get("/", headers={"x-tenant": "acme"})
    assert reply.status == 400 and reply.text == "missing x-team\n" and reply.upstream is None
