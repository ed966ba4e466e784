"""Snapshots for tests, written as control would write them: positional arrays in msgpack."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from probes.snapshot_probe import Registry, Snapshot, alive, take_last_seen

SECOND = 10**9
KEY_SOURCES = ("client_address", "client_network", "method", "host", "path", "route", "header", "cookie", "query",
               "label")
ROUND_ROBIN, RANDOM, LEAST_REQUEST, PEAK_EWMA, FAILURE_AWARE_EWMA, RING_HASH, MAGLEV = range(7)
ALGORITHMS = {"round_robin": ROUND_ROBIN, "random": RANDOM, "least_request": LEAST_REQUEST, "peak_ewma": PEAK_EWMA,
              "failure_aware_ewma": FAILURE_AWARE_EWMA, "ring_hash": RING_HASH, "maglev": MAGLEV}
LIMITS = [61_440, 16_384, 100, 10 * SECOND, 10 * SECOND, 75 * SECOND, 3600 * SECOND, 0, SECOND, 0, 0, 65_536, 0]


def endpoint(row: int = 0, port: int = 80, ip: bytes = b"\x7f\0\0\1", weight: int = 1, text: str = "e",
             family: int = 4, note: list[Any] | None = None) -> list[Any]:
    return [row, family, port, ip, weight, text, note]


def endpoints(count: int, weights: Iterable[int] = ()) -> list[Any]:
    """Different addresses, 10.0.0.0 and on."""
    weights = list(weights) or [1] * count
    return [endpoint(i, ip=struct.pack(">I", (10 << 24) + i), weight=weights[i], text=f"e{i}") for i in range(count)]


def cluster(endpoints: list[Any], number: int = 0, name: str = "c", lb: int = ROUND_ROBIN, avoid_base: int = SECOND,
            avoid_max: int = 30 * SECOND, chain: int = -1, balancer: list[int] | None = None,
            balancing: list[Any] | None = None, outlier: list[int] | None = None, checks: int = 0,
            breakers: Iterable[Any] = (0, 0, 0, 0, None, None)) -> list[Any]:
    return [number, name, lb, SECOND, 60 * SECOND, 0, 1024, 2**32 - 1, 0, 3, avoid_base, avoid_max, 0, endpoints,
            chain, balancer, balancing, outlier, checks, list(breakers)]


EXACT, PREFIX, SUFFIX, CONTAINS, PRESENT, RANGE, PATTERN = range(7)
SHARE_ALL = 1_000_000


def value(name: str, text: str = "", kind: int = EXACT, invert: bool = False, low: int = 0, high: int = 0) -> list[Any]:
    """What a header, a parameter or a cookie must say."""
    return [name, text, kind, invert, low, high]


def further(pattern: int = -1, query: Iterable[list[Any]] = (), cookies: Iterable[list[Any]] = (),
            sources: Iterable[list[Any]] = (), share: int = SHARE_ALL) -> list[Any]:
    return [pattern, list(query), list(cookies), list(sources), share]


def route(path: str | bytes = "/", exact: bool = False, hosts: Iterable[str] = (), methods: Iterable[str] = (),
          headers: Iterable[tuple[str, str] | list[Any]] = (), cluster: int = -1, status: int | None = None,
          body: bytes = b"", content_type: str = "", timeout: int = 0, name: str = "r", chain: int = -1,
          kind: int | None = None, more: list[Any] | None = None, acts: list[Any] | None = None,
          split: list[Any] | None = None, priority: int = 0, has_timeout: bool = False,
          stream_idle: int = 0) -> list[Any]:
    """`headers`: pairs for exact values, else what `value` makes; `kind` is the kind of path when it is neither."""
    if status is None:
        status = 0 if cluster >= 0 or split is not None else 404
    return [name, int(exact) if kind is None else kind, path, list(hosts), list(methods),
            [value(*header) if isinstance(header, tuple) else header for header in headers], cluster, status,
            body, content_type, timeout, more, acts, split, chain, priority, has_timeout, stream_idle]


def listener(routes: Iterable[list[Any]] = (), number: int = 0, name: str = "l", tcp_cluster: int = -1,
             chain: int = -1, deadlines: Iterable[Any] = (False, False, ""), half_close: bool = False) -> list[Any]:
    return [number, name, int(tcp_cluster >= 0), False, True, tcp_cluster, list(LIMITS),
            [[4, 8, b"\x7f".ljust(16, b"\0")], [6, 128, bytes(15) + b"\1"], [1, 0, bytes(16)]], "", list(routes), chain,
            list(deadlines), half_close]


def limit(name: str = "l", row: int = 0, token: int = SECOND, burst: int = 1, keys: int = 1000,
          key: Iterable[str] = (), match: list[Any] | None = None, share: int = 1_000_000, status: int = 429,
          dry_run: bool = False, skips_missing: bool = False, shown: bool = False) -> list[Any]:
    """`key` as a configuration has it: "client_address", "header x-tenant"."""
    parts = [part.partition(" ") for part in key]
    return [name, row, 0, token, token * burst, keys if parts else 1,
            [[KEY_SOURCES.index(source), what] for source, _, what in parts], match, share, status, dry_run,
            skips_missing, shown, f'"{name}";q={burst};w={max(1, token * burst // SECOND)}',
            f"local_rate_limited{{{name}}}", f"the rate limit {name} allows no more"]


def retry(attempts: int = 2, faults: int = 0, statuses: Iterable[int] = (), headers: Iterable[str] = (),
          backoff: int = 0, backoff_max: int = 0, wait: int = 0, each: int = 0, non_idempotent: bool = False,
          told: bool = True, of_retries: bool = False, grpc: int = 0) -> list[Any]:
    return [attempts, faults, list(statuses), list(headers), backoff, backoff_max, wait, each, non_idempotent, told,
            of_retries, grpc]


def hedge(attempts: int = 2, delay: int = 0, least: int = 0, part: int = 0, share: int = 1_000_000, rate: int = 100,
          on_try_timeout: bool = False, non_idempotent: bool = False, told: bool = True) -> list[Any]:
    return [attempts, delay, least, part, share, rate, on_try_timeout, non_idempotent, told]


def snapshot(listeners: Iterable[Any] = (), clusters: Iterable[Any] = (), version: int = 1,
             log_ops: list[Any] | None = None, rules: Iterable[Any] = (), chains: Iterable[Any] = (),
             limits: Iterable[Any] = (), uses: Iterable[Any] = (), patterns: Iterable[Any] = (),
             faults: Iterable[Any] = (), mirrors: Iterable[Any] = (),
             retries: Iterable[Any] = ((), (), (), (), ()), fallbacks: Iterable[Any] = ((), ()),
             metric_labels: list[Any] | None = None, cors: Iterable[Any] = ((), ()),
             subsets: Iterable[Any] = ((), (), (), ()), counted: Iterable[Any] = ()) -> list[Any]:
    return ["fmsn", 6, version, [0, log_ops, list(patterns), None, metric_labels], list(listeners), list(clusters),
            [list(rules), list(chains)], [list(limits), list(uses)], list(faults), list(mirrors),
            [list(part) for part in retries], [list(part) for part in fallbacks], [list(part) for part in cors],
            [list(part) for part in subsets], list(counted)]


def pack(whole: Any) -> bytes:
    return bytes(msgpack.packb(whole))


@contextmanager
def registry(rows: int = 16) -> Iterator[Registry]:
    """A worker's registry. Leaving it asserts that every object is gone that came meanwhile."""
    before = alive()
    take_last_seen()
    made = Registry(rows)
    yield made
    assert made.counts() == (0, 0)
    made.close()
    take_last_seen()
    assert alive() == before


@contextmanager
def decoded(whole: list[Any], seed: int = 1, rows: int = 16) -> Iterator[Snapshot]:
    """One snapshot in a registry of its own."""
    with registry(rows) as made:
        result = Snapshot(pack(whole), made, seed)
        try:
            yield result
        finally:
            result.close()
