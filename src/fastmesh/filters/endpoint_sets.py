"""The sets that one policy yields, one after the other: mostly what it yielded before, which is neither parsed nor
packed again."""

from typing import Any, NamedTuple

import msgpack

from fastmesh._core.net.addr_text import told
from fastmesh._core.net.plain_set import pack_plain
from fastmesh.config.balancing import MAX_ENDPOINTS
from fastmesh.config.cluster import MAX_WEIGHT
from fastmesh.filters.endpoint_set import WrongSet, pack_set, read_set


class _Row(NamedTuple):
    """One endpoint of a set."""

    address: str        # in its one form
    packed: bytes

    @classmethod
    def of(cls, item: object, written: Any) -> "_Row":
        """Raises WrongSet."""
        text, weight, words = (written, 1, ()) if type(written) is str else (*written, ())[:3]
        plain = told(text, weight) if not words and 1 <= weight <= MAX_WEIGHT else None
        if plain is not None:
            return cls(text, plain)
        member, = read_set([item])
        return cls(str(member.address), msgpack.packb(member.told()))


class EndpointSets:
    """Keeps of the last good set what was yielded and what it became: never more than one set. Of one that is plain
    that is its bytes and its mark; of another, its rows."""

    def __init__(self) -> None:
        self._mark: int | None = None       # what plain sets of the same endpoints have in common
        self._rows: dict[Any, _Row] = {}    # what `_written` makes of an endpoint → the endpoint
        self._packed = pack_set(())

    def take(self, yielded: object) -> tuple[bytes, int]:
        """The set as `pack_set` packs it, in any order, and how many endpoints it has. Raises WrongSet, as `read_set`
        does; then the set before stays the one to compare with. The same endpoints again are the same bytes."""
        if not isinstance(yielded, (list, tuple, set, frozenset)) or len(yielded) > MAX_ENDPOINTS:
            return self._anew(yielded)
        items = tuple(yielded)
        plain = pack_plain(items)
        if plain is None:
            return self._take_any(items)
        packed, mark = plain
        if mark != self._mark:
            self._packed, self._mark, self._rows = packed, mark, {}
        return self._packed, len(items)

    def _take_any(self, yielded: tuple[Any, ...]) -> tuple[bytes, int]:
        known = self._rows
        rows: dict[Any, _Row] = {}
        is_new = False
        for item in yielded:
            written = item if type(item) is str else _written(item)
            if written is None:
                return self._anew(yielded)
            row = known.get(written)
            if row is None:
                try:
                    row = _Row.of(item, written)
                except WrongSet:        # it says which one of the whole set
                    return self._anew(yielded)
                is_new = True
            rows[written] = row
        if len(rows) < len(yielded):
            return self._anew(yielded)
        if is_new or self._mark is not None or len(rows) < len(known):
            if len({row.address for row in rows.values()}) < len(rows):
                return self._anew(yielded)
            head = msgpack.Packer().pack_array_header(len(rows))
            self._packed = b"".join([head, *[row.packed for row in rows.values()]])
            self._mark, self._rows = None, rows
        return self._packed, len(rows)

    def _anew(self, yielded: object) -> tuple[bytes, int]:
        members = read_set(yielded)
        self._mark, self._rows = None, {}
        self._packed = pack_set(members)
        return self._packed, len(members)


def _written(item: Any) -> tuple[Any, ...] | None:
    """What an endpoint says, so that it can be compared; None for forms that are seldom, and for what is wrong. Types
    are compared exactly: what is a class of its own may call itself equal to anything."""
    if type(item) is tuple or type(item) is list:
        if len(item) == 2 and type(item[0]) is str and type(item[1]) is int:
            return item[0], item[1]
    elif type(item) is dict:
        address, weight, metadata = item.get("address"), item.get("weight", 1), item.get("metadata")
        if type(address) is str and type(weight) is int and len(item) == 1 + ("weight" in item) + ("metadata" in item):
            if metadata is None and "metadata" not in item:
                return address, weight, ()
            if type(metadata) is dict and all(type(word) is str for pair in metadata.items() for word in pair):
                return address, weight, tuple(metadata.items())
    return None
