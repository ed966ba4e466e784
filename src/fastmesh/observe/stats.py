"""The shared memory of one worker, as control reads it.

A `StatsFile` is one memfd. Exactly one living worker writes to it; when that worker is gone the file is kept
and given to the next, so that no counter ever goes back. While one worker hands over to another there are two
files for one slot, and readers sum over all of them.

Read by `pread`, never mapped: the file is sparse, and a mapped read of a hole would allocate its page.
"""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic_ns

import msgpack

from fastmesh._core.mem.counter import (
    BALANCE_COLUMNS,
    CLUSTER_COLUMNS,
    ENDPOINT_COLUMNS,
    FALLBACK_REASONS,
    FALLBACK_STEPS,
    FILTER_COLUMNS,
    FILTER_PHASE_COLUMNS,
    FILTER_PHASES,
    GAUGES,
    GLOBALS,
    LAYOUT,
    LIMIT_COLUMNS,
    LISTENER_COLUMNS,
    METRIC_KINDS,
    TIME_US_BOUNDS,
)
from fastmesh._core.resil.breaker import LIMITS

WORD = 8
PAGE = 4096
HUNDREDS = 6             # of statuses, with none at all
IN_USE = 1 << 63
SERIES_WORDS = LAYOUT["series_stride"] // WORD
SERIES_BYTES = LAYOUT["series_rows"] * LAYOUT["series_stride"]
OTHER_PLACE = 0xFFFFFFFFFFFFFFFF      # the row that takes what the table could not hold
DURATION_AT = LAYOUT["series_duration"] // WORD
REQUEST_BYTES_AT = LAYOUT["series_request_bytes"] // WORD
RESPONSE_BYTES_AT = LAYOUT["series_response_bytes"] // WORD
BUCKETS = REQUEST_BYTES_AT - DURATION_AT
TIME_BUCKETS = len(TIME_US_BOUNDS) + 1
FILTER_WORDS = LAYOUT["filter_stride"] // WORD
PHASE_WORDS = LAYOUT["filter_phase_stride"] // WORD
METRIC_ROW = struct.Struct(f"<QQQ{LAYOUT['metric_text_size']}s")
METRIC_SERIES = struct.Struct(f"<QQd{LAYOUT['metric_bounds'] + 1}QQQ{LAYOUT['metric_labels_size']}s")
METRIC_NAME = re.compile(r"fastmesh_filter_[a-zA-Z0-9_]{1,255}")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")

# Columns that say how things are, not how often something happened: those of a dead worker mean nothing.
LISTENER_GAUGES = ("active",)
CLUSTER_GAUGES = ("active", "pending", "connections")
ENDPOINT_GAUGES = ("active", "connections", "ewma_ns", "avoid_until_ns", "weight_given", "warm_since_ns")
BALANCE_GAUGES = ("subsets", "subset_left_out", "panic")
FILTER_GAUGES = ("fingerprint", "quarantined", "in_flight")
FILTER_COLUMNS_AT = LAYOUT["filter_columns"] // WORD
GAUGE_KIND = METRIC_KINDS.index("gauge") + 1


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


@dataclass(slots=True)
class FilterMetric:
    """A metric that a filter declared."""

    name: str
    filter: str
    kind: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    declared_ns: int
    # Label values → the value of a counter or gauge, or the sum of a histogram and its buckets (one more than bounds).
    series: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

    def add(self, values: tuple[str, ...], row: list[float]) -> None:
        known = self.series.get(values)
        self.series[values] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]


@dataclass(slots=True)
class FilterFigures:
    """What is known of one filter, over all workers."""

    phases: dict[str, dict[str, int]]       # those that were ever called → FILTER_PHASE_COLUMNS
    fingerprints: list[str]                 # of the versions that workers run, in hex
    quarantined: int                        # workers that bypass it now
    quarantines: int
    skipped: int
    in_flight: int
    running_ns: int                         # for how long a worker has been in it; 0 = none is


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
        for name in ("pid", "version", "started_ns", "heartbeat_ns", "draining", "filter_now", "filter_since_ns",
                     "level"):
            os.pwrite(self.fd, bytes(WORD), LAYOUT[f"header_{name}"])

    def forget_filter_gauges(self) -> None:
        """Before a new worker takes the file: what the last one's filters said of its present holds no more."""
        begin, stride = LAYOUT["filters"], LAYOUT["filter_stride"]
        columns = [LAYOUT["filter_columns"] + FILTER_COLUMNS.index(name) * WORD for name in FILTER_GAUGES]
        for first, end in self._filled(begin, begin + LAYOUT["filter_rows"] * stride, stride):
            for row in range(first, end, stride):
                for column in columns:
                    os.pwrite(self.fd, bytes(WORD), row + column)
        for number, row_of in enumerate(self._metric_rows()):
            if row_of[1] == GAUGE_KIND:
                at = LAYOUT["metric_series"] + number * LAYOUT["metric_series_stride"] + LAYOUT["metric_series_value"]
                os.pwrite(self.fd, bytes(WORD), at)

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

    def overflowed(self, cluster_row: int) -> list[int]:
        """Requests that a limit of the cluster refused, in the order of breaker.LIMITS."""
        row = min(cluster_row, LAYOUT["cluster_rows"] - 1)
        return self.words(LAYOUT["clusters"] + row * LAYOUT["cluster_stride"] + LAYOUT["cluster_overflowed"],
                          len(LIMITS))

    def times(self, cluster_row: int, which: str) -> Times:
        """`which`: "proxy", time spent in the proxy, or "wait", time to the upstream's first byte."""
        row = min(cluster_row, LAYOUT["cluster_rows"] - 1)
        found = self.words(LAYOUT["clusters"] + row * LAYOUT["cluster_stride"] + LAYOUT[f"cluster_{which}_count"],
                           2 + TIME_BUCKETS)
        return Times(found[0], found[1], found[2:])

    def series(self) -> Iterator[list[int]]:
        """Every series row in use, as numbers. Holes of the file are stepped over, not read."""
        begin = LAYOUT["series"]
        for first, end in self._filled(begin, begin + SERIES_BYTES, LAYOUT["series_stride"]):
            rows = memoryview(os.pread(self.fd, end - first, first)).cast("Q")
            for word in range(0, len(rows), SERIES_WORDS):
                if rows[word + 1] & IN_USE:
                    yield rows[word:word + SERIES_WORDS].tolist()

    def _filled(self, begin: int, end: int, stride: int) -> Iterator[tuple[int, int]]:
        """Where there are pages between two offsets: from the first byte of a row to the last of another."""
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
            yield first, at

    def filter(self, row: int) -> list[int]:
        """The words of one filter's row; gauges are 0 when no worker writes here."""
        row = min(row, LAYOUT["filter_rows"] - 1)
        found = self.words(LAYOUT["filters"] + row * LAYOUT["filter_stride"], FILTER_WORDS)
        if not self.is_taken:
            for name in FILTER_GAUGES:
                found[FILTER_COLUMNS_AT + FILTER_COLUMNS.index(name)] = 0
        return found

    def limit(self, row: int) -> list[int]:
        """The columns of one rate limit, in the order of LIMIT_COLUMNS."""
        row = min(row, LAYOUT["limit_rows"] - 1)
        return self.words(LAYOUT["limits"] + row * LAYOUT["limit_stride"], len(LIMIT_COLUMNS))

    def route(self, row: int) -> list[int]:
        """Requests that a route took, by the hundred of their answer; the first had none."""
        return self.words(LAYOUT["routes"] + row * LAYOUT["route_stride"], HUNDREDS)

    def fallback(self, cluster_row: int) -> list[int]:
        """What answered in place of a cluster, step by step and reason by reason, and then how often nothing could."""
        row = min(cluster_row, LAYOUT["cluster_rows"] - 1)
        wide = LAYOUT["fallback_reasons"]
        found = self.words(LAYOUT["fallbacks"] + row * LAYOUT["fallback_stride"], (len(FALLBACK_STEPS) + 1) * wide)
        return [number for at in range(0, len(found), wide) for number in found[at:at + len(FALLBACK_REASONS)]]

    def balance(self, cluster_row: int) -> list[int]:
        """How endpoints of a cluster were chosen, in the order of BALANCE_COLUMNS, and then picks by group; gauges are
        0 when no worker writes here."""
        row = min(cluster_row, LAYOUT["cluster_rows"] - 1)
        found = self.words(LAYOUT["balances"] + row * LAYOUT["balance_stride"],
                           len(BALANCE_COLUMNS) + LAYOUT["balance_groups"])
        if not self.is_taken:
            for name in BALANCE_GAUGES:
                found[BALANCE_COLUMNS.index(name)] = 0
        return found

    def filter_now(self) -> tuple[int, int]:
        """Row of the filter that runs, and since when in ns of CLOCK_MONOTONIC; (-1, 0) when none does."""
        if not self.is_taken:
            return -1, 0
        row, since = self.words(LAYOUT["header_filter_now"], 2)
        return row - 1, since

    def filter_overflow(self) -> int:
        """How often a filter's metric was counted without its labels."""
        return self.words(LAYOUT["metric_head"], 3)[2]

    def _metric_rows(self) -> Iterator[tuple[int, int, float, list[int], bool, bytes]]:
        """Metric's row + 1, kind, value, buckets, whether it is the one for the rest, packed labels."""
        count = min(self.words(LAYOUT["metric_head"], 2)[1], LAYOUT["metric_series_rows"])
        for row in METRIC_SERIES.iter_unpack(os.pread(self.fd, count * METRIC_SERIES.size, LAYOUT["metric_series"])):
            metric, kind, value, *buckets, is_other, size, labels = row
            yield metric, kind, value, buckets, bool(is_other), labels[:size]

    def filter_metrics(self) -> Iterator[FilterMetric]:
        """What filters have counted here. Gauges have no series when no worker writes here."""
        count = min(self.words(LAYOUT["metric_head"], 1)[0], LAYOUT["metric_rows"])
        found: dict[int, FilterMetric] = {}
        packed = os.pread(self.fd, count * METRIC_ROW.size, LAYOUT["metrics"])
        for number, (declared_ns, size, _, text) in enumerate(METRIC_ROW.iter_unpack(packed), 1):
            metric = _filter_metric(text[:size], declared_ns) if declared_ns else None
            if metric is not None:
                found[number] = metric
        for number, _, value, buckets, is_other, labels in self._metric_rows() if found else ():
            metric = found.get(number)
            if metric is None or (metric.kind == "gauge" and not self.is_taken):
                continue
            row = [value, *buckets[:len(metric.bounds) + 1]] if metric.kind == "histogram" else [value]
            values = _label_values(labels)
            # The row for the rest is made beforehand, and is nobody's until something is counted in it.
            if len(values) == len(metric.labels) and not (is_other and not any(row)):
                metric.add(values, row)
        yield from found.values()


def _filter_metric(text: bytes, declared_ns: int) -> FilterMetric | None:
    """A declaration. None for what is none: a worker's memory is its filters' too, and one of them must not be able to
    spoil the whole text."""
    try:
        name, owner, kind, words, labels, bounds = msgpack.unpackb(text)
        if not (METRIC_NAME.fullmatch(name) and kind in METRIC_KINDS and isinstance(owner, str)
                and isinstance(words, str) and all(LABEL_NAME.fullmatch(label) for label in labels)):
            return None
        return FilterMetric(name, owner, kind, words, tuple(labels), tuple(map(float, bounds)), declared_ns)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None


def _label_values(packed: bytes) -> tuple[str, ...]:
    try:
        return tuple(str(value) for value in msgpack.unpackb(packed))
    except (ValueError, TypeError, msgpack.UnpackException):
        return ("unreadable",)


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
        file.forget_filter_gauges()
        return file

    def forget_rows(self, rows: dict[str, list[int]]) -> None:
        """`{"listeners": […], "clusters": […], "endpoints": […], "filters": […], "limits": […],
        "routes": […]}`: rows that get another owner begin at zero."""
        for kind, numbers in rows.items():
            for row in numbers:
                for file in self.files:
                    stride = LAYOUT[f"{kind.removesuffix('s')}_stride"]
                    os.pwrite(file.fd, bytes(stride), LAYOUT[kind] + row * stride)
                    if kind == "clusters":
                        stride = LAYOUT["fallback_stride"]
                        os.pwrite(file.fd, bytes(stride), LAYOUT["fallbacks"] + row * stride)
                        stride = LAYOUT["balance_stride"]
                        os.pwrite(file.fd, bytes(stride), LAYOUT["balances"] + row * stride)

    def globals(self) -> dict[str, int]:
        """The global numbers, summed."""
        return dict(zip(GLOBALS, _sum(f.globals() for f in self.files), strict=False))

    def listener(self, row: int) -> dict[str, int]:
        return dict(zip(LISTENER_COLUMNS, _sum(f.listener(row) for f in self.files), strict=False))

    def cluster(self, row: int) -> dict[str, int]:
        return dict(zip(CLUSTER_COLUMNS, _sum(f.cluster(row) for f in self.files), strict=False))

    def fallback(self, cluster_row: int) -> dict[tuple[str, str], int]:
        """(kind of the step, reason) → how often it answered in place of the cluster; kind "" where nothing could."""
        kinds = [(kind, reason) for kind in (*FALLBACK_STEPS, "") for reason in FALLBACK_REASONS]
        return dict(zip(kinds, _sum(f.fallback(cluster_row) for f in self.files), strict=False))

    def balance(self, cluster_row: int) -> tuple[dict[str, int], list[int]]:
        """Sums, but for gauges, of which the largest counts, as all workers have the same endpoints; and picks by
        group."""
        rows = [file.balance(cluster_row) for file in self.files]
        sums = _sum(iter(rows))
        found = dict(zip(BALANCE_COLUMNS, sums, strict=False))
        for name in BALANCE_GAUGES:
            at = BALANCE_COLUMNS.index(name)
            found[name] = max((row[at] for row in rows), default=0)
        return found, sums[len(BALANCE_COLUMNS):]

    def endpoint(self, row: int) -> dict[str, int]:
        """Sums, but for latency, which is the mean of the workers that know it, and avoidance, the longest. Weights are
        for `weight` to tell."""
        rows = [f.endpoint(row) for f in self.files]
        found = dict(zip(ENDPOINT_COLUMNS, _sum(iter(rows)), strict=False))
        ewma, avoid = ENDPOINT_COLUMNS.index("ewma_ns"), ENDPOINT_COLUMNS.index("avoid_until_ns")
        known = [row[ewma] for row in rows if row[ewma]]
        found["ewma_ns"] = sum(known) // len(known) if known else 0
        found["avoid_until_ns"] = max((row[avoid] for row in rows), default=0)
        del found["weight_given"], found["warm_since_ns"]
        return found

    def of_workers(self) -> list[StatsFile]:
        """Those that living workers write to; others are of filter hosts."""
        return [file for file in self.files if file.is_taken and file.heartbeat()]

    @staticmethod
    def weight(workers: list[StatsFile], row: int, configured: int, warming: list[int] | None, now: int) -> float:
        """What counts in picks of an endpoint, the mean of workers: the weight that a policy gave, else the configured
        one; of one that is warming up, the share that it has come to. `warming`: as ClusterRecord has it."""
        given, warm = ENDPOINT_COLUMNS.index("weight_given"), ENDPOINT_COLUMNS.index("warm_since_ns")
        rows = [file.endpoint(row) for file in workers]
        return sum(((one[given] - 1) / 1e6 if one[given] else configured) * warm_share(one[warm], warming, now)
                   for one in rows) / len(rows) if rows else float(configured)

    def limit(self, row: int) -> dict[str, int]:
        return dict(zip(LIMIT_COLUMNS, _sum(f.limit(row) for f in self.files), strict=False))

    def route(self, row: int) -> list[int]:
        return _sum(f.route(row) for f in self.files)

    def overflowed(self, row: int) -> dict[str, int]:
        """Limit → requests that it refused."""
        return dict(zip(LIMITS, _sum(file.overflowed(row) for file in self.files), strict=False))

    def times(self, cluster_row: int, which: str) -> Times:
        total = Times(0, 0, [0] * TIME_BUCKETS)
        for file in self.files:
            one = file.times(cluster_row, which)
            total.count += one.count
            total.sum_ns += one.sum_ns
            total.buckets = [a + b for a, b in zip(total.buckets, one.buckets, strict=True)]
        return total

    def filter(self, row: int) -> FilterFigures:
        """The figures of one filter."""
        rows = [file.filter(row) for file in self.files]
        words = _sum(iter(rows)) or [0] * FILTER_WORDS
        phases = {}
        for number, phase in enumerate(FILTER_PHASES):
            figures = words[number * PHASE_WORDS:number * PHASE_WORDS + len(FILTER_PHASE_COLUMNS)]
            if any(figures):
                phases[phase] = dict(zip(FILTER_PHASE_COLUMNS, figures, strict=True))
        of = dict(zip(FILTER_COLUMNS, words[FILTER_COLUMNS_AT:], strict=False))
        versions = {row[FILTER_COLUMNS_AT] for row in rows} - {0}
        running = [since for number, since in (file.filter_now() for file in self.files) if number == row and since]
        return FilterFigures(
            phases=phases, fingerprints=sorted(version.to_bytes(8, "little").hex() for version in versions),
            quarantined=of["quarantined"], quarantines=of["quarantines"], skipped=of["skipped"],
            in_flight=of["in_flight"], running_ns=max(0, monotonic_ns() - min(running)) if running else 0)

    def filter_overflow(self) -> int:
        return sum(file.filter_overflow() for file in self.files)

    def filter_metrics(self) -> list[FilterMetric]:
        """What filters have counted, each name once: as it was declared last."""
        every = [metric for file in self.files for metric in file.filter_metrics()]
        every.sort(key=lambda metric: metric.declared_ns, reverse=True)
        found: dict[str, FilterMetric] = {}
        for metric in every:
            known = found.setdefault(metric.name, metric)
            if known is not metric and (known.kind, known.labels, known.bounds) == (
                    metric.kind, metric.labels, metric.bounds):
                for values, row in metric.series.items():
                    known.add(values, row)
        return sorted(found.values(), key=lambda metric: metric.name)

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


def warm_share(since: int, warming: list[int] | None, now: int) -> float:
    """What an endpoint has come to since it began to warm up, of the share that it will have: as lb/slow_start draws
    it. `since`: 0 is warm, 1 is about to begin."""
    if warming is None or since == 0:
        return 1.0
    window, aggression, least = warming
    part = min(1.0, max(0, now - since) / window) if since > 1 else 0.0
    share: float = part ** (1000 / aggression)
    return max(share, least / 1e6)
