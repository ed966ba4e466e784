"""What a policy yields, as a set of endpoints: checked where it was found, and again by whoever is told of it."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import msgpack

from fastmesh.config.address import Address, parse_address
from fastmesh.config.balancing import MAX_ENDPOINTS
from fastmesh.config.cluster import MAX_METADATA, MAX_PRIORITY, MAX_WEIGHT
from fastmesh.config.fields import shown, visible
from fastmesh.errors import WrongValue

_KEYS = ("address", "weight", "priority", "zone", "metadata")
_FORMS = "an address, a pair of address and weight, or a mapping of them"


class Member(NamedTuple):
    """One endpoint of a set."""

    address: Address
    weight: int
    metadata: tuple[tuple[str, str], ...] = ()      # in the order of their names
    priority: int = 0
    zone: str = ""

    @property
    def place(self) -> tuple[int, bytes, int]:
        """What a set is sorted by."""
        return self.address.family, self.address.packed, self.address.port

    def told(self) -> tuple[Any, ...]:
        """For another process, in plain data: address, weight, and a tuple of names and values where there are any;
        and where there is a priority or a zone, these behind it."""
        words = tuple(word for pair in self.metadata for word in pair)
        if self.priority or self.zone:
            return str(self.address), self.weight, words, self.priority, self.zone
        if words:
            return str(self.address), self.weight, words
        return str(self.address), self.weight


class WrongSet(ValueError):
    """A set that cannot be used. The text says which of its endpoints is to blame, and what is allowed."""


def read_set(yielded: object) -> list[Member]:
    """The endpoints, in an order that depends on nothing but their addresses. Raises WrongSet."""
    if isinstance(yielded, (str, bytes, Mapping)) or not isinstance(yielded, (Sequence, Set)):
        hint = f"; write yield [{yielded!r}]" if isinstance(yielded, str) and len(yielded) <= 60 else ""
        raise WrongSet(f"found {_shown(yielded)}, allowed: a list of endpoints{hint}")
    if len(yielded) > MAX_ENDPOINTS:
        raise WrongSet(f"found {len(yielded):,} endpoints, allowed: at most {MAX_ENDPOINTS:,}")
    found: dict[tuple[int, bytes, int], Member] = {}
    places: dict[tuple[int, bytes, int], int] = {}
    for place, item in enumerate(yielded):
        try:
            member = _member(item)
        except WrongValue as wrong:
            hint = f"; {wrong.hint}" if wrong.hint else ""
            raise WrongSet(f"endpoint {place + 1} of {len(yielded)}: {wrong}{hint}") from None
        key = member.place
        if key in found:
            raise WrongSet(f"endpoint {place + 1} of {len(yielded)}: {member.address} is there twice, first as "
                           f"endpoint {places[key] + 1}; to give it more requests, give it a weight")
        found[key] = member
        places[key] = place
    return [found[key] for key in sorted(found)]


def pack_set(members: Iterable[Member]) -> bytes:
    """For another process, which reads it with `unpack_set`."""
    packed: bytes = msgpack.packb([member.told() for member in members])
    return packed


def unpack_set(packed: bytes) -> tuple[Any, ...]:
    """What was packed, if it was: nothing but that it is a tuple is sure of what came from a process that runs other
    people's code. Raises WrongSet."""
    try:
        rows = msgpack.unpackb(packed, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as wrong:
        raise WrongSet(f"what came is no set: {type(wrong).__name__}") from None
    if not isinstance(rows, tuple):
        raise WrongSet(f"what came is no set: {_shown(rows)}")
    return rows


def read_told(rows: Sequence[Any]) -> list[Member]:
    """Like `read_set`, of what `Member.told` made."""
    return read_set([_yielded(row) for row in rows])


def _yielded(row: Any) -> Any:
    if not isinstance(row, tuple) or len(row) not in (3, 5) or not isinstance(row[2], tuple) or len(row[2]) % 2:
        return row
    address, weight, words = row[:3]
    names = words[::2]
    if not all(isinstance(word, str) for word in words) or len(set(names)) < len(names):
        raise WrongSet("what came is no set: the metadata of an endpoint is not in pairs of text")
    more = {"priority": row[3], "zone": row[4]} if len(row) == 5 else {}
    return {"address": address, "weight": weight, "metadata": dict(zip(names, words[1::2], strict=True)), **more}


def _member(item: Any) -> Member:
    if isinstance(item, str):
        return Member(parse_address(item), 1)
    weight: object = 1
    metadata: tuple[tuple[str, str], ...] = ()
    priority, zone = 0, ""
    if isinstance(item, (tuple, list)):
        if len(item) != 2:
            raise WrongValue(f"a {type(item).__name__} of {len(item)}", _FORMS)
        item, weight = item
    elif isinstance(item, Mapping):
        unknown = [key for key in item if key not in _KEYS]
        if unknown or "address" not in item:
            raise WrongValue(f"the key {_shown(unknown[0])}" if unknown else "no address",
                             "address, weight, priority, zone and metadata")
        metadata = _metadata(item.get("metadata", {}))
        priority, zone = _priority(item.get("priority", 0)), _zone(item.get("zone", ""))
        item, weight = item["address"], item.get("weight", 1)
    if not isinstance(item, str):
        raise WrongValue(_shown(item), _FORMS)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= MAX_WEIGHT:
        raise WrongValue(f"the weight {_shown(weight)}", f"a whole number from 1 to {MAX_WEIGHT}",
                         "leave out an endpoint that gets no requests" if weight == 0 else "")
    return Member(parse_address(item), weight, metadata, priority, zone)


def _priority(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= MAX_PRIORITY:
        raise WrongValue(f"the priority {_shown(given)}",
                         f"a whole number from 0, which is asked first, to {MAX_PRIORITY}")
    return given


def _zone(given: object) -> str:
    if not isinstance(given, str):
        raise WrongValue(f"the zone {_shown(given)}", "text")
    return visible(given)


def _metadata(given: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping):
        raise WrongValue(f"the metadata {_shown(given)}", "a mapping of text to text")
    if len(given) > MAX_METADATA:
        raise WrongValue(f"metadata with {len(given)} names", f"at most {MAX_METADATA}")
    for name, value in given.items():
        for text in (name, value):
            if not isinstance(text, str):
                raise WrongValue(f"{_shown(text)} in the metadata", "text", f'write "{text}"' if isinstance(
                    text, int) else "")
            visible(text)
    return tuple(sorted(given.items()))


def _shown(value: object) -> str:
    if value is None or isinstance(value, (str, int, float, bool)):
        return shown(value)
    return f"a {type(value).__name__}"
