"""What the chain driver writes about filters, and how control reads it."""

import os
import struct
from time import monotonic_ns

from fastmesh._core.mem.counter import FILTER_COLUMNS, FILTER_PHASE_COLUMNS, FILTER_PHASES, LAYOUT
from fastmesh.observe.filter_report import describe_filter
from fastmesh.observe.names import SeriesNames
from fastmesh.observe.prometheus import Scene, exposition
from fastmesh.observe.stats import StatsFile, StatsShelf

NODE = {"service": "shop", "version": "v1", "namespace": "sales", "workload": "shop-v1", "cluster": ""}


def put_phase(file: StatsFile, row: int, phase: str, **figures: int) -> None:
    at = LAYOUT["filters"] + row * LAYOUT["filter_stride"] + FILTER_PHASES.index(phase) * LAYOUT["filter_phase_stride"]
    for name, value in figures.items():
        os.pwrite(file.fd, struct.pack("<Q", value), at + FILTER_PHASE_COLUMNS.index(name) * 8)


def put_column(file: StatsFile, row: int, **figures: int) -> None:
    at = LAYOUT["filters"] + row * LAYOUT["filter_stride"] + LAYOUT["filter_columns"]
    for name, value in figures.items():
        os.pwrite(file.fd, struct.pack("<Q", value), at + FILTER_COLUMNS.index(name) * 8)


def lines_of(shelf: StatsShelf, filters: dict[int, str]) -> dict[str, str]:
    scene = Scene(stats=shelf, node=NODE, names=SeriesNames(), listeners={}, clusters={}, addresses={}, filters=filters)
    return dict(line.rsplit(" ", 1) for line in "".join(exposition(scene)).splitlines()
                if line.startswith("fastmesh_filter"))


def test_workers_are_summed_and_names_come_from_the_snapshot(shelf: StatsShelf) -> None:
    for file in shelf.files:
        put_phase(file, 3, "request", calls=10, wall_ns=1_500_000, cpu_ns=1_000_000, errors=1, overruns=2)
        put_phase(file, 3, "complete", calls=5)
        put_column(file, 3, quarantined=1, quarantines=2, skipped=7, in_flight=4)
    put_phase(shelf.files[0], 255, "response_body", calls=1)
    found = lines_of(shelf, {3: "tenant", 255: "last"})
    assert found['fastmesh_filter_calls_total{filter="tenant",phase="request"}'] == "20"
    assert found['fastmesh_filter_seconds_total{filter="tenant",phase="request"}'] == "0.003"
    assert found['fastmesh_filter_cpu_seconds_total{filter="tenant",phase="request"}'] == "0.002"
    assert found['fastmesh_filter_errors_total{filter="tenant",phase="request"}'] == "2"
    assert found['fastmesh_filter_overruns_total{filter="tenant",phase="request"}'] == "4"
    assert found['fastmesh_filter_calls_total{filter="tenant",phase="complete"}'] == "10"
    assert found['fastmesh_filter_calls_total{filter="last",phase="response_body"}'] == "1"
    assert not any('filter="tenant",phase="route"' in key for key in found)
    assert found['fastmesh_filter_quarantined{filter="tenant"}'] == "2"
    assert found['fastmesh_filter_quarantines_total{filter="tenant"}'] == "4"
    assert found['fastmesh_filter_skipped_total{filter="tenant"}'] == "14"
    assert found['fastmesh_filter_in_flight{filter="tenant"}'] == "8"
    assert lines_of(shelf, {}) == {}


def test_what_a_dead_worker_says_of_its_present_is_forgotten_and_its_counts_are_not(shelf: StatsShelf) -> None:
    for file in shelf.files:
        for row in (0, 100, 255):
            put_phase(file, row, "request", calls=3)
            put_column(file, row, fingerprint=0x0807060504030201, quarantined=1, quarantines=1, in_flight=2)
    os.pwrite(shelf.files[1].fd, struct.pack("<QQ", 101, 1), LAYOUT["header_filter_now"])
    assert shelf.filter(100).fingerprints == ["0102030405060708"]
    assert shelf.filter(100).running_ns > 0 and shelf.filter(0).running_ns == 0
    shelf.files[1].is_taken = False
    figures = shelf.filter(100)
    assert (figures.quarantined, figures.in_flight, figures.running_ns) == (1, 2, 0)
    assert (figures.quarantines, figures.phases["request"]["calls"]) == (2, 6)
    assert shelf.take(1) is shelf.files[1]
    for row in (0, 100, 255):
        figures = shelf.filter(row)
        assert (figures.quarantined, figures.in_flight, figures.running_ns) == (1, 2, 0)
        assert (figures.quarantines, figures.phases["request"]["calls"]) == (2, 6)


def test_a_number_that_gets_another_owner_begins_at_zero(shelf: StatsShelf) -> None:
    put_phase(shelf.files[0], 5, "request", calls=3)
    put_phase(shelf.files[0], 6, "request", calls=4)
    shelf.forget_rows({"filters": [5]})
    assert shelf.filter(5).phases == {}
    assert shelf.filter(6).phases["request"]["calls"] == 4


def test_looking_makes_no_pages(shelf: StatsShelf) -> None:
    before = os.fstat(shelf.files[0].fd).st_blocks
    lines_of(shelf, {row: f"f{row}" for row in range(256)})
    shelf.files[0].forget_filter_gauges()
    assert os.fstat(shelf.files[0].fd).st_blocks == before
    assert os.fstat(shelf.files[0].fd).st_size == LAYOUT["size"]


def test_the_report(shelf: StatsShelf) -> None:
    assert describe_filter(3, "tenant", shelf.filter(3), 2)["state"] == "not called yet"
    put_phase(shelf.files[0], 3, "request", calls=4, wall_ns=2_000_000_000, cpu_ns=500_000_000, errors=1)
    put_column(shelf.files[0], 3, fingerprint=1)
    put_column(shelf.files[1], 3, fingerprint=2)
    assert describe_filter(3, "tenant", shelf.filter(3), 2) == {
        "name": "tenant", "row": 3, "state": "active", "versions": ["0100000000000000", "0200000000000000"],
        "quarantined": 0, "quarantines": 0, "skipped": 0, "in_flight": 0, "running_ms": 0,
        "phases": {"request": {"calls": 4, "seconds": 2.0, "cpu_seconds": 0.5, "errors": 1, "overruns": 0}}}
    put_column(shelf.files[1], 3, quarantined=1)
    assert describe_filter(3, "tenant", shelf.filter(3), 2)["state"] == "quarantined in 1 of 2 workers"
    assert describe_filter(3, "tenant", shelf.filter(3), 1)["state"] == "quarantined"
    os.pwrite(shelf.files[0].fd, struct.pack("<QQ", 4, monotonic_ns() - 3_000_000_000), LAYOUT["header_filter_now"])
    report = describe_filter(3, "tenant", shelf.filter(3), 2)
    assert report["state"].startswith("stuck for 3.") and report["running_ms"] >= 3000
