"""What a route does to its requests on purpose, to see who bears it."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Count, Duration, Section
from fastmesh.config.filter import FilterMatch

MAX_FAULTS = 8              # of one route


class FaultMatch(FilterMatch):
    """Which requests a fault falls on, and on what share of them."""


class Fault(Section):
    """Makes the requests of a route slow, or fail, without their cluster having done anything. At least one of `delay`
    and `abort`; with both, the answer comes after the delay. Each fault is drawn by itself: of several delays that
    fall on a request the longest holds, of several answers the first."""

    delay: Annotated[Annotated[int, Duration("1ms", "5m")] | None, Field(
        description="How long a request waits before it is sent on. The time counts for the route's `timeout` and for "
                    "the client's deadline.", examples=["200ms"])] = None
    abort: Annotated[Annotated[int, Count(200, 599)] | None, Field(
        description="The status of the answer that a request gets in place of the cluster's.", examples=[503])] = None
    match: Annotated[FaultMatch | None, Field(
        description="Which requests it falls on; all that the route takes when left out. `share` says on how many of "
                    "them.", examples=[{"share": "10%"}])] = None
