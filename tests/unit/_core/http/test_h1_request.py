"""Requests: what is understood, and what is refused with which words."""

import re

import pytest

from probes.feed import AGAIN, EBAD, ECODING, EFIELDS, EHEAD, EURI, EVERSION, Feed, trickle
from probes.http_probe import parse, trickle_ns

H = b"host: a\r\n"
NO_BITS = dict.fromkeys(["close", "keepalive", "upgrade", "expect_continue", "te_trailers", "drops", "has_length"],
                        False)


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def has(**bits: bool) -> dict[str, bool]:
    return NO_BITS | bits


GOOD = {
    "smallest of 1.0": (b"GET / HTTP/1.0\r\n\r\n", {
        "method": b"GET", "method_id": 1, "target": b"/", "path": b"/", "query": None, "minor": 0, "fields": [],
        "framing": "none", "authority": b"", "bits": NO_BITS, "copied": b"", "absolute": False}),
    "smallest of 1.1": (b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", {
        "minor": 1, "fields": [(b"Host", b"a")], "authority": b"a", "copied": b"Host:a\r\n"}),
    "what a load generator sends": (
        b"GET /index.html?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n", {
            "path": b"/index.html", "query": b"x=1", "target": b"/index.html?x=1", "authority": b"127.0.0.1:8080",
            "fields": [(b"Host", b"127.0.0.1:8080"), (b"User-Agent", b"wrk"), (b"Accept", b"*/*")],
            "ids": [1, 15, 0], "at": {1: 0, 15: 1}, "bits": NO_BITS}),
    "an empty line before it": (b"\r\nGET / HTTP/1.1\r\n" + H + b"\r\n", {
        "method": b"GET", "target": b"/", "fields": [(b"host", b"a")]}),
    "bytes above ASCII in a value": (get(H[:-2], b"x: \x80\xff\xc3\xa4"), {
        "fields": [(b"host", b"a"), (b"x", b"\x80\xff\xc3\xa4")]}),
    "white space around a value": (get(b"host: \t a \t ", b"x:\t\t", b"y:", b"z: b\tc d"), {
        "fields": [(b"host", b"a"), (b"x", b""), (b"y", b""), (b"z", b"b\tc d")]}),
    "every tchar in a name": (get(H[:-2], b"!#$%&'*+-.^_`|~09azAZ: 1"), {
        "fields": [(b"host", b"a"), (b"!#$%&'*+-.^_`|~09azAZ", b"1")]}),
    "a method of one's own": (get(H[:-2], first=b"M-SEARCH! / HTTP/1.1"), {"method": b"M-SEARCH!", "method_id": 0}),
    "methods are case-sensitive": (get(H[:-2], first=b"get / HTTP/1.1"), {"method": b"get", "method_id": 0}),
    "empty query": (get(H[:-2], first=b"GET /a? HTTP/1.1"), {"path": b"/a", "query": b"", "target": b"/a?"}),
    "question marks in a query": (get(H[:-2], first=b"GET /?a?b?/../ HTTP/1.1"), {"path": b"/", "query": b"a?b?/../"}),
    "odd but visible characters in a target": (get(H[:-2], first=b'GET /"<>\\^`{|}~;,@:%zz HTTP/1.1'), {
        "path": b'/"<>\\^`{|}~;,@:%zz'}),
    "absolute form": (get(b"host: other", first=b"GET http://h.example:81/p/q?r=s HTTP/1.1"), {
        "absolute": True, "authority": b"h.example:81", "path": b"/p/q", "query": b"r=s"}),
    "absolute form, https, upper case, no path": (get(H[:-2], first=b"GET HTTPS://A.B HTTP/1.1"), {
        "absolute": True, "authority": b"A.B", "path": b"", "query": None}),
    "absolute form, query but no path": (get(H[:-2], first=b"GET http://a?x HTTP/1.1"), {
        "authority": b"a", "path": b"", "query": b"x"}),
    "absolute form, IPv6": (get(H[:-2], first=b"GET http://[::1]:8/ HTTP/1.1"), {"authority": b"[::1]:8"}),
    "absolute form in 1.0 without Host": (get(first=b"GET http://a/ HTTP/1.0"), {"authority": b"a", "minor": 0}),
    "asterisk form": (get(H[:-2], first=b"OPTIONS * HTTP/1.1"), {"path": b"*", "method_id": 6, "authority": b"a"}),
    "OPTIONS on a path": (get(H[:-2], first=b"OPTIONS /* HTTP/1.1"), {"path": b"/*"}),
    "CONNECT": (get(H[:-2], first=b"CONNECT b.example:443 HTTP/1.1"), {
        "method_id": 9, "authority": b"b.example:443", "path": b"", "absolute": False}),
    "CONNECT to IPv6": (get(H[:-2], first=b"CONNECT [2001:db8::1]:443 HTTP/1.1"), {"authority": b"[2001:db8::1]:443"}),
    "Content-Length": (get(H[:-2], b"Content-Length: 42", first=b"POST / HTTP/1.1"), {
        "framing": "length", "length": 42, "bits": has(has_length=True), "method_id": 3,
        "copied": H + b"Content-Length: 42\r\n"}),
    "Content-Length among blanks": (get(H[:-2], b"content-length:   7  "), {"framing": "length", "length": 7}),
    "Content-Length 0": (get(H[:-2], b"content-length: 0"), {"framing": "none", "bits": has(has_length=True)}),
    "Content-Length with leading zeros": (get(H[:-2], b"content-length: 00007"), {"framing": "length", "length": 7}),
    "the largest Content-Length": (get(H[:-2], b"content-length: 4611686018427387903"), {"length": 2**62 - 1}),
    "chunked": (get(H[:-2], b"Transfer-Encoding: Chunked"), {
        "framing": "chunked", "length": 0, "bits": has(drops=True), "copied": H,
        "dropped": [b"Transfer-Encoding"]}),
    "Connection: close": (get(H[:-2], b"Connection: Close"), {"bits": has(close=True, drops=True), "copied": H}),
    "Connection: keep-alive": (get(H[:-2], b"connection: Keep-Alive", b"keep-alive: timeout=5"), {
        "bits": has(keepalive=True, drops=True), "dropped": [b"connection", b"keep-alive"]}),
    "Connection as a list, with holes": (get(H[:-2], b"connection: , ,close ,\t,x-a , keep-alive,", b"x-a: 1",
                                             b"x-b: 2"), {
        "bits": has(close=True, keepalive=True, drops=True), "copied": H + b"x-b: 2\r\n"}),
    "Connection more than once": (get(H[:-2], b"connection: x-a", b"X-A: 1", b"connection: close", b"x-A: 2"), {
        "bits": has(close=True, drops=True), "copied": H}),
    "Connection empty": (get(H[:-2], b"connection:"), {"bits": has(drops=True)}),
    "Connection cannot take framing, routing and identity away": (
        get(H[:-2], b"content-length: 3",
            b"connection: host, content-length, Authorization, cookie, x-forwarded-for, X-Forwarded-Client-Cert, "
            b"x-request-id, forwarded, via, content-type, x-real-ip, traceparent, tracestate, x-envoy-peer, expect",
            b"authorization: s", b"cookie: c", b"x-forwarded-for: 1.1.1.1", b"x-forwarded-client-cert: c",
            b"x-request-id: i", b"forwarded: f", b"via: v", b"content-type: t", b"x-real-ip: r", b"traceparent: t",
            b"tracestate: t", b"x-envoy-peer: p", b"expect: 100-continue"), {
                "dropped": [b"connection"], "framing": "length", "length": 3,
                "bits": has(drops=True, has_length=True, expect_continue=True)}),
    "Upgrade": (get(H[:-2], b"connection: keep-alive, Upgrade", b"upgrade: websocket"), {
        "bits": has(keepalive=True, upgrade=True, drops=True), "copied": H}),
    "Upgrade without its word": (get(H[:-2], b"upgrade: websocket"), {"bits": has(drops=True), "copied": H}),
    "the word without Upgrade": (get(H[:-2], b"connection: upgrade"), {"bits": has(drops=True)}),
    "Upgrade in 1.0": (get(H[:-2], b"connection: upgrade", b"upgrade: x", first=b"GET / HTTP/1.0"), {
        "bits": has(drops=True)}),
    "upgrade to h2c": (get(H[:-2], b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AA"), {
        "bits": has(upgrade=True, drops=True), "copied": H}),
    "Expect": (get(H[:-2], b"expect: 100-Continue", b"content-length: 1"), {
        "bits": has(expect_continue=True, has_length=True)}),
    "Expect in 1.0": (get(b"expect: 100-continue", b"content-length: 1", first=b"POST / HTTP/1.0"), {
        "bits": has(has_length=True), "framing": "length"}),
    "Expect something else": (get(H[:-2], b"expect: 200-ok"), {"bits": NO_BITS}),
    "TE: trailers": (get(H[:-2], b"te: gzip;q=0.5 , Trailers", b"connection: te"), {
        "bits": has(te_trailers=True, drops=True), "copied": H}),
    "TE that only looks like it": (get(H[:-2], b"te: xtrailers, trailersx, trailers-x"), {"bits": has(drops=True)}),
    "TE more than once": (get(H[:-2], b"te: deflate", b"te: trailers;q=1"),
                          {"bits": has(te_trailers=True, drops=True)}),
    "credentials for a proxy behind this one stay": (get(H[:-2], b"proxy-authorization: Basic x"), {
        "dropped": [], "copied": H + b"proxy-authorization: Basic x\r\n"}),
    "empty Host": (get(b"host:"), {"authority": b""}),
    "Host: IPv6 and port": (get(b"host: [fe80::1]:80"), {"authority": b"[fe80::1]:80"}),
    "Host: port without a number": (get(b"host: a:"), {"authority": b"a:"}),
    "Host: sub-delims and escapes": (get(b"host: a_b-c.d~!$&'()*+;=%2d:65535"), {
        "authority": b"a_b-c.d~!$&'()*+;=%2d:65535"}),
    "first of equal names is found": (get(H[:-2], b"x-forwarded-for: 1", b"X-Forwarded-For: 2"), {"at": {1: 0, 11: 1}}),
}

BARE_LF = "line feed without a carriage return"
BAD = {
    # --- where a line ends ---
    "bare LF after the request line": (b"GET / HTTP/1.1\nhost: a\r\n\r\n", EBAD, BARE_LF),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", EBAD, BARE_LF),
    "bare LF as the empty line": (b"GET / HTTP/1.1\r\nhost: a\r\n\n", EBAD, BARE_LF),
    "LF only": (b"GET / HTTP/1.1\nhost: a\n\n", EBAD, BARE_LF),
    "bare CR in a value": (get(b"host: a\rb"), EBAD, "carriage return stands alone"),
    "bare CR at the end of a value": (get(b"host: a\r"), EBAD, "carriage return stands alone"),
    "bare CR in a target": (get(H[:-2], first=b"GET /\r HTTP/1.1"), EBAD, "target"),
    "bare CR as the empty line": (b"GET / HTTP/1.1\r\nhost: a\r\n\rx\r\n\r\n", EBAD, "carriage return stands alone"),
    "bare CR in a name": (get(b"ho\rst: a"), EBAD, "no colon"),
    "obs-fold": (get(b"host: a", b" b"), EBAD, "folding"),
    "obs-fold with a tab": (get(b"host: a", b"\tb"), EBAD, "folding"),
    "white space before the first field": (get(b" host: a"), EBAD, "white space"),
    # --- names and values ---
    "space before the colon": (get(b"host : a"), EBAD, "space stands before the colon"),
    "tab before the colon": (get(b"host\t: a"), EBAD, "space stands before the colon"),
    "space in a name": (get(H[:-2], b"x y: a"), EBAD, "space stands"),
    "no name": (get(H[:-2], b": a"), EBAD, "no name"),
    "no colon": (get(H[:-2], b"nothing"), EBAD, "no colon"),
    "NUL in a name": (get(H[:-2], b"x\0y: a"), EBAD, "NUL"),
    "NUL in a value": (get(H[:-2], b"x: a\0"), EBAD, "NUL"),
    "control character in a value": (get(H[:-2], b"x: a\x01"), EBAD, "control"),
    "vertical tab after a coding": (get(H[:-2], b"transfer-encoding: \x0bchunked"), EBAD, "control"),
    "DEL in a value": (get(H[:-2], b"x: a\x7f"), EBAD, "control"),
    **{f"{c!r} in a name": (get(H[:-2], b"x" + bytes([c]) + b"y: 1"), EBAD, "not allowed|no name|no colon|space|NUL")
       for c in b'"(),/;<=>?@[\\]{}\x7f\x80\xff\x1f'},
    # --- request line ---
    "HTTP/0.9": (b"GET /\r\n\r\n", EBAD, "HTTP/0.9"),
    "HTTP/0.9 by name": (get(H[:-2], first=b"GET / HTTP/0.9"), EBAD, "HTTP/0.9"),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", EBAD, "preface of HTTP/2"),
    "HTTP/2.0": (get(H[:-2], first=b"GET / HTTP/2.0"), EVERSION, "version"),
    "HTTP/3.1": (get(H[:-2], first=b"GET / HTTP/3.1"), EVERSION, "version"),
    "HTTP/1.2": (get(H[:-2], first=b"GET / HTTP/1.2"), EVERSION, "version"),
    "lower-case version": (get(H[:-2], first=b"GET / http/1.1"), EBAD, "version"),
    "another protocol": (get(H[:-2], first=b"GET / RTSP/1.0"), EBAD, "version"),
    "version with more digits": (get(H[:-2], first=b"GET / HTTP/1.10"), EBAD, "between the version and the end"),
    "version with a leading zero": (get(H[:-2], first=b"GET / HTTP/01.1"), EBAD, "version"),
    "version without minor": (get(H[:-2], first=b"GET / HTTP/1"), EBAD, "version"),
    "version cut short": (get(H[:-2], first=b"GET / HT"), EBAD, "version"),
    "no version after the space": (get(H[:-2], first=b"GET / "), EBAD, "version"),
    "space after the version": (get(H[:-2], first=b"GET / HTTP/1.1 "), EBAD, "between the version and the end"),
    "two spaces before the target": (get(H[:-2], first=b"GET  / HTTP/1.1"), EBAD, "more than one space"),
    "two spaces before the version": (get(H[:-2], first=b"GET /  HTTP/1.1"), EBAD, "more than one space"),
    "tab instead of a space": (get(H[:-2], first=b"GET\t/ HTTP/1.1"), EBAD, "not followed by a space"),
    "space in a target": (get(H[:-2], first=b"GET /a b HTTP/1.1"), EBAD, "version"),
    "method only": (b"GET\r\n\r\n", EBAD, "not followed by a space"),
    "space first": (get(H[:-2], first=b" GET / HTTP/1.1"), EBAD, "white space stands before"),
    "method that is no token": (get(H[:-2], first=b"G(T / HTTP/1.1"), EBAD, "method"),
    "two empty lines first": (b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", EBAD, "empty line"),
    "bare LF first": (b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", EBAD, "empty line"),
    "bare CR first": (b"\rGET / HTTP/1.1\r\nhost: a\r\n\r\n", EBAD, "empty line"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", EBAD, "looks like TLS"),
    "a byte above ASCII first": (b"\x80\x2e\x01\x00\x02\r\n\r\n", EBAD, "does not begin with a method"),
    "PROXY v2": (b"\r\n\r\n\0\r\nQUIT\n", EBAD, "empty line"),
    "fragment": (get(H[:-2], first=b"GET /a#b HTTP/1.1"), EBAD, "fragment"),
    "not ASCII in a target": (get(H[:-2], first=b"GET /\xc3\xa4 HTTP/1.1"), EBAD, "not ASCII"),
    "DEL in a target": (get(H[:-2], first=b"GET /\x7f HTTP/1.1"), EBAD, "not ASCII"),
    "NUL in a target": (get(H[:-2], first=b"GET /\0 HTTP/1.1"), EBAD, "control"),
    "tab in a query": (get(H[:-2], first=b"GET /?\t HTTP/1.1"), EBAD, "control"),
    "not a path": (get(H[:-2], first=b"GET a/b HTTP/1.1"), EBAD, "neither a path"),
    "target ?x": (get(H[:-2], first=b"GET ?x HTTP/1.1"), EBAD, "neither a path"),
    "asterisk without OPTIONS": (get(H[:-2], first=b"GET * HTTP/1.1"), EBAD, "belongs to OPTIONS"),
    "asterisk with more": (get(H[:-2], first=b"OPTIONS *a HTTP/1.1"), EBAD, "neither a path"),
    "another scheme": (get(H[:-2], first=b"GET ftp://a/ HTTP/1.1"), EBAD, "neither a path"),
    "absolute form without a host": (get(H[:-2], first=b"GET http:///a HTTP/1.1"), EBAD, "no valid host"),
    "absolute form with nothing": (get(H[:-2], first=b"GET http:// HTTP/1.1"), EBAD, "no valid host"),
    "absolute form with user information": (get(H[:-2], first=b"GET http://u:p@a/ HTTP/1.1"), EBAD, "no valid host"),
    "absolute form with a port only": (get(H[:-2], first=b"GET http://:80/ HTTP/1.1"), EBAD, "no valid host"),
    "absolute form with a backslash": (get(H[:-2], first=b"GET http://a\\b/ HTTP/1.1"), EBAD, "no valid host"),
    "one slash after the scheme": (get(H[:-2], first=b"GET http:/a HTTP/1.1"), EBAD, "neither a path"),
    "authority form with GET": (get(H[:-2], first=b"GET a:80 HTTP/1.1"), EBAD, "neither a path"),
    "CONNECT with a path": (get(H[:-2], first=b"CONNECT / HTTP/1.1"), EBAD, "host:port"),
    "CONNECT without a port": (get(H[:-2], first=b"CONNECT a HTTP/1.1"), EBAD, "host:port"),
    "CONNECT with an empty port": (get(H[:-2], first=b"CONNECT a: HTTP/1.1"), EBAD, "host:port"),
    "CONNECT with a URI": (get(H[:-2], first=b"CONNECT http://a:80/ HTTP/1.1"), EBAD, "host:port"),
    "CONNECT *": (get(H[:-2], first=b"CONNECT * HTTP/1.1"), EBAD, "host:port"),
    # --- Host ---
    "no Host": (get(b"x: y"), EBAD, "no Host"),
    "no fields at all": (get(), EBAD, "no Host"),
    "two Hosts": (get(b"host: a", b"Host: b"), EBAD, "more than one Host"),
    "two equal Hosts": (get(b"host: a", b"host: a"), EBAD, "more than one Host"),
    "two Hosts in 1.0": (get(b"host: a", b"host: a", first=b"GET / HTTP/1.0"), EBAD, "more than one Host"),
    "no Host though the target has one": (get(first=b"GET http://a/ HTTP/1.1"), EBAD, "no Host"),
    "absolute form does not excuse a bad Host": (get(b"host: a b", first=b"GET http://a/ HTTP/1.1"), EBAD,
                                                 "Host is not"),
    **{f"Host: {value!r}": (get(b"host: " + value), EBAD, "Host is not a valid")
       for value in (b"a b", b"a,b", b"a/b", b"u@a", b"a?b", b"a#b", b"a\\b", b"a\x80", b"a:b", b"a:1:2", b"a:-1",
                     b"a:65536", b"a:99999999999999999999", b":80", b"[::1", b"[]", b"[x]", b"[::1]a", b"a%", b"a%2",
                     b"a%zz", b"<a>", b'"a"', b"[::1]]", b"a[::1]")},
    # --- framing ---
    "both lengths": (get(H[:-2], b"content-length: 5", b"transfer-encoding: chunked"), EBAD, "both Content-Length"),
    "both lengths, other way round": (get(H[:-2], b"transfer-encoding: chunked", b"content-length: 0"), EBAD, "both"),
    "two lengths": (get(H[:-2], b"content-length: 5", b"content-length: 6"), EBAD, "more than one Content-Length"),
    "two equal lengths": (get(H[:-2], b"content-length: 5", b"Content-Length: 5"), EBAD,
                          "more than one Content-Length"),
    **{f"Content-Length: {value!r}": (get(H[:-2], b"content-length: " + value), EBAD, "Content-Length is")
       for value in (b"", b"5, 5", b"5,5", b"+5", b"-5", b"-0", b"0x5", b"5 5", b"5_0", b"5.0", b"1e3", b"five",
                     b"\x805",
                     b"4611686018427387904", b"9223372036854775808", b"18446744073709551616", b"9" * 19, b"9" * 30,
                     b"0" * 20, b"5;", b"'5'")},
    **{f"a tab beside {line!r}": (get(H[:-2], line), EBAD, "a tab stands beside")
       for line in (b"content-length:\t5", b"content-length: 5\t", b"content-length: 5 \t ",
                    b"transfer-encoding:\tchunked",
                    b"transfer-encoding: chunked\t", b"transfer-encoding: \t chunked")},
    "coding of 1.0": (get(b"transfer-encoding: chunked", first=b"POST / HTTP/1.0"), EBAD, "HTTP/1.0"),
    **{f"Transfer-Encoding: {value!r}": (get(H[:-2], b"transfer-encoding: " + value), ECODING, "not supported")
       for value in (b"gzip", b"identity", b"gzip, chunked", b"chunked, gzip", b"xchunked", b"chunkedx", b"chunk",
                     b"chunked-x", b"chunked, identity", b"cow")},
    "chunked twice": (get(H[:-2], b"transfer-encoding: chunked, chunked"), EBAD, "twice"),
    "chunked in two fields": (get(H[:-2], b"transfer-encoding: chunked", b"transfer-encoding: chunked"), EBAD,
                              "more than one"),
    "a coding in a second field": (get(H[:-2], b"transfer-encoding: chunked", b"transfer-encoding: x"), EBAD,
                                   "more than one"),
    **{f"Transfer-Encoding: {value!r}": (get(H[:-2], b"transfer-encoding: " + value), EBAD, "not a list")
       for value in (b"", b",", b"chunked,", b",chunked", b"chunked;q=1", b'"chunked"', b"\x80", b"chunked=")},
    # --- Connection ---
    "Connection that is no list of names": (get(H[:-2], b"connection: a b"), EBAD, "not a list of names"),
    "Connection that names too many": (get(H[:-2], b"connection: " + b",".join(b"x%d" % i for i in range(33))), EBAD,
                                       "too many"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_request_is_understood(name: str, feed: Feed) -> None:
    message, expected = GOOD[name]
    code, got, fault = feed("request", message)
    assert (code, fault) == (len(message), None)
    assert got is not None
    assert {key: got[key] for key in expected} == expected
    assert got["len"] == len(message)


@pytest.mark.parametrize("name", GOOD)
def test_what_follows_the_head_is_not_looked_at(name: str) -> None:
    message, _ = GOOD[name]
    alone = parse("request", message)
    for after in (b"\0", b"GET / HTTP/1.1\r\nhost: b\r\n\r\n", b"\xff" * 40, b"\r\n", b"\n", b" "):
        assert parse("request", message + after) == alone


@pytest.mark.parametrize("name", GOOD)
def test_fields_describe_their_lines(name: str) -> None:
    message, _ = GOOD[name]
    code, got, _ = parse("request", message)
    assert got is not None
    start = got["fields_off"]
    for (field, value), end in zip(got["fields"], got["ends"], strict=True):
        line = message[start:end]
        assert line.startswith(field + b":") and line.endswith(b"\r\n")
        assert line[len(field) + 1:].strip(b" \t\r\n") == value
        start = end
    assert message[start:code] == b"\r\n"


@pytest.mark.parametrize("name", BAD)
def test_bad_request_is_refused_with_a_reason(name: str, feed: Feed) -> None:
    message, expected, words = BAD[name]
    code, got, fault = feed("request", message)
    assert (code, got) == (expected, None), fault
    assert fault is not None
    assert re.search(words, fault), fault


@pytest.mark.parametrize(("message", "words"), [
    (b"\x16", "TLS"), (b"\x16\x03", "TLS"), (b" ", "white space"), (b"\n", "empty line"), (b"\0", "method"),
    (b"GET\t", "not followed"), (b"GET  ", "more than one space"), (b"GET /\n", "line feed"),
    (b"GET / HTTQ", "version"),
    (b"GET /#", "fragment"), (b"GET /\r\n", "HTTP/0.9"), (b"GET x ", "neither"),
    (b"GET / HTTP/1.1\r\n ", "white space"),
    (b"GET / HTTP/1.1\r\nhost :", "before the colon"), (b"GET / HTTP/1.1\r\nhost: \0", "NUL"),
    (b"GET / HTTP/1.1\r\nhost: a\n", "line feed"), (b"GET / HTTP/1.1\r\nhost: a\r.", "carriage return"),
    (b"(", "method"), (b"GET / HTTP/1.1 ", "between"), (b"PRI * ", "preface"), (b"\r\n\r", "empty line"),
])
def test_what_is_bad_already_is_not_waited_for(message: bytes, words: str) -> None:
    code, _, fault = parse("request", message)
    assert code == EBAD
    assert fault is not None and words in fault


@pytest.mark.parametrize(("message", "code"), [
    (b"GET /\nhost: a", EBAD), (b"GET /\r\n", EBAD), (b"GET / HTTP/1.1\r\nhost: a\nx", EBAD),
    (b"GET / HTTP/2.0\r\n", EVERSION),
    (b"PRI * HTTP/2.0\r\n", EBAD), (b"\r\nGET /\r\n", EBAD),
])
def test_a_slow_sender_is_refused_once_its_line_is_complete(message: bytes, code: int) -> None:
    assert trickle("request", message)[0] == code


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_beginning_is_waited_for(cut: int) -> None:
    message = b"POST /a?b HTTP/1.1\r\nHost: example\r\nContent-Length: 5\r\nX:\r\n\r\n"
    assert parse("request", message[:cut]) == (AGAIN, None, None)


def test_no_bytes_are_no_request() -> None:
    assert parse("request", b"") == (AGAIN, None, None)


# --- limits ---

def test_request_line_at_its_limit(feed: Feed) -> None:
    line = b"GET /" + b"a" * 50 + b"?" + b"b" * 30 + b" HTTP/1.1"
    message = line + b"\r\n" + H + b"\r\n"
    assert feed("request", message, line_bytes=len(line))[0] == len(message)
    code, _, fault = feed("request", message, line_bytes=len(line) - 1)
    assert code == EURI and fault == "the request line is longer than the limit"


def test_request_line_limit_does_not_count_an_empty_line_before_it(feed: Feed) -> None:
    line = b"GET /" + b"a" * 50 + b" HTTP/1.1"
    message = b"\r\n" + line + b"\r\n" + H + b"\r\n"
    assert feed("request", message, line_bytes=len(line))[0] == len(message)
    assert feed("request", message, line_bytes=len(line) - 1)[0] == EURI


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 200, b"A" * 200, b"GET http://" + b"a" * 200,
                                  b"GET /?" + b"a" * 200,
                                  b"\r\nGET /" + b"a" * 200])
def test_a_request_line_without_end_is_refused_at_its_limit(line: bytes) -> None:
    assert trickle("request", line, line_bytes=100)[0] == EURI
    assert parse("request", line, line_bytes=100)[0] == EURI
    skip = 2 if line.startswith(b"\r\n") else 0
    # The CR of its end may be the byte after the limit.
    assert parse("request", line[:101 + skip], line_bytes=100)[0] == AGAIN
    assert parse("request", line[:102 + skip], line_bytes=100)[0] == EURI


def test_head_at_its_limit(feed: Feed) -> None:
    message = b"GET / HTTP/1.1\r\n" + H + b"x: " + b"y" * 100 + b"\r\n\r\n"
    n = len(message)
    assert feed("request", message, head_bytes=n)[0] == n
    for limit in (n - 1, n - 2, n - 3, n - 4, n - 5, n - 50):
        code, _, fault = feed("request", message, head_bytes=limit)
        assert code == EHEAD and fault == "the head of the message is longer than the limit", limit


def test_head_limit_does_not_count_what_follows() -> None:
    message = b"GET / HTTP/1.1\r\n" + H + b"\r\n"
    assert parse("request", message + b"z" * 1000, head_bytes=len(message))[0] == len(message)


def test_an_endless_head_is_refused_at_its_limit() -> None:
    message = b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100
    assert parse("request", message[:199], head_bytes=200)[0] == AGAIN
    assert parse("request", message[:200], head_bytes=200)[0] == EHEAD
    assert trickle("request", message, head_bytes=200)[0] == EHEAD


def test_fields_at_their_limit(feed: Feed) -> None:
    def message(n: int) -> bytes:
        return b"GET / HTTP/1.1\r\n" + H + b"".join(b"x%d: y\r\n" % i for i in range(n - 1)) + b"\r\n"
    assert feed("request", message(10), fields=10)[0] == len(message(10))
    code, _, fault = feed("request", message(11), fields=10)
    assert code == EFIELDS and fault == "the message has more header fields than the limit"


def test_never_more_fields_than_there_is_room_for() -> None:
    message = b"GET / HTTP/1.1\r\n" + H + b"a:\r\n" * 271 + b"\r\n"
    assert parse("request", message, fields=4000)[0] == len(message)
    message = b"GET / HTTP/1.1\r\n" + H + b"a:\r\n" * 272 + b"\r\n"
    assert parse("request", message, fields=4000)[0] == EFIELDS


def test_the_longest_head_there_can_be() -> None:
    message = b"GET / HTTP/1.1\r\n" + H + b"x: "
    message += b"y" * (65535 - len(message) - 4) + b"\r\n\r\n"
    code, got, _ = parse("request", message, head_bytes=65535)
    assert code == 65535
    assert got is not None and got["ends"][-1] == 65533 and got["copied"] == message[16:-2]
    assert parse("request", message + b"y", head_bytes=65535)[0] == 65535
    assert parse("request", message[:-4] + b"y\r\n\r\n", head_bytes=65535)[0] == EHEAD


def test_a_slow_sender_costs_about_as_much_per_byte_whatever_the_length() -> None:
    """Counted in time, with a margin that only a quadratic cost can pass."""
    def per_byte(n: int) -> float:
        message = b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * n + b"\r\n\r\n"
        best = min(trickle_ns(message) for _ in range(3))
        assert best[0] == len(message)
        return best[1] / len(message)

    assert per_byte(60_000) < 8 * per_byte(2_000) + 50
