"""The configuration of docs/mirrors.md is one that fastmesh takes, and its numbers are named as the page says."""

import re
from pathlib import Path

from fastmesh.config.load import load_text
from fastmesh.observe.families import GLOBAL
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "mirrors.md").read_text()


def test_the_example_becomes_two_mirrors() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    loaded = load_text(text, "mirrors.md", {})
    assert loaded.warnings == []
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Registry())[0], r)
        (found,) = snapshot.dump()["mirror_lists"]
        assert [mirror[1:] for mirror in found] == [(100_000, 1, b"-shadow"), (1_000_000, 2, b"")]
        snapshot.close()


def test_its_metrics_exist() -> None:
    for name in re.findall(r"`fastmesh_(mirror\w+?)_total`", PAGE):
        assert name in GLOBAL
