"""A worker that loads a built-in filter loads little else."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastmesh
from fastmesh.filters.builtin import LOAD_BALANCERS, NAMES

HEAVY = {"asyncio", "dataclasses", "importlib.metadata", "inspect", "logging", "pydantic", "threading", "typing",
         "uvloop"}
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); __import__(sys.argv[2]); print(*sys.modules)"


@pytest.mark.parametrize("module", sorted({
    place.partition(":")[0] for name, place in {**NAMES, **LOAD_BALANCERS}.items() if name != "jwt"}))
def test_it_loads_nothing_heavy(module):
    src = str(Path(fastmesh.__file__).parents[1])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM, src, module], capture_output=True, text=True,
                          check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert module in loaded and not loaded & HEAVY
    if module.rpartition(".")[2] not in ("json_log", "token_budget"):
        assert "json" not in loaded


def test_jwt_says_what_it_needs():
    src = str(Path(fastmesh.__file__).parents[1])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM, src, "fastmesh.filters.builtin.jwt_check"],
                          capture_output=True, text=True, check=False, timeout=60)
    assert "the filter jwt needs PyJWT and cryptography: pip install 'fastmesh[jwt]'" in done.stderr
