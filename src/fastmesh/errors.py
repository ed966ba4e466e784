"""What can go wrong, as seen by the person who runs fastmesh.

An error says what was found, what is allowed and what to do. Only these types cross the borders
between packages; anything else that escapes is a bug.
"""

from collections.abc import Sequence


class FastmeshError(Exception):
    """The base of everything that fastmesh raises on purpose."""


class OutOfTime(BaseException):
    """Work that has taken too long. Not an Exception, so that nothing on the way catches it."""


class WrongValue(ValueError):
    """One value that cannot be used. It knows what is wrong with it, not where it stands.

    `found` is the value as written, in quotes where it is text; `allowed` completes the sentence
    "allowed: …"; `hint` is what to do, an order, and may be empty.
    """

    def __init__(self, found: str, allowed: str, hint: str = "") -> None:
        super().__init__(found, allowed, hint)
        self.found = found
        self.allowed = allowed
        self.hint = hint

    def __str__(self) -> str:
        return f"found {self.found}, allowed: {self.allowed}"


class Problem:
    """One thing that is wrong, or doubtful, in a configuration file.

    `line` and `column` begin at 1; 0 means that the problem belongs to the file as a whole.
    `width` is the number of characters to underline. `path` is where it stands in the
    configuration, `listeners[0].timeouts.header`, and may be empty. `excerpt` is the line of the
    file, or a part of a long one, in which the problem begins at character `caret`, from 1. `anchor`
    is the key that `fastmesh reference` explains, `listeners.timeouts.header`, or empty.
    """

    __slots__ = ("allowed", "anchor", "caret", "column", "excerpt", "file", "found", "hint", "line", "path", "reason",
                 "severity", "width")

    def __init__(self, reason: str, *, file: str = "", line: int = 0, column: int = 0, width: int = 1,
                 path: str = "", found: str = "", allowed: str = "", hint: str = "",
                 severity: str = "error", excerpt: str = "", caret: int = 0, anchor: str = "") -> None:
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column
        self.width = width
        self.path = path
        self.found = found
        self.allowed = allowed
        self.hint = hint
        self.severity = severity
        self.excerpt = excerpt
        self.caret = caret or column
        self.anchor = anchor

    @property
    def message(self) -> str:
        """The whole sentence: what is wrong, and what is allowed."""
        return f"{self.reason}, allowed: {self.allowed}" if self.allowed else self.reason

    @property
    def place(self) -> str:
        """`file:line:column`, as terminals and editors make it clickable."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.path, self.message) if part)

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"

    def to_dict(self) -> dict[str, str | int]:
        """For JSON and for msgpack."""
        return {"file": self.file, "line": self.line, "column": self.column, "width": self.width,
                "path": self.path, "message": self.message, "found": self.found,
                "allowed": self.allowed, "hint": self.hint, "severity": self.severity}


class ConfigError(FastmeshError):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
