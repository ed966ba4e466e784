"""What a run found: samples as measured, the summary drawn from them, and the file both are kept in."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class FigureCard:
    """How a figure is shown; kept in the file, so that old results stay readable."""

    key: str
    title: str
    unit: str
    digits: int
    less_is_better: bool
    ratio: bool
    above_floor: bool
    # Whether one value of it is better than another.
    judged: bool = True


@dataclass(frozen=True)
class ScenarioCard:
    name: str
    title: str
    point_unit: str
    figures: list[FigureCard]
    # What each point is called, by its number as text; without, number and unit.
    labels: dict[str, str] = field(default_factory=dict)

    def label(self, point: int) -> str:
        plain = f"{point:,} {self.point_unit}" if self.point_unit else ""
        return self.labels.get(str(point), plain)


@dataclass(frozen=True)
class PeerCard:
    name: str
    title: str
    version: str
    bar: bool
    floor: bool


@dataclass(frozen=True)
class Sample:
    """One peer at one point in one round."""

    scenario: str
    point: int
    round: int
    peer: str
    figures: dict[str, float]
    failed: int
    noise: dict[str, float]


@dataclass(frozen=True)
class RoundNoise:
    """The fixed spin before each round."""

    scenario: str
    point: int
    round: int
    spin_cpu_ms: float
    spin_wall_ms: float


@dataclass
class Results:
    date: str
    machine: dict[str, str]
    settings: dict[str, Any]
    scenarios: list[ScenarioCard] = field(default_factory=list)
    peers: list[PeerCard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    rounds: list[RoundNoise] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    # Failed requests and crashes: with any, the run proves nothing.
    void: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"format": FORMAT, **dataclasses.asdict(self), "summary": [row.as_json() for row in summarise(self)]}
        path.write_text(json.dumps(whole, indent=1) + "\n")


def load(path: Path) -> Results:
    raw = json.loads(path.read_text())
    if raw.get("format") != FORMAT:
        raise SystemExit(f"{path}: format {raw.get('format')} is not {FORMAT}")
    return Results(
        date=raw["date"],
        machine=raw["machine"],
        settings=raw["settings"],
        scenarios=[
            ScenarioCard(
                one["name"],
                one["title"],
                one["point_unit"],
                [FigureCard(**card) for card in one["figures"]],
                one.get("labels", {}),
            )
            for one in raw["scenarios"]
        ],
        peers=[PeerCard(**one) for one in raw["peers"]],
        samples=[Sample(**one) for one in raw["samples"]],
        rounds=[RoundNoise(**one) for one in raw["rounds"]],
        skipped=raw["skipped"],
        void=raw["void"],
    )


@dataclass(frozen=True)
class Row:
    """One figure of one peer at one point, over all rounds."""

    scenario: str
    point: int
    peer: str
    figure: str
    median: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summarise(results: Results) -> Iterator[Row]:
    for scenario in results.scenarios:
        for point in points(results, scenario.name):
            for peer in results.peers:
                for figure in scenario.figures:
                    values = list(by_round(results, scenario.name, point, peer.name, figure.key).values())
                    if values:
                        middle = statistics.median(values)
                        yield Row(scenario.name, point, peer.name, figure.key, middle, min(values), max(values))


def points(results: Results, scenario: str) -> list[int]:
    """In the order they were played."""
    return list(dict.fromkeys(sample.point for sample in results.samples if sample.scenario == scenario))


def by_round(results: Results, scenario: str, point: int, peer: str, figure: str) -> dict[int, float]:
    return {
        sample.round: sample.figures[figure]
        for sample in results.samples
        if (sample.scenario, sample.point, sample.peer) == (scenario, point, peer) and figure in sample.figures
    }


@dataclass(frozen=True)
class Spread:
    """Of one value per round."""

    median: float
    low: float
    high: float


def _spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def _beside_best(
    results: Results,
    scenario: str,
    point: int,
    peer: str,
    figure: FigureCard,
    others: Iterable[str],
    their_point: int | None = None,
) -> Iterator[tuple[float, float]]:
    """Per round: the peer's figure and the best of the others, so that drift of the machine cancels out."""
    at = point if their_point is None else their_point
    theirs = [by_round(results, scenario, at, other, figure.key) for other in others]
    best = min if figure.less_is_better else max
    for number, value in by_round(results, scenario, point, peer, figure.key).items():
        rivals = [values[number] for values in theirs if values.get(number)]
        if rivals:
            yield value, best(rivals)


def ratio(
    results: Results,
    scenario: str,
    point: int,
    peer: str,
    figure: FigureCard,
    others: Iterable[str],
    their_point: int | None = None,
) -> Spread | None:
    beside = _beside_best(results, scenario, point, peer, figure, others, their_point)
    return _spread([a / b for a, b in beside])


def difference(
    results: Results, scenario: str, point: int, peer: str, figure: FigureCard, others: Iterable[str]
) -> Spread | None:
    return _spread([a - b for a, b in _beside_best(results, scenario, point, peer, figure, others)])
