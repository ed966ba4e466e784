"""docs/filters/fallbacks.md: its code runs, its configuration is taken, and its tests pass."""

import builtins
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastmesh.config.load import load
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from probes.snapshot_probe import Snapshot
from probes.wire import registry

PAGE = (Path(__file__).parents[3] / "docs" / "filters" / "fallbacks.md").read_text()
(YAML,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
POLICY, TESTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def test_the_configuration_is_taken(tmp_path: Path) -> None:
    (tmp_path / "fallbacks.py").write_text(POLICY)
    (tmp_path / "mesh.yaml").write_text(YAML)
    loaded = load(str(tmp_path / "mesh.yaml"), {}, look_at_filters)
    assert loaded.warnings == [] and loaded.filters is not None
    assert loaded.filters.by_place["listeners", 0, "routes", 0, "fallback", 0].settings == {
        "source": "catalogue", "currency": "CHF"}
    numbers = Registry()
    with registry() as r:
        chains = Chains(loaded.config, loaded.filters, numbers)
        Snapshot(compile(loaded.config, 1, numbers, 1024, chains)[0], r).close()


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)", TESTS, re.M))
def test_its_tests_pass(name: str, monkeypatch: pytest.MonkeyPatch, filter_kit: Any) -> None:
    module = ModuleType("fallbacks")
    exec(compile_text(POLICY, "fallbacks.py"), module.__dict__)
    monkeypatch.setitem(sys.modules, "fallbacks", module)
    names: dict[str, Any] = {}
    exec(compile_text(TESTS, "its tests"), names)
    names[name](filter_kit)


def compile_text(text: str, what: str) -> Any:
    return builtins.compile(text, f"fallbacks.md, {what}", "exec")
