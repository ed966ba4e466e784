"""Filters that ran on a data thread when its worker died, or had to be killed because it did not move.

The next workers bypass them for a while, by their error policy: one that ends every worker that it runs in would leave
the proxy with none.
"""

from time import monotonic

FIRST_SECONDS = 5.0
MOST_SECONDS = 300.0


class Suspects:
    """Which filters are to be bypassed, and for how long. Twice as long each time, from 5 s to 5 min."""

    def __init__(self) -> None:
        self._pauses: dict[str, float] = {}         # what the last one was
        self._until: dict[str, float] = {}

    def accuse(self, name: str) -> float:
        """A worker has died in it. The seconds that it is bypassed for."""
        pause = min(self._pauses.get(name, FIRST_SECONDS / 2) * 2, MOST_SECONDS)
        self._pauses[name] = pause
        self._until[name] = monotonic() + pause
        return pause

    def bypassed(self, names: dict[int, str]) -> dict[int, int]:
        """Of the filters that a snapshot names by their rows: the rows, and the milliseconds that are left."""
        now = monotonic()
        return {row: int((self._until[name] - now) * 1000) for row, name in names.items()
                if self._until.get(name, 0.0) > now}
