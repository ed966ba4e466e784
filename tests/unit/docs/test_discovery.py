"""docs/filters/discovery.md: its code runs, and its tables say what the classes say."""

import re
import sys
from importlib import import_module
from inspect import get_annotations
from pathlib import Path
from types import ModuleType

import pytest

from fastmesh import Discovery
from fastmesh.control.finding import KINDS
from fastmesh.discovery import NAMES
from fastmesh.units import parse_duration

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "filters" / "discovery.md").read_text()
POLICY, TEST = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def test_the_policy_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModuleType("registry")
    monkeypatch.setitem(sys.modules, "registry", registry)
    exec(compile(POLICY, "discovery.md, registry.py", "exec"), registry.__dict__)
    names: dict[str, object] = {}
    exec(compile(TEST, "discovery.md, its test", "exec"), names)
    tests = [each for name, each in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()  # type: ignore[operator]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_table_has_each_setting_and_its_default(name: str) -> None:
    module, _, cls = NAMES[name].partition(":")
    policy = getattr(import_module(module), cls)
    assert issubclass(policy, Discovery)
    section = re.search(rf"^### {name}\n(.*?)(?=^##)", PAGE, re.M | re.S)
    assert section is not None
    told = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \| ", section[1], re.M))
    assert list(told) == list(get_annotations(policy))
    for setting, text in told.items():
        default = getattr(policy, setting, None)
        if isinstance(default, float):
            assert parse_duration(text) == default * 10**9
        else:
            assert text == ("required" if default is None else default)


def test_every_kind_of_failure_is_told() -> None:
    assert re.findall(r"\| `(\w+)` \|$", PAGE, re.M) == list(KINDS)
