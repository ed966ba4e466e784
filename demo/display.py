"""The screen: a table redrawn in place at a terminal, lines anywhere else.

Fits 80 columns and 24 lines. What is said stays above the table and scrolls away; the table stays at the end.
"""

import os
import shutil
import sys
import textwrap
import time

from demo.metrics import Figures

BOLD, DIM, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
TABLE_COLUMNS = 78
NARROWEST = 40
FIRST_SECONDS = 1.0         # between plain lines of the first row
ALL_SECONDS = 5.0           # between plain lines of all rows
LEGEND = "in sidecar: the proxy's own time for a request, without any waiting (median)"

Rows = list[tuple[str, Figures]]
Instances = dict[str, list[bool]]       # of each service: is it up


class Display:
    def __init__(self, is_plain: bool) -> None:
        self.is_plain = is_plain or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb"
        self.has_colours = not self.is_plain and not os.environ.get("NO_COLOR")
        self.started = time.monotonic()
        self._drawn = 0         # lines of the table on the screen
        self._first_at = 0.0    # when the first row was last printed as a line, and all of them
        self._all_at = 0.0

    def say(self, text: str, colour: str = "") -> None:
        """Something that stays."""
        self._erase()
        stamp = f"{time.monotonic() - self.started:5.1f} s  "
        if self.is_plain:
            print(f"{stamp}{text}".rstrip(), flush=True)
            return
        width = max(NARROWEST, shutil.get_terminal_size().columns - 1)
        first, *rest = textwrap.wrap(text, width - len(stamp), subsequent_indent="  ",
                                     break_on_hyphens=False) or [""]
        lines = [f"{self._paint(stamp, DIM)}{self._paint(first, colour)}"]
        lines += [f"{' ' * len(stamp)}{self._paint(line, colour)}" for line in rest]
        print("\n".join(lines), flush=True)

    def step(self, text: str) -> None:
        self.say(f"▸ {text}", BOLD)

    def draw(self, rows: Rows, instances: Instances) -> None:
        if self.is_plain:
            self._print(rows)
            return
        lines = ["", self._paint(f" {'last two seconds':<26}{'req/s':>7}{'success':>10}{'p50':>11}{'p99':>11}"
                                 f"{'in sidecar':>12}", DIM)]
        for name, f in rows:
            success = self._paint(f"{f.success:>10.2%}", GREEN if f.success == 1 else RED)
            own = "" if f.proxy_us is None else f"{f.proxy_us:>9.0f} µs"
            lines.append(f" {name:<26}{f.per_second:>7.0f}{success}{f.p50_ms:>8.1f} ms{f.p99_ms:>8.1f} ms{own}")
        dots = ("  ".join([f"{name}", *(self._paint(*(("●", GREEN) if up else ("✕", RED))) for up in ups)])
                for name, ups in instances.items())
        lines += ["", " instances up:  " + "     ".join(dots), f" sidecars:      {_mended(rows)}",
                  self._paint(f" {LEGEND}", DIM)]
        self._erase()
        size = shutil.get_terminal_size()
        if size.columns >= TABLE_COLUMNS and size.lines > len(lines):
            sys.stdout.write("\n".join(lines) + "\n")
            self._drawn = len(lines)
        else:
            sys.stdout.write(_one_line(*rows[0])[:size.columns - 1] + "\n")
            self._drawn = 1
        sys.stdout.flush()

    def _print(self, rows: Rows) -> None:
        now = time.monotonic()
        if now - self._first_at < FIRST_SECONDS or not rows[0][1].per_second:
            return
        self._first_at = now
        shown = rows[:1]
        if now - self._all_at >= ALL_SECONDS:
            self._all_at = now
            shown = rows
        stamp = f"{now - self.started:5.1f} s  "
        lines = [_one_line(*row) for row in shown]
        if shown is rows:
            lines.append(f"sidecars: {_mended(rows)}")
        print("\n".join(f"{stamp}  {line}" for line in lines), flush=True)

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{PLAIN}" if colour and self.has_colours else text

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0


def _mended(rows: Rows) -> str:
    """What sidecars did in the last two seconds so that nobody notices."""
    figures = [f for _, f in rows]
    return (f"{sum(f.retries for f in figures):.0f} tried again, {sum(f.hedges for f in figures):.0f} asked twice, "
            f"{sum(f.ejected for f in figures):.0f} ejected, "
            f"{sum(f.degraded for f in figures):.0f} degraded")


def _one_line(name: str, f: Figures) -> str:
    own = "" if f.proxy_us is None else f"  in sidecar {f.proxy_us:3.0f} µs"
    times = f"p50 {f.p50_ms:5.1f}  p99 {f.p99_ms:6.1f} ms"
    return f"{name:<26}{f.per_second:4.0f} req/s {f.success:8.2%} success  {times}{own}"
