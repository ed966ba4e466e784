"""`fastmesh filters top`: what each filter does and costs, live."""

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass
from time import sleep
from typing import Any

from fastmesh.cli import admin_api
from fastmesh.cli.admin_api import Unreachable

HOME = "\x1b[H\x1b[J"       # to the first place of a cleared screen
WIDTHS = (28, 18, 10, 9, 7, 9, 9)   # where there is room for them
NARROWEST = 12                      # of a filter's name
TITLES = ("FILTER", "PHASE", "CALLS/S", "\u00b5s/CALL", "CPU", "ERRORS", "OVERRUNS", "STATE")


def ask(address: str) -> dict[str, Any]:
    """`GET /filters`. Raises Unreachable."""
    status, body = admin_api.ask(address, "/filters")
    if status != 200:
        said = body[:200].decode("utf-8", "replace").strip()
        raise Unreachable(f"{address} answers with {status}: {said}")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("filters"), list):
        raise Unreachable(f"{address} is no admin API of fastmesh")
    return found


@dataclass(slots=True)
class Row:
    """One phase of one filter between two readings."""

    filter: str
    phase: str
    calls_a_second: float
    us_a_call: float | None     # None: it was not called
    cpu: float                  # share of one CPU
    errors: int                 # since the start
    overruns: int
    state: str

    def cells(self) -> tuple[str, ...]:
        us = "-" if self.us_a_call is None else f"{self.us_a_call:,.1f}"
        return (self.filter, self.phase, f"{self.calls_a_second:,.0f}", us, f"{self.cpu:.1%}", f"{self.errors:,}",
                f"{self.overruns:,}", self.state)


def rows_between(before: dict[str, Any], after: dict[str, Any]) -> list[Row]:
    """The costliest first. A filter that is new, or whose figures began anew, is counted from zero."""
    seconds = max(1e-3, after["at"] - before["at"])
    known = {of["name"]: of["phases"] for of in before["filters"]}
    rows = []
    for of in after["filters"]:
        name = "".join(c if c.isprintable() else "?" for c in of["name"])
        for phase, now in of["phases"].items():
            then = known.get(of["name"], {}).get(phase, {})
            if then and then["calls"] > now["calls"]:
                then = {}
            calls, wall, cpu = (now[what] - then.get(what, 0) for what in ("calls", "seconds", "cpu_seconds"))
            rows.append(Row(name, phase, calls / seconds, wall / calls * 1e6 if calls else None, cpu / seconds,
                            now["errors"], now["overruns"], of["state"]))
        if not of["phases"]:
            rows.append(Row(name, "-", 0.0, None, 0.0, 0, 0, of["state"]))
    rows.sort(key=lambda row: (-row.cpu, -row.calls_a_second, row.filter))
    return rows


def table(rows: list[Row], height: int = 0, width: int = 0) -> str:
    """Lines of text, at most `height` by `width`; 0 is any."""
    cells = [TITLES, *(row.cells() for row in rows)]
    widths, gap = _widths(cells, width)
    lines = [_line(line, widths, gap) for line in cells]
    if not rows:
        lines.append("no filters: the live configuration names none")
    if height and len(lines) > height:
        hidden = len(lines) - height + 1
        lines[height - 1:] = [f"and {hidden:,} more"]
    return "\n".join(line[:width] if width else line for line in lines)


def _widths(lines: list[tuple[str, ...]], width: int) -> tuple[list[int], int]:
    """Of the columns but the last, and of the gaps between them: on a narrow terminal as little as numbers and states
    need, and what is left is for the names of filters."""
    state = max(len(line[-1]) for line in lines)
    if not width or sum(WIDTHS) + 2 * len(WIDTHS) + state <= width:
        return list(WIDTHS), 2
    name, *others = (max(len(line[column]) for line in lines) for column in range(len(WIDTHS)))
    gap = 2 if min(name, NARROWEST) + sum(others) + 2 * len(WIDTHS) + state <= width else 1
    return [min(name, max(NARROWEST, width - sum(others) - gap * len(WIDTHS) - state)), *others], gap


def _line(cells: tuple[str, ...], widths: list[int], gap: int) -> str:
    # Names are on the left of their column, numbers on the right.
    parts = [_cut(cell, width).ljust(width) if column < 2 else cell.rjust(width)
             for column, (cell, width) in enumerate(zip(cells, widths, strict=False))]
    return (" " * gap).join([*parts, cells[-1]]).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width - 1] + "\u2026"


def run(args: argparse.Namespace) -> int:
    """Until Ctrl-C, or once."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    try:
        before = ask(args.admin)
        while True:
            sleep(args.interval)
            after = ask(args.admin)
            rows = rows_between(before, after)
            if is_terminal and not args.once:
                size = shutil.get_terminal_size()
                sys.stdout.write(f"{HOME}{table(rows, size.lines - 1, size.columns)}\n")
            else:
                sys.stdout.write(table(rows) + "\n")
            sys.stdout.flush()
            if args.once:
                return 0
            before = after
    except Unreachable as error:
        print(f"fastmesh filters top: {error}\n  to do: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
