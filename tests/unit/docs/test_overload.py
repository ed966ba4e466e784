"""Each configuration of docs/overload.md is one that fastmesh takes, and its tables say what holds."""

import re
from pathlib import Path

import pytest

from fastmesh._core.resil.breaker import LIMITS
from fastmesh._core.resil.pressure import ENTER_AT, LEVELS, PRESSURES
from fastmesh.config.cluster import Cluster
from fastmesh.config.load import load_text
from fastmesh.config.overload import Overload
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.overload import cgroup_memory, worker_memory
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "overload.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
MIB = 1 << 20


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "overload.md", {})
    assert loaded.warnings == []
    with registry() as r:
        Snapshot(compile(loaded.config, 1, Registry())[0], r).close()


def test_there_are_examples() -> None:
    assert len(YAML) == 5
    first, second, large, third, fourth = (load_text(text, "overload.md", {}).config for text in YAML)
    assert first.clusters[0].high_priority_reserve and first.listeners[0].routes[0].priority == "high"
    assert second.overload.header == "x-priority"
    assert large.overload.reset_largest_at == 950_000
    assert third.clusters[0].adaptive is not None
    assert fourth.clusters[0].admission is not None and 429 in fourth.clusters[0].admission.statuses


def test_the_defaults_are_those_of_the_table() -> None:
    plain = Cluster.model_validate({"name": "c", "endpoints": []})
    rows = dict(re.findall(r"^\| `(max_\w+)` \| [^|]* \| (\d+) \|", PAGE, re.M))
    assert {*rows} == {*LIMITS[:5], "max_connections"}
    assert {name: int(value) for name, value in rows.items()} == {name: getattr(plain, name) for name in rows}


def test_levels_and_pressures_are_those_of_the_tables() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+)(?: %)? \|", PAGE, re.M))
    assert {name: int(rows[name]) for name in LEVELS} == {
        name: round(at * 100) for name, at in zip(LEVELS, ENTER_AT, strict=True)}
    assert all(f"| `{name}` |" in PAGE for name in PRESSURES)


def test_memory_of_a_worker(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1073741824\n")
    assert cgroup_memory((tmp_path / "absent", limit)) == 1024 * MIB
    limit.write_text("max\n")
    assert cgroup_memory((limit,)) == 0
    limit.write_text("9223372036854771712\n")
    assert cgroup_memory((limit,)) == 0
    plain = Overload()
    assert worker_memory(plain, 2, 0) == 0
    assert worker_memory(plain, 2, 1024 * MIB) == (1024 * MIB * 9 // 10 - 64 * MIB) // 2
    assert worker_memory(plain, 1, 50 * MIB) == 16 * MIB
    assert worker_memory(Overload(memory=100 * MIB), 2, 1024 * MIB) == 50 * MIB
