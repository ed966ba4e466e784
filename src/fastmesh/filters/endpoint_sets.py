"""The sets that one policy yields, one after the other: mostly what it yielded before, which is neither parsed nor
packed again."""

from operator import eq
from typing import Any

import msgpack

from fastmesh.config.balancing import MAX_ENDPOINTS
from fastmesh.filters.endpoint_set import Member, WrongSet, pack_set, read_set


class _Row:
    """One endpoint of a set."""

    __slots__ = ("packed", "place")

    def __init__(self, member: Member) -> None:
        self.place = member.place
        self.packed: bytes = msgpack.packb(member.told())


class EndpointSets:
    """Keeps of the last good set what was yielded and what it became: never more than one set."""

    def __init__(self) -> None:
        self._rows: dict[Any, _Row] = {}    # what `_written` makes of an endpoint → the endpoint; in the set's order
        self._packed = pack_set(())

    def take(self, yielded: object) -> tuple[bytes, int]:
        """The set as `pack_set` packs it, and how many endpoints it has. Raises WrongSet, as `read_set` does; then the
        set before stays the one to compare with."""
        if not isinstance(yielded, (list, tuple, set, frozenset)) or len(yielded) > MAX_ENDPOINTS:
            return self._anew(yielded)
        known = self._rows
        rows: dict[Any, _Row] = {}
        new: list[_Row] = []
        for item in yielded:
            written = item if type(item) is str else _written(item)
            if written is None:
                return self._anew(yielded)
            row = known.get(written)
            if row is None:
                try:
                    member, = read_set([item])
                except WrongSet:        # it says which one of the whole set
                    return self._anew(yielded)
                row = _Row(member)
                new.append(row)
            rows[written] = row
        if len(rows) < len(yielded):
            return self._anew(yielded)
        if new or len(rows) < len(known):
            # In the order of the set before, which leaves little to sort.
            after = {written: row for written, row in known.items() if written in rows} | rows
            rows = dict(sorted(after.items(), key=lambda pair: pair[1].place))
            places = [row.place for row in rows.values()]
            if any(map(eq, places, places[1:])):
                return self._anew(yielded)
            self._packed = msgpack.Packer().pack_array_header(len(rows)) + b"".join(
                [row.packed for row in rows.values()])
            self._rows = rows
        return self._packed, len(rows)

    def _anew(self, yielded: object) -> tuple[bytes, int]:
        members = read_set(yielded)
        self._rows = {}
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
