"""Two runs of the same machine beside each other: which figures the second has shown again, and which not.

What can be repeated is the ratio of one proxy to the better of nginx and HAProxy in the same round, where a figure has
one; memory and counts have none, and are compared as they are.  Each run says its own noise: the lowest and the
highest of its rounds, and how far a fixed piece of work varied.  Two runs agree on a figure when the ranges of their
rounds meet, or their medians are no further apart than that work varied in the noisier run.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from bench import noise
from bench.results import FigureCard, PeerCard, Results, ScenarioCard, Spread, points, ratio, summarise


@dataclass(frozen=True)
class Pair:
    """One figure of one peer at one point, as both runs have it."""

    scenario: ScenarioCard
    figure: FigureCard
    point: int
    peer: PeerCard
    first: Spread
    second: Spread
    is_ratio: bool
    # How far the same work varied between the rounds of the noisier run, as a part of it.
    noise: float

    @property
    def agrees(self) -> bool:
        meet = self.first.low <= self.second.high and self.second.low <= self.first.high
        return meet or (self.first.median != 0 and self.apart <= self.noise)

    @property
    def apart(self) -> float:
        """How far the medians are from each other, as a part of the first; 0 when the first is 0."""
        return abs(self.second.median / self.first.median - 1) if self.first.median else 0.0


def pairs(first: Results, second: Results) -> Iterator[Pair]:
    """Every judged figure that both runs have."""
    raw = [_spreads(run) for run in (first, second)]
    rivals = [peer.name for peer in first.peers if peer.bar]
    varied = max(noise.spread(first), noise.spread(second))
    for scenario in first.scenarios:
        at = [point for point in points(first, scenario.name) if point in points(second, scenario.name)]
        for figure in scenario.figures:
            for point in at if figure.judged else ():
                for peer in first.peers:
                    found = _both(first, second, scenario, point, peer, figure, rivals) if figure.ratio else None
                    if found:
                        yield Pair(scenario, figure, point, peer, *found, is_ratio=True, noise=varied)
                        continue
                    key = (scenario.name, point, peer.name, figure.key)
                    if key in raw[0] and key in raw[1]:
                        before, after = (run[key] for run in raw)
                        yield Pair(scenario, figure, point, peer, before, after, is_ratio=False, noise=varied)


def _spreads(run: Results) -> dict[tuple[str, int, str, str], Spread]:
    return {
        (one.scenario, one.point, one.peer, one.figure): Spread(one.median, one.low, one.high) for one in summarise(run)
    }


def _both(
    first: Results,
    second: Results,
    scenario: ScenarioCard,
    point: int,
    peer: PeerCard,
    figure: FigureCard,
    rivals: list[str],
) -> tuple[Spread, Spread] | None:
    one, other = (ratio(run, scenario.name, point, peer.name, figure, rivals) for run in (first, second))
    return (one, other) if one and other else None


def markdown(first: Results, second: Results) -> str:
    """A table by scenario, then each figure on which the runs do not agree."""
    for key in ("cpu", "cores", "kernel"):
        if first.machine[key] != second.machine[key]:
            raise SystemExit(
                f"the runs are of different machines: {key} is {first.machine[key]} in the first, "
                f"{second.machine[key]} in the second"
            )
    found = list(pairs(first, second))
    if not found:
        raise SystemExit("the runs have no figure in common")
    agreed = sum(one.agrees for one in found)
    lines = [
        f"# The runs of {first.date} and {second.date}, beside each other\n",
        f"{agreed} of {len(found)} figures were shown again: the ranges of their rounds meet, or their medians are at "
        f"most {found[0].noise:.0%} apart, as far as a fixed piece of work varied. The medians of half of them are at "
        f"most {statistics.median(one.apart for one in found):.0%} apart. A ratio is to the better of nginx and "
        "HAProxy of the same round.\n",
        "| scenario | shown again | medians apart, half of them at most |",
        "|---|---:|---:|",
    ]
    for scenario in first.scenarios:
        of_it = [one for one in found if one.scenario is scenario]
        if of_it:
            apart = statistics.median(one.apart for one in of_it)
            lines.append(f"| {scenario.title} | {sum(one.agrees for one in of_it)} of {len(of_it)} | {apart:.0%} |")
    others = [one for one in found if not one.agrees]
    if others:
        lines += [
            "\n## Not shown again\n",
            "| scenario | figure | proxy | first run | second run |",
            "|---|---|---|---:|---:|",
            *map(_line, others),
        ]
    return "\n".join(lines) + "\n"


def _line(one: Pair) -> str:
    digits = 2 if one.is_ratio else one.figure.digits
    unit = "" if one.is_ratio or not one.figure.unit else f", {one.figure.unit}"
    where = f"{one.scenario.title}, {one.scenario.label(one.point)}".removesuffix(", ")
    cells = (
        f"{run.median:,.{digits}f} ({run.low:,.{digits}f}–{run.high:,.{digits}f})" for run in (one.first, one.second)
    )
    kind = f"{one.figure.title}, ÷ better of both" if one.is_ratio else f"{one.figure.title}{unit}"
    return f"| {where} | {kind} | {one.peer.title} | {' | '.join(cells)} |"
