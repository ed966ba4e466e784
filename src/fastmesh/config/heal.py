"""A command that is run when an endpoint is ejected or is in again."""

from typing import Annotated

from pydantic import Field, field_validator

from fastmesh.config.fields import LIST, Duration, Flag, Parsed, Section, Text, shown
from fastmesh.config.rate_limit import read_rate
from fastmesh.errors import WrongValue
from fastmesh.units import RATE_PATTERN, Rate, parse_duration, parse_rate


class Heal(Section):
    """A command that heals the patient, or calls somebody who does."""

    run: Annotated[list[Annotated[str, Text(4096)]], LIST, Field(
        description="The program, with its whole path, and its arguments. It is told by environment variables what has "
                    "happened: see [healing](healing.md).", min_length=1, max_length=64,
        examples=[["/usr/local/bin/restart-instance", "--quick"]])]
    at_most: Annotated[Rate, Parsed(read_rate, "rate, 1/d to 1000000/s", {"type": "string", "pattern": RATE_PATTERN},
                                    str), Field(
        description="How often it is run for this cluster. What comes more often is told of, and not run.")
    ] = parse_rate("1/m")
    timeout: Annotated[int, Duration("100ms", "1h"), Field(
        description="After so long it is killed.")] = parse_duration("30s")
    dry_run: Annotated[Flag, Field(
        description="It is not run; the log and the events say when it would be.")] = False

    @field_validator("run")
    @classmethod
    def _has_a_path(cls, value: list[str]) -> list[str]:
        if not value[0].startswith("/") or any("\0" in part for part in value):
            raise WrongValue(shown(value[0]), "the whole path of a program, which begins with /")
        return value
