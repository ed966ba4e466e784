"""A client and an upstream who say anything, out of a string of bytes: what hypothesis and the fuzzer write.

Each byte chooses what happens; some take the next byte as their argument, raw bytes are taken as they come. At the end
an independent reader looks at both sides: whatever the upstreams were sent must be requests, each with the one
`x-forwarded-for` and `x-request-id` that the proxy itself writes, so that none came in inside another one; and what a
client got must be the answers that the log tells, in their order.
"""

import re
from functools import cache

import httptools
from playbook.play import Incomplete, Message, Play, take_message

LOG_METHOD, LOG_PATH, LOG_CODE, LOG_FLAGS, LOG_CONNECTION = 2, 3, 5, 6, 21
ADDRESS = "192.0.2.7"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PIECE = 400                    # bytes of one program that are looked at
# Where llhttp is the stricter one: it knows methods by a list.
STRICTER = ("Invalid method encountered", "Expected space after method")

REQUEST = b"x HTTP/1.1\r\nhost: a\r\n"
ASKED = [
    b"GET /" + REQUEST + b"\r\n", b"HEAD /" + REQUEST + b"\r\n", b"POST /" + REQUEST + b"content-length: 5\r\n\r\n",
    b"POST /" + REQUEST + b"transfer-encoding: chunked\r\n\r\n", b"PUT /" + REQUEST + b"content-length: 3\r\n\r\nabc",
    b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://b/c?d HTTP/1.1\r\nhost: a\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /" + REQUEST + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"POST /" + REQUEST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    b"GET /" + REQUEST + b"connection: close\r\n\r\n", b"TRACE /" + REQUEST + b"\r\n",
    b"PUT /" + REQUEST + b"transfer-encoding: chunked\r\ntrailer: t\r\nte: trailers\r\n\r\n",
    b"GET /" + REQUEST + b"x-forwarded-for: 6.6.6.6\r\nx-request-id: mine\r\nconnection: x-forwarded-for\r\n\r\n",
]
ASKED_IN_PIECES = [
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"5\r\nhel", b"lo\r\n", b"3;ext=\"a\"\r\nabc\r\n", b"0\r\nt: 1\r\nhost: b\r\n\r\n",
    b"hello", b"\r\n", b"GET /e", b"vil" + REQUEST, b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n",
    b"x: y\r\n", b" folded\r\n", b"\n", b"\0", b"host: b\r\n", b"connection: content-length, host\r\n",
    b"GET /..;/%2f/../%61//b?c HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /" + b"a" * 300, b"x" * 3000,
    b"0\r\n\r\nGET /inner " + REQUEST[2:] + b"\r\n",
    b"content-length: 1\r\n\r\n", b"\r\n\r\n",
]
ANSWERED = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 304 Not\r\ncontent-length: 5\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 408 Late\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 205 Reset\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 426 Up\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
]
ANSWERED_IN_PIECES = [
    b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nt: 1\r\ncontent-length: 3\r\n\r\n", b"HTTP/1.1 2",
    b"00 OK\r\n", b"\r\n",
    b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"\n", b"\0", b"y" * 3000,
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", b"ffff\r\n", b"\r\n\r\n",
]
TIMES = ("5ms", "1s", "11s", "61s")


class Program:
    def __init__(self, manners: str) -> None:
        self.play = play = Play(manners)
        play.endpoints("a", "b").cluster(connect_timeout="1s", max_connections=2, max_pending=4)
        play.listener(buffer_bytes=4096, header_timeout="10s", body_timeout="10s", idle_timeout="60s", head_bytes=4096)
        play.route("/no", status=403, body=b"forbidden").route(timeout="30s")
        play.logged((LOG_CONNECTION, "c"), (LOG_METHOD, "m"), (LOG_CODE, "s"), (LOG_FLAGS, "f"))
        play.trusted = []
        play.start()
        self.clients: list = []

    def client(self, fresh: bool = False):
        if fresh or not self.clients or self.clients[-1].is_closed or self.clients[-1].has_ended:
            made = self.play.client(f"{ADDRESS}:{1000 + len(self.clients)}")
            made.has_ended = False
            self.clients.append(made)
        return self.clients[-1]

    def upstream(self, argument: int):
        found = [u for u in self.play.upstreams()
                 if not (u.is_closed or u.socket.broken or u.socket.is_connecting or u.socket.fd in self.ended)]
        return found[argument % len(found)] if found else None

    def run(self, program: bytes) -> None:
        self.ended: set[int] = set()
        program = program[:PIECE]
        at = 0
        while at < len(program):
            op = program[at] % 20
            argument = program[at + 1] if at + 1 < len(program) else 0
            at += 2
            if op <= 4:
                self.client().sends(ASKED[argument % len(ASKED)])
            elif op == 5:
                n = argument % 24 + 1
                if program[at:at + n]:
                    self.client().sends(program[at:at + n])
                at += n
            elif op == 6:
                # Broken in two: the second half comes with the next piece, or never.
                whole = ASKED[argument % len(ASKED)]
                self.client().sends(whole[:len(whole) // 2])
                self.client().sends(whole[len(whole) // 2:])
            elif op in (12, 16, 17):
                for up in self.play.upstreams():
                    if up.socket.is_connecting and not up.is_closed:
                        up.refused() if argument % 8 == 7 else up.connected()
            elif op == 13:
                self.play.pass_time(TIMES[argument % len(TIMES)])
            elif op == 14:
                self.client_does(argument)
            elif op == 15:
                self.upstream_does(argument)
            elif op == 18:
                self.client().sends(ASKED_IN_PIECES[argument % len(ASKED_IN_PIECES)])
            else:
                up = self.upstream(argument // 32)
                if up is None:
                    continue
                if op == 11:
                    n = argument % 24 + 1
                    if program[at:at + n]:
                        up.sends(program[at:at + n])
                    at += n
                else:
                    said = ANSWERED_IN_PIECES if op == 10 else ANSWERED
                    up.sends(said[argument % len(said)])

    def client_does(self, what: int) -> None:
        client = self.client(fresh=what % 8 == 7)
        if what % 8 == 0:
            client.has_ended = True
            client.closes()
        elif what % 8 == 1:
            client.has_ended = True
            client.resets()
        elif what % 8 <= 4:
            client.stops_reading([0, 100, 4000][what % 8 - 2])
        elif what % 8 <= 6:
            client.reads()

    def upstream_does(self, what: int) -> None:
        up = self.upstream(what // 32)
        if up is None:
            return
        if what % 8 == 0:
            self.ended.add(up.socket.fd)
            up.closes()
        elif what % 8 == 1:
            up.resets()
        elif what % 8 <= 4:
            up.stops_reading([0, 100, 4000][what % 8 - 2])
        else:
            up.reads()

    # --- what came of it -------------------------------------------------------------------------

    def end(self) -> None:
        self.play.leave()
        ids = []
        for up in self.play.upstreams():
            ids += self.requests(bytes(up.socket.wire))
        self.play.check(len(set(ids)) <= self.play.counter("requests"), f"more requests than there were: {ids}")
        lines = [line.split() for line in self.play.stage.log()]
        for number, client in enumerate(self.clients):
            self.answers(client, [rest for n, *rest in lines if int(n) == number + 1])
        self.play.end()

    def requests(self, wire: bytes) -> list[str]:
        """The identities of the requests on one upstream connection."""
        found: list[str] = []

        class Reader:
            def on_message_begin(self) -> None:
                self.fields: list[tuple[bytes, bytes]] = []

            def on_header(self, name: bytes, value: bytes) -> None:
                self.fields.append((name.lower(), value))

            def on_headers_complete(reader) -> None:
                fields = reader.fields
                ours = [v for k, v in fields if k == b"x-forwarded-for"]
                self.play.check(ours == [ADDRESS.encode()], f"a request that the proxy has not made: {fields}")
                ids = [v.decode("latin-1") for k, v in fields if k == b"x-request-id"]
                self.play.check(len(ids) == 1 and UUID.fullmatch(ids[0]) is not None, f"whose is it: {fields}")
                found.extend(ids)

        parser = httptools.HttpRequestParser(Reader())
        try:
            parser.feed_data(wire)
        except httptools.HttpParserUpgrade:
            pass  # opaque from here on
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            stricter = str(error) in STRICTER or "Pause on CONNECT/Upgrade" in str(error)
            self.play.check(stricter, f"an upstream was sent what is no request ({error}): {wire!r}")
        return found

    def answers(self, client, exchanges: list[list[str]]) -> None:
        """Their statuses and their order are those of the log; the last one may be cut."""
        data = bytes(client.socket.wire)
        for method, status, flags in exchanges:
            made: Message | None = None
            while made is None or (made.status < 200 and made.status != 101):
                try:
                    made, n = take_message(data, is_over=client.is_closed, has_body=method != "HEAD")
                except Incomplete:
                    return
                data = data[n:]
            self.play.check(made.status == int(status), f"{client} got {made.line!r} for {method} {status} {flags}")
            if made.status == 101:
                return
        if not client.is_closed and not client.socket.broken:
            self.play.check(not data, f"{client} got more than the log tells: {data[:200]!r}")


def fuzz_input(program: bytes) -> None:
    """One input of the fuzzer: its first byte chooses the manners."""
    keep_spare()
    if program:
        run(program[1:], ("ready", "completion")[program[0] % 2])


@cache
def keep_spare() -> None:
    """The descriptor that a process keeps from its first listener on."""
    Play("ready").start().abandon()


def run(program: bytes, manners: str) -> None:
    """AssertionError with the course of events when something does not hold."""
    made = Program(manners)
    try:
        made.run(program)
        made.end()
    finally:
        made.play.abandon()
