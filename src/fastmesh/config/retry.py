"""Which failures of a route's requests are tried again, and how often."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import (
    LIST,
    OR_DEFAULT,
    Count,
    Duration,
    Flag,
    HeaderName,
    Parsed,
    Section,
    Share,
    closest,
    shown,
)
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

MAX_ATTEMPTS = 8
FIRST_STATUS, LAST_STATUS = 400, 599
# Of Envoy's names those that there is something behind here. Its `reset` is three of these.
CONDITIONS = ("connect-failure", "reset", "timeout", "protocol-error", "gateway-error", "5xx", "retriable-4xx",
              "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable", "envoy-ratelimited")
ALLOWED = f"{', '.join(CONDITIONS)}, or a status from {FIRST_STATUS} to {LAST_STATUS}"
_MEANT = {"refused-stream": "connect-failure", "refused": "connect-failure", "per-try-timeout": "timeout",
          "reset-before-request": "reset", "rate-limited": "envoy-ratelimited"}


def _condition(value: object) -> str | int:
    number = value
    if isinstance(value, str) and value in CONDITIONS:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool) and FIRST_STATUS <= number <= LAST_STATUS:
        return number
    if value == "retriable-status-codes":
        raise WrongValue(shown(value), ALLOWED, "write the statuses themselves")
    if value == "retriable-headers":
        raise WrongValue(shown(value), ALLOWED, "name them in headers")
    meant = _MEANT.get(value) if isinstance(value, str) else None
    raise WrongValue(shown(value), ALLOWED, f"write {meant}" if meant else closest(value, CONDITIONS))


Condition = Annotated[str | int, Parsed(_condition, "condition", {"anyOf": [
    {"type": "string", "enum": list(CONDITIONS)},
    {"type": "integer", "minimum": FIRST_STATUS, "maximum": LAST_STATUS}]})]


class Backoff(Section):
    """The pause before a further attempt, drawn between 0 and a bound that grows, so that clients that failed together
    do not come back together."""

    base: Annotated[int, Duration("0", "1m"), Field(
        description="The bound of the first pause; of the n-th it is 2ⁿ - 1 times as much.")] = parse_duration("25ms")
    max: Annotated[int, Duration("0", "1m"), Field(description="The bound of every pause.")] = parse_duration("250ms")


class Retry(Section):
    """Further attempts of requests that failed."""

    on: Annotated[list[Condition], LIST, Field(
        description="What is tried again. `connect-failure`: no connection in time, or none at all; `reset`: it ended "
                    "before an answer began; `timeout`: no answer within `per_try_timeout`; `protocol-error`: what "
                    "came was no HTTP; `gateway-error`: all of these, 502, 503 and 504; `5xx`: all of these and every "
                    "status from 500 on; `retriable-4xx`: 409; `cancelled`, "
                    "`deadline-exceeded`, `internal`, `resource-exhausted` and `unavailable`: an answer of gRPC that "
                    "is its head alone and has this `grpc-status`; `envoy-ratelimited`: an answer with the field "
                    "`x-envoy-ratelimited`; and statuses, as 429. A `per_try_timeout` has `timeout` "
                    "in any case.", max_length=64, examples=[["reset", 503]])
    ] = ["connect-failure", "reset", 503]  # noqa: RUF012
    headers: Annotated[list[HeaderName], LIST, Field(
        description="Answers with one of these fields are tried again, whatever their status.", max_length=16,
        examples=[["x-try-again"]])] = []  # noqa: RUF012
    attempts: Annotated[int, Count(1, MAX_ATTEMPTS), Field(
        description="How often a request is tried in all, the first attempt included. 1 is no further attempt but "
                    "those that the cluster's `connect_attempts` gives after failed connects.")] = 2
    per_try_timeout: Annotated[Annotated[int, Duration("1ms", "24h")] | None, Field(
        description="How long one attempt may take until its answer begins, connecting included; then another "
                    "endpoint is tried. It does not run while the client sends its body.", examples=["500ms"])] = None
    backoff: Annotated[Backoff, OR_DEFAULT, Field(
        description="The pause before a further attempt.")] = Field(default_factory=Backoff)
    retry_after_max: Annotated[int, Duration("0", "5m"), Field(
        description="How long a pause an answer may ask for in `retry-after`. When it asks for more, or for more than "
                    "is left of the request's time, it goes to the client. 0 does not listen to it.")
    ] = parse_duration("25s")
    non_idempotent: Annotated[Flag, Field(
        description="Whether POST, PATCH and methods of one's own are sent again as well, which may do twice what "
                    "they do. What was never sent is tried again in any case.")] = False
    tell: Annotated[Flag, Field(
        description="Upstreams are told in `x-envoy-attempt-count` which attempt it is.")] = True
    of_retries: Annotated[Flag, Field(
        description="Whether requests are tried again that came as another proxy's further attempt "
                    "(`x-envoy-attempt-count` above 1). What both try multiplies.")] = False


class RetryBudget(Section):
    """How many further attempts a cluster gets, per worker, counted over ten seconds."""

    share: Annotated[Share, Field(
        description="Of the cluster's requests: so many in a hundred may be tried again.")] = 200_000
    per_second: Annotated[int, Count(0, 100_000), Field(
        description="Attempts a second that there are in any case, so that a rare request is tried again, too.")] = 10
