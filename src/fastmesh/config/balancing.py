"""What the choice of an endpoint goes by, beside `load_balancer`."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Duration, Section
from fastmesh.units import parse_duration


class Ewma(Section):
    """What `peak_ewma` and `failure_aware_ewma` hold of an endpoint's response times."""

    decay: Annotated[int, Duration("1ms", "1h"), Field(
        description="How long a slow answer is remembered: after so long without news it counts 37 %.")
    ] = parse_duration("10s")
    initial: Annotated[int, Duration("1ms", "1h"), Field(
        description="The response time that is expected of an endpoint while its first request is under way.")
    ] = parse_duration("30ms")
    penalty: Annotated[int, Duration("0", "1h"), Field(
        description="With `failure_aware_ewma`: what a failure counts as, at least: status 429 or 5xx, a broken "
                    "connection, no answer in time.")] = parse_duration("5s")
    retry_after_max: Annotated[int, Duration("0", "1h"), Field(
        description="With `failure_aware_ewma`: a failure with `Retry-After` counts as slow as that says, up to this.")
    ] = parse_duration("300s")


class Balancing(Section):
    """What the choice of an endpoint goes by, beside `load_balancer`."""

    ewma: Annotated[Ewma | None, Field(
        description="How response times are remembered. Only with `peak_ewma` and `failure_aware_ewma`.",
        examples=[{"decay": "10s"}])] = None
