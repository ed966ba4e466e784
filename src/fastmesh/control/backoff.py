"""How long to wait before a worker that died is started again.

The first death after a quiet minute costs no wait at all: 0, then 0.1, 0.2, 0.4 … 30 seconds. A worker that has
lived for a minute is taken to be well.
"""

FIRST = 0.1
LONGEST = 30.0
WELL_AFTER = 60.0


class Backoff:
    """The waits of one slot."""

    def __init__(self) -> None:
        self.failures = 0       # in a row

    def next_wait(self, lived: float) -> float:
        """Seconds to wait now that a worker has died after `lived` seconds."""
        if lived >= WELL_AFTER:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        return float(min(LONGEST, FIRST * 2 ** min(self.failures - 2, 20)))
