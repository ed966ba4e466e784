"""What requests are counted by, besides where they went."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from fastmesh.config.fields import Choice, Count, Parsed, Section, shown
from fastmesh.errors import WrongValue

MAX_LABELS = 4
MAX_VALUES = 1000
ROUTES = ("named", "all", "none")
# Those that the rows have anyway, and the bucket of a histogram.
TAKEN = ("listener", "route", "cluster", "code_class", "le")
_PATTERN = "[a-zA-Z_][a-zA-Z0-9_]{0,63}"
_NAME = re.compile(_PATTERN)


def _label(value: object) -> str:
    allowed = "a label that a filter sets, of at most 64 letters, digits and _, and no digit first"
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise WrongValue(shown(value), allowed, "Prometheus allows nothing else as a name")
    if value in TAKEN or value.startswith("__"):
        raise WrongValue(shown(value), f"a name that is not taken, as {', '.join(TAKEN)} and all with __ first are",
                         "let the filter set the label by another name")
    return value


class Metrics(Section):
    """What requests are counted by, besides listener and cluster: by their [route](metrics.md#requests-by-route), and
    by [labels that filters set](metrics.md#requests-by-labels-of-filters)."""

    labels: Annotated[list[Annotated[str, Parsed(
        _label, "label", {"type": "string", "pattern": f"^{_PATTERN}$", "examples": ["tenant"]})]], Field(
        description="The names that filters use in `request.labels`. Requests without one have it empty.",
        max_length=MAX_LABELS, examples=[["tenant"]])] = []  # noqa: RUF012
    values: Annotated[int, Count(1, MAX_VALUES), Field(
        description="Values of each label that a worker tells apart. Further ones are counted as `other`, and that is "
                    "counted and told once.")] = 100
    routes: Annotated[str, Choice(*ROUTES), Field(
        description="Which routes' requests are counted by themselves: `named`, those that have a `name`; `all`, where "
                    "the others are `route-N` by their place, which is another route's when the list changes; or "
                    "`none`. Routes of a listener with the same name are counted together. There is room for 4,096.")
    ] = "named"

    @field_validator("labels")
    @classmethod
    def _are_different(cls, labels: list[str]) -> list[str]:
        twice = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
        if twice is not None:
            raise WrongValue(f"{twice} twice", "each label once")
        return labels
