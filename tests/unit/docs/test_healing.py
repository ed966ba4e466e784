"""Each configuration of docs/healing.md is one that fastmesh takes, and its table says what holds."""

import re
from pathlib import Path

import pytest

from fastmesh._core.mem.health import REASONS
from fastmesh.config.load import load_text
from fastmesh.config.outlier import Outlier
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "healing.md").read_text()
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", YAML)
def test_it_is_taken_without_a_warning(text: str) -> None:
    loaded = load_text(text, "healing.md", {}, look_at_filters)
    assert loaded.warnings == []
    with registry() as r:
        Snapshot(compile(loaded.config, 1, Registry())[0], r).close()


def test_there_are_examples() -> None:
    assert len(YAML) == 6
    logs = load_text(YAML[1], "healing.md", {}).config.clusters[0].outlier
    assert (logs.gateway_errors, logs.server_errors) == (0, 0)
    app, cache = load_text(YAML[2], "healing.md", {}).config.clusters
    assert app.health_check is not None and app.health_check.http is not None
    assert cache.health_check is not None and cache.health_check.tcp is not None
    assert load_text(YAML[3], "healing.md", {}).config.clusters[0].outlier.dry_run
    assert load_text(YAML[4], "healing.md", {}).config.clusters[0].heal is not None


def test_every_reason_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", PAGE, re.M))
    assert tuple(rows) == REASONS
    plain = Outlier()
    for key in ("server_errors", "gateway_errors", "connect_failures", "timeouts"):
        assert rows[key] == str(getattr(plain, key))
    assert plain.latency is None and rows["latency"] == "off"
