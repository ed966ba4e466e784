"""Which requests a rule is for."""

from typing import Annotated

from pydantic import Field

from fastmesh.config import fields
from fastmesh.config.fields import (
    LIST,
    SHARE_ALL,
    CookieName,
    HeaderName,
    Host,
    Method,
    Parameter,
    Parsed,
    Path,
    Prefix,
    Section,
    Share,
    shown,
)
from fastmesh.config.regex import MAX_TEXT, compile_regex
from fastmesh.config.template import PATTERN as TEMPLATE_PATTERN
from fastmesh.config.template import compile_template
from fastmesh.config.value_match import ValueMatch
from fastmesh.errors import WrongValue

# The ways to say which paths; a match has one of them.
PATHS = ("prefix", "path", "starts_with", "regex", "template", "grpc")


def _path_regex(value: object) -> str:
    allowed = "a regular expression that takes a whole path, as /api/v[0-9]+/.*"
    if not isinstance(value, str):
        raise WrongValue(shown(value), allowed)
    found = compile_regex(value)
    if not found.automaton.may_begin(b"/"):
        raise WrongValue(shown(value), allowed, "paths begin with /")
    if not value.isascii():
        raise WrongValue(shown(value), allowed, "in paths what is not ASCII is percent-encoded: write %C3%A9 for é")
    return value


def _template(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValue(shown(value), "a path with {name}, * and **, as /users/{id}/orders/**")
    compile_template(value)
    return value


PathRegex = Annotated[str, Parsed(_path_regex, "regular expression", {"type": "string", "minLength": 1,
                                                                      "maxLength": MAX_TEXT})]
Template = Annotated[str, Parsed(_template, "template", {"type": "string", "pattern": TEMPLATE_PATTERN})]


def _grpc_name(value: object) -> str:
    allowed = "a name of gRPC, as shop.v1.Cart or AddItem"
    if not isinstance(value, str) or not value.isascii() or len(value) > 512 or not all(
            part.isidentifier() for part in value.split(".")):
        raise WrongValue(shown(value), allowed)
    return value


GrpcName = Annotated[str, Parsed(_grpc_name, "name", {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_.]*$"})]


class Grpc(Section):
    """Calls of gRPC: requests whose content-type is `application/grpc`, alone or with `+` and a coding."""

    service: Annotated[GrpcName | None, Field(
        description="The service with its package. Every service when left out.", examples=["shop.v1.Cart"])] = None
    method: Annotated[GrpcName | None, Field(
        description="The method. Every method when left out.", examples=["AddItem"])] = None


class Match(Section):
    """Which requests a route takes. Everything that is given must fit; what is left out fits all. Of `prefix`, `path`,
    `starts_with`, `regex`, `template` and `grpc` there is at most one."""

    prefix: Annotated[Prefix | None, Field(
        description="The beginning of the path, on a segment border: `/api` matches `/api` and `/api/x`, not "
                    "`/apix`. A prefix that ends in `/` matches what begins with it; `/` matches everything. "
                    "Paths are compared in normal form, so `/a/../b`, `//b` and `/%62` are all `/b`.",
        examples=["/api"])] = None
    path: Annotated[Path | None, Field(
        description="The whole path, without query. `*` is the target of `OPTIONS *`.",
        examples=["/healthz"])] = None
    starts_with: Annotated[Prefix | None, Field(
        description="The beginning of the path, wherever it ends: `/api` matches `/apix` too.",
        examples=["/static/v"])] = None
    regex: Annotated[PathRegex | None, Field(
        description="A regular expression that takes the whole path, without query, in normal form. It is compiled "
                    "to a table and costs one step for each byte, whatever it is; what no such table can tell "
                    "(back-references, looking around), or only one with more than 2,048 states, is refused. `(?i)` at "
                    "its beginning ignores the case of letters.", examples=["/api/v[0-9]+/(cart|orders)(/.*)?"])] = None
    template: Annotated[Template | None, Field(
        description="A path in which `{name}` or `*` stands for one segment or a part of it, never empty, and `/**` or "
                    "`/{name=**}` at the end for all that follows, also for nothing.",
        examples=["/users/{id}/orders/**"])] = None
    grpc: Annotated[Grpc | None, Field(
        description="Calls of gRPC by service and method.", examples=[{"service": "shop.v1.Cart"}])] = None
    hosts: Annotated[list[Host], LIST, Field(
        description="Host names, compared without case and port. `*.example.com` is every name below "
                    "`example.com`, not `example.com` itself; `shop.*` is every name that begins with `shop.`. Empty, "
                    "or `*`, matches every host.",
        max_length=1024)] = []  # noqa: RUF012
    methods: Annotated[list[Method], LIST, Field(
        description="Methods, in the case they are sent in: `GET`, not `get`. Empty matches every method.",
        max_length=64)] = []  # noqa: RUF012
    headers: Annotated[dict[HeaderName, ValueMatch], Field(
        description="Headers, by name, and what their values must be: a text alone is exactly the value. Names are "
                    "compared without case. A request that a route would take, in which such a header stands several "
                    "times with different values, or with `_` for `-` in its name, gets 400.",
        max_length=64, examples=[{"x-canary": "1"}])] = {}  # noqa: RUF012
    query: Annotated[dict[Parameter, ValueMatch], Field(
        description="Parameters of the query, by name, and what their values must be. Names and values are compared "
                    "decoded, with their case. A request that a route would take, in which such a parameter stands "
                    "several times and not all fit, or fits only for servers that part at `;`, gets 400.",
        max_length=64, examples=[{"version": "2"}])] = {}  # noqa: RUF012
    cookies: Annotated[dict[CookieName, ValueMatch], Field(
        description="Cookies, by name, and what their values must be. A request that a route would take, in which "
                    "such a cookie stands several times and not all fit, or fits only with or only without the quotes "
                    "around its value, gets 400.",
        max_length=64, examples=[{"tenant": "blue"}])] = {}  # noqa: RUF012
    sources: Annotated[list[fields.Network], LIST, Field(
        description="Addresses of the client, as the connection has it: IP addresses, networks, and `unix`. Empty "
                    "matches all.", max_length=1024, examples=[["10.0.0.0/8"]])] = []  # noqa: RUF012
    share: Annotated[Share, Field(
        description="Of the requests that match, so many, chosen at random for each request.",
        examples=["10%"])] = SHARE_ALL
