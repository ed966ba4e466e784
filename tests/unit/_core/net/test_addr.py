"""Addresses as values: text both ways, the kernel's form both ways, order and networks."""

import ipaddress
import socket
import struct

import pytest
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.addr_probe import Addr

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
PORTS = st.integers(0, 65535)


def parse(text: str | bytes) -> Addr:
    addr = Addr.parse(text.encode() if isinstance(text, str) else text)
    assert addr is not None
    return addr


@given(V4, PORTS)
def test_ipv4_text(ip, port):
    addr = parse(f"{ip}:{port}")
    assert (addr.family, addr.port, addr.bytes) == (socket.AF_INET, port, ip.packed)
    assert addr.text() == f"{ip}:{port}".encode()
    assert addr.ip_text() == str(ip).encode()


@given(V6, PORTS)
def test_ipv6_text(ip, port):
    addr = parse(f"[{ip}]:{port}")
    assert (addr.family, addr.port, addr.bytes) == (socket.AF_INET6, port, ip.packed)
    assert addr.text() == f"[{socket.inet_ntop(socket.AF_INET6, ip.packed)}]:{port}".encode()
    assert ipaddress.ip_address(addr.ip_text().decode()) == ip
    assert parse(f"[{ip.exploded}]:{port}").equals(addr)


@pytest.mark.parametrize("text", ["unix:/run/x.sock", "unix:/", "unix:" + "/" * 107, "unix:@name", "unix:relative"])
def test_unix_text(text):
    addr = parse(text)
    assert addr.family == socket.AF_UNIX and addr.port == 0
    assert addr.bytes == text[5:].encode().replace(b"@", b"\0")
    assert addr.text() == text.encode()
    assert addr.ip_text() == b"unix"


def test_no_address():
    assert (Addr().text(), Addr().ip_text()) == (b"-", b"-")
    assert Addr().to_sockaddr() == b""


@pytest.mark.parametrize("text", [
    "", ":", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:100000", "127.0.0.1:-1",
    "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:1 ", " 127.0.0.1:1", "127.0.0.1:080", "127.0.0.1:0x50", "127.0.0.1:80\0",
    "127.0.0.1\0:80", "127.1:80", "127.0.0.256:80", "127.0.0.1.1:80", "0x7f.0.0.1:80", "127.0.0.01:80", "localhost:80",
    "[::1]", "[::1]:", "[::1]80", "[::1", "[]:80", "[::1]]:80", "[::1%eth0]:80", "[::1%1]:80", "::1:80",
    "[127.0.0.1]:80",
    "[::1\0]:80", "[" + "0" * 80 + "]:80", "unix:", "unix:@", "unix:" + "/" * 108, "unix:/a\0b", "Unix:/x", "unix",
    "1" * 70 + ":80", "[", "]", "[]",
])
def test_refused_text(text):
    assert Addr.parse(text.encode()) is None


@settings(max_examples=tries(1000))
@given(st.one_of(st.binary(max_size=130), st.text("[]:.0123456789abcdefunix/@%", max_size=60).map(str.encode)))
def test_any_text(text):
    addr = Addr.parse(text)
    if addr is not None:
        assert Addr.parse(addr.text()).equals(addr)
        assert len(addr.text()) <= 120


def packed(family: int, where, port: int = 0) -> bytes:
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack(">H", port) + where + bytes(8)
    if family == socket.AF_INET6:
        return struct.pack("=H", family) + struct.pack(">HI", port, 0) + where + bytes(4)
    return struct.pack("=H", family) + where


@given(V4, PORTS)
def test_ipv4_sockaddr(ip, port):
    raw = packed(socket.AF_INET, ip.packed, port)
    addr = parse(f"{ip}:{port}")
    assert addr.to_sockaddr() == raw
    assert Addr.from_sockaddr(raw).equals(addr)


@given(V6.filter(lambda ip: ip.ipv4_mapped is None), PORTS)
def test_ipv6_sockaddr(ip, port):
    raw = packed(socket.AF_INET6, ip.packed, port)
    addr = parse(f"[{ip}]:{port}")
    assert addr.to_sockaddr() == raw
    assert Addr.from_sockaddr(raw).equals(addr)


def test_an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer():
    raw = packed(socket.AF_INET6, bytes(10) + b"\xff\xff\x0a\0\0\1", 80)
    assert Addr.from_sockaddr(raw).text() == b"10.0.0.1:80"


@pytest.mark.parametrize(("path", "raw"), [
    (b"/run/x", b"/run/x\0"), (b"/run/x", b"/run/x"), (b"/run/x", b"/run/x\0\0\0"), (b"@name", b"\0name"),
    (b"", b""), (b"/" * 107, b"/" * 107 + b"\0"), (b"/" * 108, b"/" * 108),
])
def test_unix_sockaddr(path, raw):
    addr = Addr.from_sockaddr(packed(socket.AF_UNIX, raw))
    assert addr.text() == b"unix:" + path
    if 1 < len(path) < 108:
        expected = raw.rstrip(b"\0") + b"\0" if path.startswith(b"/") else raw
        assert parse(b"unix:" + path).to_sockaddr() == packed(socket.AF_UNIX, expected)


def test_abstract_names_keep_their_zeros():
    assert Addr.from_sockaddr(packed(socket.AF_UNIX, b"\0a\0")).bytes == b"\0a\0"


@pytest.mark.parametrize("raw", [b"", b"\2", packed(socket.AF_INET, b"\x7f\0\0\1")[:15],
                                 packed(socket.AF_NETLINK, bytes(10)), packed(socket.AF_INET6, bytes(16))[:27]])
def test_refused_sockaddr(raw):
    assert Addr.from_sockaddr(raw) is None


def test_the_kernel_takes_and_gives_these(tmp_path):
    for text, family in (("127.0.0.1:0", socket.AF_INET), (f"unix:{tmp_path}/s", socket.AF_UNIX)):
        with socket.socket(family) as s:
            addr = parse(text)
            s.bind((socket.inet_ntoa(addr.bytes), addr.port) if family == socket.AF_INET else addr.bytes)
            s.listen()
            assert addr.to_sockaddr()[:2] == struct.pack("=H", family)


@settings(max_examples=tries(500))
@given(V4 | V6, st.integers(0, 128), st.data())
def test_networks(ip, bits, data):
    is_v4 = ip.version == 4
    bits = min(bits, 32 if is_v4 else 128)
    network = ipaddress.ip_network((ip, bits), strict=False)
    near = int(ip) ^ data.draw(st.one_of(st.just(0), st.integers(0, 127).map(lambda k: 1 << k)))
    other = ipaddress.ip_address((near % 2**32).to_bytes(4) if is_v4 else near.to_bytes(16))
    addr = parse(f"{other}:1" if is_v4 else f"[{other}]:1")
    packed_ip = network.network_address.packed.ljust(16, b"\0")
    assert addr.in_cidr(4 if is_v4 else 6, bits, packed_ip) == (other in network)
    assert not addr.in_cidr(6 if is_v4 else 4, 0, bytes(16))
    assert not addr.in_cidr(1, 0, bytes(16))


def test_networks_of_unix_peers_and_of_nonsense():
    assert parse("unix:/x").in_cidr(1, 0, bytes(16))
    assert not parse("unix:/x").in_cidr(4, 0, bytes(16))
    assert not parse("1.2.3.4:1").in_cidr(4, 33, bytes(16))
    assert not parse("[::1]:1").in_cidr(6, 129, bytes(16))
    assert not parse("1.2.3.4:1").in_cidr(5, 0, bytes(16))


TEXTS = ["1.2.3.4:80", "1.2.3.4:81", "1.2.3.5:80", "[102:304::]:80", "[::1]:80", "unix:/a", "unix:/ab", "unix:@a",
         "0.0.0.0:0"]


@pytest.mark.parametrize("one", TEXTS)
@pytest.mark.parametrize("other", TEXTS)
def test_order_equality_and_hash(one, other):
    a, b = parse(one), parse(other)
    assert (a.compare(b) == 0) == a.equals(b) == (one == other)
    assert (a.compare(b) < 0) == (b.compare(a) > 0)
    assert (a.hash() == b.hash()) == (one == other)
    assert a.hash(1) != a.hash(2)


def test_order_is_total():
    addrs = [parse(text) for text in TEXTS]
    for a in addrs:
        for b in addrs:
            for c in addrs:
                assert not (a.compare(b) < 0 and b.compare(c) < 0) or a.compare(c) < 0


@given(V4)
def test_an_ipv4_address_alone(ip):
    for text in (f"{ip}", f"{ip}:80", f"{ip}:http", f"[::ffff:{ip}]", f"::ffff:{ip}"):
        addr = Addr.parse_ip(text.encode())
        assert (addr.family, addr.port, addr.bytes) == (socket.AF_INET, 0, ip.packed), text


@given(V6)
def test_an_ipv6_address_alone(ip):
    if ip.ipv4_mapped is None:
        for text in (f"{ip}", f"[{ip}]", f"[{ip}]:80", ip.exploded):
            addr = Addr.parse_ip(text.encode())
            assert (addr.family, addr.port, addr.bytes) == (socket.AF_INET6, 0, ip.packed), text


@pytest.mark.parametrize("text", [b"", b":", b"[", b"[]", b"[::1", b"]", b"unknown", b"_hidden", b"localhost", b"1.2.3",
                                  b"1.2.3.4.5", b"256.1.1.1", b"01.2.3.4", b" 1.2.3.4", b"1.2.3.4\0", b"::1%eth0",
                                  b"unix:/run/x", b"g::1", b"1::2::3", b"1" * 64, b":" * 200, b"[" + b"1" * 80 + b"]"])
def test_what_is_no_ip_address(text):
    assert Addr.parse_ip(text) is None


@given(st.binary(max_size=70))
def test_any_bytes_for_an_ip_address(raw):
    addr = Addr.parse_ip(raw)
    assert addr is None or addr.family in (socket.AF_INET, socket.AF_INET6)
