"""A place where the proxy accepts connections."""

from typing import Annotated

from pydantic import Field, field_validator

from fastmesh.config import fields
from fastmesh.config.cors import Cors
from fastmesh.config.fallback import MAX_STEPS, FallbackStep
from fastmesh.config.fields import (
    LIST,
    MAX_TAKEN,
    OR_DEFAULT,
    U32_MAX,
    Choice,
    Count,
    Duration,
    Flag,
    HeaderName,
    Name,
    Section,
    Size,
    Word,
    shown,
)
from fastmesh.config.filter import MAX_CHAIN, FilterUse
from fastmesh.config.hedge import Hedge
from fastmesh.config.network import parse_network
from fastmesh.config.rate_limit import MAX_ON_WAY, RateLimit
from fastmesh.config.retry import Retry
from fastmesh.config.route import Route
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration, parse_size

MAX_ROUTES = 16_384
# Fields that the proxy itself reads or writes.
TAKEN_FIELDS = frozenset((
    "connection", "content-length", "content-type", "date", "expect", "forwarded", "grpc-timeout", "host", "keep-alive",
    "server", "te", "traceparent", "trailer", "transfer-encoding", "upgrade", "via", "x-envoy-attempt-count",
    "x-envoy-expected-rq-timeout-ms", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"))
_OWN_MACHINE = [parse_network("127.0.0.0/8"), parse_network("::1/128"), parse_network("unix")]


class Limits(Section):
    """How much one client may ask for. What is larger is refused with the status that says so."""

    head: Annotated[int, Size("1KiB", "63KiB"), Field(
        description="A request's head: request line and header fields. Larger: 431.")] = parse_size("60KiB")
    request_line: Annotated[int, Size("256B", "63KiB"), Field(
        description="The request line. Longer: 414.")] = parse_size("16KiB")
    header_count: Annotated[int, Count(1, 240), Field(description="Header fields in a request. More: 431.")] = 100
    requests_per_connection: Annotated[int, Count(0, U32_MAX), Field(
        description="After so many requests a connection is closed, with `connection: close` on the last answer. "
                    "0 is no limit.")] = 0
    connections: Annotated[int, Count(0, U32_MAX), Field(
        description="Connections of this listener per worker. Beyond, an idle one makes room, or the new one is "
                    "closed. 0 is no limit of its own.")] = 0
    buffer: Annotated[int, Size("4KiB", "16MiB"), Field(
        description="Bytes held per direction before the sender is made to wait; it goes on at half of them."
    )] = parse_size("64KiB")


class Timeouts(Section):
    """How long the proxy waits. 0 is no limit."""

    header: Annotated[int, Duration(), Field(
        description="From a request's first byte to the end of its head. Longer: 408.")] = parse_duration("10s")
    body_idle: Annotated[int, Duration(), Field(
        description="Between two pieces of a request's body. Longer: 408, or the connection is cut once the answer "
                    "has begun.")] = parse_duration("60s")
    keepalive_idle: Annotated[int, Duration(), Field(
        description="Between two requests of a connection. Long on purpose: it is best when clients close first, "
                    "for then none sends a request into a connection that is closing. An idle connection costs "
                    "little memory.")] = parse_duration("1h")
    request: Annotated[int, Duration(), Field(
        description="Default for the routes: from the whole request received to the whole answer sent. Longer: "
                    "504. 0, no limit, is the default, for no number suits all.")] = 0
    stream_idle: Annotated[int, Duration(), Field(
        description="Of a request that is being answered or waits for its answer, while nothing moves in either "
                    "direction; noticed within twice that time. Longer: 504, or the answer is cut once it has begun.")
    ] = parse_duration("5m")
    tcp_idle: Annotated[int, Duration(), Field(
        description="Of a TCP connection or an upgraded one (WebSocket) on which nothing moves in either direction."
    )] = parse_duration("1h")
    linger: Annotated[int, Duration(high="1m"), Field(
        description="How long a refused sender is still listened to after its answer, so that the answer is not "
                    "lost in a reset.")] = parse_duration("1s")


class Deadlines(Section):
    """How long clients wait, as they say it, and what upstreams are told of it."""

    read: Annotated[Flag, Field(
        description="A request ends when its client no longer waits, as `grpc-timeout` (`1500m`) or "
                    "`x-envoy-expected-rq-timeout-ms` (`1500`) say: 504, and upstream work is given up. Of several "
                    "limits the shortest holds, the route's `timeout` among them; what arrives when its time is over "
                    "is not sent on. The fields go on with what is left.")] = True
    header: Annotated[HeaderName | None, Field(
        description="One more field that is read so, in milliseconds.", examples=["x-deadline-ms"])] = None
    send: Annotated[Flag, Field(
        description="Upstreams are told in `x-envoy-expected-rq-timeout-ms` how many milliseconds are left, with each "
                    "attempt anew, when there is any limit.")] = True

    @field_validator("header")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name is not None and name.lower() in TAKEN_FIELDS:
            raise WrongValue(shown(name), "a field that means nothing else to proxies")
        return name.lower() if name else name


class Listener(Section):
    """An address, and what is done with the connections that come in there."""

    name: Annotated[Name, Field(
        description="Name of the listener, for metrics and logs. Its counters are kept over a reload by this name.",
        examples=["web"])]
    address: Annotated[fields.Address, Field(
        description="Where to listen: `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/app.sock`; `localhost` is "
                    "127.0.0.1. `0.0.0.0` is every IPv4 address, `[::]` every IPv6 address.",
        examples=["127.0.0.1:8080"])]
    protocol: Annotated[str, Choice("http", "tcp"), Field(
        description="`http` for HTTP/1.1 with `routes`, `tcp` for any other protocol with one `cluster`.")] = "http"
    direction: Annotated[str, Choice("outbound", "inbound"), Field(
        description="`outbound` for what the service calls, `inbound` for calls to the service: decides whether "
                    "metrics say `reporter=\"source\"` or `\"destination\"`.")] = "outbound"
    cluster: Annotated[Name | None, Field(
        description="With `protocol: tcp`: name of the cluster that connections are passed to.")] = None
    routes: Annotated[list[Route], Field(
        description="With `protocol: http`: the routes, in order; the first that matches wins. A request that none "
                    "matches gets 404.", max_length=MAX_ROUTES)] = []  # noqa: RUF012
    filters: Annotated[list[FilterUse], LIST, Field(
        description="Filters of every request that comes in here, in order, before those of its route: names of "
                    "`filters`, or filters in place. With `protocol: tcp`, only such as have no other phases than "
                    "`on_connection` and `on_complete`.", max_length=MAX_CHAIN, examples=[["tenant"]])
    ] = []  # noqa: RUF012
    rate_limits: Annotated[list[RateLimit], LIST, Field(
        description="Limits of every request that comes in here, asked in order before anything else: names of "
                    "`rate_limits`, or limits in place. At most 8, those of a route included.",
        max_length=MAX_ON_WAY, examples=[["per-client"]])] = []  # noqa: RUF012
    retry: Annotated[Retry | None, Field(
        description="What is tried again of the requests of those routes that have no `retry` of their own.",
        examples=[{"per_try_timeout": "500ms"}])] = None
    hedge: Annotated[Hedge | None, Field(
        description="When requests of those routes that have no `hedge` of their own are sent to a second endpoint "
                    "while the first has not answered yet.", examples=[{"delay": "p95"}])] = None
    fallback: Annotated[list[FallbackStep] | None, LIST, Field(
        description="What is tried, in order, when a cluster gives no useful answer, of the requests of those routes "
                    "that have no `fallback` of their own.", max_length=MAX_STEPS,
        examples=[[{"cluster": "backup"}, {"stale": {"max_age": "10m"}}, {"response": {"status": 503}}]])] = None
    cors: Annotated[Cors | None, Field(
        description="Which pages of other origins may read the answers of those routes that have no `cors` of their "
                    "own. See [cors](cors.md).", examples=[{"allow_origins": ["https://app.example.com"]}])] = None
    backlog: Annotated[int, Count(1, 65_535), Field(
        description="Connections that the kernel keeps waiting to be accepted; the kernel's own limit "
                    "(`net.core.somaxconn`) applies too.")] = 4096
    plain_answers: Annotated[Flag, Field(
        description="Answers that the proxy makes itself explain why in their body, to clients on loopback and "
                    "Unix-domain sockets only. For debugging.")] = False
    half_close: Annotated[Flag, Field(
        description="Clients may end their side of the connection and still wait for their answers, as "
                    "`printf … | nc -N` does. When false, one that does so has left: what it has asked for is given "
                    "up, as far as it is not yet answered. For TCP, the end of one direction is always passed on "
                    "alone.")] = False
    trusted_clients: Annotated[list[fields.Network], LIST, Field(
        description="Clients whose `x-forwarded-for`, `x-forwarded-proto` and `x-request-id` are believed: IP "
                    "addresses, networks, and `unix`. From all others these headers are replaced, and "
                    "`x-forwarded-host` and `forwarded` removed.",
        max_length=1024)] = _OWN_MACHINE
    via: Annotated[Word, Field(
        description="The name this proxy puts into `via`; nothing when empty.")] = ""
    deadlines: Annotated[Deadlines, OR_DEFAULT, Field(
        description="How long clients wait, and what upstreams are told of it.")
    ] = Field(default_factory=Deadlines)
    limits: Annotated[Limits, OR_DEFAULT, Field(
        description="How much one client may ask for.")] = Field(default_factory=Limits)
    timeouts: Annotated[Timeouts, OR_DEFAULT, Field(
        description="How long the proxy waits.")] = Field(default_factory=Timeouts)
    policies: Annotated[list[Name], LIST, Field(
        description="Names of `policies` whose keys it takes over, as far as it has none of its own; of several the "
                    "first that has a key counts.", max_length=MAX_TAKEN, examples=[["patient"]])] = []  # noqa: RUF012
