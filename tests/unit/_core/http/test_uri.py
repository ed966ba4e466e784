"""Paths: what rules see, and the second reading of those on which servers disagree."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from effort import tries
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes.http_probe import normalize, read_again

SAME, CHANGED, AMBIGUOUS, BAD = 0, 1, 2, -3

TABLE = [
    # --- already in normal form ---
    (b"/", SAME, b"/"),
    (b"/a/b.c/d-e_f~g", SAME, b"/a/b.c/d-e_f~g"),
    (b"/a/", SAME, b"/a/"),
    (b"/a.b/c..d/e...", SAME, b"/a.b/c..d/e..."),
    (b"/a=b/@:!$&'()*+,=", SAME, b"/a=b/@:!$&'()*+,="),
    (b"/" + b"x" * 100 + b"/y", SAME, b"/" + b"x" * 100 + b"/y"),
    # --- looked at, and left as it was ---
    (b"/.a", CHANGED, b"/.a"),
    (b"/..a/...", CHANGED, b"/..a/..."),
    (b"/%20a", CHANGED, b"/%20a"),
    # --- dot segments (RFC 3986 section 5.2.4) ---
    (b"/.", CHANGED, b"/"),
    (b"/..", CHANGED, b"/"),
    (b"/./", CHANGED, b"/"),
    (b"/../", CHANGED, b"/"),
    (b"/a/.", CHANGED, b"/a/"),
    (b"/a/..", CHANGED, b"/"),
    (b"/a/./b", CHANGED, b"/a/b"),
    (b"/a/../b", CHANGED, b"/b"),
    (b"/a/b/c/./../../g", CHANGED, b"/a/g"),
    (b"/a/b/../../../../c", CHANGED, b"/c"),
    (b"/../../etc/passwd", CHANGED, b"/etc/passwd"),
    (b"/a/b/..", CHANGED, b"/a/"),
    (b"/a/b/../", CHANGED, b"/a/"),
    (b"/a/..b", CHANGED, b"/a/..b"),
    # --- the same, encoded ---
    (b"/%2e", CHANGED, b"/"),
    (b"/%2E%2e/a", CHANGED, b"/a"),
    (b"/a/%2e%2e/b", CHANGED, b"/b"),
    (b"/a/.%2e/b", CHANGED, b"/b"),
    (b"/a/%2e./b", CHANGED, b"/b"),
    (b"/admin/%2e%2e/public", CHANGED, b"/public"),
    (b"/public/%2e%2e/admin", CHANGED, b"/admin"),
    (b"/a/%2e", CHANGED, b"/a/"),
    (b"/a/%2e%2e", CHANGED, b"/"),
    # --- decoded once, not twice ---
    (b"/%252e%252e/a", CHANGED, b"/%252e%252e/a"),
    (b"/%252fa", CHANGED, b"/%252fa"),
    (b"/%2541", CHANGED, b"/%2541"),
    # --- repeated slashes ---
    (b"//", CHANGED, b"/"),
    (b"///", CHANGED, b"/"),
    (b"//a", CHANGED, b"/a"),
    (b"/a//b///c", CHANGED, b"/a/b/c"),
    (b"/a//", CHANGED, b"/a/"),
    (b"/a//../b", CHANGED, b"/b"),
    (b"//../a", CHANGED, b"/a"),
    (b"/a/.//b", CHANGED, b"/a/b"),
    (b"//example.com/a", CHANGED, b"/example.com/a"),
    # --- escapes ---
    (b"/%61%7A%41%5a%30%39%2d%2e%5f%7e", CHANGED, b"/azAZ09-._~"),
    (b"/%61dmin", CHANGED, b"/admin"),
    (b"/%c3%a4", CHANGED, b"/%C3%A4"),
    (b"/%3f%23%25", CHANGED, b"/%3F%23%25"),
    (b"/%01%7f%ff", CHANGED, b"/%01%7F%FF"),
    (b"/%c2%ae%bf", CHANGED, b"/%C2%AE%BF"),
    # --- on these servers disagree ---
    (b"/a%2fb", AMBIGUOUS, b"/a%2Fb"),
    (b"/a%2Fb", AMBIGUOUS, b"/a%2Fb"),
    (b"/a%5cb", AMBIGUOUS, b"/a%5Cb"),
    (b"/a\\b", AMBIGUOUS, b"/a\\b"),
    (b"/a%2f..%2fb", AMBIGUOUS, b"/a%2F..%2Fb"),
    (b"/a/..%2fb", AMBIGUOUS, b"/a/..%2Fb"),
    (b"/x/../%2f", AMBIGUOUS, b"/%2F"),
    (b"/a%2fb/../c", AMBIGUOUS, b"/c"),
    (b"/a/..;/b", AMBIGUOUS, b"/a/..;/b"),
    (b"/a/..;x=y", AMBIGUOUS, b"/a/..;x=y"),
    (b"/a/%2e%2e;/b", AMBIGUOUS, b"/a/..;/b"),
    (b"/a/.;/b", AMBIGUOUS, b"/a/.;/b"),
    (b"/a/...;/b", AMBIGUOUS, b"/a/...;/b"),
    (b"/a/.b;/c..;/d", AMBIGUOUS, b"/a/.b;/c..;/d"),
    (b"/;a=b/c", AMBIGUOUS, b"/;a=b/c"),
    (b"/a;x/../b", AMBIGUOUS, b"/b"),
    (b"/a%3bx", AMBIGUOUS, b"/a%3Bx"),
    (b"/a%c0%afb", AMBIGUOUS, b"/a%C0%AFb"),
    (b"/%c0%ae%c0%ae/b", AMBIGUOUS, b"/%C0%AE%C0%AE/b"),
    (b"/%c1", AMBIGUOUS, b"/%C1"),
    (b"/a/..;/../b", AMBIGUOUS, b"/a/b"),
    # --- refused ---
    (b"", BAD, None),
    (b"a", BAD, None),
    (b"*", BAD, None),
    (b"a/b", BAD, None),
    (b"%2fa", BAD, None),
    (b"/%", BAD, None),
    (b"/%2", BAD, None),
    (b"/%g0", BAD, None),
    (b"/%0g", BAD, None),
    (b"/%%41", BAD, None),
    (b"/%u0041", BAD, None),
    (b"/a/%00", BAD, None),
    (b"/%00/../a", BAD, None),
]

SLASHES, BACKSLASHES, LAST, FIRST = 1, 2, 4, 8
ALL = range(16)

# The path, and its other readings; none where there is nothing to read in another way.
READINGS: list[tuple[bytes, dict[int, bytes]]] = [
    (b"/a%2Fb", {1: b"/a/b"}),
    (b"/a%5Cb", {2: b"/a/b"}),
    (b"/a\\b", {2: b"/a/b"}),
    (b"/a%2F..%2Fb", {1: b"/b"}),
    (b"/a%2F%2Fb", {1: b"/a/b"}),
    (b"/a/..%2Fb", {1: b"/b"}),
    (b"/%2F", {1: b"/"}),
    (b"/%5C..", {2: b"/"}),
    (b"\\", {2: b"/"}),
    (b"/a%2F.", {1: b"/a/"}),
    (b"/a%2F", {1: b"/a/"}),
    (b"/a%2Fb%5C..%2Fc", {1: b"/a/b%5C../c", 2: b"/a%2Fb/..%2Fc", 3: b"/a/c"}),
    (b"/a%C0%AFb%C1%9Cc", {1: b"/a/b%C1%9Cc", 2: b"/a%C0%AFb/c", 3: b"/a/b/c"}),
    (b"/a/%C0%AE%C0%AE/b", {1: b"/b"}),
    (b"/%C0%AE%C0%A", {1: b"/.%C0%A"}),
    (b"/a%252F", {}),
    (b"/a%2", {}),
    (b"/%3", {}),
    (b"/%C0", {}),
    (b"/plain", {}),
    (b"/a/..;/b", {4: b"/b", 8: b"/b"}),
    (b"/a/..;x=y", {4: b"/", 8: b"/"}),
    (b"/..;/..;x/a;b/c", {4: b"/a/c", 8: b"/a/c"}),
    (b"/;/a", {4: b"/a", 8: b"/a"}),
    (b"/a;", {4: b"/a", 8: b"/a"}),
    (b"/;", {4: b"/", 8: b"/"}),
    (b"/a%3Bx/..%3B/b", {4: b"/b"}),
    (b"/a%3Bx;y", {4: b"/a", 8: b"/a%3Bx"}),
    (b"/a/...;/.b;/;", {4: b"/a/.../.b/", 8: b"/a/.../.b/"}),
    (b"/a%2F..;%2Fb", {1: b"/a/..;/b", 4: b"/a%2F..", 5: b"/b", 8: b"/a%2F..", 9: b"/"}),
    (b"/a;x%2Fb/c", {1: b"/a;x/b/c", 4: b"/a/c", 5: b"/a/b/c", 8: b"/a/c", 9: b"/a/c"}),
    (b"/a%2Fb;c", {1: b"/a/b;c", 4: b"/a%2Fb", 5: b"/a/b", 8: b"/a%2Fb", 9: b"/a/b"}),
    (b"/a;\\..;/b", {2: b"/a;/..;/b", 4: b"/a/b", 6: b"/b", 8: b"/a/b", 10: b"/a/b"}),
]


@pytest.mark.parametrize(("path", "code", "normal"), TABLE)
def test_normal_forms(path: bytes, code: int, normal: bytes | None) -> None:
    assert normalize(path) == (code, normal)
    assert normalize(path, front=True) == (code, normal)


def readings_of(path: bytes) -> dict[int, bytes]:
    return {which: found for which in ALL if (found := read_again(path, which)) is not None}


@pytest.mark.parametrize(("path", "others"), READINGS)
def test_how_other_servers_read_it(path: bytes, others: dict[int, bytes]) -> None:
    assert readings_of(path) == others


@pytest.mark.parametrize("at", range(1, 70))
@pytest.mark.parametrize("odd", [b"//", b"/.", b"%2e", b"\\", b";", b"/../"])
def test_nothing_is_overlooked_wherever_it_stands(at: int, odd: bytes) -> None:
    """The fast scan takes 16 bytes at a time; each offset within them is tried, at the end and before more."""
    for tail in (b"", b"x" * 40):
        path = b"/" + b"a" * at + odd + tail
        assert normalize(path) == reference(path)


def resolved(path: bytes) -> bytes:
    return remove_dots(b"/" + path.lstrip(b"/"))


# How servers get from a request line to what they serve.
SERVERS = {
    "decodes": lambda p: resolved(unquote_to_bytes(p)),
    "decodes, backslash is a slash": lambda p: resolved(unquote_to_bytes(p).replace(b"\\", b"/")),
    "takes parameters away, decodes": lambda p: resolved(unquote_to_bytes(re.sub(rb";[^/]*", b"", p))),
    "takes parameters away, decodes, backslash is a slash": lambda p: resolved(
        unquote_to_bytes(re.sub(rb";[^/]*", b"", p)).replace(b"\\", b"/")),
    "backslash is a slash, takes parameters away": lambda p: resolved(
        re.sub(rb";[^/]*", b"", p.replace(b"\\", b"/").replace(b"%5C", b"/"))),
    "decodes, takes parameters away": lambda p: resolved(re.sub(rb";[^/]*", b"", unquote_to_bytes(p))),
    "takes parameters away, nothing else": lambda p: resolved(re.sub(rb";[^/]*", b"", p)),
    "takes dots with parameters for dots": lambda p: resolved(re.sub(rb"/(\.\.?);[^/]*", rb"/\1", p)),
    "literally": resolved,
}
WALKS = st.lists(st.sampled_from([b"/", b"/", b"admin", b"admin", b"a", b"..", b".", b"..;", b";", b"%2f", b"%5c",
                                  b"\\", b"%2e", b"%2E.", b"%3b", b"x", b"//", b"/../", b"%61dmin", b"%25", b"%252f"]),
                 min_size=1, max_size=10).map(lambda words: b"/" + b"".join(words))


def is_within(path: bytes) -> bool:
    return path == b"/admin" or path.startswith(b"/admin/")


@settings(max_examples=tries(4000), deadline=None, derandomize=True)
@given(WALKS)
def test_no_server_is_led_to_where_no_reading_leads(path: bytes) -> None:
    """What no reading takes to /admin is not /admin for anybody, in the form in which it is forwarded; what all take
    there is for everybody."""
    _, normal = normalize(path)
    if normal is None:
        return
    readings = {is_within(reading) for reading in [normal, *readings_of(normal).values()]}
    if len(readings) == 1:
        for how, read in SERVERS.items():
            assert {is_within(read(normal))} == readings, (how, normal, read(normal))


UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def remove_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4 after runs of slashes are merged, segment by segment."""
    segments: list[bytes] = []
    parts = re.sub(rb"/+", b"/", path).split(b"/")[1:]
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part in (b".", b".."):
            if part == b".." and segments:
                segments.pop()
            if last:
                segments.append(b"")
        else:
            segments.append(part)
    return b"/" + b"/".join(segments)


def reference(path: bytes) -> tuple[int, bytes | None]:
    if not path.startswith(b"/"):
        return BAD, None
    if not re.search(rb"[%;\\]|/[./]", path):
        return SAME, path
    if re.search(rb"%(?![0-9a-fA-F]{2})|%00", path):
        return BAD, None

    def decoded(m: re.Match[bytes]) -> bytes:
        byte = int(m[1], 16)
        return bytes([byte]) if byte in UNRESERVED else m[0].upper()

    path = re.sub(rb"%(..)", decoded, path, flags=re.S)
    code = AMBIGUOUS if re.search(rb"%2F|%3B|%5C|%C[01]|[\\;]", path) else CHANGED
    return code, remove_dots(path)


PATHS = st.lists(st.sampled_from([b"/", b"//", b".", b"..", b"a", b"bc", b"%2e", b"%2E", b"%2f", b"%5C", b"\\", b"%61",
                                  b"%25",
                                  b"%20", b"%c3", b"%C0%AF", b"%c0%ae", b"%c1", b"%3b", b";x", b"..;", b";", b"...",
                                  b"/../", b"/./", b"%", b"%0",
                                  b"abcdefghijklmnopq"]),
                 max_size=14).map(lambda words: b"/" + b"".join(words))


@settings(max_examples=tries(1500), deadline=None, derandomize=True)
@given(PATHS)
@example(b"/a/b/%2e%2e/%2E%2e/..")
def test_agrees_with_a_plain_reading_of_the_rfc(path: bytes) -> None:
    assert normalize(path) == reference(path)


@settings(max_examples=tries(1000), deadline=None, derandomize=True)
@given(PATHS)
def test_a_normal_form_stays_as_it_is(path: bytes) -> None:
    code, normal = normalize(path)
    if normal is not None:
        assert len(normal) <= len(path)
        again = normalize(normal)
        assert again[1] == normal
        assert not re.search(rb"//|/\.\.?(?:/|$)", normal)
        others = readings_of(normal)
        assert code == AMBIGUOUS or not others
        for which, other in others.items():
            assert len(other) <= len(normal)
            assert not re.search(rb"//|/\.\.?(?:/|$)", other)
            assert not which & SLASHES or not re.search(rb"%2F|%C0%A[EF]", other)
            assert not which & BACKSLASHES or not re.search(rb"\\|%5C|%C1%9C", other)
            assert not which & (LAST | FIRST) or b";" not in other
            assert not which & LAST or b"%3B" not in other
            if which < LAST:
                # To decode what is decoded already changes nothing.
                assert read_again(other, which) is None


@settings(max_examples=tries(1000), deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes(tail: bytes) -> None:
    assert normalize(b"/" + tail) == reference(b"/" + tail)
