import io

import pytest

from fastmesh.config.load import load_text
from fastmesh.config.render import render, wants_colour
from fastmesh.config.source import Source
from fastmesh.errors import ConfigError, Problem


def rendered(text: str, colour: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "mesh.yaml", {})
    return render(caught.value.problems, colour)


def test_the_form():
    assert rendered("listeners: []\ndrain_timeout: 10 sec\n") == (
        "config error: mesh.yaml:2:16: drain_timeout: found '10 sec', allowed: a number with one of ms, s, m, h\n"
        "     2 | drain_timeout: 10 sec\n"
        "       |                ^^^^^^\n"
        "  to do: write 10s  (fastmesh reference drain_timeout)\n")


def test_colours():
    text = rendered("listeners: []\ndrain_timeout: 10 sec\n", colour=True)
    assert "\x1b[31;1mconfig error\x1b[0m: \x1b[1mmesh.yaml:2:16\x1b[0m: drain_timeout" in text
    assert "\x1b[31;1m^^^^^^\x1b[0m" in text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_when_there_are_colours():
    assert wants_colour(_Terminal(), {})
    assert wants_colour(_Terminal(), {"NO_COLOR": ""})
    assert not wants_colour(_Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(_Terminal(), {"TERM": "dumb"})
    assert not wants_colour(io.StringIO(), {})
    closed = io.StringIO()
    closed.close()
    assert not wants_colour(closed, {})


@pytest.mark.parametrize("length", [1, 50, 150, 400])
def test_a_long_line_is_shown_around_its_fault(length):
    first, line, caret, _ = rendered("listeners: [" + "x" * length + "]\n").splitlines()
    assert len(line) <= 9 + 100 and "mesh.yaml:1:13" in first
    assert line[caret.index("^")] == "x"


def test_the_caret_stands_under_a_fault_far_to_the_right():
    source = Source("f", "one\n" + "-" * 70_000 + "xxxxx" + "-" * 300 + "\nthree\n")
    at = source.text.index("x")
    first, line, caret = render([source.problem("wrong", at, at + 5)]).splitlines()
    assert first == "config error: f:2:70001: wrong"
    assert line[caret.index("^"):caret.rindex("^") + 1] == "xxxxx" and len(line) <= 109


def test_a_file_cannot_steer_the_terminal():
    text = render([Problem("found '\x1b[2J'", file="f", line=1, column=1, excerpt="a\x1b[2J\tb\u202e", hint="\x07")])
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text


def test_a_problem_of_the_whole_file():
    assert render([Problem("the file is empty", file="f")]) == "config error: f: the file is empty\n"


def test_warnings_are_called_so():
    assert render([Problem("doubtful", file="f", severity="warning")]) == "config warning: f: doubtful\n"
