"""A discovery policy: which class finds a cluster's endpoints, how it is run, and its own settings."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from fastmesh.config.fields import Duration, Flag, Parsed, Section, shown
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

USE_ALLOWED = "my_package.module:Class, ./file.py:Class, file, dns, or the name of an installed discovery policy"


def _use(value: object) -> str:
    if isinstance(value, str) and value and len(value) <= 1024 and value.isprintable() and value == value.strip():
        return value
    raise WrongValue(shown(value), USE_ALLOWED)


class DiscoveryUse(Section):
    """Endpoints that a policy in Python finds: a class, how it is run, and beside these keys the settings that the
    class declares."""

    model_config = ConfigDict(extra="allow")

    OPERATORS: ClassVar[tuple[str, ...]] = ("use", "first_wait", "allow_empty", "debounce", "max_silence")

    use: Annotated[str, Parsed(_use, "text", {"type": "string", "minLength": 1, "maxLength": 1024}), Field(
        description="The class: `my_package.module:Class` of an installed package, `./file.py:Class` of a file "
                    "(relative to this one), or the name of an installed or built-in policy: `file`, `dns`.",
        examples=["my_package.registry:FromRegistry"])]
    first_wait: Annotated[int, Duration(high="5m"), Field(
        description="How long a start waits for the first set; then the cluster has no endpoints, and requests get "
                    "503, until one comes. A reload that brings another policy, or other settings, waits as long; "
                    "then the cluster keeps the endpoints that it has.")] = parse_duration("5s")
    allow_empty: Annotated[Flag, Field(
        description="Whether a set without endpoints is believed. Otherwise the cluster keeps those that it has."
    )] = False
    debounce: Annotated[int, Duration(high="1m"), Field(
        description="How long a set waits for a newer one to take its place. All clusters together are changed at most "
                    "five times a second.")] = parse_duration("100ms")
    max_silence: Annotated[int, Duration(), Field(
        description="A policy that has yielded nothing for so long is begun again. 0 is never.")] = 0
