"""Results as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from bench import bars, noise
from bench.results import (
    FigureCard,
    PeerCard,
    Results,
    Row,
    ScenarioCard,
    Spread,
    difference,
    points,
    ratio,
    summarise,
)


def markdown(results: Results, pictures: Sequence[tuple[str, Path]] = ()) -> str:
    """With pictures, titles and files: they are shown by name, so they must lie beside the Markdown."""
    parts = [_head(results)]
    parts.extend(f"![{title}]({path.name})\n" for title, path in pictures)
    rows = {(row.scenario, row.point, row.peer, row.figure): row for row in summarise(results)}
    for scenario in results.scenarios:
        parts.append(f"## {scenario.title}\n")
        parts.extend(figure_tables(results, scenario, figure, rows) for figure in scenario.figures)
    parts.append(behind(results))
    parts.append(bar_table(results))
    if results.skipped:
        parts.append("## Not measured\n\n" + "\n".join(f"- {line}" for line in results.skipped) + "\n")
    return "\n".join(part for part in parts if part)


def machine_line(results: Results) -> str:
    machine = results.machine
    virtual = " (virtual machine)" if machine["virtual"] == "yes" else ""
    versions = ", ".join(f"{peer.title} {peer.version}" for peer in results.peers if not peer.floor)
    return (
        f"{machine['cpu']}, {machine['cores']} cores{virtual}, {machine['memory']}, Linux {machine['kernel']} "
        f"(TCP: {machine['tcp']}), {machine['system']}. {versions}."
    )


def method_line(results: Results) -> str:
    return (
        f"Medians of {results.settings['rounds']} interleaved rounds of {results.settings['seconds']} s, in brackets "
        "the lowest and the highest. Ratios are taken within each round, then the median."
    )


def _head(results: Results) -> str:
    lines = [
        f"# Benchmark of {results.date}\n",
        f"{machine_line(results)}\n",
        f"{method_line(results)}\n",
    ]
    if results.void:
        lines.append("**VOID: something failed, these numbers prove nothing.**\n")
        lines.extend(f"- {line}" for line in results.void)
        lines.append("")
    found = noise.findings(results)
    if found:
        verdict = "**The machine was noisy.**" if noise.noisy(results) else "The machine was quiet."
        lines.append(f"{verdict} {'; '.join(found)}.\n")
    return "\n".join(lines)


def figure_tables(
    results: Results, scenario: ScenarioCard, figure: FigureCard, rows: dict[tuple[str, int, str, str], Row]
) -> str:
    """As measured; beside the better of nginx and HAProxy; above the bare loop, as far as the figure has these."""
    parts = [_table(results, scenario, figure, rows)]
    if figure.ratio:
        parts.append(_ratios(results, scenario, figure))
    if figure.above_floor:
        parts.append(_above_floor(results, scenario, figure))
    return "\n".join(part for part in parts if part)


def _present(results: Results, scenario: ScenarioCard) -> list[PeerCard]:
    seen = {sample.peer for sample in results.samples if sample.scenario == scenario.name}
    return [peer for peer in results.peers if peer.name in seen]


def _heading(first: str, scenario: ScenarioCard, at: list[int]) -> str:
    columns = [scenario.label(point) or " " for point in at]
    return f"| {first} | {' | '.join(columns)} |\n|---|{'---:|' * len(at)}"


def _table(
    results: Results, scenario: ScenarioCard, figure: FigureCard, rows: dict[tuple[str, int, str, str], Row]
) -> str:
    at = points(results, scenario.name)
    lines = [_heading(f"{figure.title}, {figure.unit}", scenario, at)]
    for peer in _present(results, scenario):
        found = [rows.get((scenario.name, point, peer.name, figure.key)) for point in at]
        if any(found):
            cells = [_measured(figure, Spread(row.median, row.low, row.high)) if row else "–" for row in found]
            lines.append(f"| {_name(peer)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def _measured(figure: FigureCard, one: Spread) -> str:
    """What is added is the difference of two measurements: below nothing, it is less than what these vary by."""
    if figure.key.startswith("added_") and one.median < 0:
        return f"not measurable ({one.low:,.{figure.digits}f}–{one.high:,.{figure.digits}f})"
    return _spread(one, figure.digits)


def _spread(one: Spread, digits: int) -> str:
    middle = f"{one.median:,.{digits}f}"
    return middle if one.low == one.high else f"{middle} ({one.low:,.{digits}f}–{one.high:,.{digits}f})"


def _ratios(results: Results, scenario: ScenarioCard, figure: FigureCard) -> str:
    """Every peer against the better of nginx and HAProxy."""
    at = points(results, scenario.name)
    rivals = [peer.name for peer in results.peers if peer.bar]
    lines = [_heading(f"{figure.title}, ÷ better of nginx and HAProxy", scenario, at)]
    for peer in _present(results, scenario):
        found = [ratio(results, scenario.name, point, peer.name, figure, rivals) for point in at]
        if any(found):
            cells = [_spread(one, 2) if one else "–" for one in found]
            lines.append(f"| {_name(peer)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def _above_floor(results: Results, scenario: ScenarioCard, figure: FigureCard) -> str:
    """What is the proxy's own: the difference to the cheaper bare loop of the same round."""
    at = points(results, scenario.name)
    floors = [peer.name for peer in results.peers if peer.floor]
    lines = [_heading(f"{figure.title} above the cheaper bare loop, {figure.unit}", scenario, at)]
    for peer in _present(results, scenario):
        found = [difference(results, scenario.name, point, peer.name, figure, floors) for point in at]
        if not peer.floor and any(found):
            cells = [_spread(one, figure.digits) if one else "–" for one in found]
            lines.append(f"| {peer.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 1 else ""


def behind(results: Results) -> str:
    """Every figure in which another proxy has the better median than both engines of fastmesh; less than 0 is 0."""
    rows = {(row.scenario, row.point, row.peer, row.figure): row for row in summarise(results)}
    own = [peer for peer in results.peers if peer.name.startswith("fastmesh")]
    others = [peer for peer in results.peers if not peer.floor and peer not in own]
    lines = []
    for scenario in results.scenarios:
        for figure in scenario.figures:
            if not figure.judged:
                continue
            for point in points(results, scenario.name):
                ours, theirs = (
                    _best(figure, [(peer, rows.get((scenario.name, point, peer.name, figure.key))) for peer in group])
                    for group in (own, others)
                )
                # What is added can come out below nothing, and means nothing then.
                if ours and theirs and _less(figure, max(theirs[1].median, 0.0), ours[1].median):
                    lines.append(f"- {_compared(scenario, figure, point, ours, theirs)}")
    if not own or not others:
        return ""
    nothing = "Nowhere: in every figure one of fastmesh's engines has the best median."
    return "## Where another is better\n\n" + ("\n".join(lines) or nothing) + "\n"


def _less(figure: FigureCard, one: float, other: float) -> bool:
    """Whether the first is better by what the tables show."""
    one, other = round(one, figure.digits), round(other, figure.digits)
    return one < other if figure.less_is_better else one > other


def _best(figure: FigureCard, found: Sequence[tuple[PeerCard, Row | None]]) -> tuple[PeerCard, Row] | None:
    there = [(peer, row) for peer, row in found if row]
    choose = min if figure.less_is_better else max
    return choose(there, key=lambda one: one[1].median, default=None)


def _compared(
    scenario: ScenarioCard, figure: FigureCard, point: int, ours: tuple[PeerCard, Row], theirs: tuple[PeerCard, Row]
) -> str:
    values = [
        f"{peer.title} {row.median:,.{figure.digits}f}{f' {figure.unit}' if figure.unit else ''}"
        for peer, row in (theirs, ours)
    ]
    overlap = theirs[1].low <= ours[1].high and ours[1].low <= theirs[1].high
    where = f"{scenario.title}, {scenario.label(point)}".removesuffix(", ")
    return f"{where}: {figure.title}: {values[0]}, {values[1]}{' (within the spread)' if overlap else ''}"


def _name(peer: PeerCard) -> str:
    return f"*{peer.title}*" if peer.floor else peer.title


def bar_table(results: Results) -> str:
    verdicts = bars.judge(results)
    if not verdicts:
        return ""
    labels = {scenario.name: scenario for scenario in results.scenarios}
    lines = ["## Bars\n", "Both: nginx and HAProxy.\n", "| | at | limit | measured | |", "|---|---:|---:|---:|---|"]
    for one in verdicts:
        sign = "≥" if one.bar.at_least else "≤"
        at = labels[one.bar.scenario].label(one.point)
        verdict = "met" if one.met else "**missed**"
        lines.append(f"| {one.bar.words} | {at} | {sign} {one.bar.limit:g} | {one.value:.2f} | {verdict} |")
    return "\n".join(lines) + "\n"
