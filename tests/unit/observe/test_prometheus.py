"""The metrics text: right sums, right labels, a form that Prometheus accepts."""

import os
import re
import struct
from pathlib import Path

from fastmesh._core.mem import health
from fastmesh._core.mem.counter import (
    BALANCE_COLUMNS,
    CLUSTER_COLUMNS,
    DURATION_MS_BOUNDS,
    ENDPOINT_COLUMNS,
    FLAGS,
    GLOBALS,
    LAYOUT,
)
from fastmesh.observe import families
from fastmesh.observe.health import HealthFile
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.prometheus import (
    CheckFigures,
    DiscoveryFigures,
    ProcessUse,
    Scene,
    escape,
    exposition,
    flag_names,
    number,
)
from fastmesh.observe.stats import BUCKETS, DURATION_AT, IN_USE, OTHER_PLACE, SERIES_WORDS, StatsFile, StatsShelf
from probes.breaker_probe import Seats
from probes.label_probe import Table

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
NODE = {"service": "shop", "version": "v1", "namespace": "sales", "workload": "shop-v1", "cluster": ""}
LINE = re.compile(r'^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? -?[0-9][0-9.e+-]*$')


def put(file: StatsFile, offset: int, *values: int) -> None:
    os.pwrite(file.fd, struct.pack(f"<{len(values)}Q", *values), offset)


def put_series(file: StatsFile, row: int, listener: int, cluster: int, code: int = 200, flags: int = 0,
               protocol: int = 0, count: int = 1, received: int = 10, sent: int = 20, us: int = 1500) -> None:
    words = [0] * SERIES_WORDS
    words[0] = listener << 32 | cluster
    words[1] = IN_USE | protocol << 48 | code << 32 | flags
    words[2:7] = [count, count, received, sent, us]
    words[DURATION_AT + 2] = count          # between 1 and 5 ms
    words[DURATION_AT + BUCKETS + 3] = count
    words[DURATION_AT + 2 * BUCKETS + 4] = count
    put(file, LAYOUT["series"] + row * LAYOUT["series_stride"], *words)


def scene_of(shelf: StatsShelf) -> Scene:
    names = SeriesNames()
    names.learn({0: "app", 3: "api", 4: "gone"}, [(0, "outbound"), (1, "inbound"), (2, "inbound")])
    return Scene(stats=shelf, node=NODE, names=names, listeners={0: "web", 1: "in"}, clusters={0: "app", 3: "api"},
                 addresses={0: "127.0.0.1:80", 1: "unix:/run/x"}, control={"snapshot_version": 4, "workers": 2},
                 reloads={"good": 3, "bad": 1}, build=("0.1.0", "3.11.7", "epoll"),
                 processes=[ProcessUse("control", "", 1000, 0.5, 9), ProcessUse("worker", "0", 500, 0.25, 20)],
                 heartbeats=[(0, 0.25)], uptime=12.5)


def parse(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            assert LINE.match(line), line
            name, _, value = line.rpartition(" ")
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return found


def test_discovery(shelf: StatsShelf) -> None:
    scene = scene_of(shelf)
    assert "discovery_updates" not in "".join(exposition(scene))
    scene.checks = CheckFigures({"app": {"passed": 7, "timeout": 1}}, {"app": {"healthy": 2, "unhealthy": 1}})
    scene.discoveries = [DiscoveryFigures("app", 3, 1, {"raised": 2, "died": 0}, 1.5),
                         DiscoveryFigures("api", 0, 0, {"raised": 0, "died": 0}, None)]
    found = parse("".join(exposition(scene)))
    told = {name.removeprefix("fastmesh_discovery_"): value for name, value in found.items() if "discovery" in name}
    assert told == {
        'updates_total{cluster="app"}': 3, 'updates_total{cluster="api"}': 0, 'unchanged_total{cluster="app"}': 1,
        'unchanged_total{cluster="api"}': 0, 'errors_total{cluster="app",kind="raised"}': 2,
        'errors_total{cluster="app",kind="died"}': 0, 'errors_total{cluster="api",kind="raised"}': 0,
        'errors_total{cluster="api",kind="died"}': 0, 'age_seconds{cluster="app"}': 1.5}


def of(found: dict[str, float], name: str, **labels: str) -> float:
    return sum(v for k, v in found.items()
               if k.startswith(name + "{") and all(f'{label}="{value}"' in k for label, value in labels.items()))


def test_an_empty_shelf_is_text_that_can_be_read(shelf: StatsShelf) -> None:
    found = parse("".join(exposition(scene_of(shelf))))
    assert found["fastmesh_snapshot_version"] == 4
    assert found['fastmesh_reloads_total{result="bad"}'] == 1
    assert found["envoy_server_memory_allocated"] == 1500
    assert found['fastmesh_process_resident_memory_bytes{process="control",slot=""}'] == 1000
    assert not any(key.startswith("istio_") for key in found)


def test_workers_are_summed(shelf: StatsShelf) -> None:
    for n, file in enumerate(shelf.files, 1):
        put(file, LAYOUT["globals"] + GLOBALS.index("requests") * 8, 10 * n)
        put_series(file, 5 * n, 0, 0, count=n)       # the same labels in another row of the table
    found = parse("".join(exposition(scene_of(shelf))))
    assert found["fastmesh_requests_total"] == 30
    assert of(found, "istio_requests_total", reporter="source", destination_service="app") == 3
    assert of(found, "istio_request_duration_milliseconds_count") == 3


def test_rows_with_the_same_labels_are_one_series(shelf: StatsShelf) -> None:
    """Two outbound listeners to one cluster, and two inbound clusters: Prometheus refuses a label set twice."""
    put_series(shelf.files[0], 1, 0, 0)
    put_series(shelf.files[0], 2, 5, 0)
    put_series(shelf.files[0], 3, 1, 0)
    put_series(shelf.files[0], 4, 1, 3)
    found = parse("".join(exposition(scene_of(shelf))))
    assert of(found, "istio_requests_total", reporter="source") == 2
    assert of(found, "istio_requests_total", reporter="destination") == 2


def test_labels_of_both_reporters(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 1, 0, 3, code=503, flags=1 << FLAGS.index("UF") | 1 << FLAGS.index("URX"))
    put_series(shelf.files[0], 2, 1, 0)
    put_series(shelf.files[0], 3, 0, 0xFFFFFFFF, code=404, flags=1 << FLAGS.index("NR"))
    found = parse("".join(exposition(scene_of(shelf))))
    assert of(found, "istio_requests_total", reporter="source", source_workload="shop-v1", source_app="shop",
              source_version="v1", source_workload_namespace="sales", destination_service="api",
              destination_service_name="api", response_code="503", response_flags="UF,URX",
              connection_security_policy="unknown") == 1
    assert of(found, "istio_requests_total", reporter="destination", source_workload="unknown",
              destination_workload="shop-v1", destination_service="shop", destination_service_namespace="sales",
              response_flags="-", connection_security_policy="none") == 1
    assert of(found, "istio_requests_total", response_code="404", destination_service="unknown") == 1


def test_what_is_gone_keeps_its_labels(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 0, listener=0, cluster=4, count=3)
    put_series(shelf.files[0], 1, listener=2, cluster=4, count=5)
    scene = scene_of(shelf)
    found = parse("".join(exposition(scene)))
    assert of(found, "istio_requests_total", reporter="source", destination_service="gone") == 3
    assert of(found, "istio_requests_total", reporter="destination", destination_service="shop") == 5
    assert 'cluster="gone"' not in "".join(exposition(scene))


def test_a_number_stands_for_its_newest_owner() -> None:
    names = SeriesNames()
    names.learn({7: "one"}, [(1, "inbound")])
    names.learn({8: "two"}, [])
    assert (names.clusters, names.inbound) == ({7: "one", 8: "two"}, {1})
    names.learn({7: "three"}, [(1, "outbound")])
    assert (names.clusters[7], names.inbound) == ("three", set())


def test_what_did_not_fit_is_counted_under_other(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 0, OTHER_PLACE >> 32, OTHER_PLACE & 0xFFFFFFFF, code=0, count=9)
    found = parse("".join(exposition(scene_of(shelf))))
    assert of(found, "istio_requests_total", destination_service="other") == 9


def test_histograms_are_cumulative_and_in_milliseconds(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 1, 0, 0, count=4, us=6500)
    found = parse("".join(exposition(scene_of(shelf))))
    name = "istio_request_duration_milliseconds"
    assert [of(found, f"{name}_bucket", le=number(bound)) for bound in DURATION_MS_BOUNDS] == [0, 0, *[4] * 17]
    assert of(found, f"{name}_bucket", le="+Inf") == 4
    assert of(found, f"{name}_sum") == 6.5
    assert of(found, "istio_request_bytes_sum") == 10
    assert of(found, "istio_response_bytes_sum") == 20


def test_tcp_has_metrics_of_its_own(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 1, 0, 0, protocol=1, count=2, received=7, sent=8, code=0)
    found = parse("".join(exposition(scene_of(shelf))))
    for name, value in (("connections_opened", 2), ("connections_closed", 2), ("received_bytes", 7), ("sent_bytes", 8)):
        assert of(found, f"istio_tcp_{name}_total", request_protocol="tcp") == value
    assert of(found, "istio_requests_total") == 0


def test_times_in_the_proxy_and_upstream(shelf: StatsShelf) -> None:
    row = LAYOUT["clusters"] + 3 * LAYOUT["cluster_stride"]
    put(shelf.files[0], row + LAYOUT["cluster_proxy_count"], 2, 30_000, 0, 0, 0, 0, 2)
    put(shelf.files[1], row + LAYOUT["cluster_wait_count"], 1, 2_000_000_000)
    put(shelf.files[1], row + LAYOUT["cluster_wait_buckets"] + 8 * 19, 1)
    put(shelf.files[0], row + CLUSTER_COLUMNS.index("class_5") * 8, 6)
    found = parse("".join(exposition(scene_of(shelf))))
    assert found['fastmesh_proxy_time_seconds_bucket{cluster="api",le="1e-05"}'] == 0
    assert found['fastmesh_proxy_time_seconds_bucket{cluster="api",le="2e-05"}'] == 2
    assert found['fastmesh_proxy_time_seconds_sum{cluster="api"}'] == 3e-05
    assert found['fastmesh_upstream_time_seconds_bucket{cluster="api",le="2"}'] == 1
    assert found['fastmesh_upstream_time_seconds_sum{cluster="api"}'] == 2
    assert found['fastmesh_cluster_responses_total{cluster="api",code_class="5xx"}'] == 6


def test_gauges_of_a_dead_worker_do_not_count_and_its_counters_do(shelf: StatsShelf) -> None:
    for file in shelf.files:
        put(file, LAYOUT["globals"] + GLOBALS.index("requests") * 8, 5)
        put(file, LAYOUT["globals"] + GLOBALS.index("streams") * 8, 7)
        put(file, LAYOUT["clusters"] + CLUSTER_COLUMNS.index("active") * 8, 2)
        put(file, LAYOUT["endpoints"] + ENDPOINT_COLUMNS.index("avoid_until_ns") * 8, 1 << 62)
    shelf.files[1].is_taken = False
    found = parse("".join(exposition(scene_of(shelf))))
    assert found["fastmesh_requests_total"] == 10
    assert found["fastmesh_streams"] == 7
    assert found['fastmesh_cluster_requests_active{cluster="app"}'] == 2
    shelf.files[0].is_taken = False
    assert shelf.endpoint(0)["avoid_until_ns"] == 0
    assert shelf.take(1) is shelf.files[1]
    assert shelf.take(5) is shelf.files[0]      # its slot has none of its own: any free one
    assert len(shelf.files) == 2


def test_names_cannot_break_the_text(shelf: StatsShelf) -> None:
    scene = scene_of(shelf)
    scene.clusters = {0: 'a"b\\c\nd'}
    found = parse("".join(exposition(scene)))
    assert 'fastmesh_cluster_requests_total{cluster="a\\"b\\\\c\\nd"}' in found
    assert escape('"') == '\\"'


def test_thousands_of_series_come_in_pieces(shelf: StatsShelf) -> None:
    for row in range(1, LAYOUT["series_rows"]):
        put_series(shelf.files[0], row, 0, row)
    scene = scene_of(shelf)
    scene.clusters = {n: f"cluster-{n}" for n in range(LAYOUT["series_rows"])}
    sizes = [len(piece) for piece in exposition(scene)]
    assert len(sizes) > 100
    assert max(sizes) < 200_000


def test_series_are_found_wherever_they_lie(shelf: StatsShelf) -> None:
    """Rows do not begin at pages: every row of the table is read once, however the holes lie around it."""
    file = shelf.files[0]
    rows = [0, 1, 6, 7, 8, 511, 512, 1000, LAYOUT["series_rows"] - 1]
    for row in rows:
        put_series(file, row, 0, row)
    assert sorted(row[0] for row in file.series()) == rows


def test_flags_and_numbers() -> None:
    assert flag_names(0) == "-"
    assert flag_names(1) == "LH"
    assert [number(v) for v in (1, 1.0, 0.5, 1e-6, 3600000.0)] == ["1", "1", "0.5", "1e-06", "3600000"]


def test_every_number_has_a_sentence() -> None:
    assert set(families._GLOBAL_HELP) == set(GLOBALS)
    names = [family.name for _, _, group in families.GROUPS for family in group]
    assert len(names) == len(set(names))


def test_every_metric_is_in_the_text_and_in_the_table(shelf: StatsShelf) -> None:
    put_series(shelf.files[0], 1, 0, 0)
    put_series(shelf.files[0], 2, 0, 0, protocol=1)
    put(shelf.files[0], LAYOUT["filters"], 1)
    Table(shelf.files[0].fd).count((b"web", b"all", b"app"), {b"tenant": b"blue"})
    scene = scene_of(shelf)
    scene.filters = {0: "tenant"}
    # Of each kind of fallback row one number.
    for column in (2 * LAYOUT["fallback_reasons"] + 5, 4 * LAYOUT["fallback_reasons"] + 9):
        put(shelf.files[0], LAYOUT["fallbacks"] + 8 * column, 7)
    put(shelf.files[0], LAYOUT["balances"], *range(1, len(BALANCE_COLUMNS) + 1 + LAYOUT["balance_groups"]))
    scene.discoveries = [DiscoveryFigures("app", 0, 0, {"raised": 0}, 0.0)]
    scene.rate_limits = {0: "per-client"}
    scene.routes = {1: "web api"}
    put(shelf.files[0], LAYOUT["routes"] + LAYOUT["route_stride"], 1, 0, 2)
    scene.checks = CheckFigures({"app": {"passed": 5}}, {"app": {"healthy": 1}})
    scene.heals = {"app": {"done": 1}}
    scene.health = HealthFile()
    os.pwrite(scene.health.fd, (3).to_bytes(8, "little"),
              health.LAYOUT["clusters"] + health.CLUSTER_COLUMNS.index("timeouts") * 8)
    scene.cluster_limits = {0: {"max_requests": 7}}
    row = shelf.files[0].fd, (1).to_bytes(8, "little"), LAYOUT["clusters"] + LAYOUT["cluster_overflowed"]
    os.pwrite(*row)
    workers = Seats(scene.health.fd)
    workers.learn(workers.take(4711), 0, [40, 2_500, 100_000])
    scene.control = {name: 1 for name, family in families.CONTROL.items()
                     if not family.labels and name not in ("reloads",)}
    text = "".join(exposition(scene))
    given = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    known = {family.name: family.kind for _, _, group in families.GROUPS for family in group}
    assert given == known
    assert 'fastmesh_cluster_ejections_total{cluster="app",reason="timeouts"} 3\n' in text
    assert 'fastmesh_health_checks_total{cluster="app",result="passed"} 5\n' in text
    assert 'fastmesh_cluster_endpoints_checked{cluster="app",state="healthy"} 1\n' in text
    assert 'fastmesh_fallback_total{cluster="app",step="response",reason="timeout"} 7\n' in text
    assert 'fastmesh_fallback_exhausted_total{cluster="app",reason="status"} 7\n' in text
    scene.health.close()


def test_how_endpoints_were_chosen(shelf: StatsShelf) -> None:
    """Of gauges the largest counts, of a worker that is there; what happened is added up."""
    stride, at = LAYOUT["balance_stride"], BALANCE_COLUMNS.index
    groups = 8 * len(BALANCE_COLUMNS)
    for file, panic, subsets in zip(shelf.files, (2, 1), (3, 3), strict=True):
        put(file, LAYOUT["balances"] + 8 * at("panics"), 5)
        put(file, LAYOUT["balances"] + 8 * at("panic"), panic)
        put(file, LAYOUT["balances"] + 8 * at("subsets"), subsets)
        put(file, LAYOUT["balances"] + groups, 10, 0, 1)
        put(file, LAYOUT["balances"] + stride, 4)
    scene = scene_of(shelf)

    def text() -> dict[str, str]:
        lines = "".join(exposition(scene)).splitlines()
        return dict(line.removeprefix("fastmesh_cluster_").split(" ") for line in lines
                    if re.match("fastmesh_cluster_(panic|subset|group)", line))
    assert text() == {
        'panics_total{cluster="app"}': "10", 'panic_groups{cluster="app"}': "2", 'subsets{cluster="app"}': "3",
        'group_picks_total{cluster="app",group="1"}': "20", 'group_picks_total{cluster="app",group="3"}': "2"}
    shelf.files[0].is_taken = False
    assert text()['panic_groups{cluster="app"}'] == "1" and text()['panics_total{cluster="app"}'] == "10"
    shelf.forget_rows({"clusters": [0]})
    assert text() == {}


def test_requests_by_route_are_summed(shelf: StatsShelf) -> None:
    for file in shelf.files:
        put(file, LAYOUT["routes"] + 7 * LAYOUT["route_stride"], 1, 0, 20, 0, 3)
        put(file, LAYOUT["routes"] + 8 * LAYOUT["route_stride"], 0, 0, 5)
    scene = scene_of(shelf)
    scene.routes = {7: "web api", 8: 'web a"b'}

    def text() -> dict[str, float]:
        return {line: value for line, value in parse("".join(exposition(scene))).items() if "route_requests" in line}
    name = "fastmesh_route_requests_total"
    assert text() == {
        f'{name}{{listener="web",route="api",code_class="none"}}': 2,
        f'{name}{{listener="web",route="api",code_class="2xx"}}': 40,
        f'{name}{{listener="web",route="api",code_class="4xx"}}': 6,
        f'{name}{{listener="web",route="a\\"b",code_class="2xx"}}': 10}
    shelf.forget_rows({"routes": [7]})
    scene.routes = {7: "web other", 9: "web never"}
    assert text() == {}


def test_rate_limits_are_summed_by_name(shelf: StatsShelf) -> None:
    for file in shelf.files:
        put(file, LAYOUT["limits"] + 3 * LAYOUT["limit_stride"], 10, 4, 3, 2, 1)
    scene = scene_of(shelf)
    scene.rate_limits = {3: "per-client", 4: "unused"}
    found = parse("".join(exposition(scene)))
    for column, value in {"checked": 20, "limited": 8, "dry_run_limited": 6, "keys_evicted": 4, "odd_keys": 2}.items():
        assert found[f'fastmesh_rate_limit_{column}_total{{limit="per-client"}}'] == value
        assert found[f'fastmesh_rate_limit_{column}_total{{limit="unused"}}'] == 0
    shelf.forget_rows({"limits": [3]})
    assert shelf.limit(3)["checked"] == 0


def test_the_document_is_what_the_table_says() -> None:
    assert DOCUMENT.read_text() == families.document()
