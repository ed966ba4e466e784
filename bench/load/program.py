"""Runs the load programs of this package, pinned, and reads the line of JSON they print."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.running import ROOT, Running, free_port


def command(module: str, core: int, *arguments: object) -> list[str]:
    return ["taskset", "-c", str(core), sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def ask(module: str, core: int, *arguments: object) -> dict[str, Any]:
    """Run one to its end."""
    done = subprocess.run(
        command(module, core, *arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise ValueError(f"{module} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return dict(json.loads(done.stdout))


def origin(module: str, folder: Path, core: int, http: bool) -> Running:
    """Start one as `python -m module origin PORT`; it stays until it is stopped. `http`: ready when it answers."""
    port = free_port()
    running = Running("origin", [sys.executable, "-m", module, "origin", str(port)], port, core, folder / "log")
    running.wait_ready(http=http)
    return running


@contextlib.contextmanager
def started(module: str, core: int, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run one beside the measurement; its standard input closes at the end, which tells it to leave."""
    process = subprocess.Popen(
        command(module, core, *arguments), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
