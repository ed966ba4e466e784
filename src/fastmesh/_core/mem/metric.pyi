from typing import Final

LABEL_SETS: Final[int]
VALUE_BYTES: Final[int]
KINDS: dict[str, int]
MOST_BOUNDS: Final[int]

class MetricError(ValueError):
    """A metric cannot be had as it was asked for. The text says which, why, and what is allowed."""

class MetricTable:
    """The rows of one process."""

    metrics: dict[bytes, Metric]
    def __init__(self, fd: int = -1) -> None: ...
    @property
    def overflow(self) -> int:
        """How often something was counted without its labels."""
    @property
    def n_series(self) -> int: ...
    def declare(self, text: bytes) -> Counter | Gauge | Histogram:
        """The metric of a declaration: `[name, filter, kind, help, labels, bounds]`, packed. Raises MetricError."""

class Cell:
    """One row: a metric with all its labels given."""

class CounterCell(Cell):
    """A counter with its labels given."""

    def inc(self, n: float = 1.0) -> None:
        """Counts. A counter never goes back: raises ValueError below 0."""
    @property
    def value(self) -> float:
        """Of this worker and those before it in its place."""

class GaugeCell(Cell):
    """A gauge with its labels given."""

    def set(self, value: float) -> None:
        """In this worker it is this now."""
    def inc(self, n: float = 1.0) -> None:
        """So much more."""
    def dec(self, n: float = 1.0) -> None:
        """So much less."""
    @property
    def value(self) -> float:
        """Of this worker."""

class HistogramCell(Cell):
    """A histogram with its labels given."""

    def observe(self, value: float) -> None:
        """Counts a value. Raises ValueError for what is no number."""
    @property
    def count(self) -> int:
        """Of this worker and those before it in its place."""
    @property
    def sum(self) -> float:
        """Of all values, as `count`."""

class Metric:
    """A metric as its filter declared it."""

    @property
    def name(self) -> str:
        """As it stands in `/metrics`."""
    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that it was declared with; all of them are given each time."""
    @property
    def bounds(self) -> tuple[float, ...]:
        """Of a histogram's buckets; of others empty."""
    declared_ns: int
    """For the worker: of several versions of a filter, the one that declared it last counts."""

class Counter(Metric):
    """Counts what happens. Summed over all workers, and over those that were replaced."""

    def inc(self, n: float = 1.0, **labels: str | int) -> None:
        """Counts, under these labels."""
    def labels(self, **labels: str | int) -> CounterCell:
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""

class Gauge(Metric):
    """Says how things are. Summed over the workers that live."""

    def set(self, value: float, **labels: str | int) -> None:
        """In this worker it is this now, under these labels."""
    def inc(self, n: float = 1.0, **labels: str | int) -> None:
        """So much more, under these labels."""
    def dec(self, n: float = 1.0, **labels: str | int) -> None:
        """So much less, under these labels."""
    def labels(self, **labels: str | int) -> GaugeCell:
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""

class Histogram(Metric):
    """Counts values by size. Summed as counters are."""

    def observe(self, value: float, **labels: str | int) -> None:
        """Counts a value, under these labels."""
    def labels(self, **labels: str | int) -> HistogramCell:
        """The same with its labels given, for speed. After 200 sets of labels all further ones are `other`."""
