"""Copies of a route's requests, for a cluster that is to be tried on them."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Name, Parsed, Section, shown
from fastmesh.config.filter import FilterMatch
from fastmesh.config.subset import Asked
from fastmesh.errors import WrongValue

MAX_MIRRORS = 4             # of one route
_MOST = 64
_OF_HOSTS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")


def _suffix(value: object) -> str:
    if isinstance(value, str) and len(value) <= _MOST and set(value.lower()) <= _OF_HOSTS:
        return value.lower()
    raise WrongValue(shown(value), f"at most {_MOST} letters, digits, - and ., or nothing")


class MirrorMatch(FilterMatch):
    """Which requests are copied, and what share of them."""


class Mirror(Section):
    """A cluster that gets copies of requests, whose answers nobody sees. Nothing waits for it."""

    cluster: Annotated[Name, Field(
        description="Name of the cluster that gets the copies.", examples=["app-next"])]
    subset: Annotated[Asked | None, Field(
        description="Which of its `subsets`, by names and values. As the route's `subset`.",
        examples=[{"version": "v2"}])] = None
    host_suffix: Annotated[str, Parsed(_suffix, "end of a host", {"type": "string", "maxLength": _MOST}), Field(
        description="What the host of a copy has behind its name, so that it can be told from the original: "
                    "`shop.test:80` becomes `shop.test-shadow:80`. IPv6 addresses stay. `\"\"` for nothing.")
    ] = "-shadow"
    match: Annotated[MirrorMatch | None, Field(
        description="Which requests are copied; all that the route takes when left out. `share` says how many of them.",
        examples=[{"share": "10%"}])] = None
