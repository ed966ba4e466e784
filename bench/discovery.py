"""How long a set of endpoints that a policy yields takes to be live in all workers, and what that costs.

    python -m bench.discovery [--updates 20] [--workers 1] [3 1000 10000]

A policy yields a set in which one endpoint is another than before, once a second, with `debounce: 0`. The time is from
just before the yield to the last worker's acknowledgement; CPU is that of all processes, copies of control included.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from bench.isolated import ask_until_ready, cpu_ns, running
from bench.running import ROOT, free_port

POLICY = '''
import asyncio
from time import time

from fastmesh import Discovery


class Changes(Discovery):
    count: int
    path: str

    async def endpoints(self):
        found = [f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}:80" for k in range(self.count)]
        with open(self.path, "a", buffering=1) as told:
            for n in range(1_000_000):
                found[0] = f"127.0.0.1:{1000 + n % 100}"
                told.write(f"{time():.6f}\\n")
                yield found
                await asyncio.sleep(1)
'''
CONFIG = """
admin: {{address: 127.0.0.1:{admin}}}
workers: {workers}
drain_timeout: 1s
listeners:
  - {{name: web, address: 127.0.0.1:{port}, routes: [{{match: {{prefix: /}}, cluster: app}}]}}
clusters:
  - {{name: app, endpoints: {{use: ./policy.py:Changes, count: {count}, path: {told}, debounce: 0}}}}
"""
SECONDS_MOST = 5        # for one update, before this gives up


def children_ns(pid: int) -> int:
    """CPU of the dead children of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * 10**9 // os.sysconf("SC_CLK_TCK")


def measure(folder: Path, count: int, options: argparse.Namespace) -> tuple[list[float], float]:
    """Milliseconds of each update, and CPU milliseconds per update."""
    admin, port, told = free_port(), free_port(), folder / f"{count}.times"
    config, log = folder / "mesh.yaml", folder / f"{count}.log"
    config.write_text(CONFIG.format(admin=admin, workers=options.workers, port=port, count=count, told=told))
    with running(ROOT / ".venv" / "bin" / "fastmesh", "run", "-c", config, log=log):
        ask_until_ready(admin)
        pids = [int(pid) for pid in re.findall(r"pid (\d+)", log.read_text())]
        control = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
        before = sum(map(cpu_ns, (control, *pids))) + children_ns(control)
        end = monotonic() + SECONDS_MOST * options.updates
        events: list[float] = []
        while len(events) <= options.updates:
            assert monotonic() < end, log.read_text()
            sleep(1)
            with urlopen(f"http://127.0.0.1:{admin}/events") as answer:
                events = [event["at"] for event in json.load(answer) if event["what"] == "discovery_update"]
        took = sum(map(cpu_ns, (control, *pids))) + children_ns(control) - before
    yields = [float(line) for line in told.read_text().splitlines()]
    # The first set is part of the start.
    live = [(at - began) * 1000 for began, at in zip(yields[1:], events[1:], strict=False)]
    return live, took / 1e6 / (len(events) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("counts", nargs="*", type=int, default=[3, 1000, 10_000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "policy.py").write_text(POLICY)
        for count in options.counts:
            live, cpu = measure(Path(made), count, options)
            print(f"{count:7,} endpoints: live after {statistics.median(live):6.1f} ms (median), {max(live):6.1f} ms "
                  f"(longest of {len(live)}), {cpu:6.1f} ms of CPU each", flush=True)


if __name__ == "__main__":
    main()
