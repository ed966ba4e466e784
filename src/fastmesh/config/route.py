"""One rule of a listener: which requests, and what becomes of them."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import (
    LIST,
    OR_DEFAULT,
    Count,
    Duration,
    HeaderName,
    HeaderValue,
    Host,
    Method,
    Name,
    Path,
    Prefix,
    Section,
    Text,
)

MAX_BODY = 65_536


class Match(Section):
    """Which requests a route takes. Everything that is given must fit; what is left out fits all."""

    prefix: Annotated[Prefix | None, Field(
        description="The beginning of the path, on a segment border: `/api` matches `/api` and `/api/x`, not "
                    "`/apix`. A prefix that ends in `/` matches what begins with it; `/` matches everything. "
                    "Paths are compared in normal form, so `/a/../b`, `//b` and `/%62` are all `/b`.",
        examples=["/api"])] = None
    path: Annotated[Path | None, Field(
        description="The whole path, without query. Either this or `prefix`. `*` is the target of `OPTIONS *`.",
        examples=["/healthz"])] = None
    hosts: Annotated[list[Host], LIST, Field(
        description="Host names, compared without case and port. `*.example.com` is every name below "
                    "`example.com`, not `example.com` itself. Empty, or `*`, matches every host.",
        max_length=1024)] = []  # noqa: RUF012
    methods: Annotated[list[Method], LIST, Field(
        description="Methods, in the case they are sent in: `GET`, not `get`. Empty matches every method.",
        max_length=64)] = []  # noqa: RUF012
    headers: Annotated[dict[HeaderName, HeaderValue], Field(
        description="Headers that must be there with exactly this value. Names are compared without case. A request "
                    "in which such a header stands several times with different values gets 400.",
        max_length=64, examples=[{"x-canary": "1"}])] = {}  # noqa: RUF012


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
