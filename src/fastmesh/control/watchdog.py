"""Notices workers that are alive and do not move: an endless loop, a stopped process, a call that never returns.

A worker writes the time of its last turn into shared memory; one that is idle still turns once a second. Control
looks twice a second whether that time has changed, and counts looks, not seconds: while control itself does not run
it does not count, and when it was away for longer it begins anew, for then the workers may have been away too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from fastmesh.control.sight import Sight, sight_of
from fastmesh.control.worker_process import WorkerProcess
from fastmesh.observe.journal import Journal

LOOK_SECONDS = 0.5      # twice as often as an idle worker turns
CLOSER = 1.0            # seconds of standing still after which the kernel is asked about a worker
LATE = 1.0              # a look that comes so much later: control was not running
STALLED_SECONDS = 3.0   # or half of the limit: from here on new connections go to other workers


@dataclass(slots=True)
class Pulse:
    """What was last seen of a worker, and for how long it has been so."""

    beat: int
    still: float = 0.0          # seconds, as counted in looks
    cpu_ns: int = -1            # processor time it had had then; -1 when it is not known
    is_told: bool = False       # the journal has it


class Watchdog:
    """Looks at all workers, and ends those that hang; what ends is replaced as after any other death."""

    def __init__(self, workers: Callable[[], list[WorkerProcess]], limit: Callable[[], float], journal: Journal,
                 on_change: Callable[[], None]) -> None:
        """`limit`: seconds that a worker may stand still, as configured now."""
        self._workers = workers
        self._limit = limit
        self._journal = journal
        self._on_change = on_change     # a worker has stalled, or moves again
        self._pulses: dict[WorkerProcess, Pulse] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            begun = monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            if monotonic() - begun > LOOK_SECONDS + LATE:
                self._pulses.clear()
            self.look()

    def look(self) -> None:
        """One look at every worker that has begun to turn. Those that have not are waited for elsewhere."""
        workers = [w for w in self._workers() if w.is_alive and w.hello.done() and not w.has_hung]
        before, self._pulses = self._pulses, {}
        for worker in workers:
            self._pulses[worker] = self._feel(worker, before.get(worker))

    def _feel(self, worker: WorkerProcess, pulse: Pulse | None) -> Pulse:
        beat = worker.stats.heartbeat()
        if pulse is None or beat != pulse.beat:
            self._moves(worker, pulse)
            return Pulse(beat)
        if pulse.still < CLOSER:
            pulse.still += LOOK_SECONDS
            return pulse
        limit = self._limit()
        sight = sight_of(worker.pid)
        # Ready to run and given no processor: that is no fault of its own, and a new one would fare no better.
        if not (sight.state == "R" and sight.cpu_ns == pulse.cpu_ns >= 0):
            pulse.still += LOOK_SECONDS
        pulse.cpu_ns = sight.cpu_ns
        if not worker.is_stalled and pulse.still >= min(STALLED_SECONDS, limit / 2):
            worker.is_stalled = True
            self._on_change()
        if pulse.still >= limit:
            self._end(worker, pulse, sight)
        return pulse

    def _moves(self, worker: WorkerProcess, pulse: Pulse | None) -> None:
        if worker.is_stalled:
            worker.is_stalled = False
            stood = f" after {pulse.still:g} s" if pulse is not None else ""
            self._journal.warn(f"worker {worker.slot} moves again{stood} (pid {worker.pid})")
            self._on_change()

    def _end(self, worker: WorkerProcess, pulse: Pulse, sight: Sight) -> None:
        if sight.tracer:
            # Somebody looks at it: killing it would take away what there is to see.
            if not pulse.is_told:
                pulse.is_told = True
                self._journal.warn(f"worker {worker.slot} has not moved for {pulse.still:g} s (pid {worker.pid}): "
                                   f"{sight}; it is left alone for so long")
            return
        self._journal.error(f"worker {worker.slot} has not moved for {pulse.still:g} s (pid {worker.pid}): {sight}; "
                            "it is killed")
        worker.end_hung()
