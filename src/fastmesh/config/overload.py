"""What the proxy may use of the machine, and who is refused when that comes to an end."""

from typing import Annotated

from pydantic import Field, field_validator

from fastmesh.config.fields import SHARE_ALL, Count, Duration, Flag, HeaderName, Section, Share, Size, shown
from fastmesh.config.listener import TAKEN_FIELDS
from fastmesh.errors import WrongValue
from fastmesh.units import format_percent, parse_duration

MOST_RETRY_AFTER = 3600
_SOONEST_RESET = SHARE_ALL // 2


class Overload(Section):
    """Work is refused, the least important first, before memory, descriptors or time run out. See
    [overload](overload.md)."""

    enabled: Annotated[Flag, Field(
        description="`false`: nothing is looked at, and nobody is refused for it.")] = True
    memory: Annotated[Annotated[int, Size("16MiB", "1024GiB")] | None, Field(
        description="For all workers together, each having its part. Left out, it is nine tenths of what the cgroup "
                    "may have, less 64 MiB for the other processes; without such a limit memory is not looked at.",
        examples=["512MiB"])] = None
    lag: Annotated[int, Duration("0", "1h"), Field(
        description="How late a worker's loop may come to what is ready, on average over a second. 0: not looked at.")
    ] = parse_duration("1s")
    retry_after: Annotated[int, Count(0, MOST_RETRY_AFTER), Field(
        description="Seconds that `Retry-After` of a refusal asks for. 0 leaves it out.")] = 1
    reset_largest_at: Annotated[Share, Field(
        description="From this part of its memory on, a worker resets the connections that hold most of it: those "
                    "whose clients, or whose upstreams, do not take what waits for them. From 50% to 100%; 0 is never. "
                    "Where memory is not looked at, nothing is reset.")] = 980_000
    header: Annotated[HeaderName | None, Field(
        description="A header in which `trusted_clients` say `low`, `default` or `high` in place of the route's "
                    "`priority`. From others it says nothing.", examples=["x-priority"])] = None

    @field_validator("reset_largest_at")
    @classmethod
    def _is_late(cls, share: int) -> int:
        if 0 < share < _SOONEST_RESET or share > SHARE_ALL:
            raise WrongValue(format_percent(share), "0, or from 50% to 100%")
        return share

    @field_validator("header")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name is not None and name.lower() in TAKEN_FIELDS:
            raise WrongValue(shown(name), "a field that means nothing else to proxies")
        return name.lower() if name else name
