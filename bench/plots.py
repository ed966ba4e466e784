"""Results as pictures: CPU and memory as bars, latency as curves over percentiles.  SVG, beside the Markdown."""

import math
import re
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.results import FigureCard, PeerCard, Results, Row, ScenarioCard, by_round, points, summarise

# Okabe and Ito's colours, which people with any colour vision tell apart; a proxy has the same in every picture.
COLOURS = {
    "fastmesh-uring": "#0072B2",
    "fastmesh-epoll": "#56B4E9",
    "nginx": "#009E73",
    "haproxy": "#E69F00",
    "envoy": "#CC79A7",
    "envoy-ext-proc": "#8F4A6F",
    "mitmproxy": "#F0E442",
    "floor-uring": "#444444",
    "floor-epoll": "#888888",
}
OTHER = "#D55E00"
# Told apart without any colour too.
MARKERS = {"fastmesh-uring": "o", "fastmesh-epoll": "s", "nginx": "^", "haproxy": "D", "envoy": "v"}
COLUMNS = 3
TITLE_WIDTH = 38  # characters, what fits above the bars
# A bar that is so many times as long as half of the others ends there, marked, so that these can be told apart.
LONGEST = 6.0
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "bench",  # the same results give the same file
}
CURVE_TICKS = (50.0, 90.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True)
class Panel:
    """One set of bars."""

    title: str
    unit: str
    digits: int
    rows: list[tuple[PeerCard, Row]]
    # The cheaper bare loop's median, where the bare loops took part.
    floor: float | None


def depth(share: float) -> float:
    """Where a percentile stands on the axis: each nine as wide as the one before."""
    return -math.log10(1 - share / 100)


def panels(results: Results, wanted: Sequence[str]) -> Iterator[Panel]:
    """A panel for each point of each scenario, for figures of these keys."""
    rows = {(row.scenario, row.point, row.figure, row.peer): row for row in summarise(results)}
    for scenario in results.scenarios:
        for figure in scenario.figures:
            if figure.key in wanted:
                for point in points(results, scenario.name):
                    yield from _panel(results, scenario, figure, point, rows)


def _panel(
    results: Results,
    scenario: ScenarioCard,
    figure: FigureCard,
    point: int,
    rows: dict[tuple[str, int, str, str], Row],
) -> Iterator[Panel]:
    found = [(peer, rows.get((scenario.name, point, figure.key, peer.name))) for peer in results.peers]
    there = [(peer, row) for peer, row in found if row]
    proxies = [(peer, row) for peer, row in there if not peer.floor]
    floors = [row.median for peer, row in there if peer.floor]
    if proxies:
        where = f"{scenario.title}, {scenario.label(point)}".removesuffix(", ")
        title = f"{textwrap.fill(where.replace('`', ''), TITLE_WIDTH)}\n{figure.title}, {figure.unit}"
        yield Panel(title, figure.unit, figure.digits, proxies, min(floors, default=None))


def curves(results: Results, scenario: str, point: int) -> dict[str, list[tuple[float, float]]]:
    """Percentile and latency, medians over the rounds, by peer; what only some rounds have is left out."""
    found = {}
    keys = {
        key
        for sample in results.samples
        if (sample.scenario, sample.point) == (scenario, point)
        for key in sample.figures
        if re.fullmatch(r"p[\d.]+", key)
    }
    for peer in results.peers:
        rounds = {key: by_round(results, scenario, point, peer.name, key) for key in keys}
        most = max((len(values) for values in rounds.values()), default=0)
        line = [
            (float(key[1:]), statistics.median(values.values()))
            for key, values in rounds.items()
            if values and len(values) == most
        ]
        if line:
            found[peer.name] = sorted(line)
    return found


def draw(results: Results, beside: Path) -> list[tuple[str, Path]]:
    """Write the pictures that the results have numbers for; titles and files.  None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("svg")
    written = []
    with matplotlib.rc_context(STYLE):
        for name, title, wanted in (
            ("cpu", "CPU per request", ("cpu_us",)),
            ("bodies", "CPU per MiB of a body", ("cpu_us_mib",)),
            ("memory", "Memory", ("rest_mib", "worker_mib", "growth_mib", "memory_mib")),
        ):
            found = list(panels(results, wanted))
            if found:
                written.append((title, _save(_bars(title, found), beside, name)))
        rated = [
            (one, point) for one in results.scenarios if one.name == "h1-rate" for point in points(results, one.name)
        ]
        if rated:
            written.append(("Latency at a fixed rate", _save(_curves(results, rated), beside, "latency")))
    return written


def _save(figure: Any, beside: Path, name: str) -> Path:
    path = beside.with_name(f"{beside.stem}-{name}.svg")
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _bars(title: str, found: Sequence[Panel]) -> Any:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(found))
    lines = -(-len(found) // columns)
    most = max(len(panel.rows) for panel in found)
    figure = Figure(figsize=(4.6 * columns, (0.27 * most + 1.0) * lines + 0.6), layout="constrained")
    is_cut = any(row.median > reach_of(panel) for panel in found for _, row in panel.rows)
    more = "; a bar with two strokes goes on" if is_cut else ""
    figure.suptitle(f"{title}: shorter is better{more}", fontsize=12, fontweight="bold")
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, panel in zip(grid, found, strict=False):
        _one_panel(axes, panel)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    return figure


def reach_of(panel: Panel) -> float:
    """How far the axis goes: to the end of the longest bar, but for one that would leave the others no room."""
    medians = sorted(row.median for _, row in panel.rows)
    cut = LONGEST * statistics.median(medians)
    if cut <= 0 or medians[-1] <= cut:
        cut = math.inf
    reach = max(0.0, panel.floor or 0.0, *(min(row.high, cut) for _, row in panel.rows))
    # Bars whose figures all read 0 have no length.
    return reach if f"{reach:.{panel.digits}f}" != f"{0:.{panel.digits}f}" else 1.0


def _one_panel(axes: Any, panel: Panel) -> None:
    names = [peer.title for peer, _ in panel.rows]
    reach = reach_of(panel)
    ends = [min(row.median, reach) for _, row in panel.rows]
    axes.barh(names, ends, color=[COLOURS.get(peer.name, OTHER) for peer, _ in panel.rows], height=0.72)
    for place, (name, end, (_, row)) in enumerate(zip(names, ends, panel.rows, strict=True)):
        is_whole = row.median <= reach
        if is_whole and row.high > row.low:
            across = ([row.median - row.low], [min(row.high, reach) - row.median])
            axes.errorbar([end], [name], xerr=across, fmt="none", ecolor="#222222", elinewidth=0.9, capsize=2)
        if not is_whole:
            # Two strokes through the bar: it goes on.
            for at in (0.90, 0.925):
                axes.plot([reach * at, reach * (at + 0.02)], [place + 0.42, place - 0.42], color="white", linewidth=1.6)
        text = f"{row.median:,.{panel.digits}f}"
        after = max(0.0, min(row.high, reach)) + reach * 0.02
        axes.text(after, name, text, va="center", ha="left", fontsize=8.5)
    if panel.floor is not None:
        axes.axvline(panel.floor, color="#222222", linestyle=(0, (4, 2)), linewidth=1.1)
        # Below the bars, where none can be.
        axes.annotate(
            f"bare loop {panel.floor:,.{panel.digits}f}", (panel.floor, -0.02), xycoords=("data", "axes fraction"),
            ha="center", va="top", fontsize=8,
        )  # fmt: skip
    axes.set_xlim(min(0.0, *(row.low for _, row in panel.rows)), reach * 1.18)
    axes.invert_yaxis()
    axes.set_title(panel.title, loc="left")
    # The numbers stand at the bars.
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)


def _curves(results: Results, rated: Sequence[tuple[ScenarioCard, int]]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(max(7.5, 5.6 * len(rated)), 4.8), layout="constrained")
    every = figure.subplots(1, len(rated), squeeze=False, sharey=True)[0]
    titles = {peer.name: peer.title for peer in results.peers}
    for axes, (scenario, point) in zip(every, rated, strict=True):
        lines = curves(results, scenario.name, point)
        for name, line in lines.items():
            axes.plot(
                [depth(share) for share, _ in line], [latency for _, latency in line],
                label=titles[name], color=COLOURS.get(name, OTHER), marker=MARKERS.get(name), markersize=4,
                linewidth=1.2 if name.startswith("floor") else 1.8,
                linestyle="--" if name.startswith("floor") else "-",
            )  # fmt: skip
        furthest = max((line[-1][0] for line in lines.values()), default=0.0)
        shown = [share for share in CURVE_TICKS if share <= furthest]
        axes.set_xticks([depth(share) for share in shown], [f"p{share:g}" for share in shown])
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, color="#DDDDDD", linewidth=0.6)
        axes.set_title(scenario.label(point), loc="left")
        axes.set_xlabel("share of requests that were not slower")
    every[0].set_ylabel("latency from when a request was due, µs")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle("Latency at a fixed rate: lower is better", fontsize=12, fontweight="bold")
    return figure
