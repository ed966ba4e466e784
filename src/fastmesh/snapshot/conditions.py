"""What a match asks for, in the written form of a snapshot."""

import struct
from typing import Any, NamedTuple

from fastmesh.config.automaton import Automaton
from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.match import Match
from fastmesh.config.network import Network
from fastmesh.config.path_rule import path_rule
from fastmesh.config.regex import compile_regex
from fastmesh.config.value_match import ValueMatch
from fastmesh.snapshot import wire

_NUMBER_END = 1 << 62       # no number of a configuration is as large
_GRPC = r"(?i)application/grpc([+;].*)?"


class Patterns:
    """The patterns of a snapshot, each once."""

    def __init__(self) -> None:
        self.written: list[list[bytes]] = []
        self._places: dict[Automaton, int] = {}

    def place(self, automaton: Automaton) -> int:
        """Where it is, or is from now on."""
        if automaton not in self._places:
            self._places[automaton] = len(self.written)
            self.written.append([automaton.classes, automaton.flags,
                                 struct.pack(f"<{len(automaton.table)}H", *automaton.table)])
        return self._places[automaton]


class Conditions(NamedTuple):
    """The parts of a route that say which requests it takes."""

    path_kind: int
    path: bytes
    hosts: list[str]
    methods: list[str]
    headers: list[list[Any]]
    further: list[Any] | None


def conditions(match: Match, patterns: Patterns) -> Conditions:
    """Adds to `patterns` what the match needs."""
    rule = path_rule(match)
    headers = _values(match.headers, patterns)
    if match.grpc is not None:
        headers.append(["content-type", "", wire.VALUE_KINDS["pattern"], False,
                        patterns.place(compile_regex(_GRPC).automaton), 0])
    pattern = -1 if rule.automaton is None else patterns.place(rule.automaton)
    further = None
    if pattern >= 0 or match.query or match.cookies or match.sources or match.share != SHARE_ALL:
        further = [pattern, _values(match.query, patterns), _values(match.cookies, patterns),
                   [network(source) for source in match.sources], match.share]
    return Conditions(wire.PATH_KINDS[rule.kind], rule.literal, match.hosts, match.methods, headers, further)


def network(peers: Network) -> list[Any]:
    """A set of peers."""
    return [peers.family, peers.bits, peers.packed.ljust(16, b"\0")]


def _values(values: dict[str, ValueMatch], patterns: Patterns) -> list[list[Any]]:
    """Those with a pattern last: they cost the most."""
    written = [_value(name, value, patterns) for name, value in values.items()]
    return sorted(written, key=lambda value: value[2] == wire.VALUE_KINDS["pattern"])


def _value(name: str, value: ValueMatch, patterns: Patterns) -> list[Any]:
    for kind in ("exact", "prefix", "suffix", "contains"):
        if (text := getattr(value, kind)) is not None:
            return [name, text, wire.VALUE_KINDS[kind], value.invert, 0, 0]
    if value.present is not None:
        return [name, "", wire.VALUE_KINDS["present"], value.invert != (not value.present), 0, 0]
    if value.regex is not None:
        return [name, "", wire.VALUE_KINDS["pattern"], value.invert,
                patterns.place(compile_regex(value.regex).automaton), 0]
    return [name, "", wire.VALUE_KINDS["range"], value.invert, -_NUMBER_END if value.min is None else value.min,
            _NUMBER_END if value.max is None else value.max]
