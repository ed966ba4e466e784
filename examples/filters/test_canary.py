"""A share of the visitors goes elsewhere, and always the same ones."""

import pytest
from canary import Canary


def kit_with(filter_kit, share):
    kit = filter_kit(Canary(to="v2", share=share))
    kit.cluster("v2")
    return kit


def seen(kit, visitor):
    return kit.get("/", headers={"cookie": f"a=b; sid={visitor}"}).upstream.cluster == "v2"


def test_the_share_is_about_right(filter_kit):
    kit = kit_with(filter_kit, 0.2)
    assert 20 < sum(seen(kit, n) for n in range(200)) < 60


def test_a_visitor_sees_the_same_each_time_and_after_the_share_has_grown(filter_kit):
    small, large = kit_with(filter_kit, 0.2), kit_with(filter_kit, 0.5)
    for n in range(40):
        assert seen(small, n) == seen(small, n) <= seen(large, n)


@pytest.mark.parametrize(("share", "is_canary"), [(0.0, False), (1.0, True)])
def test_nobody_and_everybody(filter_kit, share, is_canary):
    reply = kit_with(filter_kit, share).get("/", peer="10.0.0.1")
    assert (reply.upstream.cluster == "v2") is is_canary and ("canary" in reply.labels) is is_canary
