"""One filter and its figures, as `GET /filters` tells them."""

from typing import Any

from fastmesh.observe.stats import FilterFigures

STUCK_NS = 100_000_000      # in one call: no filter is meant to take so long on the data thread


def describe_filter(row: int, name: str, figures: FilterFigures, workers: int) -> dict[str, Any]:
    """`workers`: how many serve."""
    return {
        "name": name, "row": row, "state": state_of(figures, workers), "versions": figures.fingerprints,
        "quarantined": figures.quarantined, "quarantines": figures.quarantines, "skipped": figures.skipped,
        "in_flight": figures.in_flight, "running_ms": figures.running_ns // 1_000_000,
        "phases": {phase: {"calls": of["calls"], "seconds": of["wall_ns"] / 1e9, "cpu_seconds": of["cpu_ns"] / 1e9,
                           "errors": of["errors"], "overruns": of["overruns"]} for phase, of in figures.phases.items()},
    }


def state_of(figures: FilterFigures, workers: int) -> str:
    """For people, in a word or a few."""
    if figures.running_ns >= STUCK_NS:
        return f"stuck for {figures.running_ns / 1e9:.1f} s"
    if figures.quarantined:
        few = figures.quarantined < workers
        return f"quarantined in {figures.quarantined} of {workers} workers" if few else "quarantined"
    return "active" if figures.phases else "not called yet"
