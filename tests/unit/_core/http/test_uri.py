"""Paths: what rules see, and the second reading of those on which servers disagree."""

import re

import pytest
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
    (b"/%3f%23%25%3b", CHANGED, b"/%3F%23%25%3B"),
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
    (b"/a%3bx", CHANGED, b"/a%3Bx"),
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

# The path, and how it is read again: slashes decoded; parameters taken away; both, in either order.
READINGS = [
    (b"/a%2Fb", [b"/a/b", None, None, None]),
    (b"/a%5Cb", [b"/a/b", None, None, None]),
    (b"/a\\b", [b"/a/b", None, None, None]),
    (b"/a%2F..%2Fb", [b"/b", None, None, None]),
    (b"/a%2F%2Fb", [b"/a/b", None, None, None]),
    (b"/a/..%2Fb", [b"/b", None, None, None]),
    (b"/%2F", [b"/", None, None, None]),
    (b"/%5C..", [b"/", None, None, None]),
    (b"\\", [b"/", None, None, None]),
    (b"/a%2F.", [b"/a/", None, None, None]),
    (b"/a%2F", [b"/a/", None, None, None]),
    (b"/a%C0%AFb%C1%9Cc", [b"/a/b/c", None, None, None]),
    (b"/a/%C0%AE%C0%AE/b", [b"/b", None, None, None]),
    (b"/%C0%AE%C0%A", [b"/.%C0%A", None, None, None]),
    (b"/a%252F", [None] * 4),
    (b"/a%2", [None] * 4),
    (b"/%C0", [None] * 4),
    (b"/plain", [None] * 4),
    (b"/a/..;/b", [None, b"/b", None, None]),
    (b"/a/..;x=y", [None, b"/", None, None]),
    (b"/a/.;/b", [None, b"/a/b", None, None]),
    (b"/..;/..;x/a;b/c", [None, b"/a/c", None, None]),
    (b"/;/a", [None, b"/a", None, None]),
    (b"/a;", [None, b"/a", None, None]),
    (b"/;", [None, b"/", None, None]),
    (b"/a/...;/.b;/;", [None, b"/a/.../.b/", None, None]),
    (b"/a%2F..;%2Fb", [b"/b", b"/a%2F..", b"/b", b"/"]),
    (b"/a;x%2Fb/c", [b"/a;x/b/c", b"/a/c", b"/a/b/c", b"/a/c"]),
    (b"/a%2Fb;c", [b"/a/b;c", b"/a%2Fb", b"/a/b", b"/a/b"]),
    (b"/a;\\..;/b", [b"/b", b"/a/b", b"/b", b"/a/b"]),
]


@pytest.mark.parametrize(("path", "code", "normal"), TABLE)
def test_normal_forms(path: bytes, code: int, normal: bytes | None) -> None:
    assert normalize(path) == (code, normal)
    assert normalize(path, front=True) == (code, normal)


@pytest.mark.parametrize(("path", "others"), READINGS)
def test_how_other_servers_read_it(path: bytes, others: list[bytes | None]) -> None:
    assert [read_again(path, which) for which in range(4)] == others


@pytest.mark.parametrize("at", range(1, 70))
@pytest.mark.parametrize("odd", [b"//", b"/.", b"%2e", b"\\", b";", b"/../"])
def test_nothing_is_overlooked_wherever_it_stands(at: int, odd: bytes) -> None:
    """The fast scan takes 16 bytes at a time; each offset within them is tried, at the end and before more."""
    for tail in (b"", b"x" * 40):
        path = b"/" + b"a" * at + odd + tail
        assert normalize(path) == reference(path)


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
    code = AMBIGUOUS if re.search(rb"%2F|%5C|%C[01]|[\\;]", path) else CHANGED
    return code, remove_dots(path)


PATHS = st.lists(st.sampled_from([b"/", b"//", b".", b"..", b"a", b"bc", b"%2e", b"%2E", b"%2f", b"%5C", b"\\", b"%61",
                                  b"%25",
                                  b"%20", b"%c3", b"%C0%AF", b"%c0%ae", b"%c1", b";x", b"..;", b";", b"...",
                                  b"/../", b"/./", b"%", b"%0",
                                  b"abcdefghijklmnopq"]),
                 max_size=14).map(lambda words: b"/" + b"".join(words))


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(PATHS)
@example(b"/a/b/%2e%2e/%2E%2e/..")
def test_agrees_with_a_plain_reading_of_the_rfc(path: bytes) -> None:
    assert normalize(path) == reference(path)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(PATHS)
def test_a_normal_form_stays_as_it_is(path: bytes) -> None:
    code, normal = normalize(path)
    if normal is not None:
        assert len(normal) <= len(path)
        again = normalize(normal)
        assert again[1] == normal
        assert not re.search(rb"//|/\.\.?(?:/|$)", normal)
        others = [read_again(normal, which) for which in range(4)]
        assert code == AMBIGUOUS or others == [None] * 4
        for other in filter(None, others):
            assert len(other) <= len(normal)
            assert not re.search(rb"//|/\.\.?(?:[/;]|$)", other)
        for which in (0, 2):
            assert others[which] is None or not re.search(rb"\\|%2F|%5C|%C0%A[EF]", others[which])
        assert others[1] is None or b";" not in others[1]
        # To decode what is decoded already changes nothing.
        assert others[0] is None or read_again(others[0], 0) is None


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes(tail: bytes) -> None:
    assert normalize(b"/" + tail) == reference(b"/" + tail)
