"""One rule of a listener: which requests, and what becomes of them."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import LIST, OR_DEFAULT, Count, Duration, HeaderValue, Name, Section, Text
from fastmesh.config.filter import MAX_CHAIN, FilterUse
from fastmesh.config.match import Match
from fastmesh.config.rate_limit import MAX_ON_WAY, RateLimit

MAX_BODY = 65_536


class Response(Section):
    """An answer that the proxy gives by itself."""

    status: Annotated[int, Count(200, 599), Field(description="The status code of the answer.", examples=[403])]
    body: Annotated[str, Text(MAX_BODY), Field(
        description="The body of the answer. There is none with status 204, 205 and 304.")] = ""
    content_type: Annotated[HeaderValue, Field(
        description="The `content-type` of the answer, when it has a body.")] = "text/plain; charset=utf-8"


class Route(Section):
    """Requests that match go to a cluster, or get a fixed answer. The first route that matches wins."""

    name: Annotated[Name | None, Field(
        description="Name of the route in access logs; `route-N` by its place in the list when left out.")] = None
    match: Annotated[Match, OR_DEFAULT, Field(
        description="Which requests this route takes.", examples=[{"prefix": "/"}])]
    cluster: Annotated[Name | None, Field(
        description="Name of the cluster that answers. Either this or `response`.", examples=["app"])] = None
    response: Annotated[Response | None, Field(
        description="A fixed answer. Either this or `cluster`.", examples=[{"status": 403}])] = None
    timeout: Annotated[Annotated[int, Duration()] | None, Field(
        description="From the whole request received to the whole answer sent; then 504. 0 is no limit. The "
                    "listener's `timeouts.request` when left out.", examples=["15s"])] = None
    filters: Annotated[list[FilterUse], LIST, Field(
        description="Filters of the requests that this route takes, in order, between those of the listener and those "
                    "of the cluster.", max_length=MAX_CHAIN, examples=[["tenant"]])] = []  # noqa: RUF012
    rate_limits: Annotated[list[RateLimit], LIST, Field(
        description="Limits of the requests that this route takes, asked in order behind the filters of the listener "
                    "and before those of the route: names of `rate_limits`, or limits in place.",
        max_length=MAX_ON_WAY, examples=[["per-client"]])] = []  # noqa: RUF012
