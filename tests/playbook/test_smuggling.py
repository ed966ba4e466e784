"""Published ways to make two servers disagree about where a request ends: whoever reads what is passed on, however
leniently, finds the requests that the proxy has counted, and each of them as the proxy has written it.

Sources: RFC 9112 section 11.2; "HTTP Desync Attacks" and its successors (PortSwigger, 2019 to 2025), "T-Reqs" (2021),
"Chunked coding converter, funky chunks" (2025), and the advisories of servers that had to learn it.
"""

import re

import httptools
import pytest
from playbook.play import Incomplete, take_message

ADDRESS = "192.0.2.7"
EVIL = b"GET /evil HTTP/1.1\r\nhost: b\r\n\r\n"
HIDDEN = b"0\r\n\r\n" + EVIL

CODINGS = [
    b"transfer-encoding: chunked", b"Transfer-Encoding:chunked", b"TRANSFER-ENCODING: CHUNKED",
    b"transfer-encoding: xchunked", b"transfer-encoding : chunked",
    b"transfer-encoding: chunked\r\ntransfer-encoding: x",
    b"transfer-encoding:\tchunked", b" transfer-encoding: chunked", b"x: x\ntransfer-encoding: chunked",
    b"transfer-encoding\r\n : chunked", b"transfer-encoding: \x0bchunked", b"transfer-encoding: \x0cchunked",
    b"transfer-encoding: chunked\0", b"transfer-encoding: \0chunked", b"transfer-encoding: chunked ",
    b"transfer-encoding: cow", b"transfer-encoding: chunked\r", b'transfer-encoding: "chunked"',
    b"transfer-encoding: 'chunked'", b"transfer-encoding: chunked;a=b", b"transfer-encoding: ,chunked",
    b"transfer-encoding: chunked,", b"transfer-encoding: identity", b"transfer-encoding: identity, chunked",
    b"transfer-encoding: chunked, identity", b"transfer-encoding: chunked, cow", b"transfer-encoding: cow, chunked",
    b"transfer_encoding: chunked", b"transfer.encoding: chunked", b"transfer-encoding\0: chunked",
    b"transfer-encoding\xa0: chunked", b"transfer-encoding: \xa0chunked", b"transfer-encoding: chunked\xa0",
    b"transfer-encoding:\r\n chunked", b"transfer-encoding:\n chunked", b"x: \rtransfer-encoding: chunked",
    b"x:\0\r\ntransfer-encoding: chunked", b"transfer-encoding: chun\xc4\xb8ed", b"transfer-encoding: chun\x8bed",
    b"transfer-encoding: chunk", b"transfer-encoding: chunkedx", b"transfer-encoding: chunked, chunked",
    b"transfer-encoding: compress, chunked", b"transfer-encoding:", b"x: a\r\n\ttransfer-encoding: chunked",
    b"content-encoding: chunked", b"te: chunked", b"transfer encoding: chunked", b"transfer-encoding;: chunked",
    b":transfer-encoding: chunked", b"connection: transfer-encoding\r\ntransfer-encoding: chunked",
    b"connection: close, transfer-encoding\r\ntransfer-encoding: chunked",
    b"trailer: transfer-encoding\r\ntransfer-encoding: chunked",
]
LENGTHS = [
    b"+5", b"-5", b" 5 ", b"05", b"0005", b"010", b"0x5", b"5,5", b"5, 6", b"5;", b"5.0", b"5e0", b"\t5", b"5\t",
    b"\x0b5", b"5\x0c", b"5_0", b"\xb2", b"\xd9\xa5", b"5 5", b"'5'", b"18446744073709551621", b"5\0", b"", b"0", b"00",
    b"00000000000000000005", b"5\r\ncontent-length: 5", b"5\r\ncontent-length: 0", b"0\r\ncontent-length: 5",
    b"0b101", b"5#", b"5\r", b"5\n", b"5\r\n\t6",
]
LENGTH_NAMES = [
    b"content_length: 34", b"content-length : 34", b" content-length: 34", b"content-length\0: 34",
    b"content length: 34", b"content-length\x0b: 34", b"x: y\rcontent-length: 34", b"x: y\ncontent-length: 34",
    b"connection: content-length\r\ncontent-length: 34", b"connection: close, host", b"connection: host",
    b"content-length\r\n: 34", b"connection: keep-alive, content-length\r\ncontent-length: 34",
    b"connection: expect\r\nexpect: 100-continue\r\ncontent-length: 34",
]
CHUNKS = [
    b"5;a=b\r\nhello\r\n0\r\n\r\n", b'5;a="\r\nhello\r\n0\r\n\r\n', b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;;\r\nhello\r\n0\r\n\r\n", b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"5\t;a\r\nhello\r\n0\r\n\r\n", b"5;\nhello\r\n0\r\n\r\n", b"5;\rhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n\n0\r\n\r\n",
    b"05\r\nhello\r\n0\r\n\r\n", b"0000000000000000000005\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n", b"-0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffe\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n00\r\n\r\n", b"5\r\nhello\r\n0;x\r\n\r\n", b"5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\ncontent-length: 50\r\n\r\n", b"5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    b"5\r\nhello\r\n0\r\nhost: b\r\nx-forwarded-for: 6.6.6.6\r\nx-request-id: mine\r\n\r\n",
    b"5\r\nhello\r\n0\r\nx y\r\n\r\n", b"5\r\nhello\r\n0\r\n x: y\r\n\r\n", b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\nx: y\n\r\n", b"5\r\nhello\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"2;\n\r\nab\r\n0\r\n\r\n", b"5\0\r\nhello\r\n0\r\n\r\n", b"5;a\0\r\nhello\r\n0\r\n\r\n",
    b"5,5\r\nhello\r\n0\r\n\r\n",
    b"22\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nhost: b\r\n\r\n\r\n0\r\n\r\n",
]
LINES = [
    b"GET / HTTP/1.1\n", b"GET  / HTTP/1.1\r\n", b"GET\t/\tHTTP/1.1\r\n", b"GET / HTTP/1.1 \r\n", b"GET /\r\n",
    b"GET / http/1.1\r\n", b"GET / HTTP/1.2\r\n", b"GET / HTTP/2.0\r\n", b"GET / HTTP/0.9\r\n", b"GET / HTTP/1.10\r\n",
    b"GET / HTTP/1.1\r\r\n", b"\r\nGET / HTTP/1.1\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n", b"\nGET / HTTP/1.1\r\n",
    b" GET / HTTP/1.1\r\n", b"GET http://b/x HTTP/1.1\r\n", b"GET http://b HTTP/1.1\r\n",
    b"GET http://b?x HTTP/1.1\r\n",
    b"GET //b/x HTTP/1.1\r\n", b"GET @b HTTP/1.1\r\n", b"GET b:80 HTTP/1.1\r\n", b"GET /a b HTTP/1.1\r\n",
    b"GET /a\x85b HTTP/1.1\r\n", b"GET /%0d%0aX:y HTTP/1.1\r\n", b"GET /?%0d%0a HTTP/1.1\r\n", b"GET /#f HTTP/1.1\r\n",
    b"GET /?/../x HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET * HTTP/1.1\r\n", b"TRACE / HTTP/1.1\r\n",
    b"CONNECT a:80 HTTP/1.1\r\n", b"GET: / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\0\r\n",
    b"GET /\\..\\x HTTP/1.1\r\n", b"GET /.//..//x;y HTTP/1.1\r\n", b"GET http://b:80@x/ HTTP/1.1\r\n",
    b"OPTIONS http://b HTTP/1.1\r\n",
]
EXPECTS = [b"100-continue", b"100-Continue", b"y 100-continue", b"\n 100-continue", b"100-continue, x", b"200-ok",
           b"100-continue\r\nexpect: 100-continue", b"\t100-continue"]
UPGRADES = [
    b"connection: upgrade\r\nupgrade: websocket", b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    b"connection: upgrade\r\nupgrade: websocket, h2c", b"connection: upgrade\r\nupgrade: a\r\nupgrade: h2c",
    b"upgrade: websocket", b"connection: upgrade",
]


def corpus():
    for coding in CODINGS:
        yield "POST", b"POST / HTTP/1.1\r\nhost: a\r\n" + coding + b"\r\n\r\n" + HIDDEN
        yield "GET", b"GET / HTTP/1.1\r\nhost: a\r\n" + coding + b"\r\n\r\n" + HIDDEN
        yield "1.0", b"POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 4\r\n" + coding + b"\r\n\r\n" + HIDDEN
        yield "CL.TE", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n\r\n" % (
            len(HIDDEN), coding) + HIDDEN
        yield "TE.CL", b"POST / HTTP/1.1\r\nhost: a\r\n%b\r\ncontent-length: 4\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            coding, len(EVIL), EVIL)
    for length in LENGTHS:
        for method in (b"POST", b"GET", b"HEAD"):
            yield "length", method + b" / HTTP/1.1\r\nhost: a\r\ncontent-length: " + length + b"\r\n\r\nhello" + EVIL
            yield "0.CL", method + b" / HTTP/1.1\r\nhost: a\r\ncontent-length: " + length + b"\r\n\r\n" + EVIL
    for name in LENGTH_NAMES:
        yield "name", b"POST / HTTP/1.1\r\nhost: a\r\n" + name + b"\r\n\r\n" + EVIL
    for chunk in CHUNKS:
        yield "chunk", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + chunk + EVIL
    for line in LINES:
        yield "line", line + b"host: a\r\n\r\n" + EVIL
    for expect in EXPECTS:
        for method in (b"POST", b"GET", b"HEAD", b"OPTIONS"):
            yield "expect", method + b" / HTTP/1.1\r\nhost: a\r\nexpect: %b\r\ncontent-length: 5\r\n\r\nhello" % (
                expect) + EVIL
    for upgrade in UPGRADES:
        yield "upgrade", b"GET / HTTP/1.1\r\nhost: a\r\n" + upgrade + b"\r\n\r\n" + EVIL
        yield "upgrade", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n%b\r\n\r\n" % (len(EVIL), upgrade) + EVIL
    yield "1.0", b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + EVIL
    yield "1.0", b"GET / HTTP/1.0\r\n\r\n" + EVIL
    yield "close", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + EVIL
    yield "close", b"GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, close\r\n\r\n" + EVIL


CORPUS = list(corpus())


def heads_of_a_lenient_reader(wire):
    """Takes a bare LF for a line end, trims and folds names, believes the last length and any "chunked" before it."""
    found = []
    while wire:
        head, empty, rest = re.split(rb"(\r?\n\r?\n)", wire, maxsplit=1) if re.search(rb"\n\r?\n", wire) else (b"",) * 3
        if not empty:
            return found
        fields = {}
        for line in re.split(rb"\r?\n|\r", head)[1:]:
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().lower().replace(b"_", b"-"), []).append(value.strip())
        found.append(fields)
        if any(b"chunked" in value.lower() for value in fields.get(b"transfer-encoding", [])):
            while True:
                size = re.match(rb"\s*([0-9a-fA-F]+)[^\n]*\n", rest)
                if not size:
                    return found
                n = int(size[1], 16)
                rest = rest[size.end():]
                if n == 0:
                    break
                rest = rest[n:].lstrip(b"\r\n")
            trailers = re.match(rb"(?:[^\r\n]+\r?\n)*\r?\n", rest)
            if not trailers:
                return found
            rest = rest[trailers.end():]
        elif b"content-length" in fields:
            digits = re.search(rb"\d+", fields[b"content-length"][-1])
            rest = rest[int(digits[0]) if digits else 0:]
        wire = rest
    return found


def heads_of_llhttp(wire):
    found = []

    class Reader:
        def on_message_begin(self):
            self.fields = {}
            found.append(self.fields)

        def on_header(self, name, value):
            self.fields.setdefault(name.lower(), []).append(value.strip())

    try:
        httptools.HttpRequestParser(Reader()).feed_data(wire)
    except httptools.HttpParserUpgrade as upgrade:
        # To it the connection ends here. To the proxy it does when it passed on the upgrade, and not otherwise.
        assert b"upgrade" in found[-1] or not wire[upgrade.args[0]:]
    except httptools.HttpParserError as error:
        # Refused, not misread: methods that it does not know.
        assert "Pause on CONNECT/Upgrade" in str(error) or "Invalid method" in str(error), (error, wire)
        found.append({b"refused": []})
    return [fields for fields in found if fields]


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("group", sorted({group for group, _ in CORPUS}))
def test_nobody_finds_a_request_within_another(play, group, split):
    play.endpoints("a")
    play.trusted = []
    play.start()
    for message in [message for g, message in CORPUS if g == group]:
        before = play.counter("cluster.x.requests")
        client = play.client(f"{ADDRESS}:{play.ports}")
        wires = say_all(play, client, [message[i:i + 7] for i in range(0, len(message), 7)] if split else [message])
        passed = play.counter("cluster.x.requests") - before
        heads = [head for wire in wires for head in heads_of_a_lenient_reader(wire)]
        # One that is refused in the middle of its body may not have left at all.
        play.check(len(heads) <= passed, f"{len(heads)} requests were found of {passed}: {wires!r}")
        for fields in heads:
            play.check(fields[b"x-forwarded-for"] == [ADDRESS.encode()] and len(fields[b"x-request-id"]) == 1
                       and len(fields[b"x-request-id"][0]) == 36, f"of {message!r} came {fields}")
        others = [head for wire in wires for head in heads_of_llhttp(wire)]
        n = next((i for i, fields in enumerate(others) if b"refused" in fields or b"upgrade" in fields), None)
        if n is not None:
            others, heads = others[:n], heads[:n]
        ids = [[fields[b"x-request-id"] for fields in reading] for reading in (heads, others)]
        play.check(ids[0] == ids[1], f"two readers differ: {ids} {wires!r}")


def say_all(play, client, pieces):
    """What comes of it on each upstream connection, while every request is answered there."""
    was = {up.socket.fd: len(up.socket.wire) for up in play.upstreams()}
    read = dict(was)
    for piece in pieces:
        if client.is_closed or client.socket.is_shut:
            break
        client.sends(piece)
        answer_all(play, read)
    if not client.is_closed:
        client.closes()
    play.pass_time("2s")
    return [bytes(up.socket.wire[was.get(up.socket.fd, 0):]) for up in play.upstreams()]


def answer_all(play, read):
    while True:
        up = play.fresh()
        if up is not None:
            play.connect("a")
            read[up.socket.fd] = 0
            continue
        for up in play.upstreams():
            try:
                _, n = take_message(bytes(up.socket.wire[read[up.socket.fd]:]), is_over=False)
            except Incomplete:
                continue
            read[up.socket.fd] += n
            if not up.is_closed:
                up.answers()
            break
        else:
            return
