"""Parts of a cluster by the metadata of its endpoints."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from fastmesh.config.fields import LIST, Choice, Count, HeaderName, Label, Section, shown
from fastmesh.errors import WrongValue

MAX_SELECTORS = 8           # of one cluster
MAX_KEYS = 8                # of one selector
MAX_SUBSETS = 4_096
FALLBACKS = ("any", "none", "default")


class SubsetSelector(Section):
    """Names of metadata that endpoints are told apart by: those with the same values of all of them are a subset."""

    keys: Annotated[list[Label], LIST, Field(
        description="Names of the endpoints' `metadata`. An endpoint that lacks one of them is in none of these "
                    "subsets.", max_length=MAX_KEYS, examples=[["version"]])]


class Subsets(Section):
    """By which metadata a cluster can be split. A subset is chosen by a route's `subset`, and within it an endpoint
    as the cluster says: its algorithm, sessions, priorities, panic. What is known of an endpoint and all limits are the
    cluster's."""

    selectors: Annotated[list[SubsetSelector], LIST, Field(
        description="One for each set of names that a route's `subset` may have.", max_length=MAX_SELECTORS,
        examples=[[{"keys": ["version"]}, {"keys": ["version", "stage"]}]])]
    fallback: Annotated[str, Choice(*FALLBACKS), Field(
        description="Where a request goes whose subset has no endpoint. `any`: to all endpoints; `none`: nowhere, it "
                    "gets 503; `default`: to the subset `default`, as do requests that ask for no subset.")] = "any"
    default: Annotated[dict[Label, Label], Field(
        description="With `fallback: default`: that subset, by names and values. The names must be those of a "
                    "selector.", max_length=MAX_KEYS, examples=[{"version": "v1"}])] = {}  # noqa: RUF012
    max: Annotated[int, Count(1, MAX_SUBSETS), Field(
        description="Subsets that are made. More are refused where the file names the endpoints; of those that a "
                    "policy finds, further ones are left out, which `fastmesh_cluster_subset_endpoints_left_out` "
                    "tells.")] = 256


class SubsetValue(Section):
    """What an endpoint's metadata must be: a text alone, as `version: v2`, is `value`. Or the value of a header."""

    value: Annotated[Label | None, Field(description="Exactly this.", examples=["v2"])] = None
    header: Annotated[HeaderName | None, Field(
        description="What the request has in this header. One without it, or with an empty one, does not ask for this "
                    "name.", examples=["x-version"])] = None
    default: Annotated[Label | None, Field(
        description="With `header`: what a request without it asks for.", examples=["v1"])] = None

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return {"value": value}
        if not isinstance(value, (dict, SubsetValue)):
            raise WrongValue(shown(value), "a text, or a mapping of header and default")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.value if self.value is not None else handler(self)

    def text(self) -> str:
        """For people."""
        if self.value is not None:
            return self.value
        return f"of the header {self.header}" + (f", else {self.default}" if self.default is not None else "")


Asked = Annotated[dict[Label, SubsetValue], Field(max_length=MAX_KEYS)]
