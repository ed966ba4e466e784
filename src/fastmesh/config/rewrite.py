"""What a request asks the cluster for, when that is not what the client asked for."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.capture import ALLOWED
from fastmesh.config.fields import Parsed, Prefix, Section, read_host, shown
from fastmesh.config.path import MAX_PATH
from fastmesh.errors import WrongValue


def _plain_host(value: object) -> str:
    host = read_host(value)
    if "*" in host:
        raise WrongValue(shown(value), "one host name, as shop.example.com")
    return host


PlainHost = Annotated[str, Parsed(_plain_host, "host", {
    "type": "string", "pattern": r"^([A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])$"})]


def _capture_text(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_PATH or value[0] not in "/{":
        raise WrongValue(shown(value), ALLOWED)
    return value


CaptureText = Annotated[str, Parsed(_capture_text, "path with names", {"type": "string", "pattern": "^[/{]"})]


class Rewrite(Section):
    """Another path or host for the request on its way to the cluster. Rules, filters and the access log see what was
    asked for."""

    prefix: Annotated[Prefix | None, Field(
        description="What takes the place of the `prefix` or `starts_with` of the match: with `prefix: /api` there "
                    "and `/v2` here, `/api/x` is `/v2/x`, and `/api` is `/v2`.", examples=["/v2"])] = None
    path: Annotated[Prefix | None, Field(description="The whole path.", examples=["/index.html"])] = None
    template: Annotated[CaptureText | None, Field(
        description="The whole path, made of what parts of it were: `{name}` of the `template` of the match, `{name}` "
                    "or `{1}` of a group in its `regex`. A group takes as much as it can; what stood for `/**` begins "
                    "with its slash, or is empty.", examples=["/v2/people/{id}"])] = None
    host: Annotated[PlainHost | None, Field(
        description="The host that the cluster is asked for.", examples=["app.internal"])] = None
