"""docs/simulation.md names every key, and its example runs."""

import re
from pathlib import Path

import pytest

from fastmesh.config.source import Source
from fastmesh.simulate.scenario import Failing, Group, Keys, Limit, Scenario, Slow, Time, read
from fastmesh.simulate.simulation import Simulation

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "simulation.md").read_text()


@pytest.mark.parametrize("section", [Scenario, Group, Keys, Limit, Time, Slow, Failing],
                         ids=lambda section: section.__name__)
def test_every_key_is_told_of(section):
    assert [key for key in section.model_fields if f"`{key}`" not in PAGE] == []


def test_the_example_is_the_one_that_comes_along():
    shown = re.search(r"```yaml\n# slow.yaml: .*?\n(.*?)```", PAGE, re.S)
    assert shown is not None
    assert (ROOT / "examples" / "simulate" / "slow.yaml").read_text().partition("\n")[2] == shown[1]
    assert read(Source("s", shown[1].replace("30s", "6s")), {}).rate == 5000


def test_what_is_drawn_is_what_it_draws():
    text = (ROOT / "examples" / "simulate" / "storm.yaml").read_text()
    without = text.replace("cluster:\n", "cluster:\n  retry_budget: {share: 100%, per_second: 100000}\n")
    shown = re.findall(r"^```\n\$ fastmesh simulate storm\S*\n(.*?)^```", PAGE, re.M | re.S)
    assert shown == [Simulation(read(Source("s", each), {})).run().table() for each in (text, without)]


ROW = re.compile(r"^\| `(\w\S*\.yaml)` \| (?:`(.+)`|–) \| (\S+) \| (\S+) \| (\S+) \|$", re.M)


@pytest.mark.parametrize(("name", "change", "p99", "p999", "failed"), ROW.findall(PAGE))
def test_what_defaults_do_is_what_comes_of_them(name, change, p99, p999, failed):
    text = (ROOT / "examples" / "simulate" / name).read_text()
    if change:
        key = change.partition(":")[0]
        text, n = re.subn(rf"^  {key}: .*$", f"  {change}", text, flags=re.M)
        assert n == 1
    (whole,) = re.findall(r"^  all .*$", Simulation(read(Source(name, text), {})).run().table(), re.M)
    assert whole.split()[-3:] == [p99, p999, failed]


def test_the_defaults_that_it_tells_hold():
    text = "duration: 1s\nrate: 10\nendpoints: [{time: {mean: 1ms}, failing: {}}]\n"
    scenario = read(Source("s", text), {})
    group = scenario.endpoints[0]
    assert (scenario.seed, scenario.callers, group.count, group.slots, group.time.kind, group.time.spread) == (
        1, 1, 1, 16, "exponential", 10)
    assert Simulation(scenario).run().whole.failed_share == 1
