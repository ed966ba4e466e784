"""The parts of docs/performance.md that are figures: `python -m bench page RUN.json [EARLIER.json]` writes them anew.

They stand between `<!-- bench: name -->` and `<!-- end -->`; what is around them is for people to write.
"""

import re
from collections.abc import Callable
from pathlib import Path

from bench import agreement, noise, report
from bench.results import Results, points, ratio, summarise

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- bench: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)
SHOWN = ("fastmesh-uring", "fastmesh-epoll", "envoy")


def write(run: Results, earlier: Results | None, page: Path = PAGE) -> None:
    """Raises SystemExit for a name that is not one of the parts."""
    parts: dict[str, Callable[[], str]] = {
        "machine": lambda: _machine(run),
        "behind": lambda: _without_title(report.behind(run)),
        "ratios": lambda: _ratios(run),
        "keepalive": lambda: _tables(run, "h1-keepalive", ("cpu_us",)),
        "filters": lambda: _tables(run, "h1-filters", ("cpu_us", "added_us")),
        "bars": lambda: _without_title(report.bar_table(run)),
        "agreement": lambda: _without_title(agreement.markdown(earlier, run)) if earlier else "",
    }

    def fill(match: re.Match[str]) -> str:
        if match[2] not in parts:
            raise SystemExit(f"{page}: there is no part {match[2]!r}; there are {', '.join(parts)}")
        made = parts[match[2]]()
        # What is not measured in this run stays as it was.
        return f"{match[1]}{made.strip()}\n{match[3]}" if made.strip() else match[0]

    page.write_text(BLOCK.sub(fill, page.read_text()))


def _without_title(text: str) -> str:
    return re.sub(r"^#.*\n", "", text, count=1)


def _machine(run: Results) -> str:
    found = noise.findings(run)
    verdict = "**The machine was noisy.**" if noise.noisy(run) else "The machine was quiet."
    return f"{report.machine_line(run)}\n\n{verdict} {'; '.join(found)}.\n\n{report.method_line(run)}"


def _ratios(run: Results) -> str:
    rivals = [peer.name for peer in run.peers if peer.bar]
    titles = {peer.name: peer.title for peer in run.peers}
    shown = [name for name in SHOWN if name in titles]
    lines = [
        f"| scenario | figure | {' | '.join(titles[name] for name in shown)} |",
        f"|---|---|{'---:|' * len(shown)}",
    ]
    for scenario in run.scenarios:
        for figure in scenario.figures:
            for point in points(run, scenario.name) if figure.ratio else ():
                found = [ratio(run, scenario.name, point, name, figure, rivals) for name in shown]
                where = f"{scenario.title}, {scenario.label(point)}".removesuffix(", ")
                cells = " | ".join("–" if one is None else f"{one.median:.2f}" for one in found)
                if any(found):
                    lines.append(f"| {where} | {figure.title} | {cells} |")
    return "\n".join(lines)


def _tables(run: Results, name: str, keys: tuple[str, ...]) -> str:
    rows = {(row.scenario, row.point, row.peer, row.figure): row for row in summarise(run)}
    found = []
    for scenario in run.scenarios:
        for figure in scenario.figures if scenario.name == name else ():
            if figure.key in keys:
                found.append(report.figure_tables(run, scenario, figure, rows))
    return "\n".join(found)
