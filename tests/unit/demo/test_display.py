"""What is on the screen: it fits, and what was said stays."""

import io
import re

import pytest

from demo.display import Display
from demo.metrics import Figures

ROWS = [("caller → [shop]", Figures(200, 1.0, 12345.6, 23456.7)),
        ("[catalog] → catalog-1..3", Figures(200, 0.9987, 17.5, 24.9, 12345, retries=12345, hedges=1234, ejected=12,
                                             degraded=1234))]
INSTANCES = {name: [True, False, True] for name in ("shop", "catalog", "stock")}


class Terminal(io.StringIO):
    """As much of one as the display uses: going up some lines and clearing from there."""

    def isatty(self) -> bool:
        return True

    def screen(self, columns: int) -> list[str]:
        lines = [""]
        for part in re.split(r"(\x1b\[\d+A\x1b\[J|\n)", re.sub(r"\x1b\[\d*m", "", self.getvalue())):
            if up := re.fullmatch(r"\x1b\[(\d+)A\x1b\[J", part):
                lines[len(lines) - 1 - int(up[1]):] = [""]
            elif part == "\n":
                lines.append("")
            else:
                lines[-1] += part
        assert all(len(line) < columns for line in lines), "a line that wraps is one more than are erased"
        return lines


def attach(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In the test itself: between a fixture and its test, pytest puts its own stream there."""
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40), (60, 24), (80, 7), (45, 10)])
def test_what_was_said_stays_above_the_table(monkeypatch, columns, lines):
    terminal = attach(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    display = Display(is_plain=False)
    said = [f"{number} " + "this is said, and it is longer than a line of a terminal is wide " * 2
            for number in range(3)]
    for text in said:
        display.step(text)
        display.draw(ROWS, INSTANCES)
        display.draw(ROWS, INSTANCES)
    text = " ".join(" ".join(terminal.screen(columns)).split())
    assert all(text.count(" ".join(one.split())) == 1 for one in said)
    assert text.count("caller → [shop]") == 1
    assert ("instances up: shop ● ✕ ● catalog" in text) == (columns >= 80 and lines >= 24)


def test_no_colours_when_none_are_wanted(monkeypatch):
    terminal = attach(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    display = Display(is_plain=False)
    display.step("one")
    display.draw(ROWS, INSTANCES)
    assert not re.search(r"\x1b\[\d*m", terminal.getvalue())


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    display = Display(is_plain=False)
    display.step("begun")
    for _ in range(12):
        now += 0.5
        display.draw(ROWS, INSTANCES)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  0.0 s  ▸ begun" and "\x1b" not in "".join(lines)
    assert sum("caller → [shop]" in line for line in lines) == 6       # one a second
    assert sum("[catalog] →" in line for line in lines) == 2           # all rows every five seconds
    assert "99.87% success" in lines[2]
