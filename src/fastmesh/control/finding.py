"""What is known of the discovery policy of one cluster, for people and for metrics: kept over reloads."""

from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

KINDS = ("raised", "ended", "silent", "refused", "empty", "died")
AGAIN_SECONDS = 60.0        # before the same is said again
PACE_SECONDS = 1.0          # between two lines of one kind, whatever they say


@dataclass(slots=True)
class Finding:
    """Of one cluster."""

    use: str
    updates: int = 0                # sets that became live
    unchanged: int = 0              # sets that said what was known
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    good_at: float = 0.0            # monotonic, when the last good set came; 0 = there was none
    last_error: str = ""
    last_error_at: float = 0.0      # since 1970
    is_failing: bool = False        # the last that was heard of it was an error
    _said: dict[str, tuple[str, float]] = field(default_factory=dict)

    def note_good(self, at: float, is_change: bool) -> None:
        if is_change:
            self.updates += 1
        else:
            self.unchanged += 1
        self.good_at = at
        self.is_failing = False

    def note_error(self, kind: str, text: str) -> bool:
        """Counts it; whether it is news."""
        kind = kind if kind in KINDS else "refused"
        self.errors[kind] += 1
        self.last_error, self.last_error_at = text, time()
        self.is_failing = True
        said, at = self._said.get(kind, ("", 0.0))
        now = monotonic()
        if at and (now - at < PACE_SECONDS or (said == text and now - at < AGAIN_SECONDS)):
            return False
        self._said[kind] = text, now
        return True

    def age(self) -> float | None:
        """Seconds since the last good set."""
        return monotonic() - self.good_at if self.good_at else None

    def to_dict(self) -> dict[str, Any]:
        """For `GET /clusters`."""
        age = self.age()
        return {"use": self.use, "state": "failing" if self.is_failing else "waiting" if age is None else "good",
                "updates": self.updates, "unchanged": self.unchanged,
                "errors": {kind: count for kind, count in self.errors.items() if count},
                "age_seconds": None if age is None else round(age, 3),
                "last_error": self.last_error or None, "last_error_at": self.last_error_at or None}
