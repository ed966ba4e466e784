"""The text that Prometheus reads, made from the shared memory of all workers.

https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4). It comes in pieces of one metric
each, so that many thousands of series are never in memory as one text.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite

from fastmesh._core.mem.counter import BYTES_BOUNDS, DURATION_MS_BOUNDS, FLAGS, TIME_US_BOUNDS
from fastmesh._core.mem.health import REASONS
from fastmesh._core.resil.pressure import LEVELS
from fastmesh.observe import families
from fastmesh.observe.breakers import breakers
from fastmesh.observe.families import Family
from fastmesh.observe.health import HealthFile
from fastmesh.observe.labelled import CLASSES, labelled, overflow
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.overload import highest, shed
from fastmesh.observe.stats import BUCKETS, DURATION_AT, OTHER_PLACE, REQUEST_BYTES_AT, RESPONSE_BYTES_AT, StatsShelf

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_CLUSTER = 0xFFFFFFFF
SERIES_TCP = 1
UNKNOWN = "unknown"
WHOLE_MOST = 1e16   # floats beyond have no digit for each place
PIECE = 65536       # characters handed out at a time


@dataclass(slots=True)
class ProcessUse:
    """What one process uses of the machine."""

    process: str
    slot: str
    memory: int
    cpu_seconds: float
    open_fds: int


@dataclass(slots=True)
class DiscoveryFigures:
    """What is counted of the policy of one cluster."""

    cluster: str
    updates: int
    unchanged: int
    errors: dict[str, int]      # by kind
    age: float | None           # seconds; None before the first good set


@dataclass(slots=True)
class CheckFigures:
    """What is counted of health checks, by cluster."""

    results: dict[str, dict[str, int]]      # by how they ended
    states: dict[str, dict[str, int]]       # endpoints, by state


@dataclass(slots=True)
class Scene:
    """All that the text says, except what is in shared memory."""

    stats: StatsShelf
    node: dict[str, str]
    names: SeriesNames                      # of what has ever been counted
    listeners: dict[int, str]               # id → name, of those there are now
    clusters: dict[int, str]
    addresses: dict[int, str]               # of listeners, id → address
    control: dict[str, float] = field(default_factory=dict)     # families.CONTROL without labels → value
    reloads: dict[str, int] = field(default_factory=dict)       # result → count
    build: tuple[str, str, str] = ("", "", "")
    processes: list[ProcessUse] = field(default_factory=list)
    heartbeats: list[tuple[int, float]] = field(default_factory=list)       # slot, age in seconds
    uptime: float = 0.0
    filters: dict[int, str] = field(default_factory=dict)       # row → name, of those there are now
    discoveries: list[DiscoveryFigures] = field(default_factory=list)
    rate_limits: dict[int, str] = field(default_factory=dict)   # likewise
    routes: dict[int, str] = field(default_factory=dict)        # likewise, "listener route"
    cluster_limits: dict[int, dict[str, int]] = field(default_factory=dict)     # of clusters, those there are
    health: HealthFile | None = None
    checks: CheckFigures | None = None
    heals: dict[str, dict[str, int]] = field(default_factory=dict)      # cluster → how it went → how often


Label = tuple[str, str]
Values = list[tuple[str, float | int]]      # text of labels → value


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def labels_text(names: Iterable[str], values: Iterable[str]) -> str:
    """`a="1",b="2"`, without braces."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True))


def exposition(scene: Scene) -> Iterator[str]:
    """The whole text, in pieces."""
    piece: list[str] = []
    size = 0
    for line in _lines(scene):
        piece.append(line)
        size += len(line)
        if size >= PIECE:
            yield "".join(piece)
            piece.clear()
            size = 0
    if piece:
        yield "".join(piece)


def _lines(scene: Scene) -> Iterator[str]:
    yield from _istio(scene)
    yield from _listeners(scene)
    yield from _clusters(scene)
    yield from _breakers(scene)
    yield from _overload(scene)
    yield from _balancing(scene)
    yield from _fallbacks(scene)
    yield from _health(scene)
    yield from _checks(scene)
    yield from _limits(scene)
    yield from _filters(scene)
    yield from _filter_metrics(scene)
    yield from _routes(scene)
    yield from _labelled(scene)
    yield from _discoveries(scene)
    for name, value in scene.stats.globals().items():
        yield from _simple(families.GLOBAL[name], [("", value)])
    yield from _control(scene)


def _head(family: Family) -> str:
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {family.name} {text}\n# TYPE {family.name} {family.kind}\n"


def _simple(family: Family, values: Values) -> Iterator[str]:
    if not values:
        return
    yield _head(family)
    for labels, value in values:
        yield f"{family.name}{{{labels}}} {number(value)}\n" if labels else f"{family.name} {number(value)}\n"


def _histogram(family: Family, bounds: tuple[float, ...],
               rows: list[tuple[str, list[int], float | int]]) -> Iterator[str]:
    """`rows`: labels, buckets (one more than bounds), sum."""
    if not rows:
        return
    yield _head(family)
    edges = [*(number(bound) for bound in bounds), "+Inf"]
    for labels, buckets, total in rows:
        comma = "," if labels else ""
        so_far = 0
        for edge, count in zip(edges, buckets, strict=True):
            so_far += count
            yield f'{family.name}_bucket{{{labels}{comma}le="{edge}"}} {so_far}\n'
        braces = f"{{{labels}}}" if labels else ""
        yield f"{family.name}_sum{braces} {number(total)}\n{family.name}_count{braces} {so_far}\n"


def number(value: float | int) -> str:
    """As Go prints it: whole numbers without a point."""
    if isinstance(value, int):
        return str(value)
    if not isfinite(value):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < WHOLE_MOST else repr(value)


def flag_names(bits: int) -> str:
    """`UF,URX`, as in the access log; "-" for none."""
    return ",".join(name for i, name in enumerate(FLAGS) if bits >> i & 1) or "-"


def _istio(scene: Scene) -> Iterator[str]:
    http: dict[str, list[int]] = {}
    tcp: dict[str, list[int]] = {}
    for (place, kind), row in scene.stats.series().items():
        protocol, code, flags = kind >> 48 & 0x7FFF, kind >> 32 & 0xFFFF, flag_names(kind & 0xFFFFFFFF)
        is_inbound = place >> 32 in scene.names.inbound
        reporter = "destination" if is_inbound else "source"
        policy = "none" if is_inbound else UNKNOWN
        peers = _peers(scene, place, is_inbound)
        # Other listeners and clusters may have the same labels: one label set may appear only once.
        if protocol == SERIES_TCP:
            labels = labels_text(families.TCP_LABELS, (reporter, *peers, "tcp", flags, policy))
            _add(tcp, labels, row)
        else:
            labels = labels_text(families.HTTP_LABELS, (reporter, *peers, "http", str(code), "", flags, policy))
            _add(http, labels, row)
    for family, column in zip(families.ISTIO_HTTP, ("count", "duration", "request", "response"), strict=True):
        if column == "count":
            yield from _simple(family, [(labels, row[2]) for labels, row in http.items()])
        elif column == "duration":
            yield from _histogram(family, DURATION_MS_BOUNDS, [
                (labels, row[DURATION_AT:DURATION_AT + BUCKETS], row[6] / 1000) for labels, row in http.items()])
        else:
            at, total = (REQUEST_BYTES_AT, 4) if column == "request" else (RESPONSE_BYTES_AT, 5)
            yield from _histogram(family, BYTES_BOUNDS, [
                (labels, row[at:at + BUCKETS], row[total]) for labels, row in http.items()])
    for family, at in zip(families.ISTIO_TCP, (2, 3, 4, 5), strict=True):
        yield from _simple(family, [(labels, row[at]) for labels, row in tcp.items()])


def _add(rows: dict[str, list[int]], labels: str, row: list[int]) -> None:
    known = rows.get(labels)
    rows[labels] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]


def _peers(scene: Scene, place: int, is_inbound: bool) -> tuple[str, ...]:
    node = scene.node
    own = (node["workload"], node["service"], node["version"], node["namespace"], UNKNOWN, node["service"],
           node["version"], node["cluster"] or UNKNOWN)
    if is_inbound:
        return (*(UNKNOWN,) * len(own), *own, node["service"], node["service"], node["namespace"])
    cluster = place & 0xFFFFFFFF
    if place == OTHER_PLACE:
        service = "other"
    elif cluster == NO_CLUSTER:
        service = UNKNOWN
    else:
        service = scene.names.clusters.get(cluster, UNKNOWN)
    other = (UNKNOWN, service, UNKNOWN, UNKNOWN, UNKNOWN, service, UNKNOWN, UNKNOWN)
    return (*own, *other, service, service, UNKNOWN)


def _listeners(scene: Scene) -> Iterator[str]:
    columns: dict[str, Values] = {name: [] for name in families.LISTENERS}
    active: Values = []
    requests: Values = []
    for row, name in sorted(scene.listeners.items()):
        found = scene.stats.listener(row)
        for column, values in columns.items():
            values.append((labels_text(("listener",), (name,)), found[column]))
        if row in scene.addresses:
            address = labels_text(("listener_address",), (scene.addresses[row],))
            active.append((address, found["active"]))
            requests.append((address, found["requests"]))
    for column, values in columns.items():
        yield from _simple(families.LISTENERS[column], values)
    yield from _simple(families.ENVOY["listener_active"], active)
    yield from _simple(families.ENVOY["listener_requests"], requests)


def _clusters(scene: Scene) -> Iterator[str]:
    columns: dict[str, Values] = {name: [] for name in families.CLUSTERS}
    answers: Values = []
    again: Values = []
    active: Values = []
    requests: Values = []
    times: dict[str, list[tuple[str, list[int], float | int]]] = {"proxy": [], "wait": []}
    for row, name in sorted(scene.clusters.items()):
        found = scene.stats.cluster(row)
        labels = labels_text(("cluster",), (name,))
        for column, values in columns.items():
            values.append((labels, found[column]))
        for hundred in range(6):
            code_class = f"{hundred}xx" if hundred else "none"
            answers.append((labels_text(("cluster", "code_class"), (name, code_class)), found[f"class_{hundred}"]))
        for reason in families.RETRIED_FOR:
            again.append((labels_text(("cluster", "reason"), (name, reason)), found[f"retried_{reason}"]))
        envoy = labels_text(("cluster_name",), (name,))
        active.append((envoy, found["connections"]))
        requests.append((envoy, found["requests"]))
        for which, rows in times.items():
            one = scene.stats.times(row, which)
            rows.append((labels, one.buckets, one.sum_ns / 1e9))
    for column, values in columns.items():
        yield from _simple(families.CLUSTERS[column], values)
    yield from _simple(families.RESPONSES, answers)
    yield from _simple(families.RETRIED, again)
    seconds = tuple(us / 1e6 for us in TIME_US_BOUNDS)
    yield from _histogram(families.PROXY_TIME, seconds, times["proxy"])
    yield from _histogram(families.UPSTREAM_TIME, seconds, times["wait"])
    yield from _simple(families.ENVOY["cluster_active"], active)
    yield from _simple(families.ENVOY["cluster_requests"], requests)


def _breakers(scene: Scene) -> Iterator[str]:
    refused: Values = []
    columns: dict[Family, Values] = {
        families.BREAKER_LIMIT: [], families.BREAKER_USED: [], families.BREAKER_MOST: [], families.BREAKER_OPEN: []}
    for row, name in sorted(scene.clusters.items()):
        refused += [(labels_text(families.OVERFLOWED.labels, (name, limit)), count)
                    for limit, count in scene.stats.overflowed(row).items() if count]
        for one in breakers(scene.health, row, scene.cluster_limits.get(row, {})) if scene.health is not None else ():
            labels = labels_text(families.BREAKER_LIMIT.labels, (name, one.limit))
            found = (one.most, one.used, one.highest, int(one.is_open))
            for values, value in zip(columns.values(), found, strict=True):
                values.append((labels, value))
    learned = {row: scene.health.learned(row) for row in scene.clusters} if scene.health is not None else {}
    for family, key in ((families.ADAPTIVE_LIMIT, "limit"), (families.ADAPTIVE_BASE, "base"),
                        (families.ADMISSION, "rejected")):
        yield from _simple(family, [(labels_text(family.labels, (scene.clusters[row],)), found[key])
                                    for row, found in sorted(learned.items()) if key in found])
    yield from _simple(families.OVERFLOWED, refused)
    for family, values in columns.items():
        yield from _simple(family, values)


def _overload(scene: Scene) -> Iterator[str]:
    found = highest(scene.stats.of_workers())
    yield from _simple(families.PRESSURE, [(labels_text(families.PRESSURE.labels, (name,)), part)
                                           for name, part in found.parts.items()])
    yield from _simple(families.LEVEL, [("", LEVELS.index(found.level))])
    yield from _simple(families.SHED, [(labels_text(families.SHED.labels, names), count)
                                       for names, count in shed(scene.stats.files).items()])


def _balancing(scene: Scene) -> Iterator[str]:
    found: dict[families.Family, Values] = {family: [] for family in families.BALANCING}
    for row, name in sorted(scene.clusters.items()):
        counts, groups = scene.stats.balance(row)
        for column, (family, *labels) in families.BALANCE.items():
            if counts[column]:
                found[family].append((labels_text(family.labels, (name, *labels)), counts[column]))
        found[families.GROUP_PICKS] += [(labels_text(families.GROUP_PICKS.labels, (name, str(i))), count)
                                        for i, count in enumerate(groups, 1) if count]
    for family, values in found.items():
        yield from _simple(family, values)


def _fallbacks(scene: Scene) -> Iterator[str]:
    answered: Values = []
    exhausted: Values = []
    for row, name in sorted(scene.clusters.items()):
        for (kind, reason), count in scene.stats.fallback(row).items():
            if count and kind:
                answered.append((labels_text(families.FALLBACK.labels, (name, kind, reason)), count))
            elif count:
                exhausted.append((labels_text(families.FALLBACK_EXHAUSTED.labels, (name, reason)), count))
    yield from _simple(families.FALLBACK, answered)
    yield from _simple(families.FALLBACK_EXHAUSTED, exhausted)


def _health(scene: Scene) -> Iterator[str]:
    if scene.health is None:
        return
    ejections: Values = []
    columns: dict[str, Values] = {column: [] for column in families.HEALTH}
    for row, name in sorted(scene.clusters.items()):
        found = scene.health.cluster(row)
        for column, values in columns.items():
            values.append((labels_text(("cluster",), (name,)), found[column]))
        ejections += [(labels_text(families.EJECTIONS.labels, (name, reason)), found[reason])
                      for reason in REASONS if found[reason]]
    yield from _simple(families.EJECTIONS, ejections)
    for column, values in columns.items():
        yield from _simple(families.HEALTH[column], values)


def _checks(scene: Scene) -> Iterator[str]:
    yield from _simple(families.HEALS, [(labels_text(families.HEALS.labels, (cluster, key)), value)
                                        for cluster, values in sorted(scene.heals.items())
                                        for key, value in values.items()])
    if scene.checks is None:
        return
    for family, rows in ((families.HEALTH_CHECKS, scene.checks.results),
                         (families.CHECKED_ENDPOINTS, scene.checks.states)):
        yield from _simple(family, [(labels_text(family.labels, (cluster, key)), value)
                                    for cluster, values in sorted(rows.items()) for key, value in values.items()])


def _routes(scene: Scene) -> Iterator[str]:
    values: Values = []
    for row, name in sorted(scene.routes.items(), key=lambda item: item[1]):
        for how, count in zip(CLASSES, scene.stats.route(row), strict=True):
            if count:
                values.append((labels_text(families.ROUTE_REQUESTS.labels, (*name.split(" ", 1), how)), count))
    yield from _simple(families.ROUTE_REQUESTS, values)


def _limits(scene: Scene) -> Iterator[str]:
    columns: dict[str, Values] = {column: [] for column in families.LIMITS}
    for row, name in sorted(scene.rate_limits.items()):
        found = scene.stats.limit(row)
        for column, values in columns.items():
            values.append((labels_text(("limit",), (name,)), found[column]))
    for column, values in columns.items():
        yield from _simple(families.LIMITS[column], values)


def _filters(scene: Scene) -> Iterator[str]:
    phases: dict[str, Values] = {column: [] for column in families.FILTER_PHASES}
    columns: dict[str, Values] = {column: [] for column in families.FILTERS}
    for row, name in sorted(scene.filters.items()):
        found = scene.stats.filter(row)
        for phase, figures in found.phases.items():
            labels = labels_text(("filter", "phase"), (name, phase))
            for column, values in phases.items():
                values.append((labels, figures[column] / 1e9 if column.endswith("_ns") else figures[column]))
        for column, values in columns.items():
            values.append((labels_text(("filter",), (name,)), getattr(found, column)))
    for column, values in phases.items():
        yield from _simple(families.FILTER_PHASES[column], values)
    for column, values in columns.items():
        yield from _simple(families.FILTERS[column], values)
    overflow = scene.stats.filter_overflow()
    if scene.filters or overflow:
        yield from _simple(families.FILTER_OVERFLOW, [("", overflow)])


def _filter_metrics(scene: Scene) -> Iterator[str]:
    """What filters count for themselves: also of filters that are gone, as their counters must not go back."""
    for metric in scene.stats.filter_metrics():
        family = Family(metric.name, metric.kind, metric.help or f"Of filter {metric.filter}.", metric.labels)
        rows = [(labels_text(metric.labels, values), row) for values, row in sorted(metric.series.items())]
        if metric.kind == "histogram":
            yield from _histogram(family, metric.bounds, [
                (labels, [int(count) for count in row[1:]], row[0]) for labels, row in rows])
        else:
            yield from _simple(family, [(labels, row[0]) for labels, row in rows])


def _labelled(scene: Scene) -> Iterator[str]:
    rows = labelled(scene.stats.files)
    if not rows:
        return
    counts: Values = []
    times: list[tuple[str, list[int], float | int]] = []
    for way, row in sorted(rows.items()):
        labels = labels_text(*zip(*way, strict=True))
        counts += [(f'{labels},code_class="{code_class}"', count)
                   for code_class, count in zip(CLASSES, row.requests, strict=True) if count]
        times.append((labels, row.buckets, row.duration_us / 1e6))
    over = [overflow(file) for file in scene.stats.files]
    yield from _simple(families.LABELLED, counts)
    yield from _histogram(families.LABELLED_DURATION, tuple(bound / 1000 for bound in DURATION_MS_BOUNDS), times)
    yield from _simple(families.LABELLED_OVERFLOW, [('reason="values"', sum(one.values for one in over)),
                                                    ('reason="rows"', sum(one.rows for one in over))])


def _discoveries(scene: Scene) -> Iterator[str]:
    rows = [(labels_text(("cluster",), (one.cluster,)), one) for one in scene.discoveries]
    yield from _simple(families.DISCOVERY_UPDATES, [(labels, one.updates) for labels, one in rows])
    yield from _simple(families.DISCOVERY_UNCHANGED, [(labels, one.unchanged) for labels, one in rows])
    yield from _simple(families.DISCOVERY_ERRORS, [
        (labels_text(("cluster", "kind"), (one.cluster, kind)), count) for one in scene.discoveries
        for kind, count in one.errors.items()])
    yield from _simple(families.DISCOVERY_AGE, [(labels, one.age) for labels, one in rows if one.age is not None])


def _control(scene: Scene) -> Iterator[str]:
    known = families.CONTROL
    yield from _simple(known["build_info"], [(labels_text(known["build_info"].labels, scene.build), 1)])
    for name, value in scene.control.items():
        yield from _simple(known[name], [("", value)])
    yield from _simple(known["reloads"], [(labels_text(("result",), (result,)), count)
                                          for result, count in scene.reloads.items()])
    yield from _simple(known["heartbeat"], [(labels_text(known["heartbeat"].labels, (str(slot),)), age)
                                            for slot, age in scene.heartbeats])
    for name in ("memory", "cpu_seconds", "open_fds"):
        family = known["cpu" if name == "cpu_seconds" else name]
        yield from _simple(family, [(labels_text(family.labels, (use.process, use.slot)), getattr(use, name))
                                    for use in scene.processes])
    total = sum(use.memory for use in scene.processes)
    yield from _simple(families.ENVOY["memory_allocated"], [("", total)])
    yield from _simple(families.ENVOY["memory_heap"], [("", total)])
    yield from _simple(families.ENVOY["uptime"], [("", scene.uptime)])
