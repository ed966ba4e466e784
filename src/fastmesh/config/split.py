"""How requests are shared out among several clusters."""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.config import ConfigDict

from fastmesh.config.fields import LIST, CookieName, Count, HeaderName, Name, Section
from fastmesh.config.subset import Asked

MAX_SPLIT = 64
MAX_WEIGHT = 1_000_000


class SplitPart(Section):
    """One of several clusters, or subsets of clusters, that requests are shared out among."""

    cluster: Annotated[Name, Field(description="Name of the cluster.", examples=["app"])]
    weight: Annotated[int, Count(0, MAX_WEIGHT), Field(
        description="Its share relative to the others. 0 gets none.", examples=[90])]
    subset: Annotated[Asked | None, Field(
        description="Which of its `subsets`, by names and values. As the route's `subset`.",
        examples=[{"version": "v1"}])] = None


Weights = Annotated[dict[Name, Annotated[int, Count(0, MAX_WEIGHT)]], Field(max_length=MAX_SPLIT)]
Parts = Annotated[list[SplitPart], LIST, Field(max_length=MAX_SPLIT)]
_weights: TypeAdapter[dict[str, int]] = TypeAdapter(Weights, config=ConfigDict(defer_build=True))
_parts: TypeAdapter[list[SplitPart]] = TypeAdapter(Parts, config=ConfigDict(defer_build=True))


def _split(value: Any, handler: ValidatorFunctionWrapHandler) -> dict[str, int] | list[SplitPart] | None:
    """A list is one of parts, all else a mapping or what is wrong with it: a union would report both."""
    if value is None:
        return None
    return _parts.validate_python(value) if isinstance(value, list) else _weights.validate_python(value)


Split = Annotated[Weights | Parts | None, WrapValidator(_split)]


class Sticky(Section):
    """What decides which of several clusters a request goes to, in place of chance: who says the same is sent to the
    same, by every worker and after every reload, as far as the weights stay. One of the keys; requests that say nothing
    go by chance."""

    header: Annotated[HeaderName | None, Field(
        description="The value of a header.", examples=["x-user"])] = None
    cookie: Annotated[CookieName | None, Field(
        description="The value of a cookie.", examples=["session"])] = None
