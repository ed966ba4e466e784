"""The caller: a steady stream of requests from outside, and an exact record of what came back.

Requests leave by the clock, not by the answers (so that a stall is felt by all that should have been sent in it),
and a latency counts from the moment a request was due. Nothing is repeated. With too many waiting for their answers,
as on a machine that is busy with other things, fewer are sent.
"""

import asyncio
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from demo.wire import Client

PATIENCE_SECONDS = 5.0
WINDOW_SECONDS = 2.0
IN_FLIGHT = 64


@dataclass(slots=True)
class Record:
    """What the caller saw, all of it."""

    sent: int = 0
    answered: int = 0
    noticed: list[str] = field(default_factory=list)  # whatever was not the right answer
    degraded: int = 0  # of the right answers, those that were marked as made without one of the services
    slowest_ms: float = 0.0
    served_by: Counter[str] = field(default_factory=Counter)


class Caller:
    def __init__(self, port: int, rate: float) -> None:
        self.client = Client(port)
        self.rate = rate
        self.record = Record()
        self.has_noticed = asyncio.Event()
        self.started = time.monotonic()
        self._recent: deque[tuple[float, float, bool]] = deque()  # when, milliseconds, was it right
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self, until: asyncio.Event) -> None:
        due = time.monotonic()
        number = 0
        while not until.is_set():
            if len(self._in_flight) >= IN_FLIGHT:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
                due = time.monotonic()
            due += 1 / self.rate
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            number += 1
            self.record.sent += 1
            task = asyncio.create_task(self._one(number, due))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        await asyncio.gather(*self._in_flight)
        self.client.close()

    async def _one(self, number: int, due: float) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self.client.request(f"/cart/{number}", "shop", x_request_id=f"demo-{number}")
                status = answer.status
        except TimeoutError:
            return self._note(due, f"request {number}: no answer in {PATIENCE_SECONDS:g} s")
        except (OSError, EOFError, ValueError) as error:
            return self._note(due, f"request {number}: {error!r}")
        if status != 200:
            return self._note(due, f"request {number}: {answer.first}: {answer.body[:300].decode(errors='replace')}")
        try:
            content = json.loads(answer.body)
            answered, served_by = content["number"], Counter(content["served_by"])
        except (ValueError, KeyError, TypeError):
            return self._note(due, f"request {number}: not an answer of shop: {answer.body[:300]!r}")
        if answered != number:
            return self._note(due, f"request {number} was given the answer to {answered}")
        self.record.served_by.update(served_by)
        self.record.degraded += "x-fastmesh-degraded" in answer.fields
        self._note(due, "")

    def _note(self, due: float, problem: str) -> None:
        now = time.monotonic()
        taken_ms = (now - due) * 1000
        if problem:
            self.record.noticed.append(f"after {now - self.started:.2f} s: {problem}")
            self.has_noticed.set()
        else:
            self.record.answered += 1
            self.record.slowest_ms = max(self.record.slowest_ms, taken_ms)
        self._recent.append((now, taken_ms, not problem))

    def recent(self) -> tuple[float, float, float, float]:
        """Requests per second, share of right answers, median and 99th percentile in ms, of the last two seconds."""
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - WINDOW_SECONDS:
            self._recent.popleft()
        times = sorted(ms for _, ms, _ in self._recent)
        if not times:
            return 0.0, 1.0, 0.0, 0.0
        right = sum(is_right for *_, is_right in self._recent)
        seconds = min(WINDOW_SECONDS, max(now - self.started, 0.1))
        return len(times) / seconds, right / len(times), times[len(times) // 2], times[int(len(times) * 0.99)]
