"""Each example of docs/load-balancing.md is a configuration that works."""

import re
from pathlib import Path

import pytest

from fastmesh.config.load import load_text
from fastmesh.config.load_balancer import ALGORITHMS
from fastmesh.config.source import read_source
from fastmesh.simulate.scenario import read
from fastmesh.simulate.simulation import Simulation
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Snapshot
from probes.wire import SECOND, registry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "load-balancing.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def test_there_are_some():
    assert len(EXAMPLES) == 7


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works(example):
    if "endpoints:" not in example:
        example += "endpoints: [127.0.0.1:9000, 127.0.0.1:9001]\n"
    text = example if "listeners:" in example else (
            "node: {zone: eu-1a}\n"
            "listeners: [{name: web, address: 127.0.0.1:8080, routes: [{match: {prefix: /}, cluster: app}]}]\n"
            "clusters:\n  - name: app\n" + re.sub(r"^", "    ", example, flags=re.M))
    loaded = load_text(text, "example", {})
    assert loaded.warnings == []
    with registry() as r:
        s = Snapshot(compile(loaded.config, 1, Numbers())[0], r)
        assert sum(s.picks(100, now_ns=SECOND)) == 100
        s.close()


def test_where_a_request_goes():
    """The table of fallbacks, row by row."""
    example = next(example for example in EXAMPLES if "subsets:" in example)
    rows = re.findall(r"^\| `(any|none|default)` \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.M)
    said = {"all endpoints": {"all", "all instead"}, "the default": {"default"}, "the subset": {"subset"},
            "503, `UH`": {"nothing"}, "the default; 503 when that has none": {"default instead"}}
    assert [fallback for fallback, *_ in rows] == ["any", "none", "default"]
    for fallback, *cells in rows:
        default = "" if fallback == "default" else "      default: {version: v1}\n"
        text = example.replace("fallback: default", f"fallback: {fallback}").replace(default, "", 1)
        with registry() as r:
            s = Snapshot(compile(load_text(text, "example", {}).config, 1, Numbers())[0], r)
            for cell, asked in zip(cells, ({}, {"version": "v2"}, {"version": "v9"}), strict=True):
                assert s.enter(asked)[0] in said[cell], (fallback, asked)
            s.close()


@pytest.mark.parametrize(("balancer", "p50", "p99"), re.findall(
    r"^\| `(\w+)` \| ([\d.]+) ms \| (\d+) ms \|$",
    (ROOT / "docs" / "decisions" / "least-request-is-the-default.md").read_text(), re.M))
def test_why_least_request_is_the_default(balancer, p50, p99):
    scenario = read_source(str(ROOT / "examples" / "simulate" / "rare-failures.yaml"))
    whole = Simulation(read(scenario, {}, balancer)).run().whole
    assert (f"{whole.percentile(50) / 1e6:.1f}", f"{whole.percentile(99) / 1e6:.0f}") == (p50, p99)


def test_every_algorithm_is_told_of():
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
    others = {"load_balancer", "fallback", "any", "none", "default"}
    assert {name for name in told - others if not name.startswith("fastmesh_")} == set(ALGORITHMS)


@pytest.mark.parametrize(("balancer", "p99", "failed"), re.findall(
    r"^\| `(\w+)` \| (\d+) ms \| ([\d.]+) % \|$", PAGE, re.M))
def test_simulations_say_what_it_says(balancer, p99, failed):
    slow, failing = (Simulation(read(read_source(str(ROOT / "examples" / "simulate" / name)), {}, balancer)).run().whole
                     for name in ("slow.yaml", "failing.yaml"))
    assert f"{slow.percentile(99) / 1e6:.0f} {failing.failed_share:.1%}" == f"{p99} {failed}%"
