"""Each configuration of docs/retries.md is one that fastmesh takes, and the page says all there is to say."""

import re
from pathlib import Path

import pytest

from fastmesh.config.load import load_text
from fastmesh.config.retry import CONDITIONS, Retry, RetryBudget
from fastmesh.observe.families import CLUSTERS, RETRIED_FOR
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.units import format_duration, format_percent
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "retries.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "retries.md", {})
    assert loaded.warnings == []
    with registry() as r:
        Snapshot(compile(loaded.config, 1, Registry())[0], r).close()


def test_every_condition_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ", PAGE, re.M)
    assert [row for row in rows if row in CONDITIONS] == list(CONDITIONS)


def _written(nanoseconds: int) -> str:
    return re.sub(r"([0-9])([a-z])", r"\1 \2", format_duration(nanoseconds))


def test_the_defaults_of_the_page() -> None:
    rule, budget = Retry(), RetryBudget()
    assert f"it is `[{', '.join(str(on) for on in rule.on)}]`" in PAGE
    assert f"`backoff.base` ({_written(rule.backoff.base)})" in PAGE
    assert f"`backoff.max` ({_written(rule.backoff.max)})" in PAGE
    assert f"`retry_after_max` ({_written(rule.retry_after_max)})" in PAGE
    assert f"{{share: {format_percent(budget.share)}, per_second: {budget.per_second}}}" in PAGE
    assert rule.attempts == 2 and not rule.non_idempotent and not rule.of_retries and rule.tell


def test_every_counter_of_the_page_is_there() -> None:
    names = {family.name for family in CLUSTERS.values()} | {"fastmesh_cluster_attempts_again_total"}
    named = set(re.findall(r"fastmesh_cluster_\w+", PAGE))
    assert named and named <= names
    assert all(f"`{reason}`" in PAGE for reason in RETRIED_FOR)
