"""How a cluster picks an endpoint: one of the compiled algorithms, or a policy in Python above one of them."""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from fastmesh.config.fields import OR_DEFAULT, Choice, Duration, Name, Parsed, Section, shown
from fastmesh.config.filter import Quarantine, read_use
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

# Those that go by any weights, of a policy too. The others go by tables, which would have to be made anew with every
# change of a weight, and with which keys would move.
WEIGHING = ("round_robin", "random", "least_request", "peak_ewma", "failure_aware_ewma")
ALGORITHMS = (*WEIGHING, "ring_hash", "maglev")
_ALGORITHM = Choice(*ALGORITHMS)
_SHORTEST, _LONGEST = "10ms", "1h"


class _Plain:
    """Stands for `use` and `pick_by` where an algorithm is named alone: no text of a file is equal to it."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm


class _PickBy(Choice):
    """What picks for a policy; or the algorithm that is named alone, which may be any."""

    __slots__ = ()

    def read(self, value: object) -> str:
        return value.algorithm if isinstance(value, _Plain) else super().read(value)


def _use(value: object) -> str:
    return "" if isinstance(value, _Plain) else read_use(value)


class BalancerQuarantine(Quarantine):
    """When a policy that fails is left alone: its `on_error` holds until it is tried again after a pause. Weights that
    fail, or take far more than `budget`, three times in a row are enough for that, unless `failures` is 0."""


class LoadBalancer(Section):
    """A policy in Python: a class, how it is run, and beside these keys the settings that the class declares. In place
    of the mapping, the name of an algorithm."""

    model_config = ConfigDict(extra="allow")

    OPERATORS: ClassVar[tuple[str, ...]] = (
        "name", "use", "pick_by", "interval", "on_error", "budget", "mode", "quarantine")
    REFUSED: ClassVar[tuple[str, ...]] = ("isolated",)      # said of filters, and no policy of a cluster's can be it
    SHORTEST: ClassVar[int] = parse_duration(_SHORTEST)     # interval
    LONGEST: ClassVar[int] = parse_duration(_LONGEST)

    name: Annotated[Name | None, Field(
        description="Name of the policy, for metrics and logs; its numbers are kept over a reload by this name. When "
                    "left out, made of the class and the cluster.", examples=["fastest"])] = None
    use: Annotated[str, Parsed(_use, "text", {"type": "string", "minLength": 1, "maxLength": 1024}), Field(
        description="The class, as `use` of a filter: it inherits from `fastmesh.LoadBalancer`.",
        examples=["least-latency"])]
    pick_by: Annotated[str, _PickBy(*WEIGHING), Field(
        description="What picks by the weights that the policy gives, and where it gives none: `round_robin` keeps to "
                    "them exactly, `random` on the average, `least_request` weighs them against requests in flight, "
                    "`peak_ewma` and `failure_aware_ewma` against those and response times.")
    ] = "round_robin"
    interval: Annotated[Annotated[int, Duration(_SHORTEST, _LONGEST)] | None, Field(
        description="How often it is asked for weights. What the class says when left out, else 1s.", examples=["1s"])
    ] = None
    on_error: Annotated[str | None, Choice("closed", "open"), Field(
        description="What follows when it fails: `open` goes by the weights of the endpoints and `pick_by`; `closed` "
                    "answers 503 where it fails to pick an endpoint. When left out, what the class says, else `open`.")
    ] = None
    budget: Annotated[Annotated[int, Duration("0.001ms", "1m")] | None, Field(
        description="How long one call may take. Longer is an overrun. What the class says when left out, else 2ms.",
        examples=["2ms"])] = None
    mode: Annotated[str, Choice("active", "shadow"), Field(
        description="`shadow` asks it and records what it would have done, without effect.")] = "active"
    quarantine: Annotated[BalancerQuarantine, OR_DEFAULT, Field(
        description="When it is left alone because it fails.")] = Field(default_factory=BalancerQuarantine)

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            named = _Plain(_ALGORITHM.read(value))
            return {"use": named, "pick_by": named}
        if not isinstance(value, (dict, LoadBalancer)):
            raise WrongValue(shown(value), f"{_ALGORITHM.allowed}, or a mapping with use and its settings")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return handler(self) if self.use else self.pick_by

    @property
    def is_policy(self) -> bool:
        """It asks a class; else it is an algorithm alone."""
        return bool(self.use)


def plain(algorithm: str) -> LoadBalancer:
    """An algorithm alone."""
    return LoadBalancer.model_validate(algorithm)
