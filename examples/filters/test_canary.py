"""A share of the visitors goes elsewhere, and always the same ones."""

import pytest
from canary import Canary
from filtering import make, run


def seen(canary, **request):
    return run(canary, clusters=("v2",), **request).cluster == "v2"


def test_the_share_is_about_right():
    canary = make(Canary, to="v2", share=0.2)
    assert 20 < sum(seen(canary, headers={"cookie": f"sid={n}"}) for n in range(200)) < 60


def test_a_visitor_sees_the_same_each_time_and_after_the_share_has_grown():
    small, large = make(Canary, to="v2", share=0.2), make(Canary, to="v2", share=0.5)
    for n in range(40):
        cookie = {"cookie": f"a=b; sid={n}"}
        assert seen(small, headers=cookie) == seen(small, headers=cookie) <= seen(large, headers=cookie)


@pytest.mark.parametrize(("share", "is_canary"), [(0.0, False), (1.0, True)])
def test_nobody_and_everybody(share, is_canary):
    got = run(make(Canary, to="v2", share=share), clusters=("v2",), peer="10.0.0.1")
    assert (got.cluster == "v2") is is_canary and ("canary" in got.labels) is is_canary
