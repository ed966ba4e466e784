"""Limits that a cluster finds by itself: by how long it takes to answer, and by how much of it fails."""

import re
from typing import Annotated

from pydantic import Field, model_validator

from fastmesh.config.fields import LIST, U32_MAX, Count, Parsed, Section, Share, shown
from fastmesh.errors import WrongValue
from fastmesh.units import PERCENT

_TIMES_MOST = 100
_CLASSES = {"4xx": range(400, 500), "5xx": range(500, 600)}


def _times(value: object) -> int:
    """In thousandths."""
    if isinstance(value, int) and not isinstance(value, bool) and 1000 <= value <= _TIMES_MOST * 1000:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", value):
        whole, _, part = value.partition(".")
        number = int(whole) * 1000 + int(part.ljust(3, "0"))
        if 1000 <= number <= _TIMES_MOST * 1000:
            return number
    raise WrongValue(shown(value), f"a number from 1 to {_TIMES_MOST}, with at most three places, as 1.5")


def _failure(value: object) -> str:
    text = str(value)
    if text in _CLASSES or (re.fullmatch(r"[45][0-9]{2}", text) and not isinstance(value, bool)):
        return text
    raise WrongValue(shown(text), "a status from 400 to 599, 4xx or 5xx")


Times = Annotated[int, Parsed(_times, f"number, 1 to {_TIMES_MOST}", {
    "type": "number", "minimum": 1, "maximum": _TIMES_MOST}, lambda thousandths: f"{thousandths / 1000:g}")]
Failure = Annotated[str, Parsed(_failure, "status", {
    "type": ["string", "integer"], "pattern": "^([45]xx|[45][0-9]{2})$"})]


class Adaptive(Section):
    """How many requests may be in flight is found out by how long they take: each worker has its own limit."""

    tolerance: Annotated[Times, Field(
        description="So many times the shortest mean time of the last five minutes is no sign of too much.")] = 1500
    min_concurrency: Annotated[int, Count(1, U32_MAX), Field(
        description="The limit of a worker is never lower.")] = 10
    max_concurrency: Annotated[int, Count(1, U32_MAX), Field(
        description="The limit of a worker is never higher.")] = 1000
    initial_concurrency: Annotated[int, Count(1, U32_MAX), Field(
        description="The limit of a worker before it has learned anything.")] = 100

    @model_validator(mode="after")
    def _is_in_order(self) -> "Adaptive":
        if not self.min_concurrency <= self.initial_concurrency <= self.max_concurrency:
            raise WrongValue(f"min_concurrency {self.min_concurrency}, initial_concurrency {self.initial_concurrency}, "
                             f"max_concurrency {self.max_concurrency}", "three numbers none of which is smaller than "
                             "the one before")
        return self


class Admission(Section):
    """Requests are turned away by chance when many of the cluster fail, the more the more fail."""

    success_rate: Annotated[Share, Field(
        description="The share of good answers in the last 30 seconds above which nobody is turned away.")
    ] = 95 * PERCENT
    max_rejected: Annotated[Share, Field(
        description="The most that is turned away: the rest finds out when the service is well again.")] = 80 * PERCENT
    min_requests: Annotated[int, Count(1, U32_MAX), Field(
        description="Answers to a worker in the last 30 seconds below which nobody is turned away.")] = 100
    aggression: Annotated[Times, Field(
        description="Above 1, more is turned away than fails: the share is raised to the power of 1 / aggression.")
    ] = 1000
    failures: Annotated[list[Failure], LIST, Field(
        description="Statuses that count as failures; requests without an answer always do.", min_length=1,
        max_length=200, examples=[["5xx", 429]])] = ["5xx"]  # noqa: RUF012

    @property
    def statuses(self) -> list[int]:
        """All of `failures`."""
        found: set[int] = set()
        for failure in self.failures:
            found.update(_CLASSES.get(failure, ()) or (int(failure),))
        return sorted(found)
