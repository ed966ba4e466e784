"""Metrics of filters: `self.metrics` of a filter. They end in `/metrics`, from every worker."""

from __future__ import annotations

from time import monotonic_ns

import msgpack

from fastmesh._core.mem.metric import MOST_BOUNDS, Counter, Gauge, Histogram, MetricError, MetricTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("BUCKETS", "Counter", "Gauge", "Histogram", "MetricError", "Metrics", "attach", "detach")

PREFIX = "fastmesh_filter_"
NAME_MOST = 64          # characters of a metric's name, and of a label's
LABELS_MOST = 6
HELP_MOST = 200         # characters; the rest is cut off
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# What the proxy itself says of filters; observe.families has the sentences, and a test compares.
TAKEN = frozenset(PREFIX + name for name in (
    "calls_total", "seconds_total", "cpu_seconds_total", "errors_total", "overruns_total", "quarantined",
    "quarantines_total", "skipped_total", "in_flight", "series_overflow_total"))

_table: MetricTable | None = None
_owners: dict[str, list[Metrics]] = {}      # name in /metrics -> those whose it is: versions of one filter


def attach(fd: int) -> None:
    """From now on metrics are counted in this stats memfd, which control reads. Without it, in memory of their own."""
    global _table
    _table = MetricTable(fd)


def detach() -> None:
    """For tests: forget everything that was declared. What counts already counts on where it did."""
    global _table
    _table = None
    _owners.clear()


class Metrics:
    """`self.metrics` of a filter: what it counts, which ends in `/metrics` from every worker::

        class Refusals(Filter):
            def start(self) -> None:
                self.refused = self.metrics.counter("refused", help="Requests without a tenant.", labels=("method",))

            def on_request(self, request: Request) -> Response | None:
                if "x-tenant" in request.headers:
                    return None
                self.refused.inc(method=request.method)
                return Response(400)

    is `fastmesh_filter_Refusals_refused_total{method="GET"}` there. Declare metrics in `start`: there an error refuses
    the configuration. A metric tells 200 sets of label values apart in a worker, all metrics together 2,048; what comes
    beyond is counted under `other`, and in `fastmesh_filter_series_overflow_total`. Names and labels have at most 64 of
    the characters a-z, A-Z, 0-9 and _; a metric has at most 6 labels.
    """

    def __init__(self, filter_name: str) -> None:
        """For the worker."""
        global _table
        if _table is None:
            _table = MetricTable()
        self._table = _table
        self._filter = filter_name
        # Metric names may have no others; two filters that become one by it are refused when they clash.
        self._prefix = PREFIX + "".join(c if c.isascii() and c.isalnum() else "_" for c in filter_name) + "_"
        self._declared: dict[str, tuple[bytes, Counter | Gauge | Histogram]] = {}
        self._before: dict[str, int] = {}       # name -> declared_ns, from before it was declared here

    def counter(self, name: str, help: str = "", labels: Sequence[str] = ()) -> Counter:
        """A number that only grows. `_total` is added to its name, as is the custom."""
        full = self._full(name)
        full = full if full.endswith("_total") else full + "_total"
        made = self._declare(full, "counter", help, labels, (), (full,))
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str, help: str = "", labels: Sequence[str] = ()) -> Gauge:
        """A number that goes both ways. `/metrics` shows the sum of all workers."""
        full = self._full(name)
        made = self._declare(full, "gauge", help, labels, (), (full,))
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str, help: str = "", labels: Sequence[str] = (),
                  buckets: Iterable[float] = BUCKETS) -> Histogram:
        """Counts values by size: of each how many are at most as large as this bucket's bound."""
        full = self._full(name)
        bounds = tuple(float(bound) for bound in buckets)
        if not 1 <= len(bounds) <= MOST_BOUNDS:
            raise MetricError(f"{full}: {len(bounds)} buckets; allowed are 1 to {MOST_BOUNDS}")
        rises = all(below < above for below, above in zip(bounds, bounds[1:], strict=False))    # noqa: RUF007
        if not rises or not all(-1e308 < bound < 1e308 for bound in bounds):
            raise MetricError(f"{full}: buckets are numbers, each above the one before (the last one, +Inf, is added), "
                              f"not {', '.join(f'{bound:g}' for bound in bounds)}")
        if "le" in labels:
            raise MetricError(f"{full}: a histogram's own label is called le; give yours another name")
        made = self._declare(full, "histogram", help, labels, bounds,
                             (full, f"{full}_bucket", f"{full}_sum", f"{full}_count"))
        assert isinstance(made, Histogram)
        return made

    def renew(self) -> None:
        """For the worker: of all that was declared under these names, this is what counts: the filter's version is live
        (again)."""
        when = monotonic_ns()
        for _, metric in self._declared.values():
            metric.declared_ns = when

    def withdraw(self) -> None:
        """For the worker: the version was refused: what was declared before it counts again."""
        for name, (_, metric) in self._declared.items():
            metric.declared_ns = self._before[name]
        self.close()

    def close(self) -> None:
        """For the worker: the filter's version is gone, and its names are free for another filter. What it has counted
        stays."""
        for name, owners in list(_owners.items()):
            if self in owners:
                owners.remove(self)
                if not owners:
                    del _owners[name]

    def _full(self, name: str) -> str:
        if not _is_name(name):
            raise MetricError(f"a metric of filter {self._filter!r} is called {name!r}; a name has 1 to {NAME_MOST} of "
                              "the characters a-z, A-Z, 0-9 and _, and does not begin with a digit")
        return self._prefix + name

    def _declare(self, full: str, kind: str, help: str, labels: Sequence[str], bounds: tuple[float, ...],
                 names: tuple[str, ...]) -> Counter | Gauge | Histogram:
        if isinstance(labels, str):
            raise MetricError(f"{full}: labels are a tuple of names, as ({labels!r},)")
        for label in labels:
            if not isinstance(label, str) or not _is_name(label) or label.startswith("__"):
                raise MetricError(f"{full}: a label is called {label!r}; a name has 1 to {NAME_MOST} of the characters "
                                  "a-z, A-Z, 0-9 and _, and does not begin with a digit or __")
        if len(labels) > LABELS_MOST or len(set(labels)) != len(labels):
            raise MetricError(f"{full}: labels are {', '.join(labels)}; allowed are {LABELS_MOST}, each once")
        text = msgpack.packb([full, self._filter, kind, " ".join(help.split())[:HELP_MOST], list(labels), list(bounds)])
        known = self._declared.get(full)
        if known is not None:
            if known[0] != text:
                raise MetricError(f"{full} is declared twice, and differently: kind, help, labels and buckets must be "
                                  "the same")
            return known[1]
        for name in names:
            if name in TAKEN:
                raise MetricError(f"{name} is what the proxy itself counts; give the metric another name")
            for owner in _owners.get(name, ()):
                if owner is self or owner._filter != self._filter:
                    whose = "another of its own metrics" if owner is self else f"filter {owner._filter!r}"
                    raise MetricError(f"filter {self._filter!r} declares {full}, but {name} belongs to {whose}; give "
                                      "one of them another name")
        made = self._table.declare(text)
        for name in names:
            _owners.setdefault(name, []).append(self)
        self._declared[full] = (text, made)
        self._before[full] = made.declared_ns
        made.declared_ns = monotonic_ns()
        return made


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier() and len(name) <= NAME_MOST
