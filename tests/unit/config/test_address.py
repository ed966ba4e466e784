import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmesh.config.address import ALLOWED, parse_address
from fastmesh.config.network import parse_network
from fastmesh.errors import WrongValue


@pytest.mark.parametrize(("text", "family", "host", "port", "printed"), [
    ("127.0.0.1:8080", 4, "127.0.0.1", 8080, "127.0.0.1:8080"),
    ("0.0.0.0:1", 4, "0.0.0.0", 1, "0.0.0.0:1"),
    ("localhost:80", 4, "127.0.0.1", 80, "127.0.0.1:80"),
    ("[::1]:80", 6, "::1", 80, "[::1]:80"),
    ("[2001:DB8:0:0:0:0:0:1]:65535", 6, "2001:db8::1", 65535, "[2001:db8::1]:65535"),
    ("unix:/run/x.sock", 1, "/run/x.sock", 0, "unix:/run/x.sock"),
    ("unix:/run/mit leerzeichen/ü", 1, "/run/mit leerzeichen/ü", 0, "unix:/run/mit leerzeichen/ü"),
    ("unix:/" + "x" * 106, 1, "/" + "x" * 106, 0, "unix:/" + "x" * 106)])
def test_addresses(text, family, host, port, printed):
    found = parse_address(text)
    assert (found.family, found.host, found.port, str(found)) == (family, host, port, printed)
    assert parse_address(printed) == found


@pytest.mark.parametrize(("text", "message", "hint"), [
    ("8080", f"found '8080', allowed: {ALLOWED}", "write 127.0.0.1:8080"),
    (":8080", f"found ':8080', allowed: {ALLOWED}",
     "write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 for every IPv4 address"),
    ("*:80", f"found '*:80', allowed: {ALLOWED}",
     "write 0.0.0.0:80 for every IPv4 address, [::]:80 for every IPv6 address"),
    ("127.0.0.1", f"found '127.0.0.1', allowed: {ALLOWED}", "add a port, as 127.0.0.1:8080"),
    ("localhost", f"found 'localhost', allowed: {ALLOWED}", "add a port"),
    ("::1", f"found '::1', allowed: {ALLOWED}",
     "put the IP address in brackets, and the port behind them, as [::1]:8080"),
    ("[::1]", f"found '[::1]', allowed: {ALLOWED}", "add a port, as [::1]:8080"),
    ("::1:8080", f"found '::1:8080', allowed: {ALLOWED}",
     "put the IP address in brackets, and the port behind them, as [::1]:8080"),
    ("1:2:3:4:5:6:7:8:80", f"found '1:2:3:4:5:6:7:8:80', allowed: {ALLOWED}", "write [1:2:3:4:5:6:7:8]:80"),
    ("[fe80::1%eth0]:80", "found '[fe80::1%eth0]:80', allowed: an IPv6 address between [ and ]",
     "leave out the zone after %"),
    ("[127.0.0.1]:80", "found '[127.0.0.1]:80', allowed: an IPv6 address between [ and ]", ""),
    ("127.0.0.1:0", "found '127.0.0.1:0', allowed: a port from 1 to 65535", ""),
    ("127.0.0.1:65536", "found '127.0.0.1:65536', allowed: a port from 1 to 65535", ""),
    ("127.0.0.1:", "found '127.0.0.1:', allowed: a port from 1 to 65535", ""),
    ("127.0.0.1:http", "found '127.0.0.1:http', allowed: a port from 1 to 65535", ""),
    ("127.0.0.1:+80", "found '127.0.0.1:+80', allowed: a port from 1 to 65535", ""),
    ("127.0.0.1:\u0668\u0660", "found '127.0.0.1:\u0668\u0660', allowed: a port from 1 to 65535", ""),
    ("127.0.0.01:80", "found '127.0.0.01:80', allowed: an IPv4 address: four numbers from 0 to 255 without leading "
                      "zeros, and a port", ""),
    ("127.1:80", "found '127.1:80', allowed: an IPv4 address: four numbers from 0 to 255 without leading zeros, and "
                 "a port", ""),
    ("db.internal:5432", f"found the host name 'db.internal', allowed: an IP address: {ALLOWED}",
     "write the IP address; a cluster finds endpoints by name with endpoints: {use: dns, hosts: [...]}"),
    ("http://127.0.0.1:80", f"found 'http://127.0.0.1:80', allowed: {ALLOWED}", "leave out the scheme"),
    ("/run/x.sock", f"found '/run/x.sock', allowed: {ALLOWED}", "write unix:/run/x.sock"),
    ("unix:x.sock", "found 'unix:x.sock', allowed: unix: and an absolute path, as unix:/run/app.sock", ""),
    ("unix:///run/x", "found 'unix:///run/x', allowed: unix: and an absolute path, as unix:/run/app.sock",
     "write unix:/run/x"),
    ("unix:@name", "found 'unix:@name', allowed: unix: and an absolute path",
     "abstract sockets have no permissions; give it a path"),
    ("unix:/a\0b", "found 'unix:/a\\x00b', allowed: a path without control characters", ""),
    ("unix:/" + "x" * 107, "found a path of 108 bytes, allowed: at most 107 bytes",
     "the kernel holds no longer socket path; move the socket to a shorter one"),
    ("unix:/" + "ü" * 54, "found a path of 109 bytes, allowed: at most 107 bytes",
     "the kernel holds no longer socket path; move the socket to a shorter one"),
    ("", f"found '', allowed: {ALLOWED}", ""),
])
def test_wrong_addresses(text, message, hint):
    with pytest.raises(WrongValue) as caught:
        parse_address(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_survives_being_written(ip, port):
    found = parse_address(f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}")
    assert (found.packed, found.port) == (ip.packed, port)
    assert parse_address(str(found)) == found


@given(st.one_of(st.text(), st.text("0123456789abc.:[]/%unix* ")))
def test_any_text_is_an_address_or_refused(text):
    try:
        assert parse_address(str(parse_address(text))) == parse_address(text)
    except WrongValue as wrong:
        assert wrong.allowed


def test_local_addresses():
    for text, is_local in [("127.9.9.9:1", True), ("[::1]:1", True), ("unix:/x", True), ("0.0.0.0:1", False),
                           ("[::]:1", False), ("10.0.0.1:1", False)]:
        assert parse_address(text).is_local is is_local


@pytest.mark.parametrize(("text", "family", "bits"), [
    ("10.0.0.0/8", 4, 8), ("127.0.0.1", 4, 32), ("::1", 6, 128), ("2001:db8::/32", 6, 32), ("0.0.0.0/0", 4, 0),
    ("unix", 1, 0)])
def test_networks(text, family, bits):
    found = parse_network(text)
    assert (found.family, found.bits) == (family, bits)


@pytest.mark.parametrize(("text", "hint"), [
    ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"), ("10.0.0.0/33", ""),
    ("example.com", ""), ("", ""), ("[::1]", "")])
def test_wrong_networks(text, hint):
    with pytest.raises(WrongValue) as caught:
        parse_network(text)
    assert caught.value.hint == hint


@given(st.ip_addresses(), st.integers(0, 128))
def test_networks_are_those_of_the_library(ip, bits):
    network = ipaddress.ip_network(f"{ip}/{min(bits, ip.max_prefixlen)}", strict=False)
    found = parse_network(str(network))
    assert (found.family, found.bits, found.packed) == (network.version, network.prefixlen,
                                                        network.network_address.packed)
