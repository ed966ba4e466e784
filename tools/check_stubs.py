"""Compare every .pyi beside a compiled module with the module itself (mypy.stubtest)."""

import subprocess
import sys
import tempfile
from pathlib import Path

# Cython's own names; and __cinit__ shows no parameters at run time.
ALLOWED = r"""
.*\.__init__
.*\.__test__
.*\.__pyx_.*
.*\.__reduce(_cython)?__
.*\.__setstate(_cython)?__
"""

modules = [".".join(p.relative_to("src").with_suffix("").parts) for p in sorted(Path("src").rglob("*.pyi"))]
if not modules:
    print("stubs: none")
    sys.exit(0)
with tempfile.NamedTemporaryFile("w", suffix=".txt") as allowed:
    allowed.write(ALLOWED)
    allowed.flush()
    sys.exit(subprocess.call([sys.executable, "-m", "mypy.stubtest", "--ignore-unused-allowlist",
                              "--ignore-disjoint-bases",
                              "--mypy-config-file", "pyproject.toml", "--allowlist", allowed.name, *modules]))
