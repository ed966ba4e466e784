"""What is done when an endpoint is ejected or found dead, and when it is in again: a command, or a policy."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, field_validator

from fastmesh.config.fields import LIST, Duration, Flag, Parsed, Section, Text, shown
from fastmesh.config.rate_limit import read_rate
from fastmesh.errors import WrongValue
from fastmesh.units import RATE_PATTERN, Rate, parse_duration, parse_rate

USE_ALLOWED = "my_package.module:Class, ./file.py:Class, webhook, or the name of an installed healing policy"


def _use(value: object) -> str:
    if isinstance(value, str) and value and len(value) <= 1024 and value.isprintable() and value == value.strip():
        return value
    raise WrongValue(shown(value), USE_ALLOWED)


class Heal(Section):
    """Heals the patient, or calls somebody who does: `run` is a command, `use` a policy in Python, with the settings
    that its class declares beside these keys."""

    model_config = ConfigDict(extra="allow")

    OPERATORS: ClassVar[tuple[str, ...]] = ("use", "at_most", "timeout", "dry_run")

    run: Annotated[Annotated[list[Annotated[str, Text(4096)]], LIST, Field(min_length=1, max_length=64)] | None, Field(
        description="The program, with its whole path, and its arguments. It is told by environment variables what has "
                    "happened: see [healing](healing.md).",
        examples=[["/usr/local/bin/restart-instance", "--quick"]])] = None
    use: Annotated[Annotated[str, Parsed(_use, "text", {"type": "string", "minLength": 1, "maxLength": 1024})] | None,
                   Field(
        description="The class of a policy: `my_package.module:Class` of an installed package, `./file.py:Class` of a "
                    "file (relative to this one), or the name of an installed or built-in policy: `webhook`. See "
                    "[healers](filters/healers.md).", examples=["my_package.restart:Restart"])] = None
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
    def _has_a_path(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (not value[0].startswith("/") or any("\0" in part for part in value)):
            raise WrongValue(shown(value[0]), "the whole path of a program, which begins with /")
        return value
