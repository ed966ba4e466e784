"""Filters in a snapshot: slots, rules, chains and what the worker's Python is told, read by the decoder itself too."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastmesh.config.load import load_text
from fastmesh.filters.blob import unpack
from fastmesh.filters.inspection import inspect
from fastmesh.snapshot.chains import Chains, import_paths
from fastmesh.snapshot.compiler import as_written, compile
from fastmesh.snapshot.process import answer
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.wire import FILTER_ROWS
from probes.snapshot_probe import Request, Snapshot
from probes.wire import registry as worker

FILTERS = """\
from fastmesh import Filter, Secret

class Stamp(Filter):
    text: str = "x"
    key: Secret = "default"
    def on_request(self, request): ...

class Guard(Stamp):
    security = True
    isolated = True

class Patient(Stamp):
    timeout = "5s"
"""
TEXT = """\
filters:
- {name: unused, use: ./f.py:Stamp}
- {name: guard, use: ./f.py:Guard, key: "${KEY}"}
- {name: some, use: ./f.py:Stamp, match: {prefix: /api, hosts: [a.test], methods: [GET], headers: {X-A: b}, share: 10%}}
listeners:
- name: web
  address: 127.0.0.1:8080
  filters: [guard, {use: ./f.py:Stamp, text: here}]
  routes:
  - {match: {prefix: /a}, cluster: app, filters: [some, {use: ./f.py:Stamp}]}
  - {name: last, match: {prefix: /}, cluster: app, filters: [{use: ./f.py:Stamp, budget: 0.5ms, timeout: 2s}]}
- {name: plain, address: 127.0.0.1:8081, filters: [guard], routes: [{match: {}, cluster: app}]}
clusters:
- name: app
  endpoints: [127.0.0.1:1]
  filters: [guard, {name: own, use: ./f.py:Stamp, mode: shadow, match: {share: 1%}}]
- {name: idle, endpoints: [], filters: [guard]}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "f.py").write_text(FILTERS)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
        del sys.modules[name]


def made(directory: Path, text: str = TEXT, registry: Registry | None = None) -> tuple[Any, Chains, bytes]:
    loaded = load_text(text, str(directory / "mesh.yaml"), {"KEY": "hidden-key"}, inspect)
    registry = registry or Registry()
    chains = Chains(loaded.config, loaded.filters, registry)
    return loaded.config, chains, compile(loaded.config, 1, registry, 1064, chains)[0]


def test_slots_rules_and_chains(directory):
    _, chains, snapshot = made(directory)
    assert [slot["name"] for slot in chains.slots] == [
        "guard", "some", "Stamp@web", "Stamp@web/route-0", "Stamp@web/last", "own"]
    assert [slot["row"] for slot in chains.slots] == list(range(6))
    # Those of the second listener and of the cluster that nobody uses are alike, and one.
    assert chains.chains == [[0, 2], [1, 3], [4], [0], [0, 5]]
    with worker() as r:
        s = Snapshot(snapshot, r)
        got = s.dump()
        assert got["chains"] == chains.chains
        assert [listener["chain"] for listener in got["listeners"]] == [0, 3]
        assert [route["chain"] for listener in got["listeners"] for route in listener["routes"]] == [1, 2, -1]
        assert [cluster["chain"] for cluster in got["clusters"]] == [4, 3]
        assert [share for _, share in got["rules"]] == [1_000_000, 100_000, 1_000_000, 1_000_000, 1_000_000, 10_000]
        assert [match is None for match, _ in got["rules"]] == [True, False, True, True, True, True]
        assert s.match_rule(1, Request(b"GET", b"a.test", b"/api/x", [(b"x-a", b"b")]))
        assert not s.match_rule(1, Request(b"GET", b"b.test", b"/api/x", [(b"x-a", b"b")]))
        s.close()


def test_what_the_worker_is_told(directory):
    _, chains, _ = made(directory)
    told = unpack(chains.blob())
    guard, some, here, _, last, own = told["slots"]
    fingerprint = guard["fingerprint"]
    assert guard == {
        "row": 0, "name": "guard", "use": "./f.py:Guard", "kind": "file", "module": f"fastmesh_file_{fingerprint}",
        "qualname": "Guard", "file": str(directory / "f.py"), "fingerprint": fingerprint,
        "settings": {"text": "x", "key": "hidden-key"}, "phases": {"on_request": "def"}, "on_error": "closed",
        "security": True, "budget_ns": 2_000_000, "timeout_ns": 10**9, "body_limit": 1 << 20, "isolated": True,
        "shadow": False, "quarantine": [20, 10 * 10**9, 5 * 10**9, 300 * 10**9], "needs": None,
        "changes_body": True, "second_ns": 0}
    assert (here["settings"]["text"], some["on_error"], own["shadow"]) == ("here", "open", True)
    assert (last["budget_ns"], last["timeout_ns"], some["timeout_ns"]) == (500_000, 2 * 10**9, 30 * 10**9)
    assert told["files"] == {fingerprint: FILTERS}
    assert told["paths"] == import_paths() and not any("lib-dynload" in path for path in told["paths"])


def test_the_operator_decides_about_the_time(directory):
    text = """\
listeners: []
clusters:
- name: a
  endpoints: [127.0.0.1:1]
  filters: [{name: own, use: ./f.py:Patient}, {name: other, use: ./f.py:Patient, timeout: 1s}]
"""
    _, chains, _ = made(directory, text)
    assert {slot["name"]: slot["timeout_ns"] for slot in chains.slots} == {"own": 5 * 10**9, "other": 10**9}


def test_what_control_is_told(directory):
    _, chains, _ = made(directory)
    told = chains.isolated()
    assert (told["names"], told["timeout_ns"], told["priority"]) == (["guard"], 10**9, "low")
    _, again, _ = made(directory)
    _, other, _ = made(directory, TEXT + "\nfilter_host: {priority: normal}\n")
    assert again.isolated() == told
    assert other.isolated()["priority"] == "normal" and other.isolated()["key"] != told["key"]


def test_rows_follow_names(directory):
    registry = Registry()
    made(directory, registry=registry)
    text = TEXT.replace("{name: guard, use", "{name: new, use").replace("[guard", "[new, guard").replace(
        "filters:\n- {name: unused", "filters:\n- {name: guard, use: ./f.py:Guard}\n- {name: unused", 1)
    _, chains, _ = made(directory, text, Registry.from_dict(registry.to_dict()))
    rows = {slot["name"]: slot["row"] for slot in chains.slots}
    assert rows["guard"] == 0 and rows["own"] == 5 and rows["new"] == 6
    assert chains.rows[6] == "new"


def test_names_of_ones_in_place_are_unique(directory):
    text = """\
listeners:
- name: web
  address: 127.0.0.1:8080
  filters: [{use: ./f.py:Stamp}, {use: ./f.py:Stamp}, {name: Stamp@web.3, use: ./f.py:Stamp}, {use: ./f.py:Stamp}]
  routes: [{match: {}, response: {status: 200}}]
"""
    _, chains, _ = made(directory, text)
    assert [slot["name"] for slot in chains.slots] == ["Stamp@web", "Stamp@web.2", "Stamp@web.3", "Stamp@web.4"]


def test_every_row_has_one_owner():
    registry = Registry()
    names = [f"f{i}" for i in range(FILTER_ROWS)]
    assert sorted(registry.filters.assign(names).values()) == list(range(FILTER_ROWS))
    again = registry.filters.assign([*names[1:], "new"])
    assert again["new"] == 0 and registry.reused()["filters"] == [0]


def test_secrets_are_not_shown(directory):
    config, chains, _ = made(directory)
    shown = as_written(config, chains)
    assert shown["filters"][1]["key"] == "(secret)" and "hidden-key" not in json.dumps(shown)
    assert shown["listeners"][0]["filters"][0] == "guard"
    assert shown["listeners"][0]["filters"][1]["text"] == "here"


def test_filters_that_nobody_looked_at_are_not_left_out(directory):
    config = load_text(TEXT, str(directory / "mesh.yaml"), {"KEY": "k"}).config
    with pytest.raises(ValueError, match="their classes were not looked at"):
        compile(config, 1, Registry())


def test_without_filters_there_is_nothing():
    config = load_text("listeners: []\n").config
    assert Chains(config, None, Registry()).blob() == b""


def test_the_compile_process(directory):
    (directory / "mesh.yaml").write_text(TEXT)
    result = answer({"file": str(directory / "mesh.yaml"), "version": 3, "env": {"KEY": "hidden-key"}})
    assert result["ok"] and result["names"]["filters"][0] == "guard" and result["files"] == [str(directory / "f.py")]
    assert [slot["name"] for slot in unpack(result["filters"])["slots"]][:2] == ["guard", "some"]
    assert "hidden-key" not in json.dumps(result["config"])
    (directory / "f.py").write_text("import sys\nsys.exit()\n")
    for name in [name for name in sys.modules if name.startswith("fastmesh_file_")]:
        del sys.modules[name]
    result = answer({"file": str(directory / "mesh.yaml"), "version": 3, "env": {"KEY": "hidden-key"}})
    assert not result["ok"] and "f.py:2: it called sys.exit(None)" in result["text"]
    # Whoever watches for changes knows which file to look at.
    assert result["files"] == [str(directory / "f.py")]
