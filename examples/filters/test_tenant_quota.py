"""So much for each tenant."""

import pytest
from require_tenant import RequireTenant
from tenant_quota import TenantQuota

from fastmesh import shared


@pytest.fixture(autouse=True)
def nothing_is_shared_with_other_tests():
    shared.detach()


def test_each_tenant_has_its_own_bucket(filter_kit):
    kit = filter_kit(RequireTenant, TenantQuota(per_second=0.1, at_once=2))     # the label comes from the first
    assert [kit.get("/", headers={"x-tenant": name}).status for name in "aaabb"] == [200, 200, 429, 200, 200]
    assert int(kit.get("/", headers={"x-tenant": "a"}).headers["retry-after"]) in range(9, 12)


def test_without_a_label_it_is_the_address(filter_kit):
    kit = filter_kit(TenantQuota(per_second=0.1, at_once=1))
    assert [kit.get("/", peer=peer).status for peer in ("10.0.0.1", "10.0.0.2", "10.0.0.1")] == [200, 200, 429]
