"""Runs h2load over HTTP/1.1: closed loop, keep-alive, one thread.

Beside wrk it is the check that what a proxy costs does not hang on who asks.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

# "finished in 1.00s, 96521.00 req/s, 13.70MB/s", and "requests: 96521 total, …, 0 failed, 0 errored, 0 timeout".
FINISHED = re.compile(r"^finished in \S+, ([0-9.]+) req/s", re.M)
REQUESTS = re.compile(r"^requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.M)
STATUSES = re.compile(r"^status codes: (\d+) 2xx,", re.M)


@dataclass(frozen=True)
class Load:
    """What one run of h2load saw."""

    requests: int
    rps: float
    failed: int  # without an answer, or with another status than 2xx


def read(report: str) -> Load:
    """What h2load printed.

    Raises ValueError: it printed something else.
    """
    finished, requests, statuses = (what.search(report) for what in (FINISHED, REQUESTS, STATUSES))
    if not finished or not requests or not statuses:
        raise ValueError(f"h2load printed no result: {report[-400:]!r}")
    done, _, failed, errored, timed_out = map(int, requests.groups())
    return Load(done, float(finished[1]), failed + errored + timed_out + done - int(statuses[1]))


def run(port: int, connections: int, seconds: int, core: int, headers: Sequence[str] = ()) -> Load:
    command = ["taskset", "-c", str(core), "h2load", "--h1", "-t", "1", "-c", str(connections), "-D", str(seconds),
               "--warm-up-time", "0", *(part for header in headers for part in ("-H", header)),
               f"http://127.0.0.1:{port}/"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return read(done.stdout)
