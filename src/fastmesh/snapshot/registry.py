"""Numbers for names, stable over reloads.

A listener, a cluster and an endpoint have a row in shared memory, and keep it as long as their name
lives: counters go on over a reload. A name that went away keeps its number in reserve, for it may
come back; only when all numbers have been given out does the one that has been gone longest get a
new owner. What does not fit at all shares the last row.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgpack

from fastmesh.snapshot.wire import CLUSTER_ROWS, ENDPOINT_ROWS, FILTER_ROWS, LIMIT_ROWS, LISTENER_ROWS, ROUTE_ROWS


class Numbers:
    """The numbers of one kind of thing."""

    def __init__(self, capacity: int, live: dict[str, int] | None = None, gone: dict[str, int] | None = None,
                 next_free: int = 0) -> None:
        self.capacity = capacity
        self.live = live or {}
        self.gone = gone or {}          # in the order in which they went
        self.next_free = next_free      # never the last, which belongs to nobody
        self.reused: list[int] = []

    def assign(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of `names`, which become the living ones."""
        wanted = dict.fromkeys(names)
        for name in [name for name in self.live if name not in wanted]:
            number = self.live.pop(name)
            if number != self.overflow:
                self.gone[name] = number
        # Names that have a number first, so that none of theirs is given away.
        live: dict[str, int] = {}
        new: list[str] = []
        for name in wanted:
            if name in self.live and self.live[name] != self.overflow:
                live[name] = self.live[name]
            elif name in self.gone:
                live[name] = self.gone.pop(name)
            else:
                new.append(name)
        for name in new:
            live[name] = self._fresh()
        self.live = live
        return live

    def exchange(self, gone: Iterable[str], new: Iterable[str]) -> dict[str, int]:
        """Some names go and others come; all the others stay as they are. The numbers of those that came."""
        for name in gone:
            number = self.live.pop(name, self.overflow)
            if number != self.overflow:
                self.gone[name] = number
        fresh = [name for name in new if name not in self.live]
        # Those that had a number first, so that none of theirs is given away.
        for name in fresh:
            if name in self.gone:
                self.live[name] = self.gone.pop(name)
        for name in fresh:
            if name not in self.live:
                self.live[name] = self._fresh()
        return {name: self.live[name] for name in fresh}

    @property
    def overflow(self) -> int:
        return self.capacity - 1

    def _fresh(self) -> int:
        if self.next_free < self.overflow:
            self.next_free += 1
            return self.next_free - 1
        if self.gone:
            number = self.gone.pop(next(iter(self.gone)))
            self.reused.append(number)
            return number
        return self.overflow


class Registry:
    """The numbers of all things that have one."""

    def __init__(self) -> None:
        self.listeners = Numbers(LISTENER_ROWS)
        self.clusters = Numbers(CLUSTER_ROWS)
        self.endpoints = Numbers(ENDPOINT_ROWS)
        # No row is for what does not fit: a configuration has at most FILTER_ROWS filters.
        self.filters = Numbers(FILTER_ROWS + 1)
        self.limits = Numbers(LIMIT_ROWS + 1)
        self.routes = Numbers(ROUTE_ROWS + 1)       # what does not fit is not counted

    @classmethod
    def from_dict(cls, value: dict[str, Any] | None) -> "Registry":
        """From what `to_dict` gave. Anything else is taken as empty: numbers start anew."""
        registry = cls()
        if isinstance(value, dict):
            for kind, numbers in registry._kinds().items():
                part = value.get(kind)
                if isinstance(part, dict):
                    numbers.live = dict(part.get("live") or {})
                    numbers.gone = dict(part.get("gone") or {})
                    numbers.next_free = int(part.get("next") or 0)
        return registry

    def to_dict(self) -> dict[str, Any]:
        """For the next compile."""
        return {kind: {"live": numbers.live, "gone": numbers.gone, "next": numbers.next_free}
                for kind, numbers in self._kinds().items()}

    def reused(self) -> dict[str, list[int]]:
        """The numbers that belonged to something else before this snapshot."""
        return {kind: numbers.reused for kind, numbers in self._kinds().items()}

    def _kinds(self) -> dict[str, Numbers]:
        return {"listeners": self.listeners, "clusters": self.clusters, "endpoints": self.endpoints,
                "filters": self.filters, "limits": self.limits, "routes": self.routes}


def endpoint_key(cluster: str, endpoint: str) -> str:
    """Names hold no space, so no two pairs share a key."""
    return f"{cluster} {endpoint}"


def pack_reserve(gone: Mapping[str, int]) -> bytes:
    """Names that went and their numbers, one behind the other, in the order in which they went."""
    pack = msgpack.Packer().pack
    return b"".join([pack(word) for pair in gone.items() for word in pair])


def unpack_reserve(packed: bytes) -> dict[str, int]:
    """What `pack_reserve` packed."""
    words = msgpack.Unpacker(max_buffer_size=0)
    words.feed(packed)
    return dict(zip(words, words, strict=True))
