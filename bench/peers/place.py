"""Proxies from PyPI: an environment of their own, so that nothing of them comes into the one fastmesh runs in."""

import subprocess
import sys

from bench.running import ROOT

PLACE = ROOT / ".peers"
PYTHON = PLACE / "bin" / "python"


def install(*packages: str) -> None:
    """Whether it could be done shows in what is there afterwards."""
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=False)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", *packages], check=False)


def has(module: str) -> bool:
    """Whether a module of it can be imported."""
    return (
        PYTHON.exists()
        and not subprocess.run([str(PYTHON), "-c", f"import {module}"], check=False, capture_output=True).returncode
    )


def version(package: str) -> str:
    said = subprocess.run(
        [str(PYTHON), "-c", f"from importlib.metadata import version; print(version({package!r}))"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return said.stdout.strip() or "unknown"
