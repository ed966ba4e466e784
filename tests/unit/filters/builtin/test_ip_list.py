"""Addresses that may pass, and those that may not."""

import ipaddress
import random
from types import SimpleNamespace

import pytest
from filtering import make, run
from hypothesis import given
from hypothesis import strategies as st
from playbook.play import Play

from fastmesh import Headers
from fastmesh.filters.builtin.ip_list import ConnectionIpList, IpList, Networks, number_of

ALLOW = ("10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix")
DENY = ("10.1.0.0/16", "fd00:bad::/32")


@pytest.mark.parametrize(("peer", "passes"), [
    ("10.2.3.4", True), ("10.1.3.4", False), ("11.0.0.1", False), ("192.0.2.7", True), ("192.0.2.8", False),
    ("fd00::1", True), ("fd00:bad::1", False), ("fe80::1", False), ("unix", True), ("::ffff:10.2.3.4", True),
    ("::ffff:10.1.3.4", False), ("0.0.0.1", False), ("fd00::1%eth0", True), ("", False), ("10.2.3", False),
    ("nonsense", False)])
def test_who_passes(peer, passes):
    request = SimpleNamespace(peer=peer, headers=Headers())
    assert make(IpList, allow_from=ALLOW, deny_from=DENY).allow(request) is passes
    gate = make(ConnectionIpList, allow_from=ALLOW, deny_from=DENY)
    assert gate.on_connection(SimpleNamespace(peer=peer)) is passes


def test_all_of_ipv6_is_none_of_ipv4():
    gate = make(ConnectionIpList, allow_from=("::/0", "::ffff:192.0.2.0/120"))
    peers = ("::1", "10.0.0.1", "192.0.2.9", "::ffff:192.0.2.9")
    passes = [gate.on_connection(SimpleNamespace(peer=peer)) for peer in peers]
    assert passes == [True, False, True, True]


@pytest.mark.parametrize(("peer", "status"), [("10.2.3.4", 200), ("10.1.3.4", 403)])
def test_who_may_not_is_answered_here(peer, status):
    got = run(make(IpList, allow_from=ALLOW, deny_from=DENY), peer=peer)
    assert (got.status, got.upstream) == (status, status == 200)


def test_a_connection_is_closed_before_a_byte_is_read():
    play = Play("ready").endpoints("a").filter(make(ConnectionIpList, deny_from=("10.0.0.0/8",)), at="listener")
    try:
        play.client("10.1.2.3:4000").expect_closed()
        play.client("11.1.2.3:4000").expect_open()
    finally:
        play.abandon()


def test_only_denied():
    gate = make(ConnectionIpList, deny_from=("10.0.0.0/8", "unix"))
    passes = [gate.on_connection(SimpleNamespace(peer=peer)) for peer in ("10.0.0.1", "unix", "8.8.8.8", "::1", "x")]
    assert passes == [False, False, True, True, False]


@pytest.mark.parametrize(("passed_on", "hops", "status"), [
    ("10.2.2.2", 1, 200), ("8.8.8.8", 1, 403), ("10.2.2.2, 8.8.8.8", 1, 403), ("8.8.8.8, 10.2.2.2", 1, 200),
    ("10.2.2.2, 8.8.8.8", 2, 200), ("10.2.2.2, junk", 1, 403), ("10.2.2.2", 0, 200), ("8.8.8.8", 2, 200),
    ("[fd00::1]", 1, 200)])
def test_behind_other_proxies(passed_on, hops, status):
    gate = make(IpList, allow_from=ALLOW, trusted_hops=hops)
    assert run(gate, peer="10.9.9.9", headers={"x-forwarded-for": passed_on}).status == status


def test_fields_that_stand_several_times_are_one_list():
    gate = make(IpList, allow_from=ALLOW, trusted_hops=2)
    headers = [("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "10.2.2.2, 8.8.4.4")]
    assert run(gate, peer="8.8.8.8", headers=headers).status == 200


@given(st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=1, max_size=6), st.integers(0, 32),
       st.integers(0, 2**32))
def test_it_agrees_with_ipaddress(addresses, prefix, seed):
    networks = [ipaddress.ip_network(f"{each}/{prefix}", strict=False) for each in addresses[:-1]]
    table = Networks(tuple(map(str, networks)), "x")
    chance = random.Random(seed)
    near = [network[chance.randrange(network.num_addresses)] for network in networks]
    for address in (addresses[-1], *near):
        plain = getattr(address, "ipv4_mapped", None) or address
        wanted = any(plain in network for network in networks)
        number = number_of(str(address))
        assert number is not None and table.has(number) is wanted, address


@pytest.mark.parametrize(("settings", "why"), [
    ({}, "every address would pass"), ({"allow_from": ("10.0.0.1/8",)}, "allow_from: .* has host bits set"),
    ({"deny_from": ("local",)}, "deny_from"), ({"deny_from": ("unix",), "trusted_hops": -1}, "trusted_hops")])
def test_what_is_no_list(settings, why):
    with pytest.raises(ValueError, match=why):
        make(IpList, **settings)
