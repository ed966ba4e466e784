"""An answer that sends the client elsewhere."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Choice, Count, Flag, Parsed, Prefix, Section, shown
from fastmesh.config.rewrite import CaptureText, PlainHost
from fastmesh.errors import WrongValue

_STATUSES = (301, 302, 303, 307, 308)


def _status(value: object) -> int:
    for status in _STATUSES:
        if value == status or value == str(status):
            return status
    raise WrongValue(shown(value), "301, 302, 303, 307 or 308")


Status = Annotated[int, Parsed(_status, " \\| ".join(f"`{status}`" for status in _STATUSES),
                               {"type": "integer", "enum": list(_STATUSES)})]


class Redirect(Section):
    """Sends the client elsewhere. What is left out stays as it was asked for; the scheme is `x-forwarded-proto` of a
    trusted client, else `http`."""

    status: Annotated[Status, Field(
        description="301 and 308 are for ever and remembered by clients; 307 and 308 keep method and body, 303 makes "
                    "it a GET.")] = 302
    scheme: Annotated[str | None, Choice("http", "https"), Field(
        description="Of the new place. The port is left out then, unless `port` says one.", examples=["https"])] = None
    host: Annotated[PlainHost | None, Field(
        description="Of the new place. The port is left out then, unless `port` says one.",
        examples=["www.example.com"])] = None
    port: Annotated[Annotated[int, Count(1, 65_535)] | None, Field(description="Of the new place.",
                                                                   examples=[8443])] = None
    path: Annotated[Prefix | None, Field(description="The whole new path.", examples=["/"])] = None
    prefix: Annotated[Prefix | None, Field(
        description="What takes the place of the `prefix` or `starts_with` of the match.", examples=["/v2"])] = None
    template: Annotated[CaptureText | None, Field(
        description="The whole new path, as in `rewrite`.", examples=["/shop/{id}"])] = None
    strip_query: Annotated[Flag, Field(description="Leaves the query out.")] = False
