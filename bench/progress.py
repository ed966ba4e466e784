"""One line per measurement on standard error: what, how much, how long still."""

import sys
import time


class Progress:
    def __init__(self, expected_seconds: float, steps: int) -> None:
        self._expected, self._passed = expected_seconds, 0.0
        self._steps, self._step = steps, 0
        self._start = time.monotonic()

    def done(self, expected_seconds: float, words: str) -> None:
        """A measurement that was thought to take so long has ended."""
        self._passed += expected_seconds
        self._step += 1
        pace = (time.monotonic() - self._start) / self._passed
        left = max(0.0, self._expected - self._passed) * pace
        minutes, seconds = divmod(round(left), 60)
        print(f"[{self._step:3}/{self._steps} {minutes}:{seconds:02} left] {words}", file=sys.stderr, flush=True)

    def say(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)
