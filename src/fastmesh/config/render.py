"""Problems as people read them: the sentence, the line of the file with a caret, and what to do."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from fastmesh.errors import Problem

_COLOURS = {"error": "31;1", "warning": "33;1", "place": "1", "caret": "31;1", "dim": "2"}


def wants_colour(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """On a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    if env.get("NO_COLOR") or env.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:
        return False


def render(problems: Iterable[Problem], colour: bool = False) -> str:
    """All of them, each followed by its line of the file. Ends in a line break."""
    return "".join(_one(problem, colour) for problem in problems)


def print_problems(problems: Iterable[Problem], stream: TextIO | None = None) -> None:
    """To standard error, in colour where that is wanted."""
    stream = sys.stderr if stream is None else stream
    stream.write(render(problems, wants_colour(stream)))
    stream.flush()


def _one(problem: Problem, colour: bool) -> str:
    def paint(text: str, kind: str) -> str:
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if colour and text else text

    severity = "error" if problem.severity == "error" else "warning"
    path = f"{problem.path}: " if problem.path else ""
    place = paint(problem.place, "place")
    lines = [f"{paint(f'config {severity}', severity)}: {place}: {path}{_printable(problem.message)}"]
    if problem.line and problem.excerpt:
        number = f"{problem.line:6d}"
        # One column for each character, so that the caret stands where it should.
        text = "".join(" " if character == "\t" else character if character.isprintable() else "\ufffd"
                       for character in problem.excerpt)
        lines.append(f"{paint(number + ' |', 'dim')} {text}")
        lines.append(f"{paint(' ' * 6 + ' |', 'dim')} {' ' * (problem.caret - 1)}{paint('^' * problem.width, 'caret')}")
    anchor = f"fastmesh reference {problem.anchor}" if problem.anchor else ""
    if problem.hint:
        lines.append(f"  to do: {_printable(problem.hint)}" + (f"  {paint(f'({anchor})', 'dim')}" if anchor else ""))
    elif anchor:
        lines.append(f"  to do: see {anchor}")
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    """A file's text must not steer the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
