"""`help()` says of each attribute what it is: as the stubs and the reference have it, which are made of one text."""

import ast
from pathlib import Path

import pytest

from fastmesh import Connection, Headers, Labels, Outcome, Request, Response, UpstreamError

STUB = Path(__file__).parents[3] / "src" / "fastmesh" / "_core" / "filter" / "view.pyi"
CLASSES = [Request, Response, Headers, Labels, Connection, UpstreamError, Outcome]
WRITTEN = {node.name: node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)}


def words(text: str | None) -> str:
    return " ".join((text or "").split())


def told(node: ast.ClassDef) -> dict[str, str]:
    """What the stub says of each attribute, with its type."""
    found: dict[str, str] = {}
    for here, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            found[here.target.id] = f"{ast.unparse(here.annotation)}. {text}"
        elif isinstance(here, ast.FunctionDef) and here.name != "__init__":
            text = ast.get_docstring(here) or ""
            if text and any(isinstance(one, ast.Name) and one.id == "property" for one in here.decorator_list):
                assert here.returns is not None
                text = f"{ast.unparse(here.returns)}, read only. {text}"
            found.setdefault(here.name, text)
    return found


def shown(cls: type, name: str) -> str:
    """The docstring of an attribute, without the line that says how it is called."""
    text = words(getattr(cls, name).__doc__)
    if text.startswith(f"{cls.__name__}.{name}("):
        text = text[text.index(")") + 1:].strip()
    return text


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_attribute_is_explained(cls):
    names = [name for name in dir(cls) if not name.startswith("_")]
    assert names and [name for name in names if not shown(cls, name)] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_it_is_what_the_reference_says(cls):
    node = WRITTEN[cls.__name__]
    assert words(cls.__doc__).endswith(words(ast.get_docstring(node)))
    written = told(node)
    public = {name for name in written if not name.startswith("_")}
    assert public and public <= set(dir(cls))
    assert {name: words(written[name]) for name in public} == {name: shown(cls, name) for name in public}


def test_what_may_be_set_says_until_when():
    for cls in CLASSES:
        for here in WRITTEN[cls.__name__].body:
            if isinstance(here, ast.AnnAssign) and isinstance(here.target, ast.Name):
                assert "May be set" in told(WRITTEN[cls.__name__])[here.target.id] or here.target.id == "path"
