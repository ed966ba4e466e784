"""Each configuration of docs/degradation.md is one that fastmesh takes, and the page says all there is to say."""

import re
from pathlib import Path

import pytest

from fastmesh.config.fallback import CONDITIONS, IGNORES, FallbackStep, Stale
from fastmesh.config.load import load_text
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.units import format_duration, format_size
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "degradation.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "degradation.md", {}, look_at_filters)
    assert loaded.warnings == []
    numbers = Registry()
    with registry() as r:
        chains = Chains(loaded.config, loaded.filters, numbers)
        Snapshot(compile(loaded.config, 1, numbers, chains=chains)[0], r).close()


def test_every_condition_is_in_the_table() -> None:
    table = PAGE.partition("## When")[2].partition("## Another")[0]
    told = re.findall(r"^\| `([a-z0-9-]+)` \| ", table, re.M)
    assert [name for name in told if name != "on"] == list(CONDITIONS)


def test_the_defaults_of_the_page() -> None:
    stale = Stale()
    assert f"it is `[{', '.join(FallbackStep(stale=stale).on)}]`" in PAGE
    for name, said in (("max_age", format_duration(stale.max_age)), ("max_body", format_size(stale.max_body)),
                       ("max_bytes", format_size(stale.max_bytes)), ("max_entries", str(stale.max_entries))):
        assert f"`{name}` ({said})" in PAGE, name


def test_everything_that_can_be_ignored_is_told() -> None:
    told = PAGE.partition("`ignore` says otherwise")[2].partition("With")[0]
    assert re.findall(r"`([a-z-]+)`", told) == list(IGNORES)
