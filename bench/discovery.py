"""How long a set of endpoints that a policy yields takes to be live in all workers, and what that costs.

    python -m bench.discovery [--updates 20] [--workers 1] [--all-new] [--lb maglev] [--traffic 1000] [3 1000 10000]

A policy yields a set in which one endpoint is another than before, or all of them with `--all-new`, once a second, with
`debounce: 0`. The time is from just before the yield to the last worker's acknowledgement; CPU is that of all
processes, copies of control included. With `--traffic` requests come at a fixed rate meanwhile, to another cluster, and
how long they take is told beside the same without updates.
"""

import argparse
import json
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from bench.isolated import NGINX, ask_until_ready, cpu_ns, running
from bench.load import fixed_rate
from bench.running import ROOT, free_port

POLICY = '''
import asyncio
from time import time

from fastmesh import Discovery


class Changes(Discovery):
    count: int
    path: str
    all_new: bool
    apart: int

    async def endpoints(self):
        found = [f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}:80" for k in range(self.count)]
        with open(self.path, "a", buffering=1) as told:
            for n in range(1_000_000):
                found[0] = f"127.0.0.1:{1000 + n % 100}"
                if self.all_new:
                    found = [f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}:{80 + n % 2}" for k in range(self.count)]
                told.write(f"{time():.6f}\\n")
                yield found
                await asyncio.sleep(self.apart)
'''
CONFIG = """
admin: {{address: 127.0.0.1:{admin}}}
workers: {workers}
drain_timeout: 1s
listeners:
  - {{name: web, address: 127.0.0.1:{port}, routes: [{{match: {{prefix: /app}}, cluster: app}},
                                                    {{match: {{prefix: /}}, cluster: origin}}]}}
clusters:
  - {{name: origin, endpoints: [127.0.0.1:{origin}]}}
  - name: app
    load_balancer: {lb}
    endpoints: {{use: ./policy.py:Changes, count: {count}, path: {told}, all_new: {all_new}, apart: {apart},
                debounce: 0}}
"""
SECONDS_MOST = 5        # for one update, before this gives up
NEVER = 1_000_000       # seconds between two sets


@dataclass(frozen=True)
class Proxy:
    """A running one."""

    admin: int
    port: int
    told: Path      # when each set was yielded
    log: Path

    def updates(self) -> list[float]:
        """When each was live."""
        with urlopen(f"http://127.0.0.1:{self.admin}/events") as answer:
            return [event["at"] for event in json.load(answer) if event["what"] == "discovery_update"]


def children_ns(pid: int) -> int:
    """CPU of the dead children of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) * 10**9 // os.sysconf("SC_CLK_TCK")


@contextmanager
def proxy(folder: Path, count: int, options: argparse.Namespace, apart: int, origin: int) -> Iterator[Proxy]:
    found = Proxy(free_port(), free_port(), folder / f"{count}.{apart}.times", folder / f"{count}.{apart}.log")
    config = folder / "mesh.yaml"
    config.write_text(CONFIG.format(admin=found.admin, workers=options.workers, port=found.port, count=count,
                                    told=found.told, lb=options.lb, all_new=str(options.all_new).lower(), apart=apart,
                                    origin=origin))
    with running(ROOT / ".venv" / "bin" / "fastmesh", "run", "-c", config, log=found.log):
        ask_until_ready(found.admin)
        yield found


def measure(folder: Path, count: int, options: argparse.Namespace) -> tuple[list[float], float]:
    """Milliseconds of each update, and CPU milliseconds per update."""
    with proxy(folder, count, options, 1, free_port()) as found:
        pids = [int(pid) for pid in re.findall(r"pid (\d+)", found.log.read_text())]
        control = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
        before = sum(map(cpu_ns, (control, *pids))) + children_ns(control)
        end = monotonic() + SECONDS_MOST * options.updates
        events: list[float] = []
        while len(events) <= options.updates:
            assert monotonic() < end, found.log.read_text()
            sleep(1)
            events = found.updates()
        took = sum(map(cpu_ns, (control, *pids))) + children_ns(control) - before
    yields = [float(line) for line in found.told.read_text().splitlines()]
    # The first set is part of the start.
    live = [(at - began) * 1000 for began, at in zip(yields[1:], events[1:], strict=False)]
    return live, took / 1e6 / (len(events) - 1)


def beside(folder: Path, count: int, options: argparse.Namespace, origin: int) -> None:
    """Latency of requests at a fixed rate, with updates and without, in turns."""
    for apart in (NEVER, 1) * options.rounds:
        with proxy(folder, count, options, apart, origin) as found:
            sleep(2)
            first = len(found.updates())
            load = fixed_rate.run(found.port, options.traffic, options.connections, options.seconds, 1)
            updates = len(found.updates()) - first
            curve = " ".join(f"{name} {load.latency[name]:6.0f}" for name in ("p50", "p99", "p99.9"))
            print(f"{count:7,} endpoints, {updates:3} updates: {curve} max {load.max:6.0f} µs, {load.failed} of "
                  f"{load.requests:,} failed", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--all-new", action="store_true", help="each endpoint is another each time")
    parser.add_argument("--lb", default="least_request")
    parser.add_argument("--traffic", type=int, default=0, help="requests per second beside the updates")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("counts", nargs="*", type=int, default=[3, 1000, 10_000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "policy.py").write_text(POLICY)
        if options.traffic:
            origin = free_port()
            (Path(made) / "nginx.conf").write_text(NGINX.format(folder=made, port=origin, answer="x" * 100))
            with running("taskset", "-c", "1", "nginx", "-c", Path(made) / "nginx.conf", log=Path(made) / "nginx.log"):
                for count in options.counts:
                    beside(Path(made), count, options, origin)
            return
        for count in options.counts:
            live, cpu = measure(Path(made), count, options)
            print(f"{count:7,} endpoints: live after {statistics.median(live):6.1f} ms (median), {max(live):6.1f} ms "
                  f"(longest of {len(live)}), {cpu:6.1f} ms of CPU each", flush=True)


if __name__ == "__main__":
    main()
