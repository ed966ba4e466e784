"""What a policy yields, as a set of endpoints: checked where it was found, and again by whoever is told of it."""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from fastmesh.config.address import Address, parse_address
from fastmesh.config.balancing import MAX_ENDPOINTS
from fastmesh.config.cluster import MAX_WEIGHT
from fastmesh.config.fields import shown
from fastmesh.errors import WrongValue

_FORMS = "an address, a pair of address and weight, or a mapping of them"


class Member(NamedTuple):
    """One endpoint of a set."""

    address: Address
    weight: int


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
        address = member.address
        key = address.family, address.packed, address.port
        if key in found:
            raise WrongSet(f"endpoint {place + 1} of {len(yielded)}: {address} is there twice, first as endpoint "
                           f"{places[key] + 1}; to give it more requests, give it a weight")
        found[key] = member
        places[key] = place
    return [found[key] for key in sorted(found)]


def _member(item: Any) -> Member:
    if isinstance(item, str):
        return Member(parse_address(item), 1)
    weight: object = 1
    if isinstance(item, (tuple, list)):
        if len(item) != 2:
            raise WrongValue(f"a {type(item).__name__} of {len(item)}", _FORMS)
        item, weight = item
    elif isinstance(item, Mapping):
        unknown = [key for key in item if key not in ("address", "weight")]
        if unknown or "address" not in item:
            raise WrongValue(f"the key {_shown(unknown[0])}" if unknown else "no address", "address and weight")
        item, weight = item["address"], item.get("weight", 1)
    if not isinstance(item, str):
        raise WrongValue(_shown(item), _FORMS)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= MAX_WEIGHT:
        raise WrongValue(f"the weight {_shown(weight)}", f"a whole number from 1 to {MAX_WEIGHT}",
                         "leave out an endpoint that gets no requests" if weight == 0 else "")
    return Member(parse_address(item), weight)


def _shown(value: object) -> str:
    if value is None or isinstance(value, (str, int, float, bool)):
        return shown(value)
    return f"a {type(value).__name__}"
