"""The configurations of docs/mirrors.md are taken by fastmesh, and its numbers are named as the page says."""

import re
from pathlib import Path

from fastmesh.config.load import load_text
from fastmesh.observe.families import GLOBAL
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "mirrors.md").read_text()
MIRRORS, SUBSETS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


def test_the_example_becomes_two_mirrors() -> None:
    loaded = load_text(MIRRORS, "mirrors.md", {})
    assert loaded.warnings == []
    with registry() as r:
        snapshot = Snapshot(compile(loaded.config, 1, Registry())[0], r)
        (found,) = snapshot.dump()["mirror_lists"]
        assert [mirror[1:] for mirror in found] == [(100_000, 1, b"-shadow"), (1_000_000, 2, b"")]
        snapshot.close()


def test_a_mirror_may_be_another_part_of_the_same_cluster() -> None:
    loaded = load_text(SUBSETS, "mirrors.md", {})
    assert loaded.warnings == []
    with registry() as r:
        Snapshot(compile(loaded.config, 1, Registry())[0], r).close()


def test_its_metrics_exist() -> None:
    for name in re.findall(r"`fastmesh_(mirror\w+?)_total`", PAGE):
        assert name in GLOBAL
