"""The screen: a table redrawn in place at a terminal, one line per second anywhere else."""

import shutil
import sys
import time

from demo.metrics import Figures

BOLD, DIM, RED, GREEN, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m"
PLAIN_SECONDS = 0.9
LINES_PER_HEADING = 10
COLUMN = 26
WIDTH = 94


class Display:
    def __init__(self, is_plain: bool) -> None:
        self.is_plain = is_plain or not sys.stdout.isatty()
        self.started = time.monotonic()
        self._drawn = 0  # lines of the table on the screen
        self._last_line = 0.0
        self._lines = 0

    def say(self, text: str, colour: str = "") -> None:
        """A line that stays."""
        self._erase()
        seconds = time.monotonic() - self.started
        if self.is_plain:
            print(f"{seconds:5.1f} s  {text}", flush=True)
        else:
            print(f"{DIM}{seconds:5.1f} s{PLAIN}  {colour}{text}{PLAIN}", flush=True)

    def step(self, text: str) -> None:
        self.say(f"▸ {text}", BOLD)

    def draw(self, hops: list[tuple[str, Figures]], instances: dict[str, bool]) -> None:
        if self.is_plain:
            self._line(hops)
            return
        width = shutil.get_terminal_size().columns
        rows = ["", f"         {'hop':<26}{'requests/s':>11}{'success':>11}{'p50':>11}{'p99':>11}{'in sidecar':>12}"]
        for name, f in hops:
            colour = GREEN if f.success == 1 else RED
            rows.append(f"         {name:<26}{f.per_second:>11.0f}{colour}{f.success:>11.2%}{PLAIN}"
                        f"{f.p50_ms:>8.1f} ms{f.p99_ms:>8.1f} ms"
                        + ("" if f.proxy_us is None else f"{f.proxy_us:>9.0f} µs"))
        dots = [f"{GREEN}●{PLAIN} {name}" if is_up else f"{RED}✕ {name}{PLAIN}" for name, is_up in instances.items()]
        half = len(dots) // 3
        rows += ["", *("         " + "   ".join(dots[i:i + half]) for i in range(0, len(dots), half)), ""]
        self._erase()
        if width >= WIDTH:
            sys.stdout.write("\n".join(rows) + "\n")
            self._drawn = len(rows)
        sys.stdout.flush()

    def _line(self, hops: list[tuple[str, Figures]]) -> None:
        now = time.monotonic()
        if now - self._last_line < PLAIN_SECONDS:
            return
        self._last_line = now
        if self._lines % LINES_PER_HEADING == 0:
            print("         " + "".join(f"{name:<{COLUMN}}" for name, _ in hops))
            print("         " + f"{'req/s  right  p50/p99 ms':<{COLUMN}}" * len(hops))
        self._lines += 1
        cells = (f"{f.per_second:5.0f} {f.success:6.1%} {f.p50_ms:5.1f}/{f.p99_ms:.1f}" for _, f in hops)
        print(f"{now - self.started:5.1f} s  " + "".join(f"{cell:<{COLUMN}}" for cell in cells).rstrip(), flush=True)

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
