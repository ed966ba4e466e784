"""The configuration of docs/faults.md is one that fastmesh takes, and its numbers are named as the page says."""

import re
from pathlib import Path

from fastmesh.config.load import load_text
from fastmesh.observe.families import GLOBAL
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import SECOND, registry

PAGE = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()


def test_the_example_becomes_its_faults() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    loaded = load_text(text, "faults.md", {})
    assert loaded.warnings == []
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Registry())[0], r)
        (found,) = snapshot.dump()["injection_lists"]
        assert [fault[1:] for fault in found] == [
            (100_000, SECOND * 3 // 10, 0, 0, 0, 0, 0, 0), (10_000, 0, 503, 0, 0, 0, 0, 0),
            (1_000_000, 5 * SECOND, 500, 0, 0, 0, 0, 0), (50_000, 0, 0, 65_536, 0, 0, 0, 0),
            (200_000, 0, 0, 0, 65_536, 10, 0, 0), (1_000_000, 0, 0, 0, 0, 0, 14, 0),
            (1_000_000, 0, 0, 0, 0, 0, 0, 1)]
        snapshot.close()


def test_its_metrics_exist() -> None:
    for name in re.findall(r"`fastmesh_(fault_\w+)_total`", PAGE):
        assert name in GLOBAL
