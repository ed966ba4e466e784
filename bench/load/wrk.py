"""Runs wrk: closed loop, keep-alive, one thread."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw; times in microseconds."""

    requests: int
    duration_us: int
    bytes: int
    failed: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int


def run(
    port: int,
    connections: int,
    seconds: int,
    core: int,
    headers: Sequence[str] = (),
    routes: int = 1,
    clusters: int = 1,
) -> Load:
    """With routes or clusters: the paths or hosts of Service, one after the other."""
    command = ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
               "--timeout", "10s", "--latency", "-s", str(SCRIPT), *(f"-H{header}" for header in headers),
               f"http://127.0.0.1:{port}/"]  # fmt: skip
    kind, count = ("routes", routes - 1) if routes > 1 else ("clusters", clusters)
    asked = {"BENCH_KIND": kind, "BENCH_COUNT": str(count)} if count > 1 else {}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=seconds + 60, env={**os.environ, **asked}
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return Load(**json.loads(line))
