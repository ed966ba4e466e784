"""What control knows of the isolated filters of a snapshot."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Isolated:
    """All of them together: they run in one process beside each worker."""

    key: str                # alike for snapshots that have the same ones
    names: tuple[str, ...]
    timeout: float          # seconds, the longest of theirs
    priority: str = "low"
