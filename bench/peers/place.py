"""Proxies from PyPI: an environment of their own, so that nothing of them comes into the one fastmesh runs in."""

import subprocess
import sys

from bench.running import ROOT

PLACE = ROOT / ".peers"
PYTHON = PLACE / "bin" / "python"
_tried: set[str] = set()


def install(*packages: str) -> None:
    """Whether it could be done shows in what is there afterwards."""
    _tried.update(packages)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=False)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", *packages], check=False)


def why_absent(*packages: str) -> str:
    """Of packages that are not there: nobody has tried yet, or it could not be done."""
    names = ", ".join(packages)
    if _tried.issuperset(packages):
        return f"{names} could not be installed in {PLACE.name}"
    return f"not installed yet: a run installs {names} in {PLACE.name}"


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
