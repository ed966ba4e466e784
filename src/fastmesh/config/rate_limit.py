"""A rate limit: how often requests may come, and whose are counted together."""

from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_serializer, model_validator
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from fastmesh.config.fields import (
    LIST,
    TOKEN,
    Choice,
    Count,
    Flag,
    Name,
    Parsed,
    Section,
    closest,
    shown,
)
from fastmesh.config.filter import FilterMatch
from fastmesh.errors import WrongValue
from fastmesh.units import RATE_PATTERN, Rate, parse_rate

MAX_LIMITS = 256            # in a file: rows in shared memory
MAX_ON_WAY = 8              # those of a listener and a route together
MAX_PARTS = 4               # of a key
MAX_KEYS = 1_000_000        # of all limits of a file together: what fits into shared memory
MAX_NAME = 100              # bytes: the buckets are found by it
DEFAULT_KEYS = 10_000
BY_NAME = Rate(0, "s")      # stands for the rate where a limit is only named: no text of a file is equal to it

ALONE = ("client_address", "client_network", "method", "host", "path", "route")
NAMED = ("header", "cookie", "query", "label")
KEY_ALLOWED = ", ".join(ALONE) + ", or " + ", ".join(f"{word} NAME" for word in NAMED)
_SLIPS = {"ip": "client_address", "client": "client_address", "client_ip": "client_address", "peer": "client_address",
          "remote_addr": "client_address", "remote_address": "client_address", "source": "client_address",
          "authority": "host", "param": "query NAME", "argument": "query NAME"}


class KeyPart(NamedTuple):
    """One value that tells keys apart: where it is found, and its name there."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source} {self.name}".rstrip()


def _rate(value: object) -> Rate:
    if isinstance(value, Rate):
        return value
    if isinstance(value, str):
        return parse_rate(value)
    raise WrongValue(shown(value), "a rate, as 100/s")


def _part(value: object) -> KeyPart:
    if isinstance(value, KeyPart):
        return value
    if not isinstance(value, str):
        raise WrongValue(shown(value), KEY_ALLOWED)
    source, _, name = value.partition(" ")
    if source in ALONE and not name:
        return KeyPart(source, "")
    if source in NAMED and _is_name(source, name):
        return KeyPart(source, name.lower() if source == "header" else name)
    first, colon, rest = value.partition(":")
    if source in ALONE:
        hint = f"write {source}"
    elif colon and first in NAMED and _is_name(first, rest.strip()):
        hint = f"write {first} {rest.strip()}"
    elif source in NAMED:
        hint = f"write {source} and a name, as {source} {'x-tenant' if source == 'header' else 'tenant'}"
    elif source.lower() in _SLIPS:
        hint = f"write {_SLIPS[source.lower()]}"
    elif source.startswith("x-") and _is_name("header", source):
        hint = f"write header {source}"
    else:
        hint = closest(source, (*ALONE, *NAMED))
    raise WrongValue(shown(value), KEY_ALLOWED, hint)


def _is_name(source: str, name: str) -> bool:
    if source in ("header", "cookie"):
        return TOKEN.fullmatch(name) is not None and len(name) <= 256
    return name.isprintable() and " " not in name and 0 < len(name.encode()) <= 64


class LimitMatch(FilterMatch):
    """Which requests a limit counts. What can be read in several ways, as a path with an encoded slash or a header that
    stands there twice, fits when one of the readings does."""


class RateLimit(Section):
    """How often requests may come: token buckets, counted exactly over all workers. Who asks for more gets 429.

    Limits that several listeners and routes share are named once at the top level, and share their buckets; others
    stand in place.
    """

    name: Annotated[Name, Field(
        description="Name of the limit: for references, metrics and logs, and for clients in the `RateLimit` headers. "
                    "At most 100 characters. Buckets and numbers are kept over a reload by this name.",
        examples=["per-client"])]
    rate: Annotated[Rate, Parsed(_rate, "rate, 1/d to 1000000/s", {"type": "string", "pattern": RATE_PATTERN}, str),
                    Field(
        description="How many requests come back to a bucket in a second (`/s`), minute (`/m`), hour (`/h`) or day "
                    "(`/d`), evenly: of `60/m` one each second.", examples=["100/s", "5/m"])]
    burst: Annotated[Annotated[int, Count(1, 1_000_000_000)] | None, Field(
        description="How many requests a full bucket holds: so many may come at once. The number of `rate` when left "
                    "out.", examples=[200])] = None
    key: Annotated[list[Annotated[KeyPart, Parsed(
        _part, "key part", {"type": "string", "examples": ["client_address", "header x-tenant"]}, str)]], LIST, Field(
        description="Whose requests are counted together, by up to four of `client_address`, `client_network`, "
                    "`method`, `host`, `path`, `route`, `header NAME`, `cookie NAME`, `query NAME` and `label NAME`. "
                    "Each combination of values has a bucket of its own; without a key, one bucket is for all. "
                    "`client_address` of a trusted client is the last of its `x-forwarded-for`; `client_network` is "
                    "the same without the last 64 bits of an IPv6 address.",
        max_length=MAX_PARTS, examples=[["client_address", "header x-tenant"]])] = []  # noqa: RUF012
    keys: Annotated[int, Count(1, MAX_KEYS), Field(
        description="Buckets there are at most. Beyond, the key that was used longest ago leaves; when it comes back, "
                    "it has a full one.")] = DEFAULT_KEYS
    missing: Annotated[str, Choice("shared", "skip"), Field(
        description="What becomes of requests that lack a value of the key: `shared` counts them together, as if the "
                    "lack were a value; with `skip` the limit does not count them.")] = "shared"
    match: Annotated[LimitMatch | None, Field(
        description="Which requests it counts; all that come by when left out.", examples=[{"methods": ["POST"]}])
    ] = None
    status: Annotated[int, Count(400, 599), Field(
        description="The status of the refusal. Callers of gRPC get `grpc-status: 8` instead.")] = 429
    headers: Annotated[Flag, Field(
        description="Answers to requests that pass say in `RateLimit` and `RateLimit-Policy` how much is left. "
                    "Refusals always do.")] = False
    dry_run: Annotated[Flag, Field(
        description="Counts and logs what it would refuse, and refuses nothing.")] = False

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "rate": BY_NAME}
        if not isinstance(value, (dict, RateLimit)):
            raise WrongValue(shown(value), "the name of a rate limit, or a mapping with name and rate")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.name if self.is_reference else handler(self)

    @property
    def is_reference(self) -> bool:
        """It only names a limit of the top level."""
        return self.rate == BY_NAME

    @property
    def depth(self) -> int:
        """The requests that a full bucket holds."""
        return self.rate.number if self.burst is None else self.burst


__all__ = ("ALONE", "BY_NAME", "DEFAULT_KEYS", "MAX_KEYS", "MAX_LIMITS", "MAX_NAME", "MAX_ON_WAY", "NAMED", "KeyPart",
           "LimitMatch", "RateLimit")
