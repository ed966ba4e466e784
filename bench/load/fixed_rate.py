"""Requests at a fixed rate, open loop: `PORT RATE CONNECTIONS SECONDS [PATH]`.  See open_loop.pyx for the method."""

import array
import json
import sys
from dataclasses import dataclass
from importlib import import_module

from bench.load import percentiles, program


@dataclass(frozen=True)
class Load:
    """What one run saw; times in microseconds."""

    requests: int
    failed: int
    reconnected: int  # connections that the proxy ended between two requests
    # By name: p50, p99, p99.9 and others.
    latency: dict[str, float]
    max: float
    late: float  # p99 of how late the client itself was


def run(port: int, rate: int, connections: int, seconds: float, core: int, path: str = "/") -> Load:
    said = program.ask("bench.load.fixed_rate", core, port, rate, connections, seconds, path)
    return Load(**said)


def main() -> None:
    port, rate, connections, seconds = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    path = sys.argv[5] if len(sys.argv) > 5 else "/"
    total = int(rate * seconds)
    latencies, late = array.array("Q", bytes(8 * total)), array.array("Q", bytes(8 * total))
    request = f"GET {path} HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\n\r\n".encode()
    play = import_module("bench.load.open_loop").play  # compiled by bench.build
    counts = play(port, rate, connections, seconds, request, latencies, late)
    ordered = [value / 1000 for value in sorted(latencies[: counts["requests"]])]
    own = sorted(late[: counts["late_count"]])
    print(json.dumps({
        "requests": counts["requests"],
        "failed": counts["failed"],
        "reconnected": counts["reconnected"],
        "latency": percentiles.curve(ordered),
        "max": ordered[-1] if ordered else 0.0,
        "late": percentiles.percentile(own, 99) / 1000,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
