"""The shared memory of one worker, as control reads it.

A `StatsFile` is one memfd. Exactly one living worker writes to it; when that worker is gone the file is kept
and given to the next, so that no counter ever goes back. While one worker hands over to another there are two
files for one slot, and readers sum over all of them.

Read by `pread`, never mapped: the file is sparse, and a mapped read of a hole would allocate its page.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic_ns

from fastmesh._core.mem.counter import (
    CLUSTER_COLUMNS,
    ENDPOINT_COLUMNS,
    GAUGES,
    GLOBALS,
    LAYOUT,
    LISTENER_COLUMNS,
    TIME_US_BOUNDS,
)

WORD = 8
PAGE = 4096
IN_USE = 1 << 63
SERIES_WORDS = LAYOUT["series_stride"] // WORD
SERIES_BYTES = LAYOUT["series_rows"] * LAYOUT["series_stride"]
OTHER_PLACE = 0xFFFFFFFFFFFFFFFF      # the row that takes what the table could not hold
DURATION_AT = LAYOUT["series_duration"] // WORD
REQUEST_BYTES_AT = LAYOUT["series_request_bytes"] // WORD
RESPONSE_BYTES_AT = LAYOUT["series_response_bytes"] // WORD
BUCKETS = REQUEST_BYTES_AT - DURATION_AT
TIME_BUCKETS = len(TIME_US_BOUNDS) + 1

# Columns that say how things are, not how often something happened: those of a dead worker mean nothing.
LISTENER_GAUGES = ("active",)
CLUSTER_GAUGES = ("active", "pending", "connections")
ENDPOINT_GAUGES = ("active", "connections", "ewma_ns", "avoid_until_ns")


@dataclass(slots=True)
class Header:
    """The first page: who writes here, and how it is."""

    pid: int
    version: int
    started_ns: int
    heartbeat_ns: int
    draining: int


@dataclass(slots=True)
class Times:
    """A histogram of times: count, sum in ns, buckets of TIME_US_BOUNDS and one for the rest."""

    count: int
    sum_ns: int
    buckets: list[int]


class StatsFile:
    """One memfd of counters, and who writes to it."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.is_taken = False       # a living worker writes to it
        self.fd = os.memfd_create(f"fastmesh-stats-{slot}", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, LAYOUT["size"])

    def close(self) -> None:
        os.close(self.fd)

    def words(self, offset: int, count: int) -> list[int]:
        """`count` numbers from a byte offset on."""
        return memoryview(os.pread(self.fd, count * WORD, offset)).cast("Q").tolist()

    def header(self) -> Header:
        def at(name: str) -> int:
            return self.words(LAYOUT[f"header_{name}"], 1)[0]

        return Header(at("pid"), at("version"), at("started_ns"), at("heartbeat_ns"), at("draining"))

    def heartbeat(self) -> int:
        """When the worker's loop last turned, in ns of CLOCK_MONOTONIC; 0 before the first turn."""
        return self.words(LAYOUT["header_heartbeat_ns"], 1)[0]

    def forget_header(self) -> None:
        """Before a new worker takes the file: nothing of the last one may be taken for the new one's."""
        for name in ("pid", "version", "started_ns", "heartbeat_ns", "draining"):
            os.pwrite(self.fd, bytes(WORD), LAYOUT[f"header_{name}"])

    def globals(self) -> list[int]:
        """The global numbers, in the order of GLOBALS; gauges are 0 when no worker writes here."""
        found = self.words(LAYOUT["globals"], len(GLOBALS))
        if not self.is_taken:
            for name in GAUGES:
                found[GLOBALS.index(name)] = 0
        return found

    def listener(self, row: int) -> list[int]:
        """The columns of one listener, in the order of LISTENER_COLUMNS."""
        return self._row("listener", row, LISTENER_COLUMNS, LISTENER_GAUGES)

    def cluster(self, row: int) -> list[int]:
        """The columns of one cluster, in the order of CLUSTER_COLUMNS."""
        return self._row("cluster", row, CLUSTER_COLUMNS, CLUSTER_GAUGES)

    def endpoint(self, row: int) -> list[int]:
        """The columns of one endpoint, in the order of ENDPOINT_COLUMNS."""
        return self._row("endpoint", row, ENDPOINT_COLUMNS, ENDPOINT_GAUGES)

    def _row(self, kind: str, row: int, columns: tuple[str, ...], gauges: tuple[str, ...]) -> list[int]:
        row = min(row, LAYOUT[f"{kind}_rows"] - 1)
        found = self.words(LAYOUT[f"{kind}s"] + row * LAYOUT[f"{kind}_stride"], len(columns))
        if not self.is_taken:
            for name in gauges:
                found[columns.index(name)] = 0
        return found

    def times(self, cluster_row: int, which: str) -> Times:
        """`which`: "proxy", time spent in the proxy, or "wait", time to the upstream's first byte."""
        row = min(cluster_row, LAYOUT["cluster_rows"] - 1)
        found = self.words(LAYOUT["clusters"] + row * LAYOUT["cluster_stride"] + LAYOUT[f"cluster_{which}_count"],
                           2 + TIME_BUCKETS)
        return Times(found[0], found[1], found[2:])

    def series(self) -> Iterator[list[int]]:
        """Every series row in use, as numbers. Holes of the file are stepped over, not read."""
        begin, end = LAYOUT["series"], LAYOUT["series"] + SERIES_BYTES
        stride = LAYOUT["series_stride"]
        at = begin
        while at < end:
            try:
                filled = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError:     # ENXIO: nothing but holes from here on
                return
            if filled >= end:
                return
            hole = min(os.lseek(self.fd, filled, os.SEEK_HOLE), end)
            # Rows do not begin at pages: a filled page begins and ends within one.
            first = max(at, begin + (filled - begin) // stride * stride)
            at = min(end, begin + -((begin - hole) // stride) * stride)
            rows = memoryview(os.pread(self.fd, at - first, first)).cast("Q")
            for word in range(0, len(rows), SERIES_WORDS):
                if rows[word + 1] & IN_USE:
                    yield rows[word:word + SERIES_WORDS].tolist()


class StatsShelf:
    """All the files there are. None is ever given back: a sum that shrinks would read as a negative rate."""

    def __init__(self) -> None:
        self.files: list[StatsFile] = []
        self.started_ns = monotonic_ns()

    def take(self, slot: int) -> StatsFile:
        """A file for a new worker: the slot's own if it is free, else any free one, else a new one."""
        free = [f for f in self.files if not f.is_taken]
        file = next((f for f in free if f.slot == slot), free[0] if free else None)
        if file is None:
            file = StatsFile(slot)
            self.files.append(file)
        file.slot = slot
        file.is_taken = True
        file.forget_header()
        return file

    def forget_rows(self, rows: dict[str, list[int]]) -> None:
        """`{"listeners": […], "clusters": […], "endpoints": […]}`: rows that get another owner begin at zero."""
        for kind, numbers in rows.items():
            for row in numbers:
                for file in self.files:
                    stride = LAYOUT[f"{kind.removesuffix('s')}_stride"]
                    os.pwrite(file.fd, bytes(stride), LAYOUT[kind] + row * stride)

    def globals(self) -> dict[str, int]:
        """The global numbers, summed."""
        return dict(zip(GLOBALS, _sum(f.globals() for f in self.files), strict=False))

    def listener(self, row: int) -> dict[str, int]:
        return dict(zip(LISTENER_COLUMNS, _sum(f.listener(row) for f in self.files), strict=False))

    def cluster(self, row: int) -> dict[str, int]:
        return dict(zip(CLUSTER_COLUMNS, _sum(f.cluster(row) for f in self.files), strict=False))

    def endpoint(self, row: int) -> dict[str, int]:
        """Sums, but for latency, which is the mean of the workers that know it, and avoidance, the longest."""
        rows = [f.endpoint(row) for f in self.files]
        found = dict(zip(ENDPOINT_COLUMNS, _sum(iter(rows)), strict=False))
        ewma, avoid = ENDPOINT_COLUMNS.index("ewma_ns"), ENDPOINT_COLUMNS.index("avoid_until_ns")
        known = [row[ewma] for row in rows if row[ewma]]
        found["ewma_ns"] = sum(known) // len(known) if known else 0
        found["avoid_until_ns"] = max((row[avoid] for row in rows), default=0)
        return found

    def times(self, cluster_row: int, which: str) -> Times:
        total = Times(0, 0, [0] * TIME_BUCKETS)
        for file in self.files:
            one = file.times(cluster_row, which)
            total.count += one.count
            total.sum_ns += one.sum_ns
            total.buckets = [a + b for a, b in zip(total.buckets, one.buckets, strict=True)]
        return total

    def series(self) -> dict[tuple[int, int], list[int]]:
        """(place, kind) → the numbers of the row, summed."""
        total: dict[tuple[int, int], list[int]] = {}
        for file in self.files:
            for row in file.series():
                key = (row[0], row[1])
                known = total.get(key)
                total[key] = row if known is None else [*key, *(a + b for a, b in zip(known[2:], row[2:], strict=True))]
        return total


def _sum(rows: Iterator[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]
