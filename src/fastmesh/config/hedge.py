"""When a request is sent to a second endpoint while the first has not answered yet."""

import re
from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import OR_DEFAULT, Choice, Count, Duration, Flag, Parsed, Section, Share, closest, shown
from fastmesh.errors import WrongValue
from fastmesh.units import DURATION_PATTERN, format_duration, parse_duration

MOST_ATTEMPTS = 4
_SHORTEST, _LONGEST = parse_duration("1ms"), parse_duration("5m")
_ALLOWED = "p50 to p99.99, as p95: a percentile of the cluster's recent times; or a duration from 1ms to 5m"
_QUANTILE = re.compile(r"p([0-9]{2}(?:\.[0-9]{1,2})?)")


def part_of(delay: int | str) -> int:
    """Of a percentile, in millionths; 0 of a fixed time."""
    return round(float(delay[1:]) * 10_000) if isinstance(delay, str) else 0


def _delay(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and value[:1] in ("p", "P"):
        number = _QUANTILE.fullmatch(value)
        if number is None or float(number[1]) < 50:
            raise WrongValue(shown(value), _ALLOWED, closest(value, ("p95", "p99", "p90")))
        return value
    elif isinstance(value, str):
        found = parse_duration(value)
    else:
        raise WrongValue(shown(value), _ALLOWED)
    if not _SHORTEST <= found <= _LONGEST:
        raise WrongValue(shown(value), _ALLOWED)
    return found


def _shown(value: int | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


Delay = Annotated[int | str, Parsed(_delay, "percentile or duration", {"anyOf": [
    {"type": "string", "pattern": r"^p[5-9][0-9](\.[0-9]{1,2})?$", "examples": ["p95"]},
    {"type": "string", "pattern": DURATION_PATTERN}]}, _shown)]


class HedgeBudget(Section):
    """How many attempts beside a first one there are in all, per cluster and worker, counted over ten seconds."""

    share: Annotated[Share, Field(
        description="Of the requests that may be hedged: so many in a hundred may be sent once more.")] = 50_000
    per_second: Annotated[int, Count(0, 100_000), Field(
        description="Attempts a second that there are in any case, so that a rare request is hedged, too.")] = 1


class Hedge(Section):
    """A second attempt beside the first, at another endpoint, when the first has not answered after a while. The first
    good answer is the client's; the other attempt is given up."""

    on: Annotated[str, Choice("delay", "per_try_timeout"), Field(
        description="When. `delay`: as `delay` says. `per_try_timeout`: when an attempt has taken as long as the "
                    "`per_try_timeout` of the route's `retry`, and then the slow attempt goes on as well.")] = "delay"
    delay: Annotated[Delay, Field(
        description="How long an attempt goes without the head of an answer before another one is sent beside it. "
                    "`p95` is the time within which 95 of a hundred answers of the cluster began in the last seconds, "
                    "as this worker has seen it: nothing is hedged until it has seen 20.", examples=["p99", "50ms"])
    ] = "p95"
    min_delay: Annotated[int, Duration("1ms", "5m"), Field(
        description="With a percentile: never sooner than this.")] = parse_duration("5ms")
    attempts: Annotated[int, Count(2, MOST_ATTEMPTS), Field(
        description="How many attempts of a request there are in all because of this, the first included, each after "
                    "another `delay`. Those of `retry` come on top.")] = 2
    budget: Annotated[HedgeBudget, OR_DEFAULT, Field(
        description="What it may cost. Beyond, requests wait for their first attempt.")
    ] = Field(default_factory=HedgeBudget)
    non_idempotent: Annotated[Flag, Field(
        description="Whether POST, PATCH and methods of one's own are hedged as well, which does twice what they do.")
    ] = False
    tell: Annotated[Flag, Field(
        description="Upstreams are told in `x-envoy-attempt-count` which attempt it is.")] = True
