"""What an endpoint costs in the memory of a worker that has not used it yet.

    python -m bench.endpoints [--clusters 1000] [100]

So many endpoints of each cluster, against one of each: the memory of a worker's own (private pages), and what it has
touched of pages that it shares with control and other workers, each divided by the difference. Names are part of it:
`10.0.0.1:80` and the like, 14 bytes on the average.
"""

import argparse
import json
import os
import re
import tempfile
from pathlib import Path

from bench.isolated import ask_until_ready, running
from bench.running import ROOT, free_port


def config_of(admin: int, port: int, clusters: int, count: int) -> str:
    def address(at: int) -> str:
        return f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}:80"

    return json.dumps({
        "admin": {"address": f"127.0.0.1:{admin}"},
        "workers": 1,
        "listeners": [{"name": "web", "address": f"127.0.0.1:{port}",
                       "routes": [{"match": {"prefix": "/"}, "cluster": "app-0000"}]}],
        "clusters": [{"name": f"app-{i:04}", "endpoints": [address(i * count + k) for k in range(count)]}
                     for i in range(clusters)],
    })


def pages_of(pid: int) -> tuple[int, int]:
    """Bytes of a process: (its own, those of memory that it shares with others)."""
    own = shared = 0
    is_shared = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_shared = "/memfd:" in line
        elif line.startswith(("Private_Clean:", "Private_Dirty:", "Shared_Clean:", "Shared_Dirty:")):
            size = int(line.split()[1]) * 1024
            if is_shared:
                shared += size
            elif line.startswith("Private"):
                own += size
    return own, shared


def measure(folder: Path, clusters: int, count: int) -> tuple[int, int]:
    admin, port = free_port(), free_port()
    config, log = folder / "mesh.yaml", folder / f"{count}.log"
    config.write_text(config_of(admin, port, clusters, count))
    with running(ROOT / ".venv" / "bin" / "fastmesh", "run", "-c", config, log=log):
        ask_until_ready(admin)
        (pid,) = map(int, re.findall(r"pid (\d+)", log.read_text()))
        assert pid != os.getpid()
        return pages_of(pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("counts", nargs="*", type=int, default=[100])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        own_of_one, shared_of_one = measure(Path(made), options.clusters, 1)
        print(f"{options.clusters:,} clusters of 1 endpoint: {own_of_one / 1e6:.1f} MB of its own, "
              f"{shared_of_one / 1e6:.2f} MB shared", flush=True)
        for count in options.counts:
            own, shared = measure(Path(made), options.clusters, count)
            more = options.clusters * (count - 1)
            print(f"{options.clusters:,} clusters of {count:,}: {own / 1e6:.1f} MB of its own, {shared / 1e6:.2f} MB "
                  f"shared: {(own - own_of_one) / more:.1f} and {(shared - shared_of_one) / more:.1f} bytes for each "
                  "further endpoint", flush=True)


if __name__ == "__main__":
    main()
