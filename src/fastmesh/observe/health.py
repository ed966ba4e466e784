"""What workers know of the health of endpoints, as control reads it.

One memfd for the whole proxy, which ends with the control process. Read by `pread`, as the statistics are: the file is
sparse, and a mapped read of a hole would allocate its page.
"""

import fcntl
import os
from dataclasses import dataclass
from time import monotonic_ns, time
from typing import Any

from fastmesh._core.mem.health import CLUSTER_COLUMNS, ENDPOINT_COLUMNS, EVENT_COLUMNS, KINDS, LAYOUT, REASONS
from fastmesh._core.mem.tally import LAYOUT as TALLY
from fastmesh._core.mem.tally import USED

WORD = 8
SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
READ_MOST = LAYOUT["event_places"]
_MOST_AT, _NEAR_AT = TALLY["cluster_most"] // 4, TALLY["cluster_near_s"] // 4
CLAIMED = 1         # in place of a pid: a worker that is about to take a seat
SHOWN_AS = {"success_rate": "share of good answers", "failure_percentage": "share of failures",
            "latency": "mean time to the first byte"}


@dataclass(slots=True, frozen=True)
class Change:
    """One event: what became of an endpoint, and why."""

    at: float           # seconds since the epoch
    endpoint: int       # row
    cluster: int        # row
    kind: str           # of KINDS
    reason: str         # of REASONS
    seconds: float      # how long it will be out, or was
    times: int          # ejections in a row
    seen: int
    figure: int
    bound: int

    @property
    def why(self) -> str:
        """For people."""
        if self.reason == "probe":
            return "the request that asked whether it is well failed"
        if self.reason == "latency":
            return (f"{SHOWN_AS[self.reason]} {self.figure / 1e6:.1f} ms, at most {self.bound / 1e6:.1f} ms is allowed "
                    f"({self.seen} requests)")
        if self.reason in SHOWN_AS:
            side = "at least" if self.reason == "success_rate" else "below"
            return (f"{SHOWN_AS[self.reason]} {self.figure / 1e4:.1f} %, {side} {self.bound / 1e4:.1f} % is allowed "
                    f"({self.seen} requests)")
        return f"{self.seen} {self.reason.replace('_', ' ')} in a row"


_LOST = Change(0, 0, 0, "lost", REASONS[0], 0, 0, 0, 0, 0)


class HealthFile:
    """The memfd, and how far its events have been read."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("fastmesh-health", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, LAYOUT["size"])
        # A worker that cut it off would kill all the others.
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, SEALS)
        self.lost = 0       # events that were overwritten before they were read
        self._read = 0

    def close(self) -> None:
        os.close(self.fd)

    def _words(self, offset: int, count: int) -> list[int]:
        return memoryview(os.pread(self.fd, count * WORD, offset)).cast("Q").tolist()

    def endpoint(self, row: int) -> dict[str, int]:
        row = min(row, LAYOUT["endpoint_rows"] - 1)
        words = self._words(LAYOUT["endpoints"] + row * LAYOUT["endpoint_stride"], len(ENDPOINT_COLUMNS))
        return dict(zip(ENDPOINT_COLUMNS, words, strict=True))

    def cluster(self, row: int) -> dict[str, int]:
        row = min(row, LAYOUT["cluster_rows"] - 1)
        words = self._words(LAYOUT["clusters"] + row * LAYOUT["cluster_stride"], len(CLUSTER_COLUMNS))
        return dict(zip(CLUSTER_COLUMNS, words, strict=True))

    def _seats(self) -> list[int]:
        """The pids in them; 0 is a free one."""
        return self._words(LAYOUT["seats"] + TALLY["pids"], TALLY["places"])

    def vacate(self, pid: int) -> None:
        """A worker has died: what it had in use counts no more."""
        for seat, taken in enumerate(self._seats()):
            if taken == pid:
                os.pwrite(self.fd, bytes(WORD), LAYOUT["seats"] + TALLY["pids"] + seat * WORD)

    def used(self, row: int) -> dict[str, int]:
        """What all workers have in use of a cluster: of tally.USED."""
        lines = self._lines(row)
        return {name: sum(line[i] for line in lines) for i, name in enumerate(USED)}

    def highest(self, row: int) -> dict[str, int]:
        """The most that was in use of a cluster at the same time, as living workers have seen it: of tally.USED."""
        lines = self._lines(row)
        return {name: max((line[_MOST_AT + i] for line in lines), default=0) for i, name in enumerate(USED)}

    def near(self, row: int) -> dict[str, int]:
        """The second of CLOCK_MONOTONIC when little was left, last, of what is counted so; 0: never. Of tally.USED."""
        lines = self._lines(row)
        return {name: max((line[_NEAR_AT + i] for line in lines), default=0) for i, name in enumerate(USED)}

    def near_count(self) -> int:
        """Another number whenever `near` of some cluster may have changed."""
        return sum(self._words(LAYOUT["seats"] + TALLY["near"], TALLY["places"]))

    def learned(self, row: int) -> dict[str, float]:
        """What workers have found out of a cluster: the sum of their limits, the shortest time to an answer in seconds,
        the largest share that is turned away. Only what is known."""
        lines = [line[len(USED):] for line in self._lines(row)]
        found = {"limit": float(sum(line[0] for line in lines)),
                 "base": min((line[1] for line in lines if line[1]), default=0) / 1e6,
                 "rejected": max((line[2] for line in lines), default=0) / 1e6}
        return found if found["limit"] else {"rejected": found["rejected"]}

    def _lines(self, row: int) -> list[list[int]]:
        """Of each worker that lives: tally_t of mem/tally."""
        offset = LAYOUT["seats"] + TALLY["seats"] + min(row, TALLY["cluster_rows"] - 1) * TALLY["cluster_stride"]
        size, stride = TALLY["cluster_stride"], TALLY["stride"]
        return [memoryview(os.pread(self.fd, size, offset + seat * stride)).cast("I").tolist()
                for seat, taken in enumerate(self._seats()) if taken > CLAIMED]

    def state(self, row: int) -> dict[str, Any]:
        """Of one endpoint, for `GET /clusters`."""
        found = self.endpoint(row)
        now = monotonic_ns()
        if found["until_ns"] == 0:
            return {"state": "in", "times": found["times"]}
        return {"state": "ejected" if found["until_ns"] > now else "probation", "times": found["times"],
                "reason": REASONS[found["reason"]] if found["reason"] < len(REASONS) else "unknown",
                "since_ms": max(0, now - found["since_ns"]) // 1_000_000,
                "for_ms": max(0, found["until_ns"] - now) // 1_000_000, "probing": found["probe_ns"] > now}

    def changes(self) -> list[Change]:
        """Those that nobody has read yet, oldest first."""
        told = self._words(LAYOUT["n_events"], 1)[0]
        if told - self._read > READ_MOST:
            self.lost += told - self._read - READ_MOST
            self._read = told - READ_MOST
        found = []
        while self._read < told:
            change = self._change(self._read + 1)
            if change is None:
                break
            self._read += 1
            if change is _LOST:
                self.lost += 1
            else:
                found.append(change)
        return found

    def _change(self, number: int) -> Change | None:
        """None while it is being written; _LOST when another stands in its place, or what no worker writes."""
        at = LAYOUT["events"] + number % LAYOUT["event_places"] * LAYOUT["event_stride"]
        row = dict(zip(EVENT_COLUMNS, self._words(at, len(EVENT_COLUMNS)), strict=True))
        if row["number"] != number or self._words(at, 1)[0] != number:
            # A worker may have died while it wrote this one: those behind it are not held up for ever.
            told = self._words(LAYOUT["n_events"], 1)[0]
            if row["number"] < number and told - number < READ_MOST // 2:
                return None
            return _LOST
        if row["kind"] not in KINDS or row["reason"] >= len(REASONS):
            return _LOST
        age = (monotonic_ns() - row["at_ns"]) / 1e9
        return Change(time() - age, row["endpoint"], row["cluster"], KINDS[row["kind"]], REASONS[row["reason"]],
                      row["for_ns"] / 1e9, row["times"], row["seen"], row["figure"], row["bound"])
