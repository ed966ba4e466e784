"""What an isolated filter costs: CPU of worker and filter host per request, and latency, with and without it.

    python -m bench.isolated [--seconds 5] [--connections 32] [--engine io_uring]

The filter reads two headers and sets one, and answers at once; as `def`, as `async def`, and with all headers. wrk and
the origin (nginx) share a core with the filter host, the worker has the other one. CPU is that of a closed loop at full
load; latency that of an open loop at a fixed rate, for in a closed loop all 32 wait for the slowest core.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from bench.load import fixed_rate
from bench.running import ROOT, free_port

FILTERS = '''
from fastmesh import Filter, Request


class Plain(Filter):
    isolated = True
    needs = ("x-one", "x-two")

    def on_request(self, request: Request) -> None:
        request.headers["x-seen"] = request.headers.get("x-one", "") + request.headers.get("x-two", "")


class Async(Plain):
    async def on_request(self, request: Request) -> None:
        request.headers["x-seen"] = request.headers.get("x-one", "") + request.headers.get("x-two", "")


class Whole(Plain):
    needs = None
'''
NGINX = """
pid {folder}/nginx.pid; daemon off; error_log stderr; worker_processes 1; events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000;
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{answer}"; }} }}
}}
"""
CONFIG = """
admin: {{address: 127.0.0.1:{admin}}}
reactor: {engine}
drain_timeout: 1s
listeners:
  - {{name: web, address: 127.0.0.1:{port}, filters: [{use}], routes: [{{match: {{prefix: /}}, cluster: app}}]}}
clusters:
  - {{name: app, endpoints: [127.0.0.1:{origin}]}}
"""
START_SECONDS = 20.0


def cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


@contextmanager
def running(*command: str | Path, log: Path) -> Iterator[None]:
    with log.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def ask_until_ready(port: int) -> None:
    end = monotonic() + START_SECONDS
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/ready")
            return
        except OSError:
            if monotonic() > end:
                raise
            sleep(0.05)


def pid_in(log: str, what: str) -> int | None:
    found = re.search(rf"{what}.*pid (\d+)", log)
    return int(found[1]) if found else None


def measure(folder: Path, name: str, origin: int, options: argparse.Namespace) -> tuple[float, float, float, str]:
    """CPU of the worker and of the host in µs per request, p50 in µs, and what wrk counts as failed."""
    admin, port = free_port(), free_port()
    config, log = folder / "mesh.yaml", folder / f"{name}.log"
    config.write_text(CONFIG.format(admin=admin, engine=options.engine, port=port, origin=origin,
                                    use=f"{{use: ./filters.py:{name}}}" if name else ""))
    with running(ROOT / ".venv" / "bin" / "fastmesh", "run", "-c", config, log=log):
        ask_until_ready(admin)
        worker, host = pid_in(log.read_text(), "worker 0 serves"), pid_in(log.read_text(), "filter host")
        assert worker is not None
        os.sched_setaffinity(worker, {0})
        if host is not None:
            os.sched_setaffinity(host, {1})
        command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{options.connections}", "-H", "x-one: 1", "-H",
                   "x-two: 2", f"http://127.0.0.1:{port}/"]
        subprocess.run([*command, "-d1s"], check=True, capture_output=True)
        before = cpu_ns(worker), cpu_ns(host) if host else 0
        text = subprocess.run([*command, f"-d{options.seconds}s"], check=True, capture_output=True, text=True).stdout
        took = cpu_ns(worker) - before[0], (cpu_ns(host) if host else 0) - before[1]
        load = fixed_rate.run(port, options.rate, options.connections, options.seconds, 1)
    requests = re.search(r"(\d+) requests in", text)
    assert requests, text
    failed = re.search(r"(Non-2xx.*|Socket errors.*)", text)
    each = int(requests[1]) * 1000
    return took[0] / each, took[1] / each, load.latency["p50"], failed[1] if failed else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--engine", default="io_uring", choices=("io_uring", "epoll"))
    parser.add_argument("names", nargs="*", default=["Plain", "Async", "Whole"])
    options = parser.parse_args()
    missing = [program for program in ("wrk", "nginx", "taskset") if shutil.which(program) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as made:
        folder, origin = Path(made), free_port()
        (folder / "filters.py").write_text(FILTERS)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=origin, answer="x" * 100))
        with running("taskset", "-c", "1", "nginx", "-c", folder / "nginx.conf", log=folder / "nginx.log"):
            for _ in range(options.rounds):
                none = measure(folder, "", origin, options)
                print(f"without    worker {none[0]:5.1f} µs, p50 {none[2]:6.0f} µs {none[3]}", flush=True)
                for name in options.names:
                    worker, host, p50, failed = measure(folder, name, origin, options)
                    added = worker + host - none[0]
                    print(f"{name:10} worker {worker:5.1f} µs, host {host:5.1f} µs, added {added:5.1f} "
                          f"µs (at most 30), p50 {p50:6.0f} µs, added {p50 - none[2]:5.0f} µs (at most 80) {failed}",
                          flush=True)


if __name__ == "__main__":
    main()
