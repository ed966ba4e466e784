"""Responses and trailer sections; what is copied on."""

import re

import pytest

from probes.feed import AGAIN, EBAD, ECODING, EFIELDS, EHEAD, EVERSION, Feed, trickle
from probes.http_probe import parse, reason

HEAD, CONNECT = 2, 9


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


GOOD = {
    "until the connection closes": (answer(), {
        "status": 200, "minor": 1, "reason": b"OK", "framing": "close", "fields": [], "copied": b""}, 1),
    "of 1.0": (answer(first=b"HTTP/1.0 404 Not Found"), {"minor": 0, "status": 404, "reason": b"Not Found"}, 1),
    "empty reason": (answer(first=b"HTTP/1.1 200 "), {"status": 200, "reason": b""}, 1),
    "no reason, no space": (answer(first=b"HTTP/1.1 200"), {"status": 200, "reason": b""}, 1),
    "reason with odd bytes": (answer(first=b"HTTP/1.1 200 \t a\xff "), {"reason": b"\t a\xff "}, 1),
    "length": (answer(b"Content-Length: 12"), {"framing": "length", "length": 12}, 1),
    "length 0": (answer(b"Content-Length: 0"), {"framing": "none", "length": 0}, 1),
    "chunked": (answer(b"transfer-encoding: chunked", b"server: x"),
                {"framing": "chunked", "copied": b"server: x\r\n"}, 1),
    "HEAD": (answer(b"content-length: 12"), {"framing": "none", "length": 12, "copied": b"content-length: 12\r\n"},
             HEAD),
    "HEAD, chunked": (answer(b"transfer-encoding: chunked"), {"framing": "none", "copied": b""}, HEAD),
    "HEAD, nothing said": (answer(), {"framing": "none"}, HEAD),
    "204": (answer(first=b"HTTP/1.1 204 No Content"), {"framing": "none", "status": 204}, 1),
    "204 with a length": (answer(b"content-length: 3", b"x: y", first=b"HTTP/1.1 204 No Content"), {
        "framing": "none", "dropped": [b"content-length"], "copied": b"x: y\r\n"}, 1),
    "204 that says chunked": (answer(b"transfer-encoding: chunked", first=b"HTTP/1.1 204 "), {"framing": "none"}, 1),
    "304": (answer(b"content-length: 3", first=b"HTTP/1.1 304 Not Modified"), {
        "framing": "none", "length": 3, "dropped": []}, 1),
    "205": (answer(first=b"HTTP/1.1 205 Reset Content"), {"framing": "close"}, 1),
    "100": (answer(first=b"HTTP/1.1 100 Continue"), {"framing": "none", "status": 100}, 1),
    "103": (answer(b"link: </a>", b"content-length: 0", first=b"HTTP/1.1 103 Early Hints"), {
        "framing": "none", "dropped": [b"content-length"]}, 1),
    "101": (answer(b"connection: Upgrade", b"upgrade: websocket", first=b"HTTP/1.1 101 Switching Protocols"), {
        "framing": "none", "copied": b""}, 1),
    "CONNECT": (answer(b"content-length: 3"), {"framing": "none", "dropped": [b"content-length"]}, CONNECT),
    "CONNECT refused": (answer(b"content-length: 3", first=b"HTTP/1.1 403 Forbidden"), {"framing": "length"}, CONNECT),
    "status of one's own": (answer(first=b"HTTP/1.1 999 Request Denied"), {"status": 999}, 1),
    "close": (answer(b"connection: close", b"set-cookie: a", b"set-cookie: b"), {
        "copied": b"set-cookie: a\r\nset-cookie: b\r\n", "dropped": [b"connection"]}, 1),
    "challenge of a proxy behind this one stays": (answer(b"proxy-authenticate: Basic", first=b"HTTP/1.1 407 "), {
        "dropped": []}, 1),
}

BAD = {
    "both lengths": (answer(b"content-length: 5", b"transfer-encoding: chunked"), EBAD, "both Content-Length"),
    "two lengths": (answer(b"content-length: 5", b"content-length: 5"), EBAD, "more than one Content-Length"),
    "length list": (answer(b"content-length: 5, 5"), EBAD, "plain number"),
    "coding of 1.0": (answer(b"transfer-encoding: chunked", first=b"HTTP/1.0 200 OK"), EBAD, "HTTP/1.0"),
    "unknown coding": (answer(b"transfer-encoding: gzip, chunked"), ECODING, "not supported"),
    "chunked twice": (answer(b"transfer-encoding: chunked, chunked"), EBAD, "twice"),
    "interim with a length": (answer(b"content-length: 3", first=b"HTTP/1.1 103 Early Hints"), EBAD, "interim"),
    "interim that says chunked": (answer(b"transfer-encoding: chunked", first=b"HTTP/1.1 100 "), EBAD, "interim"),
    "HTTP/2": (answer(first=b"HTTP/2.0 200 OK"), EVERSION, "version"),
    "HTTP/2 in short": (answer(first=b"HTTP/2 200"), EVERSION, "version"),
    "HTTP/1.2": (answer(first=b"HTTP/1.2 200 OK"), EVERSION, "version"),
    "not HTTP": (answer(first=b"ICY 200 OK"), EBAD, "does not begin"),
    "SSH": (b"SSH-2.0-OpenSSH\r\n\r\n", EBAD, "does not begin"),
    "TLS alert": (b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n", EBAD, "does not begin"),
    "lower case": (answer(first=b"http/1.1 200 OK"), EBAD, "does not begin"),
    "empty line first": (b"\r\nHTTP/1.1 200 OK\r\n\r\n", EBAD, "does not begin"),
    "two spaces": (answer(first=b"HTTP/1.1  200 OK"), EBAD, "three digits"),
    "tab": (answer(first=b"HTTP/1.1\t200 OK"), EBAD, "space"),
    "no status": (answer(first=b"HTTP/1.1 "), EBAD, "three digits"),
    "nothing after the version": (answer(first=b"HTTP/1.1"), EBAD, "space"),
    "two digits": (answer(first=b"HTTP/1.1 20 OK"), EBAD, "three digits"),
    "four digits": (answer(first=b"HTTP/1.1 2000 OK"), EBAD, "three digits"),
    "below 100": (answer(first=b"HTTP/1.1 099 OK"), EBAD, "below 100"),
    "sign": (answer(first=b"HTTP/1.1 +20 OK"), EBAD, "three digits"),
    "status joined to its reason": (answer(first=b"HTTP/1.1 200OK"), EBAD, "three digits"),
    "NUL in the reason": (answer(first=b"HTTP/1.1 200 O\0K"), EBAD, "NUL"),
    "bare CR in the reason": (answer(first=b"HTTP/1.1 200 O\rK"), EBAD, "carriage return"),
    "bare LF after the status line": (b"HTTP/1.1 200 OK\nx: y\r\n\r\n", EBAD, "line feed"),
    "bare LF after the status": (b"HTTP/1.1 200\nx: y\r\n\r\n", EBAD, "three digits"),
    "space before the colon": (answer(b"x : y"), EBAD, "before the colon"),
    "obs-fold": (answer(b"x: y", b" z"), EBAD, "folding"),
    "NUL in a value": (answer(b"x: \0"), EBAD, "NUL"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_response_is_understood(name: str, feed: Feed) -> None:
    message, expected, method = GOOD[name]
    code, got, fault = feed("response", message, method=method)
    assert (code, fault) == (len(message), None)
    assert got is not None
    assert {key: got[key] for key in expected} == expected
    assert parse("response", message + b"\0after", method=method)[1] == got


@pytest.mark.parametrize("name", BAD)
def test_bad_response_is_refused_with_a_reason(name: str, feed: Feed) -> None:
    message, expected, words = BAD[name]
    code, _, fault = feed("response", message)
    assert code == expected, fault
    assert fault is not None and re.search(words, fault), fault


@pytest.mark.parametrize("cut", range(len("HTTP/1.1 200 OK\r\nx: y\r\n\r\n")))
def test_a_beginning_is_waited_for(cut: int) -> None:
    assert parse("response", b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n"[:cut])[0] == AGAIN


@pytest.mark.parametrize("start", [b"X", b"HTTP/1.1 2x", b"HTTP/2", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 \0",
                                   b"HTTP/1.1 0"])
def test_what_is_bad_already_is_not_waited_for(start: bytes) -> None:
    assert parse("response", start)[0] in (EBAD, EVERSION)


def test_limits_of_a_response() -> None:
    message = answer(b"x: y", b"x: z")
    n = len(message)
    assert parse("response", message, head_bytes=n, line_bytes=1, fields=2)[0] == n
    assert parse("response", message, head_bytes=n - 1)[0] == EHEAD
    assert trickle("response", message, head_bytes=n - 1)[0] == EHEAD
    assert parse("response", message, fields=1)[0] == EFIELDS
    assert parse("response", b"HTTP/1.1 200 " + b"a" * 100, head_bytes=100)[0] == EHEAD


# --- trailers ---

def test_no_trailers(feed: Feed) -> None:
    code, got, _ = feed("trailers", b"\r\n")
    assert code == 2
    assert got is not None and got["fields"] == [] and got["copied"] == b""


def test_trailers_keep_what_may_be_a_trailer(feed: Feed) -> None:
    good = [b"Server-Timing: a", b"grpc-status: 0", b"x-checksum: 1"]
    bad = [b"Content-Length: 1", b"transfer-encoding: chunked", b"Host: a", b"connection: close", b"te: x",
           b"trailer: x",
           b"upgrade: x", b"expect: x", b"keep-alive: x", b"x-forwarded-for: x", b"X-Forwarded-Anything: x",
           b"x-request-id: x", b"authorization: x", b"Cookie: x", b"set-cookie: x", b"content-type: x",
           b"content-encoding: x", b"Content-Range: x", b"cache-control: x", b"if-match: x", b"range: x", b"via: x",
           b"proxy-authorization: x", b"www-authenticate: x", b"location: x", b"age: 1", b"max-forwards: 1",
           b"forwarded: x", b"proxy-connection: x", b"http2-settings: x", b"vary: *"]
    message = b"\r\n".join([*[line for pair in zip(bad, good * 20, strict=False) for line in pair], b"", b""])
    code, got, _ = feed("trailers", message)
    assert code == len(message)
    assert got is not None
    assert set(got["dropped"]) == {line.split(b":")[0] for line in bad}
    assert got["copied"].splitlines() == (good * 20)[:len(bad)]
    assert got["bits"]["drops"]


@pytest.mark.parametrize(("message", "words"), [
    (b" a: b\r\n\r\n", "white space"), (b"a : b\r\n\r\n", "before the colon"), (b"a: b\n\r\n", "line feed"),
    (b"\n", "line feed"),
    (b"a: \0\r\n\r\n", "NUL"), (b"\rx\r\n\r\n", "carriage return"),
    (b"GET / HTTP/1.1\r\n\r\n", "space"),
])
def test_bad_trailers_are_refused(message: bytes, words: str, feed: Feed) -> None:
    code, _, fault = feed("trailers", message)
    assert code == EBAD
    assert fault is not None and words in fault


def test_limits_of_trailers() -> None:
    assert parse("trailers", b"a: b\r\n" * 3 + b"\r\n", fields=2)[0] == EFIELDS
    assert parse("trailers", b"a: b\r\n" * 3, head_bytes=18)[0] == EHEAD
    assert trickle("trailers", b"a: b\r\n" * 30, head_bytes=18)[0] == EHEAD


# --- copying ---

def test_copied_fields_are_the_lines_without_the_dropped_ones() -> None:
    """Every pattern of kept and dropped lines, so that runs begin and end everywhere."""
    for pattern in range(64):
        lines = [b"te: x" if pattern >> i & 1 else b"x%d:  spaced  " % i for i in range(6)]
        message = answer(*lines)
        _, got, _ = parse("response", message)
        assert got is not None
        assert got["copied"] == b"".join(line + b"\r\n" for line in lines if not line.startswith(b"te"))


def test_reasons() -> None:
    from http import HTTPStatus

    for status in HTTPStatus:
        if status not in (413, 414, 416, 418, 422, 505):  # words that differ between editions of the RFC
            assert reason(status).lower() == status.phrase.lower()
    assert reason(413) == "Content Too Large"
    assert reason(599) == reason(0) == reason(-1) == "Unknown"
