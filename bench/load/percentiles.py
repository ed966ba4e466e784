"""Percentiles of latencies: those shown, and those a curve is drawn from."""

from collections.abc import Sequence

SHOWN = (50.0, 99.0, 99.9)
# Denser towards the end, where proxies differ.
CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least `share` percent do not exceed; 0 of nothing."""
    if not ordered:
        return 0.0
    # In steps of a thousandth of a percent, without the rounding errors of fractions.
    rank = -(-len(ordered) * round(share * 1000) // 100_000)
    return ordered[max(0, rank - 1)]


def curve(ordered: Sequence[float]) -> dict[str, float]:
    """Only as far as the number of values carries: the 99.9th of a hundred is just the largest."""
    return {
        f"p{share:g}": percentile(ordered, share)
        for share in CURVE
        if share < 99 or len(ordered) * round((100 - share) * 1000) >= 100_000
    }
