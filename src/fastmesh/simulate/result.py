"""What came of a simulation."""

import math
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmesh.units import format_duration

_MILLISECOND = 1_000_000
SLICES = 60                 # of the duration, for what is drawn
_BLOCKS = "▁▂▃▄▅▆▇█"


class Times:
    """How long requests took, and how many failed."""

    def __init__(self) -> None:
        self.answered = array("q")      # nanoseconds, of those that were answered well
        self.failed = 0
        self._sorted = True

    def add(self, took_ns: int, is_ok: bool) -> None:
        if is_ok:
            self.answered.append(took_ns)
            self._sorted = False
        else:
            self.failed += 1

    @property
    def count(self) -> int:
        return len(self.answered) + self.failed

    @property
    def failed_share(self) -> float:
        return self.failed / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Nanoseconds; NaN when nobody was answered."""
        if not self.answered:
            return math.nan
        if not self._sorted:
            self.answered = array("q", sorted(self.answered))
            self._sorted = True
        return float(self.answered[min(len(self.answered) - 1, int(len(self.answered) * percent / 100))])


class Slice:
    """A part of the time: the requests that began in it, and the attempts that were made in it."""

    __slots__ = ("attempts", "requests", "times")

    def __init__(self) -> None:
        self.times = Times()
        self.requests = 0
        self.attempts = 0

    @property
    def amplification(self) -> float:
        return self.attempts / self.requests if self.requests else math.nan


class Part(NamedTuple):
    """One group of endpoints."""

    name: str
    endpoints: int
    times: Times


class Result(NamedTuple):
    """What one balancer made of a scenario."""

    balancer: str
    duration_ns: int
    callers: int
    whole: Times
    parts: list[Part]
    attempts: int                   # connects that were refused count as attempts
    counts: list[int]               # answers, good or bad, of each endpoint
    unaffordable: int               # further attempts that there was no budget for
    slices: list[Slice]
    refused: int                    # by a limit of the cluster; they have failed, too
    limited: int = 0                # by the rate limit, likewise
    asked: Sequence[Part] = ()      # shares of the split: how many endpoints each might go to

    def share(self, part: Part) -> float:
        """Of all requests that an endpoint answered."""
        asked = sum(each.times.count for each in self.parts)
        return part.times.count / asked if asked else 0.0

    def table(self, columns: int = 0) -> str:
        """For people, on a screen with so many columns; 0 is any."""
        endpoints = sum(part.endpoints for part in self.parts)
        lines = [f"{self.balancer}: {self.whole.count:,} requests in {format_duration(self.duration_ns)}, "
                 f"{self.callers:,} {'caller' if self.callers == 1 else 'callers'}, {endpoints:,} endpoints"]
        width = max(len("all"), *(len(part.name) for part in self.parts),
                    *(len(f"for {part.name}") for part in self.asked))
        gap = " " if 0 < columns < width + 76 else "  "
        lines.append(gap.join([f"  {'':{width}}", "endpoints", "  share", *(f"{name:>9}" for name in (
            "p50", "p90", "p99", "p99.9")), "  failed"]))
        rows = [("all", endpoints, 1.0, self.whole)]
        rows += [(part.name, part.endpoints, self.share(part), part.times) for part in self.parts]
        rows += [(f"for {part.name}", part.endpoints, part.times.count / max(1, self.whole.count), part.times)
                 for part in self.asked]
        for name, count, share, times in rows:
            percentiles = (f"{_shown(times.percentile(p)):>9}" for p in (50, 90, 99, 99.9))
            lines.append(gap.join([f"  {name:{width}}", f"{count:>9,}", f"{share:>7.2%}", *percentiles,
                                   f"{times.failed_share:>8.2%}"]))
        refused = f"; refused: {self.refused / max(1, self.whole.count):.2%}" if self.refused else ""
        limited = f"; beyond the rate limit: {self.limited / max(1, self.whole.count):.2%}" if self.limited else ""
        over = f", {self.unaffordable:,} more were beyond the budget" if self.unaffordable else ""
        lines.append(f"  attempts per request: {self.attempts / max(1, self.whole.count):.3f}{over}{refused}{limited}")
        return "\n".join([*lines, *self._drawing(columns)]) + "\n"

    def _drawing(self, columns: int) -> list[str]:
        """What became of requests by when they began, warm-up included, and how many attempts there were."""
        rows = [
            ("p50", [each.times.percentile(50) for each in self.slices], _shown),
            ("p99", [each.times.percentile(99) for each in self.slices], _shown),
            ("failed", [each.times.failed_share if each.times.count else math.nan for each in self.slices],
             lambda share: f"{share:.1%}"),
            ("attempts", [each.amplification for each in self.slices], lambda number: f"{number:.2f}"),
        ]
        lines = [f"  over the {format_duration(self.duration_ns)}:"]
        for name, values, show in rows:
            known = [value for value in values if not math.isnan(value)]
            if known:
                drawn, reach = _blocks(values), f"{show(min(known))} to {show(max(known))}"
                line = f"  {name:>8}  {drawn}  {reach}"
                lines += [line] if not columns or len(line) <= columns else [f"  {name:>8}  {reach}", f"{'':12}{drawn}"]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """For programs. Times are milliseconds, null where nobody was answered."""
        def of(times: Times) -> dict[str, Any]:
            found = {f"p{p:g}_ms": times.percentile(p) / _MILLISECOND for p in (50, 90, 99, 99.9)}
            return {"requests": times.count, "failed": times.failed_share,
                    **{key: None if math.isnan(value) else round(value, 3) for key, value in found.items()}}
        return {"load_balancer": self.balancer, "callers": self.callers,
                "attempts_per_request": self.attempts / max(1, self.whole.count), "beyond_budget": self.unaffordable,
                "refused": self.refused / max(1, self.whole.count),
                "limited": self.limited / max(1, self.whole.count), "all": of(self.whole),
                "over_time": [{"begin_ms": i * self.duration_ns / SLICES / _MILLISECOND, "attempts": each.attempts,
                               **of(each.times)} for i, each in enumerate(self.slices)],
                "groups": [{"name": part.name, "endpoints": part.endpoints, "share": self.share(part),
                            **of(part.times)} for part in self.parts],
                **({"split": [{"name": part.name, "endpoints": part.endpoints,
                               "share": part.times.count / max(1, self.whole.count), **of(part.times)}
                              for part in self.asked]} if self.asked else {})}


def _blocks(values: list[float]) -> str:
    """One character for each, from zero to the largest; a space where there is none."""
    most = max((value for value in values if not math.isnan(value)), default=0.0)
    return "".join(" " if math.isnan(value) else
                   _BLOCKS[min(len(_BLOCKS) - 1, int(value / most * len(_BLOCKS)))] if most else _BLOCKS[0]
                   for value in values)


def _shown(ns: float) -> str:
    if math.isnan(ns):
        return "–"
    milliseconds = ns / _MILLISECOND
    return f"{milliseconds:.2f}ms" if milliseconds < 100 else f"{milliseconds:,.0f}ms"
