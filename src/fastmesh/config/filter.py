"""A filter: which class, how it is run, and its own settings."""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from fastmesh.config.fields import (
    OR_DEFAULT,
    Choice,
    Count,
    Duration,
    Flag,
    Name,
    Parsed,
    Section,
    Size,
    shown,
)
from fastmesh.config.match import Match
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

MAX_CHAIN = 64          # filters on the way of one request
MAX_FILTERS = 256       # in a file: rows in shared memory
USE_ALLOWED = "my_package.module:Class, ./file.py:Class, or the name of an installed filter"


class _ByName:
    """Stands for `use` where a filter is only named: no text of a file is equal to it."""


_BY_NAME = _ByName()


def _use(value: object) -> str:
    return "" if isinstance(value, _ByName) else read_use(value)


def read_use(value: object) -> str:
    """What says where a class is."""
    if isinstance(value, str) and value and len(value) <= 1024 and value.isprintable() and value == value.strip():
        return value
    raise WrongValue(shown(value), USE_ALLOWED)


class FilterMatch(Match):
    """Which requests a filter is asked about. It is decided before Python is entered."""


class Quarantine(Section):
    """When a filter that fails is left alone: its `on_error` answers for it until it is tried again after a pause."""

    failures: Annotated[int, Count(0, 1_000_000), Field(
        description="Errors and overruns within `window`, in one worker, after which it is left alone. 0 is never.")
    ] = 20
    window: Annotated[int, Duration("100ms", "1h"), Field(
        description="The time in which failures are counted together.")] = parse_duration("10s")
    pause: Annotated[int, Duration("100ms", "1h"), Field(
        description="How long it is left alone the first time; doubles each time it fails again.")
    ] = parse_duration("5s")
    longest: Annotated[int, Duration("100ms", "24h"), Field(description="The longest pause.")] = parse_duration("5m")


class FilterUse(Section):
    """A filter: a class, how it is run, and beside these keys the settings that the class declares.

    At the top level it gets a name; listeners, routes and clusters name it, or say a filter in place.
    """

    model_config = ConfigDict(extra="allow")

    SHORTEST: ClassVar[int] = parse_duration("1ms")    # timeout
    LONGEST: ClassVar[int] = parse_duration("1h")
    SECOND: ClassVar[int] = parse_duration("1s")
    OPERATORS: ClassVar[tuple[str, ...]] = (
        "name", "use", "match", "on_error", "allow_fail_open", "budget", "budget_per_second", "body_limit", "isolated",
        "timeout", "mode", "quarantine")

    name: Annotated[Name | None, Field(
        description="Name of the filter, for references, metrics and logs. Required at the top level. Its numbers are "
                    "kept over a reload by this name.", examples=["tenant"])] = None
    use: Annotated[str, Parsed(_use, "text", {"type": "string", "minLength": 1, "maxLength": 1024}), Field(
        description="The class: `my_package.module:Class` of an installed package, `./file.py:Class` of a file "
                    "(relative to this one), or the name of an installed or built-in filter.",
        examples=["my_package.tenants:RequireTenant"])]
    match: Annotated[FilterMatch | None, Field(
        description="Which requests it is asked about; all when left out.",
        examples=[{"prefix": "/api", "share": "10%"}])] = None
    on_error: Annotated[str | None, Choice("closed", "open", "skip"), Field(
        description="What follows when it fails: `closed` answers 503, `open` goes on as if the phase had done "
                    "nothing, `skip` does not ask it again in this exchange. When left out, what the class says: "
                    "`closed` of one that is marked `security`, else `open`.")] = None
    allow_fail_open: Annotated[Flag, Field(
        description="Lets a class that is marked `security` have another `on_error` than `closed`.")] = False
    budget: Annotated[Annotated[int, Duration("0.001ms", "1m")] | None, Field(
        description="How long a phase may take in one go, without what it waits for. Longer is an overrun. What the "
                    "class says when left out, else 2ms.", examples=["2ms"])] = None
    budget_per_second: Annotated[Annotated[int, Duration("1ms", "1s")] | None, Field(
        description="Time that a filter in place may take of each second of a worker, all its phases together. Beyond, "
                    "it is left alone as after failures (`quarantine`), whatever `quarantine.failures` is. What the "
                    "class says when left out, else there is no limit: how much it takes depends on how many requests "
                    "come.", examples=["200ms"])] = None
    body_limit: Annotated[Annotated[int, Size("1B", "1GiB")] | None, Field(
        description="How much is collected for a phase that wants the whole body. More: 413, or 502 for an answer. "
                    "What the class says when left out, else 1MiB.", examples=["1MiB"])] = None
    isolated: Annotated[Flag | None, Field(
        description="Runs it in a process of its own. What the class says when left out, else `false`.")] = None
    timeout: Annotated[Annotated[int, Duration("1ms", "1h")] | None, Field(
        description="How long a phase may take, with what it waits for. What the class says when left out, else 1s of "
                    "an isolated filter and 30s of others.", examples=["1s"])] = None
    mode: Annotated[str, Choice("active", "shadow"), Field(
        description="`shadow` runs it on copies and records what it would have done, without effect.")] = "active"
    quarantine: Annotated[Quarantine, OR_DEFAULT, Field(
        description="When it is left alone because it fails.")] = Field(default_factory=Quarantine)

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "use": _BY_NAME}
        if not isinstance(value, (dict, FilterUse)):
            raise WrongValue(shown(value), "the name of a filter, or a mapping with use and its settings")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.name if self.is_reference else handler(self)

    @property
    def is_reference(self) -> bool:
        """It only names a filter of the top level."""
        return not self.use
