"""The code of docs/filters/load-balancers.md: the policy, and the tests of it that stand there."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "filters" / "load-balancers.md").read_text()
POLICY, TESTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def tests(monkeypatch):
    """The tests of the page by their names."""
    policy, module = ModuleType("fewest_failures"), ModuleType("page_tests")
    exec(compile(POLICY, "load-balancers.md, the policy", "exec"), policy.__dict__)
    monkeypatch.setitem(sys.modules, "fewest_failures", policy)
    exec(compile(TESTS, "load-balancers.md, the tests", "exec"), module.__dict__)
    return {name: each for name, each in vars(module).items() if name.startswith("test_")}


def test_there_are_two(tests):
    assert list(tests) == ["test_one_that_fails_gets_less", "test_in_a_worker"]


def test_made_up_endpoints(tests):
    tests["test_one_that_fails_gets_less"]()


def test_in_a_worker(tests, filter_kit):
    tests["test_in_a_worker"](filter_kit)
