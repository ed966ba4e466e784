"""Each example of docs/load-balancing.md is a configuration that works."""

import re
from pathlib import Path

import pytest

from fastmesh.config.cluster import LOAD_BALANCERS
from fastmesh.config.load import load_text
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry as Numbers
from probes.snapshot_probe import Snapshot
from probes.wire import SECOND, registry

PAGE = (Path(__file__).parents[3] / "docs" / "load-balancing.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def test_there_are_some():
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works(example):
    if "endpoints:" not in example:
        example += "endpoints: [127.0.0.1:9000, 127.0.0.1:9001]\n"
    text = ("node: {zone: eu-1a}\n"
            "listeners: [{name: web, address: 127.0.0.1:8080, routes: [{match: {prefix: /}, cluster: app}]}]\n"
            "clusters:\n  - name: app\n" + re.sub(r"^", "    ", example, flags=re.M))
    loaded = load_text(text, "example", {})
    assert loaded.warnings == []
    with registry() as r:
        s = Snapshot(compile(loaded.config, 1, Numbers())[0], r)
        assert sum(s.picks(100, now_ns=SECOND)) == 100
        s.close()


def test_every_algorithm_is_told_of():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == sorted(
        LOAD_BALANCERS, key=("least_request", "peak_ewma", "failure_aware_ewma", "round_robin", "random", "ring_hash",
                             "maglev").index)
