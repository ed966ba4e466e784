"""What a route does when its cluster gives no useful answer."""

import re
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from fastmesh.config.fields import (
    LIST,
    OR_DEFAULT,
    Choice,
    Count,
    Duration,
    Flag,
    HeaderName,
    HeaderValue,
    Name,
    Parsed,
    Path,
    Prefix,
    Section,
    Size,
    closest,
    shown,
)
from fastmesh.config.filter import Quarantine, read_use
from fastmesh.config.header_edit import MAX_EDITS, OF_ANSWER, EditName, RequestEdit, ValueText, pieces_of
from fastmesh.config.log_format import LogField, LogOp
from fastmesh.config.rewrite import PlainHost
from fastmesh.config.subset import Asked
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration, parse_size

MAX_STEPS = 8
MAX_KEYS = 8
MAX_TEMPLATE = 65_536
FIRST_STATUS, LAST_STATUS = 400, 599
# In the order of REASON_* of _core/resil/fallback_rule.
REASONS = ("no-endpoint", "overflow", "connect-failure", "reset", "protocol-error", "timeout", "overload", "rate-limit",
           "deadline")
GROUPS = ("gateway-error", "5xx")
CONDITIONS = (*REASONS, *GROUPS)
IGNORES = ("cache-control", "authorization", "cookie", "set-cookie", "vary")
KINDS = ("cluster", "stale", "response", "use")
ALLOWED = (f"{', '.join(CONDITIONS)}, a status from {FIRST_STATUS} to {LAST_STATUS}, or a range of them, as 500-504")
_MEANT = {"no-healthy-endpoint": "no-endpoint", "no-healthy-upstream": "no-endpoint", "unavailable": "no-endpoint",
          "breaker-open": "overflow", "circuit-open": "overflow", "refused-stream": "connect-failure",
          "refused": "connect-failure", "ratelimited": "rate-limit", "rate-limited": "rate-limit",
          "deadline-exceeded": "deadline", "error": "gateway-error", "http_5xx": "5xx"}
_RANGE = re.compile(r"([0-9]{3})-([0-9]{3})")


def statuses_of(condition: str) -> tuple[int, ...] | None:
    """Those of a status or a range; None for what is neither, or is none that may stand there."""
    if condition.isascii() and condition.isdigit() and len(condition) == 3:
        first = last = int(condition)
    elif match := _RANGE.fullmatch(condition):
        first, last = int(match[1]), int(match[2])
    else:
        return None
    return tuple(range(first, last + 1)) if FIRST_STATUS <= first <= last <= LAST_STATUS else None


def _condition(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise WrongValue(shown(value), ALLOWED)
    if text in CONDITIONS or statuses_of(text) is not None:
        return text
    meant = _MEANT.get(text)
    raise WrongValue(shown(text), ALLOWED, f"write {meant}" if meant else closest(text, CONDITIONS))


Condition = Annotated[str, Parsed(_condition, "condition", {"anyOf": [
    {"type": "string", "enum": list(CONDITIONS)},
    {"type": "string", "pattern": "^[45][0-9]{2}(-[45][0-9]{2})?$"},
    {"type": "integer", "minimum": FIRST_STATUS, "maximum": LAST_STATUS}]})]


def body_pieces(text: str) -> list[LogOp]:
    """The pieces of a body: as of a header's value, but with line breaks. Raises WrongValue."""
    found: list[LogOp] = []
    for i, line in enumerate(text.split("\n")):
        pieces = pieces_of(line)
        if i:
            found.append(LogOp(LogField.LITERAL, 0, "\n"))
        found += pieces
    return found


def _body(value: object) -> str:
    if not isinstance(value, str) or len(value.encode()) > MAX_TEMPLATE:
        raise WrongValue(shown(value), f"text of at most {MAX_TEMPLATE:,} bytes")
    for op in body_pieces(value):
        if op.field not in OF_ANSWER:
            names = [name for name in OF_ANSWER.values() if name]
            raise WrongValue(shown(value), f"of operators, {', '.join(names[:-1])} and {names[-1]}",
                             "the others are not known at this time; write %% for the character % itself")
    return value


class FallbackRewrite(Section):
    """Another path or host for the request on its way to this cluster, in place of what the route's own cluster
    got."""

    prefix: Annotated[Prefix | None, Field(
        description="What takes the place of the beginning of the path as the route's cluster gets it: of the "
                    "`rewrite.prefix` of the route, or else of the `prefix` of its match.", examples=["/archive"])
    ] = None
    path: Annotated[Path | None, Field(description="The whole path.", examples=["/index.html"])] = None
    host: Annotated[PlainHost | None, Field(
        description="The host that the cluster is asked for.", examples=["backup.internal"])] = None


class Stale(Section):
    """Copies of good answers, for the time when there are none. Requests always go to the cluster first: this is no
    cache. What is kept is what the client got, behind all filters; of GET alone, for GET and HEAD; as HTTP allows it
    (RFC 9111, RFC 5861). Each worker has its own."""

    max_age: Annotated[int, Duration("1s", "8760h"), Field(
        description="A copy that is older answers no more.")] = parse_duration("1h")
    max_body: Annotated[int, Size("1B", "64MiB"), Field(
        description="Of an answer with a longer body there is no copy.")] = parse_size("1MiB")
    max_bytes: Annotated[int, Size("64KiB", "64GiB"), Field(
        description="Memory for the copies of this step, per worker. The one unused for longest makes room. A chain of "
                    "a listener has one place for all routes that have none of their own.")] = parse_size("16MiB")
    max_entries: Annotated[int, Count(1, 100_000), Field(description="Likewise, how many copies.")] = 1_000
    headers: Annotated[list[HeaderName], LIST, Field(
        description="Headers of the request that tell copies apart, besides method, host, path and query, and what "
                    "an answer names in `vary`. With `authorization` or `cookie` here, requests that have them have "
                    "copies of their own.", max_length=MAX_KEYS, examples=[["accept-language"]])] = []  # noqa: RUF012
    ignore: Annotated[list[Annotated[str, Choice(*IGNORES)]], LIST, Field(
        description="Rules of HTTP that do not count. `cache-control`: what request and answer say there; "
                    "`authorization`, `cookie`: that a request with one of them has no copy, unless the answer says "
                    "`public`; `set-cookie`: that an answer with one is not kept (the copy is without it); `vary`: "
                    "what the answer depends on.", max_length=len(IGNORES), examples=[["cookie"]])] = []  # noqa: RUF012


class FallbackResponse(Section):
    """An answer of the proxy's own. Headers and body may hold operators of the [access log](#access-log-operators),
    with `-` where one has no value. What they stand for is escaped in a body whose `content_type` is of JSON, HTML or
    XML."""

    status: Annotated[int, Count(200, 599), Field(description="The status code.", examples=[200])]
    body: Annotated[str, Parsed(_body, "text with operators", {"type": "string"}), Field(
        description="The body. There is none with status 204, 205 and 304.", examples=['{"items": []}'])] = ""
    content_type: Annotated[HeaderValue, Field(
        description="The `content-type`, when there is a body.")] = "text/plain; charset=utf-8"
    headers: Annotated[dict[EditName, Annotated[str, ValueText(OF_ANSWER)]], Field(
        description="Further headers.", max_length=MAX_EDITS, examples=[{"cache-control": "no-store"}])
    ] = {}  # noqa: RUF012


class FallbackQuarantine(Quarantine):
    """When a policy that fails is left alone: the next step is taken in its place until it is tried again after a
    pause."""


class FallbackStep(Section):
    """One step: exactly one of `cluster`, `stale`, `response` and `use`. When it cannot answer, the next one is tried;
    when none can, the failure is the answer. Beside `use` stand the settings that the class declares."""

    model_config = ConfigDict(extra="allow")

    # Of a step with `use`; what else stands beside it is a setting of the class.
    OPERATORS: ClassVar[tuple[str, ...]] = ("on", "use", "name", "timeout", "budget", "isolated", "quarantine")
    OF_USE: ClassVar[tuple[str, ...]] = ("name", "budget", "isolated", "quarantine")

    on: Annotated[list[Condition], LIST, Field(
        description="Failures that the step is for. `no-endpoint`: the cluster has none that may be tried; "
                    "`overflow`: its limits are reached; `connect-failure`, `reset`, `protocol-error`: no answer came, "
                    "or none that is HTTP; `timeout`: none in time; `overload`: this proxy has no room; "
                    "`rate-limit`: a limit of the route; `deadline`: the time that the client gave is over; "
                    "statuses, and ranges as `500-504`, whoever answers with them. `gateway-error`: the first seven, "
                    "502, 503 and 504; `5xx`: those, and every status from 500 on. A step behind a cluster that "
                    "failed, too, is also taken for what that one did.", min_length=1, max_length=64,
        examples=[["no-endpoint", "timeout", "500-504"]])
    ] = ["gateway-error"]  # noqa: RUF012
    cluster: Annotated[Name | None, Field(
        description="Another cluster that gets the request, with its own endpoints, limits and retry budget, and as "
                    "many attempts as the route's `retry` says. Only when it may be sent again: nothing of it was "
                    "sent, or its method is idempotent and its body, if any, is still held (64 KiB).",
        examples=["backup"])] = None
    subset: Annotated[Asked | None, Field(
        description="Of a `cluster`: which of its `subsets`, by names and values, as the route's `subset`. With it the "
                    "cluster may be the route's own: requests that a new version fails on go to the old one.",
        examples=[{"version": "v1"}])] = None
    rewrite: Annotated[FallbackRewrite | None, Field(
        description="Of a `cluster`: another path or host.", examples=[{"host": "backup.internal"}])] = None
    request_headers: Annotated[RequestEdit | None, Field(
        description="Of a `cluster`: headers that are set, added or removed.", examples=[{"set": {"x-degraded": "1"}}])
    ] = None
    non_idempotent: Annotated[Flag, Field(
        description="Of a `cluster`: whether it gets POST, PATCH and methods of one's own as well when they were sent "
                    "already, which may do twice what they do.")] = False
    timeout: Annotated[Annotated[int, Duration("1ms", "24h")] | None, Field(
        description="Of a `cluster`: how long it has, in place of what is left of the request's timeout. Without it a "
                    "request whose timeout is over goes to no other cluster. Of `use`: how long the policy may take, "
                    "with what it waits for; 1s when left out.", examples=["2s"])] = None
    stale: Annotated[Stale | None, OR_DEFAULT, Field(
        description="A copy of an earlier good answer.", examples=[{"max_age": "10m"}])] = None
    response: Annotated[FallbackResponse | None, Field(
        description="An answer of the proxy's own.", examples=[{"status": 200, "body": "[]"}])] = None
    use: Annotated[Annotated[str, Parsed(read_use, "text", {"type": "string", "minLength": 1, "maxLength": 1024})]
                   | None, Field(
        description="A policy in Python that answers, or leaves it to the next step: a class that inherits from "
                    "`fastmesh.Fallback`, as `use` of a filter.", examples=["problem-details"])] = None
    name: Annotated[Name | None, Field(
        description="Of `use`: name of the policy, for metrics, logs and `x-fastmesh-degraded`; its numbers are kept "
                    "over a reload by this name. When left out, made of the class and the route or listener.",
        examples=["from-the-catalogue"])] = None
    budget: Annotated[Annotated[int, Duration("0.001ms", "1m")] | None, Field(
        description="Of `use`: how long it may take in one go, without what it waits for. Longer is an overrun. What "
                    "the class says when left out, else 2ms.", examples=["2ms"])] = None
    isolated: Annotated[Flag | None, Field(
        description="Of `use`: runs it in a process of its own. What the class says when left out, else `false`.")
    ] = None
    quarantine: Annotated[FallbackQuarantine | None, OR_DEFAULT, Field(
        description="Of `use`: when it is left alone because it fails.", examples=[{"failures": 5}])] = None

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def escape_of(content_type: str) -> int:
    """ESCAPE_* of _core/resil/fallback_rule."""
    kind = content_type.partition(";")[0].strip().lower()
    if "json" in kind:
        return 1
    return 2 if "html" in kind or "xml" in kind else 0
