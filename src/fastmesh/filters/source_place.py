"""Where the source of a class says what is wrong with it."""

import ast
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

_MOST = 1 << 20             # bytes of a file that is looked at
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def place_in_source(cls: type, name: str = "") -> str:
    """`FILE:LINE:COLUMN` of an attribute, or of the class where it has none of its own; "" when there is no text."""
    owner = next((one for one in cls.__mro__ if name in vars(one) or name in _annotated(one)), cls)
    code = getattr(vars(owner).get(name), "__code__", None)
    try:
        found = _in_file(owner, name, code.co_firstlineno if isinstance(code, types.CodeType) else 0)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        found = ""
    # What was put there by a program has a place of its own.
    return found or (f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, types.CodeType) else "")


def _annotated(owner: type) -> Any:
    written = vars(owner).get("__annotations__")
    return written if isinstance(written, dict) else ()


def _in_file(owner: type, name: str, line: int) -> str:
    module = sys.modules.get(owner.__module__)
    path = getattr(module, "__file__", None)
    if not isinstance(path, str) or not path.endswith(".py") or os.path.getsize(path) > _MOST:
        return ""
    with open(path, "rb") as file:      # noqa: PTH123
        source = file.read(_MOST)
    named = [node for qualname, node in _classes(ast.parse(source)) if qualname == owner.__qualname__]
    if not named:
        return ""
    # A class, and an attribute, may be written several times: the last one counts, but a method knows its line.
    own = [node for node in named if node.lineno <= line <= (node.end_lineno or 0)] or named
    node: ast.AST = own[-1]
    for node in _bindings(own[-1], name):
        if line and getattr(node, "lineno", 0) >= line:
            break
    at, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
    before = source.splitlines()[at - 1][:column].decode("utf-8", "replace")
    return f"{path}:{at}:{len(before) + 1}"


def _classes(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef]]:
    """With their names as `__qualname__` has them."""
    left: list[tuple[str, ast.AST]] = [("", node) for node in reversed(tree.body)]
    while left:
        prefix, node = left.pop()
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
        if isinstance(node, _DEFINITIONS):
            prefix += node.name + ("." if isinstance(node, ast.ClassDef) else ".<locals>.")
        left += [(prefix, inner) for inner in reversed(list(ast.iter_child_nodes(node)))]


def _bindings(owner: ast.ClassDef, name: str) -> Iterator[ast.AST]:
    """Where the body of a class gives a name something."""
    left: list[ast.AST] = list(reversed(owner.body))
    while left:
        node = left.pop()
        if isinstance(node, _DEFINITIONS):
            if node.name == name:
                yield node
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [
            node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            yield node
        left += reversed(list(ast.iter_child_nodes(node)))
