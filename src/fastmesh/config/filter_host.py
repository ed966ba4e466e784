"""The processes that isolated filters run in."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.fields import Choice, Section


class FilterHost(Section):
    """The process beside each worker that its isolated filters run in."""

    priority: Annotated[str, Choice("low", "normal"), Field(
        description="Who goes first where a worker and its filter host want the same processor. `low`: the worker, as "
                    "soon as it has something to do. `normal`: whoever has had less of it.")] = "low"
