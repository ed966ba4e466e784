"""Runs wrk: closed loop, keep-alive, one thread."""

import json
import subprocess
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


def run(port: int, connections: int, seconds: int, core: int) -> Load:
    command = ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
               "--timeout", "10s", "--latency", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return Load(**json.loads(line))
