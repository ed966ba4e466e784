"""The configuration of docs/hedging.md is one that fastmesh takes; what it says of defaults and metrics holds."""

import re
from pathlib import Path

import pytest

from fastmesh.config.hedge import Hedge, HedgeBudget
from fastmesh.config.load import load_text
from fastmesh.observe.families import CLUSTERS
from fastmesh.simulate.scenario import Scenario
from fastmesh.simulate.simulation import Simulation
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.units import format_duration, format_percent
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "hedging.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "hedging.md", {})
    assert loaded.warnings == []
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Registry())[0], r)
        got = snapshot.dump()
        snapshot.close()
    assert got["hedges"] == [[2, 0, 5_000_000, 950_000, 50_000, 1, 0, 0, 1], [2, 0, 0, 0, 50_000, 1, 1, 0, 1]]
    assert got["hedged"] == [(0, 0, 0), (0, 1, 1)]


def test_the_defaults_of_the_page() -> None:
    rule, budget = Hedge(), HedgeBudget()
    assert rule.delay == "p95" and rule.on == "delay" and rule.attempts == 2 and rule.tell and not rule.non_idempotent
    assert f"`min_delay` ({format_duration(rule.min_delay).replace('ms', ' ms')})" in PAGE
    assert f"`share: {format_percent(budget.share)}`" in PAGE and f"`per_second: {budget.per_second}`" in PAGE


def test_the_simulated_numbers() -> None:
    """Those of the table, with the scenario that the page describes."""
    for label, hedge in (("without", None), ("`delay: p95`", {"delay": "p95"}), ("`delay: p99`", {"delay": "p99"})):
        result = Simulation(Scenario.model_validate({
            "duration": "40s", "warm_up": "10s", "rate": 2000, "hedge": hedge,
            "cluster": {"load_balancer": "least_request"},
            "endpoints": [{"count": 950, "time": {"mean": "5ms"}, "slots": 4},
                          {"count": 50, "time": {"mean": "100ms"}, "slots": 4}]})).run()
        p50, p99, p999 = (result.whole.percentile(p) / 1e6 for p in (50, 99, 99.9))
        assert (f"| {label} | {p50:.1f} ms | {p99:.0f} ms | {p999:.0f} ms | "
                f"{result.attempts / result.whole.count:.3f} |") in PAGE


def test_every_counter_of_the_page_is_there() -> None:
    named = set(re.findall(r"fastmesh_cluster_\w+", PAGE))
    assert len(named) == 4 and named <= {family.name for family in CLUSTERS.values()}
