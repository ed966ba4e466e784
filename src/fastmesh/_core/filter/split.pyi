"""One of several clusters, by weight."""

from collections.abc import Mapping

class Split:
    """The weights of a split, checked."""

    def __init__(self, weights: dict[str, float]) -> None: ...

def choose(weights: Mapping[str, float], by: str | bytes) -> str:
    """The cluster that has the key `by`, as any worker would choose it. Raises TypeError or ValueError."""
