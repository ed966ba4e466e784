"""So much for each tenant."""

from filtering import make, run
from tenant_quota import TenantQuota


def test_each_tenant_has_its_own_bucket():
    quota = make(TenantQuota, per_second=0.1, at_once=2)
    statuses = [run(quota, labels={"tenant": tenant}).status for tenant in "aaabb"]
    assert statuses == [200, 200, 429, 200, 200]
    assert int(run(quota, labels={"tenant": "a"}).headers["retry-after"]) in range(9, 12)


def test_without_a_label_it_is_the_address():
    quota = make(TenantQuota, per_second=0.1, at_once=1)
    assert [run(quota, peer=peer).status for peer in ("10.0.0.1", "10.0.0.2", "10.0.0.1")] == [200, 200, 429]
