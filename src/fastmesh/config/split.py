"""How requests are shared out among several clusters."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import CookieName, HeaderName, Section


class Sticky(Section):
    """What decides which of several clusters a request goes to, in place of chance: who says the same is sent to the
    same, by every worker and after every reload, as far as the weights stay. One of the keys; requests that say nothing
    go by chance."""

    header: Annotated[HeaderName | None, Field(
        description="The value of a header.", examples=["x-user"])] = None
    cookie: Annotated[CookieName | None, Field(
        description="The value of a cookie.", examples=["session"])] = None
