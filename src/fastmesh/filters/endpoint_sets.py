"""The sets that one policy yields, one after the other: mostly what it yielded before, which is neither parsed nor
packed again."""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgpack

from fastmesh._core.net.addr_text import told
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
    """Keeps of the last good set what was yielded and what it became: never more than one set. One or the other of the
    two dicts is empty."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}  # of a set of plain addresses: each, and what it is packed
        self._rows: dict[Any, _Row] = {}    # of another: what `_written` makes of an endpoint → the endpoint
        self._packed = pack_set(())

    def take(self, yielded: object) -> tuple[bytes, int]:
        """The set as `pack_set` packs it, in any order, and how many endpoints it has. Raises WrongSet, as `read_set`
        does; then the set before stays the one to compare with."""
        if not isinstance(yielded, (list, tuple, set, frozenset)) or len(yielded) > MAX_ENDPOINTS:
            return self._anew(yielded)
        if yielded and set(map(type, yielded)) == {str} and self._take_texts(yielded):
            return self._packed, len(yielded)
        return self._take_any(yielded)

    def _take_texts(self, yielded: Collection[str]) -> bool:
        """Of addresses that are written in their one form no two are the same. False when one is not."""
        known = self._texts
        packed = list(map(known.get, yielded))
        if None in packed:
            packed = [told(text) if there is None else there for text, there in zip(yielded, packed, strict=True)]
            if None in packed:
                return False
        elif len(known) == len(packed):     # the same set: in the order that it had
            return len(set(yielded)) == len(packed)
        texts: dict[str, Any] = dict(zip(yielded, packed, strict=True))
        if len(texts) < len(packed):
            return False
        self._keep(b"".join(texts.values()), texts, {})
        return True

    def _take_any(self, yielded: Collection[Any]) -> tuple[bytes, int]:
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
        if is_new or self._texts or len(rows) < len(known):
            if len({row.address for row in rows.values()}) < len(rows):
                return self._anew(yielded)
            self._keep(b"".join([row.packed for row in rows.values()]), {}, rows)
        return self._packed, len(rows)

    def _keep(self, packed: bytes, texts: dict[str, bytes], rows: dict[Any, _Row]) -> None:
        self._packed = msgpack.Packer().pack_array_header(len(texts) + len(rows)) + packed
        self._texts, self._rows = texts, rows

    def _anew(self, yielded: object) -> tuple[bytes, int]:
        members = read_set(yielded)
        self._texts, self._rows = {}, {}
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
