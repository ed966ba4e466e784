"""What runs and how long it still takes, on standard error: a bar on a terminal, and a line for each measurement."""

import sys
import time
from typing import TextIO

WIDTH = 24
CLEAR = "\r\x1b[K"


def bar(share: float, width: int = WIDTH) -> str:
    full = min(width, max(0, int(share * width)))
    return "█" * full + "░" * (width - full)


def clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"


class Progress:
    """Goes by the seconds that measurements are thought to take, corrected by what they have taken so far."""

    def __init__(self, expected_seconds: float, steps: int, out: TextIO = sys.stderr) -> None:
        self._expected, self._passed = expected_seconds, 0.0
        self._steps, self._step = steps, 0
        self._start = time.monotonic()
        self._out = out
        self._terminal = out.isatty()

    def begin(self, words: str) -> None:
        """A measurement begins; shown until it is done, where the line can be taken back."""
        if self._terminal:
            share = self._passed / self._expected if self._expected else 1.0
            print(f"{CLEAR}{bar(share)} {share:4.0%} {self._left()} left  {words}", end="", file=self._out, flush=True)

    def done(self, expected_seconds: float, words: str) -> None:
        """A measurement that was thought to take so long has ended."""
        self._passed += expected_seconds
        self._step += 1
        self.say(f"[{self._step:3}/{self._steps} {self._left()} left] {words}")

    def say(self, words: str) -> None:
        print(f"{CLEAR if self._terminal else ''}{words}", file=self._out, flush=True)

    def _left(self) -> str:
        pace = (time.monotonic() - self._start) / self._passed if self._passed else 1.0
        return clock((self._expected - self._passed) * pace)
