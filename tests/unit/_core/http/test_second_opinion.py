"""The codec beside httptools (llhttp, the parser of Node.js), on generated and on mutated messages.

Two readers in one chain must not disagree about where a message ends. So: whatever this
codec accepts, httptools either reads with the same parts and the same framing, or refuses
for one of the reasons in STRICTER; and what httptools refuses for any other reason is
refused here as well. The codec refuses far more than httptools; that needs no list.
"""

from dataclasses import dataclass, field
from typing import Any

import httptools
import pytest
from effort import tries
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from probes.http_probe import dechunk, parse

# Where httptools is the stricter one: it knows methods by a list.
STRICTER = ("Invalid method encountered", "Expected space after method")

BODY = b"5\r\nhello\r\n0\r\n\r\n"


@dataclass
class Reading:
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    url: bytes = b""
    reason: bytes = b""
    body: bytes = b""
    heads: int = 0
    ends: int = 0
    keep_alive: bool = False
    parser: Any = None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ends += 1


def second_opinion(kind: str, head: bytes) -> tuple[Reading, bool]:
    """What httptools makes of exactly one head, and whether it takes what follows for another protocol."""
    reading = Reading()
    parser = (httptools.HttpRequestParser if kind == "request" else httptools.HttpResponseParser)(reading)
    reading.parser = parser
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade as upgrade:
        assert upgrade.args[0] == len(head)
        return reading, True
    except httptools.HttpParserError as error:
        if "Pause on CONNECT/Upgrade" not in str(error):
            raise
        return reading, True
    return reading, False


def framing_of(reading: Reading, length: int) -> str:
    """Which framing httptools applies after the head; `length` is the one that is expected, if any."""
    if reading.ends:
        return "none"
    try:
        reading.parser.feed_data(BODY)
    except httptools.HttpParserError:
        pass  # what stands after the body may be no message
    if reading.body == b"hello" and length != 5:
        return "chunked"
    if not BODY.startswith(reading.body):
        return "unclear"
    if reading.ends:
        return f"length {len(reading.body)}"
    return f"length {length}" if length > len(BODY) else "close"


def compare(kind: str, message: bytes) -> str:
    """Hold both readings of `message` against each other; says what came of it."""
    code, got, _ = parse(kind, message)
    if code <= 0:
        return "refused here"
    assert got is not None
    head = message[:code]
    try:
        reading, other_protocol = second_opinion(kind, head)
    except httptools.HttpParserError as error:
        assert str(error) in STRICTER
        return "refused there"
    assert reading.heads == 1
    # httptools leaves white space at the end of a value; RFC 9110 section 5.5 does not count it.
    assert [(name, value.rstrip(b" \t")) for name, value in reading.fields] == got["fields"]
    if kind == "request":
        assert reading.parser.get_method() == got["method"]
        assert reading.url == got["target"]
    else:
        assert reading.parser.get_status_code() == got["status"]
        assert reading.reason == got["reason"]
    assert reading.parser.get_http_version() == f"1.{got['minor']}"
    bits = got["bits"]
    if not other_protocol and got["framing"] != "close":
        keep_alive = not bits["close"] and (got["minor"] == 1 or bits["keepalive"])
        # Who says both "close" and "keep-alive" is closed here; httptools keeps such a connection of HTTP/1.0.
        # So is the connection of a 204 that claims to have a body.
        assert reading.keep_alive == keep_alive or (bits["close"] and bits["keepalive"]) or (
            bits["close"] and kind == "response" and got["status"] == 204)
    if other_protocol:
        # Upgrade means nothing in a request of HTTP/1.0 (RFC 9110 section 7.8); httptools believes it.
        assert bits["upgrade"] or got["method"] == b"CONNECT" or got["status"] == 101 or got["minor"] == 0
        return "another protocol follows"
    expected = f"length {got['length']}" if got["framing"] == "length" else got["framing"]
    assert framing_of(reading, got["length"]) == expected
    return expected.split()[0]


# --- generated messages: both must accept them ---

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=20).map(str.encode)
VALUE = st.text([chr(c) for c in [*range(0x21, 0x7F), *range(0x80, 0x100)]] + [" ", "\t"], max_size=40).map(
    lambda s: s.encode("latin-1").strip(b" \t"))
KNOWN = {b"host", b"connection", b"content-length", b"transfer-encoding", b"te", b"upgrade", b"expect",
         b"proxy-connection"}
PLAIN_FIELD = st.tuples(TOKEN, VALUE).filter(lambda f: f[0].lower() not in KNOWN)
FRAMING_FIELD = st.one_of(
    st.just([]),
    st.integers(0, 2**62 - 1).map(lambda n: [(b"Content-Length", str(n).encode())]),
    st.integers(0, 40).map(lambda n: [(b"content-length", str(n).encode())]),
    st.sampled_from([b"chunked", b"Chunked", b"CHUNKED"]).map(lambda v: [(b"Transfer-Encoding", v)]),
)
CONNECTION_FIELD = st.sampled_from([[], [], [(b"Connection", b"close")], [(b"connection", b"Keep-Alive")],
                                    [(b"Connection", b"keep-alive, x-a")], [(b"Connection", b"x-a, close")]])
SPACE = st.sampled_from([b"", b" ", b" ", b" ", b"\t", b"  ", b" \t "])
TARGET = st.text([chr(c) for c in range(0x21, 0x7F) if chr(c) != "#"], max_size=30).map(lambda s: b"/" + s.encode())
METHOD = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"HEAD", b"TRACE", b"PROPFIND"])


@st.composite
def fields_of(draw: st.DrawFn, *more: tuple[bytes, bytes]) -> bytes:
    fields = [*more, *draw(st.lists(PLAIN_FIELD, max_size=8)), *draw(FRAMING_FIELD), *draw(CONNECTION_FIELD)]
    fields = draw(st.permutations(fields))
    lines = []
    for name, value in fields:
        before, after = draw(SPACE), draw(SPACE)
        if name.lower() in KNOWN:  # a tab beside a framing field is refused
            before, after = before.replace(b"\t", b" "), after.replace(b"\t", b" ")
        lines.append(name + b":" + before + value + after + b"\r\n")
    return b"".join(lines)


@settings(max_examples=tries(500), deadline=None, derandomize=True)
@given(METHOD, TARGET, fields_of((b"Host", b"example:80")), st.sampled_from([b"", b"\r\n"]))
def test_generated_requests_are_read_alike(method: bytes, target: bytes, fields: bytes, before: bytes) -> None:
    message = before + method + b" " + target + b" HTTP/1.1\r\n" + fields + b"\r\n"
    assert compare("request", message) in ("none", "length", "chunked")


@settings(max_examples=tries(500), deadline=None, derandomize=True)
@given(st.integers(100, 999), st.sampled_from([b" OK", b"", b" ", b" Not Found", b" a  b"]), fields_of())
def test_generated_responses_are_read_alike(status: int, reason: bytes, fields: bytes) -> None:
    message = b"HTTP/1.1 %d%b\r\n%b\r\n" % (status, reason, fields)
    outcome = compare("response", message)
    # An interim response that claims a body is refused.
    assert outcome in ("none", "length", "chunked", "close", "another protocol follows") or (
        status < 200 and outcome == "refused here")


# --- mutated messages: what passes here is read there with the same framing, or refused ---

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PUT / HTTP/1.0\r\nContent-Length: 15\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://b/c HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t z \t\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
]
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: x\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 15\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200\r\nConnection: close\r\n\r\n",
]
SPLINTERS = [
    b"\r\n", b"\r", b"\n", b" ", b"\t", b"\0", b":", b",", b";", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b"/",
    b"#", b"?", b"%",
    b"0", b"5", b"-", b"+", b"_", b"x", b"\r\n\r\n", b"\r\n ", b"\n\n", b"\r\r\n", b"chunked", b", chunked",
    b"identity",
    b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", b"content-length : 5\r\n", b"Content-Length:\r\n",
    b"Content_Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:\tchunked\r\n",
    b"Transfer-Encoding\r\n", b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n",
    b"Connection: keep-alive\r\n", b"Connection: content-length\r\n", b"Upgrade: h2c\r\n", b"Host: b\r\n", b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/0.9", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n", b"1", b"204", b"HEAD", b"Expect: 100-continue\r\n",
]
EDIT = st.tuples(st.sampled_from(["insert", "replace", "delete", "copy", "flip"]), st.integers(0, 10_000),
                 st.integers(1, 8),
                 st.sampled_from(SPLINTERS))


def edited(message: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    for how, where, n, splinter in edits:
        # Half of the splinters are whole lines, so half of the places are beginnings of lines.
        starts = [0, *(i + 2 for i in range(len(message)) if message[i:i + 2] == b"\r\n")]
        at = starts[where // 2 % len(starts)] if where % 2 else where // 2 % (len(message) + 1)
        if how == "insert":
            message = message[:at] + splinter + message[at:]
        elif how == "replace":
            message = message[:at] + splinter + message[at + n:]
        elif how == "delete":
            message = message[:at] + message[at + n:]
        elif how == "copy":
            message = message[:at] + message[at:at + 4 * n] + message[at:]
        elif at < len(message):
            message = message[:at] + bytes([message[at] ^ 1 << n % 8]) + message[at + 1:]
    return message


@pytest.mark.parametrize("kind", ["request", "response"])
def test_mutated_messages(kind: str) -> None:
    seen: dict[str, int] = {}

    @settings(max_examples=tries(2000), deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(REQUESTS if kind == "request" else RESPONSES), st.lists(EDIT, min_size=1, max_size=4))
    def one(message: bytes, edits: list[tuple[str, int, int, bytes]]) -> None:
        message = edited(message, edits)
        assume(message)
        outcome = compare(kind, message)
        seen[outcome] = seen.get(outcome, 0) + 1

    one()
    # The comparison is worth something only if a good part of the mutants is still accepted.
    accepted = sum(n for outcome, n in seen.items() if outcome in ("none", "length", "chunked", "close"))
    assert accepted > tries(2000) * 0.075, seen


BODIES = [b"0\r\n", b"5\r\nhello\r\n0\r\n", b"1;x=y\r\nz\r\n00\r\n", b"A\r\n0123456789\r\n1\r\n0\r\n0;last\r\n"]
CHUNK_SPLINTERS = [b"0", b"1", b"5", b"a", b"F", b"00", b";", b";x=y", b';q="z"', b"\r\n", b"\r", b"\n", b" ", b"\t",
                   b"x", b"\0",
                   b"+", b"-", b"0x", b"0\r\n\r\n", b"1\r\nz\r\n", b"\xff", b"=", b'"']
CHUNK_EDIT = st.tuples(st.sampled_from(["insert", "insert", "replace", "delete", "copy"]), st.integers(0, 10_000),
                       st.integers(1, 3), st.sampled_from(CHUNK_SPLINTERS))


@settings(max_examples=tries(1500), deadline=None, derandomize=True)
@given(st.sampled_from(BODIES), st.lists(CHUNK_EDIT, max_size=2))
def test_chunked_bodies_end_at_the_same_place(coded: bytes, edits: list[tuple[str, int, int, bytes]]) -> None:
    """What is a whole body here is the same one there, or refused."""
    coded = edited(coded, edits)
    payload, state, rest = dechunk([coded])
    if state != "done":
        return
    reading = Reading()
    reading.parser = httptools.HttpRequestParser(reading)
    try:
        reading.parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        reading.parser.feed_data(coded[:len(coded) - len(rest)])
        assert reading.ends == 0
        reading.parser.feed_data(b"\r\n")
    except httptools.HttpParserError as error:
        # Words of extensions are taken apart there and skipped here.
        assert "chunk" in str(error).lower() or "quoted" in str(error).lower()
        return
    assert (reading.ends, reading.body) == (1, payload)
