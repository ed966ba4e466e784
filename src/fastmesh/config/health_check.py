"""How endpoints are asked whether they are well."""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from fastmesh.config.fields import (
    LIST,
    Count,
    Duration,
    Flag,
    HeaderName,
    HeaderValue,
    Method,
    Parsed,
    Section,
    Share,
    Text,
    shown,
)
from fastmesh.errors import WrongValue
from fastmesh.units import PERCENT, parse_duration

FIRST_STATUS, LAST_STATUS = 100, 599
BODY_LOOKED_AT = 1024       # bytes of an answer
BYTES_MOST = 1024           # that are sent or waited for
STATUS_PATTERN = r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
HEX = "hex:"
_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e]{0,2047}")
_AUTHORITY = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}")


def statuses_of(text: str) -> tuple[int, int]:
    """`200-299` or `204`, the first and the last."""
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _statuses(value: object) -> str:
    allowed = f"a status, or a range of them as 200-299, from {FIRST_STATUS} to {LAST_STATUS}"
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.match(STATUS_PATTERN, text):
        raise WrongValue(shown(value), allowed, "write 200-299" if text == "2xx" else "")
    low, high = statuses_of(text)
    if low > high:
        raise WrongValue(shown(value), allowed, f"write {high}-{low}")
    return text


Statuses = Annotated[str, Parsed(_statuses, "status or range", {"anyOf": [
    {"type": "string", "pattern": STATUS_PATTERN},
    {"type": "integer", "minimum": FIRST_STATUS, "maximum": LAST_STATUS}]})]


def _target(value: object) -> str:
    if isinstance(value, str) and _TARGET.fullmatch(value):
        return value
    hint = "write /" + value if isinstance(value, str) and _TARGET.fullmatch("/" + value) else ""
    raise WrongValue(shown(value), "a path, and perhaps a query: visible ASCII characters that begin with /", hint)


Target = Annotated[str, Parsed(_target, "path", {"type": "string", "pattern": r"^/[!-\"$-~]{0,2047}$",
                                                 "examples": ["/healthz"]})]


def _authority(value: object) -> str:
    if isinstance(value, str) and _AUTHORITY.fullmatch(value):
        return value
    raise WrongValue(shown(value), "a host name, with or without a port, as app.example.com or app.example.com:8080")


Authority = Annotated[str, Parsed(_authority, "host", {"type": "string", "maxLength": 255})]


def bytes_of(text: str) -> bytes:
    """What goes over the wire."""
    return bytes.fromhex(text.removeprefix(HEX)) if text.startswith(HEX) else text.encode("utf-8", "surrogatepass")


def _octets(value: object) -> str:
    allowed = f"text of 1 to {BYTES_MOST:,} bytes, or hex: and two digits for each byte, as hex:0d0a"
    if not isinstance(value, str):
        raise WrongValue(shown(value), allowed)
    try:
        found = bytes_of(value)
    except ValueError:
        raise WrongValue(shown(value), allowed, "write an even number of the digits 0 to 9 and a to f") from None
    if not 1 <= len(found) <= BYTES_MOST:
        raise WrongValue(f"{len(found):,} bytes", allowed)
    return value


Octets = Annotated[str, Parsed(_octets, "text or bytes", {"type": ["string", "number"], "minLength": 1})]


def _later(value: object) -> object:
    raise WrongValue(shown(value), "http or tcp", "grpc.health.v1 comes with HTTP/2; until then check the port with "
                                                  "tcp: {}, or a path with http")


class HttpCheck(Section):
    """A request, and the answer that is expected."""

    method: Annotated[Method, Field(description="Of the request.")] = "GET"
    path: Annotated[Target, Field(description="What is asked for, with its query if there is one.",
                                  examples=["/healthz"])] = "/"
    host: Annotated[Authority | None, Field(
        description="What the request says in `host`. Left out, the address that is asked.",
        examples=["app.example.com"])] = None
    headers: Annotated[dict[HeaderName, HeaderValue], Field(
        description="Further fields of the request.", max_length=64,
        examples=[{"x-probe": "fastmesh"}])] = {}  # noqa: RUF012
    expect: Annotated[list[Statuses], LIST, Field(
        description="Statuses that are well. Any other fails the endpoint at once, without waiting for `unhealthy` of "
                    "them.", min_length=1, max_length=32, examples=[[200, "300-399"]])
    ] = ["200-299"]  # noqa: RUF012
    retriable: Annotated[list[Statuses], LIST, Field(
        description="Statuses that are not well, and count as one failure of those that `unhealthy` waits for.",
        max_length=32, examples=[["500-599"]])] = []  # noqa: RUF012
    body: Annotated[Annotated[str, Text(BODY_LOOKED_AT)] | None, Field(
        description=f"What must stand somewhere in the first {BODY_LOOKED_AT:,} bytes of the answer's body.",
        examples=["ok"])] = None


class TcpCheck(Section):
    """A connection; with `send` and `expect`, a few bytes over it."""

    send: Annotated[Octets | None, Field(
        description="What is sent when it stands: text (in double quotes YAML reads `\\r\\n`), or `hex:` and "
                    "digits.",
        examples=["PING\r\n"])] = None
    expect: Annotated[Octets | None, Field(
        description=f"What must come within the first {BODY_LOOKED_AT:,} bytes. Left out, a connection is enough.",
        examples=["+PONG"])] = None


class HealthCheck(Section):
    """Each endpoint is asked again and again by the control process, whether or not there are requests: one of `http`
    and `tcp`. See [healing](healing.md#health-checks)."""

    http: Annotated[HttpCheck | None, Field(
        description="A request of HTTP/1.1, and the answer that is expected.",
        examples=[{"path": "/healthz"}])] = None
    tcp: Annotated[TcpCheck | None, Field(
        description="A connection, and bytes over it.", examples=[{"send": "PING\r\n", "expect": "+PONG"}])] = None
    port: Annotated[Annotated[int, Count(1, 65_535)] | None, Field(
        description="The port that is connected to, in place of the endpoint's own. An endpoint's `check_address` "
                    "counts before it.", examples=[9100])] = None
    interval: Annotated[int, Duration("100ms", "24h"), Field(
        description="From the beginning of one check to the next. The first are made at once; those that follow begin "
                    "spread over the interval.")] = parse_duration("5s")
    edge_interval: Annotated[Annotated[int, Duration("100ms", "24h")] | None, Field(
        description="The same while there is a change that is not yet certain: a failure of one that is well, a "
                    "success of one that is not. Left out: a second, or `interval` where that is less.",
        examples=["500ms"])] = None
    unhealthy_interval: Annotated[Annotated[int, Duration("100ms", "24h")] | None, Field(
        description="The same for an endpoint that is unhealthy. Left out: `interval`.", examples=["10s"])] = None
    timeout: Annotated[int, Duration("1ms", "5m"), Field(
        description="How long a check may take, connecting included.")] = parse_duration("1s")
    jitter: Annotated[Share, Field(
        description="Up to this share is added to each interval, by chance.")] = 10 * PERCENT
    healthy: Annotated[int, Count(1, 1_000), Field(
        description="So many successes in a row, and an endpoint that was unhealthy is healthy. One that is new needs "
                    "one.")] = 2
    unhealthy: Annotated[int, Count(1, 1_000), Field(
        description="So many failures in a row, and it is unhealthy. A status that is not expected fails it at once.")
    ] = 3
    keep_alive: Annotated[Flag, Field(
        description="Whether the connection is kept for the next check. Without, each also shows that the endpoint "
                    "accepts connections.")] = False
    close_connections: Annotated[Flag, Field(
        description="Whether workers close the connections to it that wait for requests when it is found unhealthy. "
                    "Requests in flight go on.")] = True
    end_ejection: Annotated[Flag, Field(
        description="Whether `healthy` checks in a row that pass end an ejection by `outlier`. The endpoint comes back "
                    "over `outlier.ramp`.")] = True
    grpc: Annotated[object | None, Parsed(_later, "not yet", {"not": {}}), Field(
        description="Has its place here, and is refused: it comes with HTTP/2.", exclude=True)] = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, (dict, HealthCheck)):
            raise WrongValue(shown(value), "a mapping with http or tcp", "write health_check: {http: {path: /healthz}}")
        return value
