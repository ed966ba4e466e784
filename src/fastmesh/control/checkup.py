"""What is known of one endpoint by its health checks, and what a result changes."""

import socket
from dataclasses import dataclass, field
from random import random
from time import monotonic, time
from typing import Any

from fastmesh.control.check_call import Call, CheckSpec, Result, Target

UNCHECKED, HEALTHY, UNHEALTHY = "unchecked", "healthy", "unhealthy"


@dataclass(slots=True, frozen=True)
class Verdict:
    """One change, for the log, the events and who heals: as observe.health.Change where it counts."""

    kind: str           # "check_failed": of one that is healthy; "unhealthy", "healthy"
    at: float           # seconds since the epoch
    seconds: float      # how long it was what it is no more
    times: int          # checks in a row that led to it
    why: str
    is_news: bool = True    # not of one that is new and well
    reason: str = "check"


@dataclass(slots=True, eq=False)
class Checkup:
    """Of one endpoint of one cluster."""

    cluster: str
    cluster_row: int
    address: str
    row: int
    target: Target
    spec: CheckSpec
    state: str = UNCHECKED
    since: float = field(default_factory=monotonic)
    successes: int = 0          # in a row
    failures: int = 0           # likewise
    made: int = 0               # checks with a result
    last: Result | None = None
    last_at: float = 0.0        # seconds since the epoch
    last_ms: float = 0.0
    began: float = 0.0          # monotonic, of the last check
    good_since: float = 0.0     # monotonic, when the first of `successes` began
    call: Call | None = None
    kept: socket.socket | None = None
    has_row: bool = True        # of its own in shared memory: else workers hear nothing of it
    is_gone: bool = False       # nobody wants it to be checked any more

    def take(self, result: Result) -> Verdict | None:
        """A check has ended; what has changed by it."""
        self.last, self.last_at = result, time()
        self.last_ms = (monotonic() - self.began) * 1000
        if result.kind == "unable":
            return None
        self.made += 1
        return self._passed() if result.kind == "passed" else self._failed(result)

    def _passed(self) -> Verdict | None:
        if not self.successes:
            self.good_since = self.began
        self.successes += 1
        self.failures = 0
        # One that is new is not waited for longer than it takes to hear from it once.
        if self.state == UNCHECKED or (self.state == UNHEALTHY and self.successes >= self.spec.healthy):
            is_news = self.state != UNCHECKED or self.made > 1
            return self._become(HEALTHY, self.successes, f"{self.successes} checks in a row have passed"
                                if self.successes > 1 else "its check has passed", is_news)
        return None

    def _failed(self, result: Result) -> Verdict | None:
        self.successes = 0
        self.failures += 1
        if self.state == UNHEALTHY:
            return None
        if self.failures >= self.spec.unhealthy or (result.kind == "status" and not result.is_retriable):
            in_row = f" ({self.failures} failures in a row)" if self.failures > 1 else ""
            return self._become(UNHEALTHY, self.failures, result.why + in_row)
        if self.failures > 1:
            return None
        return Verdict("check_failed", time(), monotonic() - self.since, 1, result.why)

    def _become(self, state: str, times: int, why: str, is_news: bool = True) -> Verdict:
        now = monotonic()
        verdict = Verdict(state, time(), now - self.since, times, why, is_news)
        self.state, self.since = state, now
        return verdict

    def next_after(self) -> float:
        """Seconds from the beginning of the last check to the next."""
        spec = self.spec
        if self.made == 1 and self.successes and self.state == HEALTHY:
            # Those that began together do not go on together.
            return spec.interval * random()
        if (self.state != UNHEALTHY and self.failures) or (self.state == UNHEALTHY and self.successes) or (
                self.last is not None and self.last.kind == "unable"):
            each = min(spec.edge_interval, spec.interval)
        else:
            each = spec.unhealthy_interval if self.state == UNHEALTHY else spec.interval
        return each * (1 + spec.jitter * random())

    def stop(self) -> None:
        """Nobody wants to know any more."""
        self.is_gone = True
        if self.call is not None:
            self.call.cancel()
            self.call = None
        if self.kept is not None:
            self.kept.close()
            self.kept = None

    def to_dict(self) -> dict[str, Any]:
        """For `GET /clusters`."""
        last = self.last
        return {"state": self.state, "since_ms": round((monotonic() - self.since) * 1000), "address": self.target.text,
                "failures": self.failures, "successes": self.successes,
                "last": None if last is None else last.kind, "why": (last.why or None) if last is not None else None,
                "last_at": round(self.last_at, 3) or None, "last_ms": round(self.last_ms, 3)}
