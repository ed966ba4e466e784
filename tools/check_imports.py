"""Fail when a Python package of fastmesh imports one that it must not know."""

import ast
import sys
from pathlib import Path

SRC = Path("src/fastmesh")

# Package -> the packages of fastmesh that it may import, besides itself. `_core.x` names one compiled module.
PACKAGES = {
    "__init__": {"filters", "_core.filter"},
    "__main__": {"cli"},
    "errors": set(),
    "units": {"errors"},
    "config": {"errors", "units"},
    "filters": {"__init__", "errors", "units", "config", "_core.filter", "_core.mem", "_core.net"},
    "filters.builtin": {"__init__"},        # the public API, and nothing else
    "discovery": {"__init__"},              # likewise
    "healers": {"__init__"},                # likewise
    "snapshot": {"errors", "units", "config", "filters", "_core.snapshot"},
    "observe": {"errors", "units", "_core.mem", "_core.resil"},
    "worker": {"_core.worker", "_core.filter", "_core.mem", "filters"},
    "host": {"__init__", "filters", "worker", "_core.filter", "_core.hosted", "_core.sys"},
    "admin": {"errors", "units", "config", "observe", "control"},
    "control": {"errors", "units", "config", "observe", "admin", "snapshot", "worker", "_core.mem", "_core.lb",
                "_core.resil", "_core.sys"},
    "testing": {"__init__", "errors", "units", "config", "filters", "snapshot", "_core.worker", "_core.filter",
                "_core.mem", "_core.play"},
    "simulate": {"errors", "units", "config", "snapshot", "_core.play"},
    "cli": {"__init__", "errors", "units", "config", "filters", "snapshot", "simulate", "control", "worker",
            "_core.worker", "_core.explain"},
}
# What a worker process may never load: an event loop, a validator, or the rest of fastmesh.
HEAVY = {"asyncio", "uvloop", "pydantic", "threading", "logging", "httptools"}
BANNED = {"worker": HEAVY, "filters.builtin": HEAVY}

bad: list[str] = []
for path in sorted(p for p in SRC.rglob("*.py") if SRC / "_core" not in p.parents):
    parts = path.relative_to(SRC).parts
    here = "filters.builtin" if parts[:2] == ("filters", "builtin") else parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            first, *rest = name.split(".")
            there = ".".join(rest[:2]) if rest[:1] == ["_core"] else (rest or ["__init__"])[0]
            # A public name, and no module of that name.
            is_module = (SRC / there).is_dir() or (SRC / f"{there}.py").exists() or there.startswith("_core")
            there = there if is_module else "__init__"
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if first == "fastmesh" and there != here and there not in PACKAGES.get(here, set()):
                bad.append(f"{where}: {here} must not import {there} (table in tools/check_imports.py)")
            elif first in BANNED.get(here, set()):
                bad.append(f"{where}: {here} must not import {first}")
print(*bad or ["imports: ok"], sep="\n")
sys.exit(bool(bad))
