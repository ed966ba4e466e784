"""Which requests a rule is for."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import LIST, HeaderName, HeaderValue, Host, Method, Path, Prefix, Section


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
