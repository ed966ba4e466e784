"""docs/filters/healers.md: its code runs, its configuration is taken, and its test passes."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fastmesh.config.load import load
from fastmesh.filters.look import look_at_filters

PAGE = (Path(__file__).parents[3] / "docs" / "filters" / "healers.md").read_text()
(YAML,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
POLICY, TEST = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def test_the_configuration_is_taken(tmp_path: Path) -> None:
    (tmp_path / "restart.py").write_text(POLICY)
    (tmp_path / "mesh.yaml").write_text(YAML)
    loaded = load(str(tmp_path / "mesh.yaml"), {}, look_at_filters)
    assert loaded.warnings == [] and loaded.filters is not None
    assert loaded.filters.healers["clusters", 0, "heal"].settings == {"url": "http://127.0.0.1:7000/restart"}


def test_its_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("restart")
    exec(compile(POLICY, "healers.md, restart.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "restart", module)
    names: dict[str, object] = {}
    exec(compile(TEST, "healers.md, its test", "exec"), names)
    test = names["test_a_slow_one_is_left_alone"]
    assert callable(test)
    test()
