"""The configuration of a kit's worker, in the written form of a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fastmesh.config.filter import FilterMatch
from fastmesh.config.match import PATHS
from fastmesh.config.subset import MAX_SUBSETS
from fastmesh.snapshot import wire
from fastmesh.snapshot.chains import match_record
from fastmesh.snapshot.conditions import Patterns
from fastmesh.snapshot.endpoint import note_of
from fastmesh.snapshot.fallbacks import USE, named_by
from fastmesh.testing.upstream import Cluster
from fastmesh.units import parse_duration

SECOND = 10**9
PLACES = ("listener", "route", "cluster")
# 127.0.0.0/8 and Unix-domain sockets: whose x-forwarded fields are believed.
TRUSTED = [[4, 8, b"\x7f".ljust(16, b"\0")], [1, 0, bytes(16)]]
HEAD_BYTES, LINE_BYTES, FIELDS, BUFFER_BYTES = 61_440, 16_384, 100, 65_536

Match = Mapping[str, Any]
"""Which requests a filter is for, as `match` has it in a configuration: `{"prefix": "/api"}`, say."""


class Route(NamedTuple):
    """One of a kit's routes; those that were added first come first."""

    name: str
    kind: str           # "prefix" or "exact"
    path: str
    cluster: str
    timeout_ns: int


class Policy(NamedTuple):
    """What balances a cluster of a kit's."""

    rule: int
    interval_ns: int
    pick_by: str


class Fall(NamedTuple):
    """A step of the chain of a kit's routes."""

    rule: int
    name: str
    before_filters: bool
    on: Sequence[str]


def snapshot(version: int, clusters: Iterable[Cluster], routes: Iterable[Route], rules: Rules,
             filters: Mapping[str, list[int]], policies: Mapping[str, Policy], steps: Sequence[Fall] = ()) -> bytes:
    """One listener, all routes and clusters alike. `filters`: numbers of rules by the place where they are;
    `policies`: by the names of clusters; `steps`: the fallback of all routes."""
    chains = [chain for chain in filters.values() if chain]
    of = {place: chains.index(chain) if chain else wire.NO_CHAIN for place, chain in filters.items()}
    known = list(clusters)
    numbers = {cluster.name: i for i, cluster in enumerate(known)}
    listener_routes: list[list[Any]] = [
        [route.name, wire.PATH_KINDS[route.kind], route.path.encode(), [], [], [], numbers[route.cluster], 0, b"", "",
         route.timeout_ns, None, None, None, of["route"], 0, True, 0]
        for route in (*routes, Route("all", "prefix", "/", "upstream", 0))]
    limits = [HEAD_BYTES, LINE_BYTES, FIELDS, 10 * SECOND, 10 * SECOND, 75 * SECOND, 3600 * SECOND, 0, SECOND, 0, 0,
              BUFFER_BYTES, 0]
    rows = iter(range(wire.ENDPOINT_ROWS))
    records = []
    for cluster in known:
        members = []
        for address, weight, metadata in zip(cluster.endpoints, cluster.weights, cluster.metadata, strict=True):
            host, _, port = address.partition(":")
            ip = bytes(int(part) for part in host.split("."))
            members.append([next(rows), 4, int(port), ip, weight, address, note_of(metadata.items())])
        policy = policies.get(cluster.name)
        records.append([
            cluster.number, cluster.name, wire.LOAD_BALANCERS[policy.pick_by if policy else "round_robin"], SECOND,
            60 * SECOND, 0, 1024, wire.UNLIMITED, 0, 3, SECOND, 30 * SECOND, 0, members, of["cluster"],
            [policy.rule, policy.interval_ns] if policy else None, None, None, 0, [0, 0, 0, 0, None, None]])
    listener = [0, "test", wire.PROTOCOLS["http"], False, True, -1, limits, TRUSTED, "", listener_routes,
                of["listener"], [True, True, ""], False]
    packed: bytes = msgpack.packb(
        [wire.MAGIC, wire.FORMAT, version, [0, None, rules.patterns, None, None], [listener], records,
         [rules.written, chains], [[], []], [], [], [[], [], [], [], []],
         _fallbacks(steps, len(listener_routes)), [[], []],
         [[[numbers[cluster.name], selectors, cluster.fallback, [], MAX_SUBSETS] for cluster in known
           if (selectors := cluster.selectors())], [], [], []], []])
    return packed


def _fallbacks(steps: Sequence[Fall], n_routes: int) -> list[Any]:
    if not steps:
        return [[], []]
    chain = [[USE, *named_by(step.on), [step.rule, step.name, step.before_filters]] for step in steps]
    return [[chain], [[0, i, 0] for i in range(n_routes)]]


class Rules:
    """Which exchanges each filter of a kit takes part in, in the order they were added."""

    def __init__(self) -> None:
        self._written: list[list[Any]] = []
        self._patterns = Patterns()

    def add(self, match: Match | None) -> None:
        """What an operator may write as a filter's `match`; a share also as a number from 0 to 1. Raises ValueError."""
        given = dict(match or {})
        given["share"] = share = _share(given.get("share", 1.0))
        try:
            asked = FilterMatch.model_validate(given)
        except ValidationError as error:
            raise ValueError("; ".join(_wrong(item) for item in error.errors())) from None
        if len(ways := [way for way in PATHS if getattr(asked, way) is not None]) > 1:
            raise ValueError(f"match: found {' and '.join(ways)}, allowed: one of them")
        self._written.append([match_record(asked, self._patterns), share])

    @property
    def written(self) -> list[list[Any]]:
        return self._written

    @property
    def patterns(self) -> list[list[bytes]]:
        return self._patterns.written


def _wrong(item: ErrorDetails) -> str:
    """One error, at its key."""
    *above, key = ("match", *map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        found = f"found the key {key!r}"
        if above == ["match"]:
            found += f", allowed: {', '.join(FilterMatch.model_fields)}"
    else:
        above.append(key)
        found = item["msg"].removeprefix("Value error, ")
    return f"{'.'.join(above)}: {found}"


def _share(share: str | float) -> int:
    part = float(share[:-1]) / 100 if isinstance(share, str) and share.endswith("%") else float(share)
    if not 0 <= part <= 1:
        raise ValueError(f"a share of {share!r}: 0 to 1, or 0% to 100%, is allowed")
    return round(part * 1_000_000)


def quarantine(given: Mapping[str, Any] | None) -> tuple[int, int, int, int]:
    """Failures, window, pause and the longest pause, in ns; none at all when nothing is given. Raises ValueError."""
    if given is None:
        return 0, SECOND, SECOND, SECOND
    known = {"failures": 20, "window": "10s", "pause": "5s", "longest": "5m", **given}
    if len(known) > 4:
        raise ValueError(f"a quarantine has failures, window, pause and longest, not {', '.join(given)}")
    return (int(known["failures"]), parse_duration(known["window"]), parse_duration(known["pause"]),
            parse_duration(known["longest"]))
