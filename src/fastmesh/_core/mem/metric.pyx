"""What filters count: rows in the worker's shared memory (counter.pxd: metrics_t), and the objects that write them.

Declarations and label values are in the rows as text, so control reads them without asking anybody. A row outlives the
worker that made it: the next worker finds it by its text and counts on. Rows are made for label sets as they come, up
to a bound; what comes beyond is counted in the metric's row for the rest, and in `overflow`.

Everything here belongs to one process, which is the only writer; the GIL keeps its threads apart.
"""
import os

import msgpack

from libc.math cimport isfinite
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport ftruncate
from fastmesh._core.mem.counter cimport (
    METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, STATS_METRIC_BOUNDS, STATS_METRIC_LABELS, STATS_METRIC_SERIES,
    STATS_METRIC_TEXT, STATS_METRICS, metric_series_t, metrics_t, stats_t)
from fastmesh._core.mem.counter import LAYOUT as _LAYOUT

LABEL_SETS = 200        # of one metric
VALUE_BYTES = 64        # of one label
KINDS = {"counter": METRIC_COUNTER, "gauge": METRIC_GAUGE, "histogram": METRIC_HISTOGRAM}
MOST_BOUNDS = STATS_METRIC_BOUNDS


cdef object _made_here = object()     # nobody else has it: rows are found by this module alone


class MetricError(ValueError):
    """A metric cannot be had as it was asked for. The text says which, why, and what is allowed."""


cdef class MetricTable:
    """The rows of one process."""

    cdef metrics_t *_m
    cdef void *_at                # owned: the mapping, which begins at a page
    cdef size_t _length
    cdef readonly dict metrics    # text of a declaration -> Metric

    def __cinit__(self, int fd=-1):
        """Maps the part of a stats memfd; without one, memory of its own."""
        cdef size_t before = _LAYOUT["metric_head"]
        cdef size_t offset = 0
        self.metrics = {}
        if fd >= 0:
            offset = before - before % <size_t>os.sysconf("SC_PAGESIZE")
            if ftruncate(fd, sizeof(stats_t)) != 0:
                raise OSError("the memory of metrics cannot be made as long as it must be")
        else:
            before = 0
        self._length = before - offset + sizeof(metrics_t)
        self._at = mmap(NULL, self._length, PROT_READ | PROT_WRITE,
                        MAP_SHARED if fd >= 0 else MAP_SHARED | MAP_ANONYMOUS, fd, <long>offset)
        if self._at == MAP_FAILED:
            self._at = NULL
            raise OSError("the memory of metrics cannot be mapped")
        self._m = <metrics_t *>(<uint8_t *>self._at + before - offset)

    def __reduce__(self):
        raise TypeError("metrics cannot be pickled")

    def __dealloc__(self):
        if self._at is not NULL:
            munmap(self._at, self._length)

    @property
    def overflow(self):
        """How often something was counted without its labels."""
        return self._m.head.overflow

    @property
    def n_series(self):
        return self._m.head.n_series

    def declare(self, bytes text):
        """The metric of a declaration: `[name, filter, kind, help, labels, bounds]`, packed. Raises MetricError."""
        cdef uint64_t row
        cdef uint64_t n = min(self._m.head.n_metrics, <uint64_t>STATS_METRICS)
        known = self.metrics.get(text)
        if known is not None:
            return known
        name, _, kind, _, labels, bounds = msgpack.unpackb(text)
        if len(text) > STATS_METRIC_TEXT:
            raise MetricError(f"{name}: its name, help, labels and buckets take {len(text):,} bytes together; at most "
                              f"{STATS_METRIC_TEXT:,} are possible")
        for row in range(n):
            if self._m.metrics[row].size == <uint64_t>len(text) and \
                    (<char *>self._m.metrics[row].text)[:len(text)] == text:
                break
        else:
            row = n
            if row == STATS_METRICS:
                raise MetricError(f"{name}: there are {STATS_METRICS} metrics of filters already, since fastmesh was "
                                  "started, and no more are possible")
            self._m.metrics[row].declared_ns = 0
            self._m.metrics[row].size = len(text)
            memcpy(self._m.metrics[row].text, <const char *>text, len(text))
        made = _CLASSES[kind](_made_here, self, row, name, kind, tuple(labels), tuple(bounds))
        if row == n:
            self._m.head.n_metrics = n + 1
        self.metrics[text] = made
        return made

    cdef metric_series_t *_new(self, uint64_t row, uint64_t kind, bytes labels, bint is_other) noexcept:
        """NULL when there are no rows left."""
        cdef uint64_t n = self._m.head.n_series
        cdef metric_series_t *s
        if n >= STATS_METRIC_SERIES or len(labels) > STATS_METRIC_LABELS:
            return NULL
        s = &self._m.series[n]
        s.kind = kind
        s.is_other = is_other
        s.size = len(labels)
        memcpy(s.labels, <const char *>labels, len(labels))
        s.metric = row + 1
        self._m.head.n_series = n + 1
        return s


cdef class Cell:
    """One row: a metric with all its labels given."""

    cdef Metric _metric           # keeps the row mapped
    cdef metric_series_t *_s

    def __cinit__(self, *args):
        if len(args) != 2 or args[1] is not _made_here:
            raise TypeError("what counts is had from a metric, by labels()")
        self._metric = args[0]

    def __reduce__(self):
        raise TypeError("metrics cannot be pickled")


cdef class CounterCell(Cell):
    """A counter with its labels given."""

    def inc(self, double n=1):
        """Counts. A counter never goes back: raises ValueError below 0."""
        if not (n >= 0 and isfinite(n)):
            raise ValueError(f"{self._metric.name}: a counter cannot grow by {n!r}; what goes both ways is a gauge")
        self._s.value += n

    @property
    def value(self):
        """Of this worker and those before it in its place."""
        return self._s.value


cdef class GaugeCell(Cell):
    """A gauge with its labels given."""

    def set(self, double value):
        self._s.value = value

    def inc(self, double n=1):
        self._s.value += n

    def dec(self, double n=1):
        self._s.value -= n

    @property
    def value(self):
        """Of this worker."""
        return self._s.value


cdef class HistogramCell(Cell):
    """A histogram with its labels given."""

    def observe(self, double value):
        """Counts a value. Raises ValueError for what is no number."""
        cdef uint32_t i = 0
        if not isfinite(value):
            raise ValueError(f"{self._metric.name}: {value!r} cannot be observed")
        while i < self._metric._n_bounds and value > self._metric._bounds[i]:
            i += 1
        self._s.buckets[i] += 1
        self._s.value += value

    @property
    def count(self):
        """Of this worker and those before it in its place."""
        cdef uint32_t i
        cdef uint64_t n = 0
        for i in range(self._metric._n_bounds + 1):
            n += self._s.buckets[i]
        return n

    @property
    def sum(self):
        return self._s.value


cdef class Metric:
    """A metric as its filter declared it."""

    cdef MetricTable _table
    cdef uint64_t _row
    cdef uint64_t _kind
    cdef readonly str name        # as it stands in /metrics
    cdef readonly tuple label_names
    cdef readonly tuple bounds
    cdef double _bounds[STATS_METRIC_BOUNDS]
    cdef uint32_t _n_bounds
    cdef Cell _only               # without labels
    cdef Cell _other              # with labels: for those that get no row
    cdef dict _cells              # label values, or the one, as they were given -> Cell
    cdef dict _rows               # label values, packed -> Cell

    def __cinit__(self, made_here, MetricTable table, uint64_t row, str name, str kind, tuple labels, tuple bounds):
        cdef uint64_t i
        cdef metric_series_t *s
        cdef Cell cell
        if made_here is not _made_here:
            raise TypeError("a metric is had from a filter, by self.metrics")
        self._table = table
        self._row = row
        self._kind = KINDS[kind]
        self.name = name
        self.label_names = labels
        self.bounds = bounds
        self._n_bounds = <uint32_t>len(bounds)
        if len(bounds) > STATS_METRIC_BOUNDS:
            raise MetricError(f"{name}: {len(bounds)} buckets; at most {STATS_METRIC_BOUNDS} are possible")
        for i in range(self._n_bounds):
            self._bounds[i] = bounds[i]
        self._cells = {}
        self._rows = {}
        for i in range(min(table._m.head.n_series, <uint64_t>STATS_METRIC_SERIES)):
            s = &table._m.series[i]
            if s.metric != row + 1 or s.size > STATS_METRIC_LABELS:
                continue
            cell = self._cell_of(s)
            if s.is_other:
                self._other = cell
            elif labels:
                self._rows[(<char *>s.labels)[:s.size]] = cell
            else:
                self._only = cell
        # The row for the rest is there from the beginning: later there might be none.
        if labels and self._other is None:
            self._other = self._make(msgpack.packb(["other"] * len(labels)), True)
        elif not labels and self._only is None:
            self._only = self._make(msgpack.packb([]), False)
        if self._other is None and self._only is None:
            raise MetricError(f"{name}: there are {STATS_METRIC_SERIES:,} series of filters in this worker already, "
                              "and no more are possible; use fewer labels")

    def __reduce__(self):
        raise TypeError("metrics cannot be pickled")

    def __repr__(self):
        return f"<{type(self).__name__} {self.name}>"

    @property
    def declared_ns(self):
        """When this declaration was last said to count, in CLOCK_MONOTONIC; 0 is never. Of two under one name, the
        newer one is shown."""
        return self._table._m.metrics[self._row].declared_ns

    @declared_ns.setter
    def declared_ns(self, uint64_t when):
        self._table._m.metrics[self._row].declared_ns = when

    cdef Cell _cell_of(self, metric_series_t *s):
        cdef Cell cell = _CELLS[self._kind](self, _made_here)
        cell._s = s
        return cell

    cdef Cell _make(self, bytes labels, bint is_other):
        cdef metric_series_t *s = self._table._new(self._row, self._kind, labels, is_other)
        return None if s is NULL else self._cell_of(s)

    cdef Cell _get(self, dict labels):
        cdef Cell cell
        if self._only is not None:
            if labels:
                raise TypeError(self._wrong(labels))
            return self._only
        if len(labels) != len(self.label_names):
            raise TypeError(self._wrong(labels))
        try:
            if len(self.label_names) == 1:
                key = labels[self.label_names[0]]
            else:
                key = tuple([labels[label] for label in self.label_names])
        except KeyError:
            raise TypeError(self._wrong(labels)) from None
        cell = self._cells.get(key)
        return cell if cell is not None else self._add(key)

    cdef Cell _add(self, key):
        """For label values that were not seen as they are."""
        cdef Cell cell
        is_whole = True
        values = []
        for value in (key,) if len(self.label_names) == 1 else key:
            given = str(value)
            text = given.encode("utf-8", "replace")[:VALUE_BYTES].decode("utf-8", "ignore")
            # Else there are values without end that have one row.
            is_whole = is_whole and text == given and isinstance(value, (str, int))
            values.append(text)
        packed = msgpack.packb(values)
        cell = self._rows.get(packed)
        if cell is None:
            cell = self._make(packed, False) if len(self._rows) < LABEL_SETS else None
            if cell is None:
                self._table._m.head.overflow += 1
                return self._other
            self._rows[packed] = cell
        if is_whole:
            self._cells[key] = cell
        return cell

    cdef str _wrong(self, dict labels):
        found = ", ".join(sorted(labels)) or "none"
        return f"{self.name}: its labels are {', '.join(self.label_names) or 'none'}; given were {found}"


cdef class Counter(Metric):
    """Counts what happens. Summed over all workers, and over those that were replaced."""

    def inc(self, double n=1, **labels):
        """Counts, under these labels."""
        (<CounterCell>self._get(labels)).inc(n)

    def labels(self, **labels):
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""
        return self._get(labels)


cdef class Gauge(Metric):
    """Says how things are. Summed over the workers that live."""

    def set(self, double value, **labels):
        (<GaugeCell>self._get(labels)).set(value)

    def inc(self, double n=1, **labels):
        (<GaugeCell>self._get(labels)).inc(n)

    def dec(self, double n=1, **labels):
        (<GaugeCell>self._get(labels)).dec(n)

    def labels(self, **labels):
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""
        return self._get(labels)


cdef class Histogram(Metric):
    """Counts values by size. Summed as counters are."""

    def observe(self, double value, **labels):
        """Counts a value, under these labels."""
        (<HistogramCell>self._get(labels)).observe(value)

    def labels(self, **labels):
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""
        return self._get(labels)


_CLASSES = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
_CELLS = {METRIC_COUNTER: CounterCell, METRIC_GAUGE: GaugeCell, METRIC_HISTOGRAM: HistogramCell}
