"""Fail when a `_core` file cimports from a floor above its own, or from a sibling on the same floor."""

import re
import sys
from pathlib import Path

CORE = Path("src/fastmesh/_core")
FLOORS = [["sys"], ["mem"], ["io", "http"], ["net"], ["lb", "route"], ["resil"], ["snapshot"], ["upstream"],
          ["proxy"], ["filter"], ["watch", "hosted"], ["worker", "explain"], ["play"]]
RANK = {name: i for i, names in enumerate(FLOORS) for name in names}
CIMPORT = re.compile(r"^\s*(?:from\s+fastmesh\._core\.(\w+)|cimport\s+fastmesh\._core\.(\w+))", re.M)

bad: list[str] = []
for path in sorted(p for p in CORE.rglob("*") if p.suffix in {".pyx", ".pxd"}):
    here = path.relative_to(CORE).parts[0].split(".")[0]
    for match in CIMPORT.finditer(path.read_text()) if here != "__init__" else ():
        there = match[1] or match[2]
        if there not in RANK or here not in RANK:
            bad.append(f"{path}: unknown floor {there!r}; add it to tools/check_layers.py")
        elif there != here and RANK[there] >= RANK[here]:
            bad.append(f"{path}: {here} (floor {RANK[here]}) must not cimport {there} (floor {RANK[there]})")
print(*bad or ["layers: ok"], sep="\n")
sys.exit(bool(bad))
