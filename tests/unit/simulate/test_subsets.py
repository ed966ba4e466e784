"""Requests that ask for a part of the cluster."""

from typing import Any

import pytest

from fastmesh.config.source import Source
from fastmesh.errors import ConfigError
from fastmesh.simulate.result import Result
from fastmesh.simulate.scenario import Scenario, read
from fastmesh.simulate.simulation import Simulation
from probes.wire import ALGORITHMS

V1, V2 = {"version": "v1"}, {"version": "v2"}
SPLIT = [{"weight": 90, "subset": V1}, {"weight": 10, "subset": V2}]
KEYED = ("ring_hash", "maglev")


def groups(**more: Any) -> list[dict[str, Any]]:
    """Nine old endpoints and a new one, with `more` for that."""
    return [{"name": "old", "count": 9, "metadata": V1, "time": {"mean": "5ms"}},
            {"name": "new", "metadata": V2, "time": {"mean": "5ms"}, **more}]


def run(endpoints: list[dict[str, Any]], subsets: dict[str, Any] | None = None, **more: Any) -> Result:
    cluster = {"subsets": {"selectors": [{"keys": ["version"]}], **(subsets or {})}, **more.pop("cluster", {})}
    return Simulation(Scenario.model_validate({
        "duration": "20s", "rate": 500, "split": SPLIT, **more, "endpoints": endpoints, "cluster": cluster})).run()


@pytest.mark.parametrize("balancer", list(ALGORITHMS))
def test_requests_stay_within_what_they_ask_for(balancer: str) -> None:
    more: dict[str, Any] = {"keys": {"count": 500}} if balancer in KEYED else {}
    result = run(groups(), cluster={"load_balancer": balancer}, callers=3, **more)
    old, new = result.asked
    assert [(part.name, part.endpoints) for part in result.asked] == [("version=v1", 9), ("version=v2", 1)]
    # Each answer came from a group of just that version.
    assert [part.times.count for part in result.parts] == [old.times.count, new.times.count]
    assert new.times.count / result.whole.count == pytest.approx(0.1, abs=0.01)
    assert result.whole.failed == 0
    if balancer not in KEYED:
        assert max(result.counts[:9]) < 1.3 * min(result.counts[:9])


def test_further_attempts_stay_there_too() -> None:
    result = run(groups(failing={}), retry={"on": [503], "attempts": 3})
    old, new = result.asked
    assert (old.times.failed_share, new.times.failed_share) == (0, 1)
    assert result.attempts > result.whole.count + new.times.count
    assert sum(result.counts[:9]) == old.times.count


def test_and_hedges() -> None:
    result = run([{"count": 2, "metadata": V1, "time": {"mean": "5ms"}},
                  {"count": 2, "metadata": V2, "time": {"mean": "100ms"}, "slots": 1000}], hedge={"delay": "20ms"})
    assert result.attempts > 1.03 * result.whole.count
    assert [part.times.count for part in result.parts] == [part.times.count for part in result.asked]


def test_refused_connects_do_not_lead_out_of_it() -> None:
    result = run([{"count": 8, "metadata": V1, "time": {"mean": "5ms"}},
                  {"count": 1, "metadata": V2, "time": {"mean": "5ms"}},
                  {"count": 1, "metadata": V2, "time": {"mean": "5ms"}, "down": {}}])
    assert result.whole.failed == 0
    assert result.asked[1].times.count == result.parts[1].times.count > 0 == result.parts[2].times.count


@pytest.mark.parametrize(("subsets", "share"), [
    ({"fallback": "any"}, 0.0), ({"fallback": "none"}, 0.1), ({"fallback": "default", "default": V1}, 0.0)])
def test_a_subset_without_endpoints_falls_back_as_the_cluster_says(subsets: dict[str, Any], share: float) -> None:
    result = run(groups()[:1], subsets)
    assert result.whole.failed_share == pytest.approx(share, abs=0.01)
    assert result.asked[0].times.failed == 0
    assert result.asked[1].endpoints == (0 if share else 9)


def test_requests_that_ask_for_none_have_all_or_the_default() -> None:
    split = [{"name": "anybody", "weight": 1}]
    everywhere = run(groups(), split=split)
    assert everywhere.share(everywhere.parts[1]) == pytest.approx(0.1, abs=0.02)
    assert [(part.name, part.endpoints) for part in everywhere.asked] == [("anybody", 10)]
    default = run(groups(), {"fallback": "default", "default": V1}, split=split)
    assert default.share(default.parts[1]) == 0


def test_a_subset_may_come_later() -> None:
    result = run(groups(joins="10s"), {"fallback": "none"})
    assert result.asked[1].times.failed_share == pytest.approx(0.5, abs=0.1)
    assert (result.asked[1].endpoints, result.asked[0].times.failed) == (1, 0)


def test_ejection_is_of_the_whole_whoever_asked() -> None:
    """Two selectors have the same endpoint: what one sees of it holds for the other."""
    result = run([{"count": 4, "metadata": {"version": "v1", "zone": "a"}, "time": {"mean": "5ms"}},
                  {"count": 1, "metadata": {"version": "v1", "zone": "b"}, "time": {"mean": "5ms"}, "failing": {}},
                  {"count": 1, "metadata": {"version": "v2", "zone": "b"}, "time": {"mean": "5ms"}}],
                 {"selectors": [{"keys": ["version"]}, {"keys": ["zone"]}]},
                 split=[{"weight": 50, "subset": V1}, {"weight": 50, "subset": {"zone": "b"}}],
                 cluster={"outlier": {}}, rate=200)
    assert result.counts[4] < 0.02 * result.whole.count
    assert result.whole.failed == result.parts[1].times.failed


def test_without_a_split_all_is_as_it_was() -> None:
    plain: dict[str, Any] = {"duration": "5s", "rate": 500, "endpoints": [{"count": 10, "time": {"mean": "5ms"}}]}
    first = Simulation(Scenario.model_validate(plain)).run().to_dict()
    assert "split" not in first
    # One that asks for nothing, of a cluster that has no subsets, either.
    same = Simulation(Scenario.model_validate({**plain, "split": [{}]})).run().to_dict()
    assert [part["name"] for part in same.pop("split")] == ["no subset"]
    assert same == first


def test_ten_thousand_endpoints_in_a_hundred_versions() -> None:
    """One version is slow: it is noticed by who asks for it, and by nobody else."""
    each = [{"name": f"v{i}", "count": 100, "metadata": {"version": f"v{i}"}, "slots": 4,
             "time": {"kind": "fixed", "mean": "100ms" if i == 7 else "10ms"}} for i in range(100)]
    split = [{"subset": {"version": f"v{i}"}} for i in range(0, 100, 7)][:14]
    result = run(each, split=split, rate=4000, duration="10s", callers=4)
    slow = [part.times.percentile(50) > 50_000_000 for part in result.asked]
    assert slow == [i == 1 for i in range(14)]
    assert {part.endpoints for part in result.asked} == {100}
    asked_for = {f"v{i}" for i in range(0, 98, 7)}
    assert {part.name for part in result.parts if part.times.count} == asked_for


def test_a_table_has_a_row_for_each_and_json_a_list() -> None:
    result = run(groups())
    lines = [line.split()[:3] for line in result.table().splitlines()]
    assert ["for", "version=v1", "9"] in lines and ["for", "version=v2", "1"] in lines
    told = result.to_dict()["split"]
    assert [(part["name"], part["endpoints"]) for part in told] == [("version=v1", 9), ("version=v2", 1)]
    assert sum(part["requests"] for part in told) == result.whole.count


BASE = "duration: 1s\nrate: 1\nendpoints: [{metadata: {version: v1}, time: {mean: 1ms}}]\n"


@pytest.mark.parametrize(("text", "reason", "path"), [
    ("split: [{subset: {version: v1}}]\n", "4:10: the cluster 'simulated' has no subsets", "split[0].subset"),
    ("split: [{subset: {stage: x}}]\ncluster: {subsets: {selectors: [{keys: [version]}]}}\n",
     "4:18: the cluster 'simulated' is not split by stage", "split[0].subset"),
    ("cluster: {subsets: {selectors: [{keys: [version]}], fallback: default}}\n",
     "4:63: there is no default to fall back on", "cluster.subsets.fallback"),
    ("cluster:\n  balancing: {subset: 20}\n  subsets: {selectors: [{keys: [version]}]}\n",
     "5:15: subset draws endpoints without a look", "cluster.balancing.subset"),
    ("split: [{weight: 0}]\n", "1:1: found a split whose weights are all 0", ""),
    ("split: [{subset: {version: {header: x-v}}}]\n", "4:28: ", "split[0].subset.version")])
def test_what_contradicts_itself_is_told_with_its_place(text: str, reason: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(Source("s.yaml", BASE + text), {})
    first = caught.value.problems[0]
    assert (f"{first.line}:{first.column}: {first.reason}"[:len(reason)], first.path) == (reason, path)
    assert len(caught.value.problems) == 1
