"""Which endpoints of a cluster are taken out for a while, by how they answer."""

import re
from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import OR_DEFAULT, U32_MAX, Count, Duration, Flag, Parsed, Section, Share, shown
from fastmesh.errors import WrongValue
from fastmesh.units import PERCENT, parse_duration

_FACTOR_MOST = 100


def _factor(value: object) -> int:
    """In thousandths."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _FACTOR_MOST * 1000:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", value):
        whole, _, part = value.partition(".")
        number = int(whole) * 1000 + int(part.ljust(3, "0"))
        if number <= _FACTOR_MOST * 1000:
            return number
    raise WrongValue(shown(value), f"a number from 0 to {_FACTOR_MOST}, with at most three places, as 1.9")


def _plain(thousandths: int) -> str:
    return f"{thousandths / 1000:g}"


Factor = Annotated[int, Parsed(_factor, f"number, 0 to {_FACTOR_MOST}", {
    "type": "number", "minimum": 0, "maximum": _FACTOR_MOST}, _plain)]
Least = Count(1, U32_MAX)


class SuccessRate(Section):
    """An endpoint whose share of good answers is far below that of the others."""

    factor: Annotated[Factor, Field(
        description="So many standard deviations below the mean of all is too far, and at least 5 %. 0: this is not "
                    "looked at.")] = 1900
    min_hosts: Annotated[int, Least, Field(
        description="Only with so many endpoints that have had `min_requests`.")] = 5
    min_requests: Annotated[int, Least, Field(
        description="Only endpoints with so many requests in the window are looked at.")] = 100


class FailurePercentage(Section):
    """An endpoint most of whose answers are failures, whatever the others do."""

    threshold: Annotated[Share, Field(
        description="The share of failures that is too much. `0%`: this is not looked at.")] = 85 * PERCENT
    min_hosts: Annotated[int, Least, Field(
        description="Only with so many endpoints that have had `min_requests`.")] = 3
    min_requests: Annotated[int, Least, Field(
        description="Only endpoints with so many requests in the window are looked at.")] = 50


class Latency(Section):
    """An endpoint that answers much later than the others."""

    factor: Annotated[Factor, Field(
        description="So many times the mean of the others is too late. Times are those to the answer's first byte.")
    ] = 5000
    at_least: Annotated[int, Duration("0", "1h"), Field(
        description="Below this mean an endpoint is never too late.")] = parse_duration("100ms")
    min_requests: Annotated[int, Least, Field(
        description="Only endpoints with so many answers in the window are looked at.")] = 50


class Outlier(Section):
    """Endpoints that fail are ejected for a while, and come back by way of one request that ends well. Decided over all
    workers together. See [healing](healing.md)."""

    enabled: Annotated[Flag, Field(
        description="`false`: no endpoint is watched.")] = True
    dry_run: Annotated[Flag, Field(
        description="Nobody is ejected; events, log and metrics say who would be.")] = False
    enforce: Annotated[Share, Field(
        description="The share of ejections that are carried out; the others are only told of, as with `dry_run`.")
    ] = 100 * PERCENT
    server_errors: Annotated[int, Count(0, U32_MAX), Field(
        description="So many in a row: answers with 5xx, broken connections, no answer in time. 0: not looked at.")] = 7
    gateway_errors: Annotated[int, Count(0, U32_MAX), Field(
        description="So many in a row: answers with 502, 503 or 504, broken connections, no answer in time. 0: not "
                    "looked at.")] = 5
    connect_failures: Annotated[int, Count(0, U32_MAX), Field(
        description="So many in a row: connects that were refused or took longer than `connect_timeout`. Those that "
                    "fail while the endpoint is avoided after the last one do not count. 0: not looked at.")] = 3
    timeouts: Annotated[int, Count(0, U32_MAX), Field(
        description="So many in a row: no answer within the timeout of the route, or of an attempt. Deadlines that "
                    "clients ask for do not count. 0: not looked at.")] = 5
    interval: Annotated[int, Duration("100ms", "1h"), Field(
        description="The window of the three that follow. After so long without an ejection one ejection of the past "
                    "is forgiven.")] = parse_duration("10s")
    success_rate: Annotated[SuccessRate, OR_DEFAULT, Field(
        description="Compared with the others.")] = Field(default_factory=SuccessRate)
    failure_percentage: Annotated[FailurePercentage, OR_DEFAULT, Field(
        description="By itself, whatever the others do.")] = Field(default_factory=FailurePercentage)
    latency: Annotated[Latency | None, Field(
        description="Compared with the others, by time. Left out, it is not looked at.",
        examples=[{"factor": "3"}])] = None
    base: Annotated[int, Duration("100ms", "24h"), Field(
        description="How long the first ejection lasts; the second in a row twice as long, the third three times.")
    ] = parse_duration("30s")
    max: Annotated[int, Duration("100ms", "24h"), Field(
        description="The longest.")] = parse_duration("5m")
    jitter: Annotated[Share, Field(
        description="Up to this share is added to each, by chance: endpoints that were ejected together do not come "
                    "back together.")] = 10 * PERCENT
    max_ejected: Annotated[Share, Field(
        description="The share of the endpoints that may be out at the same time. One may be in any case, and one "
                    "always stays.")] = 34 * PERCENT
    ramp: Annotated[int, Duration("0", "24h"), Field(
        description="How long an endpoint that has come back takes to have its whole share, as with "
                    "`balancing.slow_start`, which counts in its place where it is given.")] = parse_duration("10s")
