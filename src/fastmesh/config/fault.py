"""What a route does to its requests on purpose, to see who bears it."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Count, Duration, Parsed, Section, shown
from fastmesh.config.filter import FilterMatch
from fastmesh.errors import WrongValue
from fastmesh.units import format_size, parse_size

MAX_FAULTS = 8              # of one route


_BANDWIDTHS = "a size a second from 16B/s to 1GiB/s, as 64KiB/s"
_SLOWEST, _FASTEST = 16, 1 << 30


def _bandwidth(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str) and value.endswith("/s"):
        try:
            found = parse_size(value.removesuffix("/s"))
        except WrongValue as wrong:
            raise WrongValue(shown(value), _BANDWIDTHS, f"{wrong.hint}/s" if wrong.hint else "") from None
    else:
        raise WrongValue(shown(value), _BANDWIDTHS, f"write {value}/s" if isinstance(value, str) and value else "")
    if not _SLOWEST <= found <= _FASTEST:
        raise WrongValue(shown(value), _BANDWIDTHS)
    return found


Bandwidth = Annotated[int, Parsed(_bandwidth, "bandwidth", {
    "type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(B|KiB|MiB|GiB)/s$", "examples": ["64KiB/s"]},
    lambda found: f"{format_size(found)}/s")]


class FaultMatch(FilterMatch):
    """Which requests a fault falls on, and on what share of them."""


class Fault(Section):
    """Makes the requests of a route slow, or fail, without their cluster having done anything. At least one of `delay`,
    `abort` and `bandwidth`; an answer comes after the delay. Each fault is drawn by itself: of several delays that
    fall on a request the longest holds, of several answers the first, of several bandwidths the smallest."""

    delay: Annotated[Annotated[int, Duration("1ms", "5m")] | None, Field(
        description="How long a request waits before it is sent on. The time counts for the route's `timeout` and for "
                    "the client's deadline.", examples=["200ms"])] = None
    abort: Annotated[Annotated[int, Count(200, 599)] | None, Field(
        description="The status of the answer that a request gets in place of the cluster's.", examples=[503])] = None
    bandwidth: Annotated[Bandwidth | None, Field(
        description="How fast the body of the cluster's answer goes to the client at most. Its head is not slowed "
                    "down, nor what comes after an upgrade.", examples=["64KiB/s"])] = None
    match: Annotated[FaultMatch | None, Field(
        description="Which requests it falls on; all that the route takes when left out. `share` says on how many of "
                    "them.", examples=[{"share": "10%"}])] = None
