"""The machine: what it is, and how quiet it was while measuring."""

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

SPINS = 400_000


@dataclass(frozen=True)
class Cores:
    """Who runs where.  With two cores the origin shares with the load, never with the proxy."""

    proxy: int
    load: int
    origin: int


def choose_cores() -> Cores:
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("two cores are needed: one for the proxy, one for load and origin")
    return Cores(available[0], available[1], available[min(2, len(available) - 1)])


def card() -> dict[str, str]:
    """What a reader must know of the machine; nothing that names it."""
    cpu = Path("/proc/cpuinfo").read_text()
    release = Path("/etc/os-release").read_text()
    memory_kib = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])  # type: ignore[index]
    return {
        "cpu": _first(r"model name\s*:\s*(.+)", cpu),
        "cores": str(os.cpu_count()),
        "virtual": "yes" if re.search(r"^flags\s*:.*\bhypervisor\b", cpu, re.MULTILINE) else "no",
        "memory": f"{memory_kib / 1048576:.0f} GiB",
        "kernel": re.sub(r"^(\d+\.\d+).*", r"\1", platform.release()),
        "tcp": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "system": _first(r'PRETTY_NAME="?([^"\n]+)', release),
        "python": platform.python_version(),
    }


def slug(card: dict[str, str]) -> str:
    """A generic host name: `amd-epyc-2c`."""
    words = re.sub(r"\(.*?\)|@.*|processor|cpu", " ", card["cpu"].lower())
    return "-".join([*re.findall(r"[a-z0-9.]+", words)[:3], f"{card['cores']}c"])


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1).strip() if found else "unknown"


@dataclass(frozen=True)
class Spin:
    """A fixed piece of work, timed on the proxy's core before a round."""

    cpu_ms: float  # grows when the core clocks down or its cache is taken
    wall_ms: float  # more than cpu_ms: somebody else ran meanwhile


def spin(core: int, back_to: int) -> Spin:
    os.sched_setaffinity(0, {core})
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    total = 0
    for i in range(SPINS):
        total += i & 7
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    os.sched_setaffinity(0, {back_to})
    return Spin(cpu / 1e6, wall / 1e6)
