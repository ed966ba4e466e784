"""Fail on what Cython remarked about the core in the last build: performance hints and warnings.

A hint means that a line without the GIL takes it; Cython's own exit status does not tell.
"""

import re
import sys
from pathlib import Path

CORE = Path("src/fastmesh/_core")
REMARKS = Path("build/release/c")

bad: list[str] = []
for source in sorted(CORE.rglob("*.pyx")):
    module = ".".join(source.relative_to("src").with_suffix("").parts)
    remarks = REMARKS / f"{module}.hints"
    if not remarks.exists():
        bad.append(f"{source}: not built yet (make build)")
        continue
    bad += [line for line in re.findall(r"^(?:performance hint|warning): .*$", remarks.read_text(), re.M)
            if "Unused entry '_" not in line]
bad = list(dict.fromkeys(bad))
print(*bad or ["hints: ok"], sep="\n")
sys.exit(bool(bad))
