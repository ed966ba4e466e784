"""Where in its source an attribute of a class stands."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fastmesh.filters.source_place import place_in_source

SOURCE = """\
import functools

def keep(f):
    return f

class Base:
    limit: int = 3
    def on_request(self, request): ...

if True:
    class Mine(Base):
        é = 1; size: "int" = 2
        if size:
            @keep
            @functools.cache
            async def on_response(self): ...
        def on_request(self): ...
        def on_request(self, more, than): ...
        class Inner:
            inner = 1

    def made():
        class Mine(Base):
            size = 5
            def on_retry(self): ...
        return Mine
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    (tmp_path / "placed.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("placed", tmp_path / "placed.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["placed"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["placed"]


def at(cls: type, name: str = "") -> str:
    return place_in_source(cls, name).rpartition("placed.py:")[2]


def test_where_things_stand(module: ModuleType) -> None:
    assert at(module.Mine) == "11:5"
    assert at(module.Mine, "size") == "12:16"               # characters, not bytes
    assert at(module.Mine, "on_response") == "16:13"        # the def, not what is written above it
    assert at(module.Mine, "on_request") == "18:9"          # the one that counts
    assert at(module.Base, "limit") == "7:5"
    assert at(module.Mine.Inner, "inner") == "20:13"
    assert at(module.Mine, "no_such_thing") == "11:5"


def test_what_a_parent_has(module: ModuleType) -> None:
    class Child(module.Mine):  # type: ignore[name-defined,misc]
        pass

    assert at(Child, "size") == "12:16"


def test_one_of_two_of_a_name(module: ModuleType) -> None:
    assert at(module.made(), "on_retry") == "25:13"
    assert at(module.made(), "size") == "24:13"


def test_what_has_no_text(tmp_path: Path, module: ModuleType) -> None:
    def lent(self: object) -> None: ...

    bare = type("Bare", (), {"__module__": "placed", "x": 1, "f": lent})
    assert place_in_source(bare, "x") == ""
    assert place_in_source(bare, "f") == f"{lent.__code__.co_filename}:{lent.__code__.co_firstlineno}"
    assert place_in_source(int, "real") == "" and place_in_source(type("X", (), {"__module__": "gone"})) == ""
    (tmp_path / "placed.py").write_text("class Mine(:\n")     # changed since it was loaded
    assert place_in_source(module.Mine, "size") == ""
    (tmp_path / "placed.py").unlink()
    assert place_in_source(module.Mine, "size") == ""
