"""`self.log` of a filter: lines for the journal of the control process."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MOST_LINES = 100        # a second, of one filter in one worker
MOST_TEXT = 4096        # characters of a line
SHORTEST_SECRET = 4     # what is shorter stands in too many words
HIDDEN = "(secret)"


class Reporter:
    """`self.log` of a filter: writes to the journal, with the filter's name before each line, and at most 100 lines a
    second; how many more there were is said in the second after. Values are put in as `logging` does it:
    `self.log.info("%s came", who)`. What the configuration holds as `Secret` is not shown.
    """

    def __init__(self, name: str, tell: Callable[[dict[str, Any]], None], secrets: Iterable[str] = ()) -> None:
        """For the worker: `tell` takes events for control. `secrets` are not shown, wherever in a line they stand."""
        self._name = name
        self._tell = tell
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
        self._begun = 0.0       # of the second that is counted
        self._lines = 0
        self._lost = 0

    def debug(self, text: str, *args: object) -> None:
        """For who looks for an error."""
        self._say("debug", text, args)

    def info(self, text: str, *args: object) -> None:
        """What is as it should be."""
        self._say("info", text, args)

    def warning(self, text: str, *args: object) -> None:
        """What somebody should look at."""
        self._say("warn", text, args)

    def error(self, text: str, *args: object) -> None:
        """What has failed."""
        self._say("error", text, args)

    def _say(self, level: str, text: str, args: tuple[object, ...]) -> None:
        now = monotonic()
        if now - self._begun >= 1:
            self._begun, self._lines = now, 0
            if self._lost:
                lost, self._lost = self._lost, 0
                self._send("warn", f"{lost} lines were left out: more than {MOST_LINES} in a second")
        if self._lines >= MOST_LINES:
            self._lost += 1
            return
        self._lines += 1
        self._send(level, self._line(text, args))

    def _line(self, text: str, args: tuple[object, ...]) -> str:
        try:
            line = str(text)
            if args:
                line = line % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args)
        except Exception as error:      # a line that cannot be made must not fail the request
            line = f"{text!r} cannot be filled in: {type(error).__name__}: {error}"
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        if not line.isprintable():      # what a client sent must not steer a terminal
            line = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in line[:MOST_TEXT])
        return line if len(line) <= MOST_TEXT else line[:MOST_TEXT - 1] + "…"

    def _send(self, level: str, line: str) -> None:
        self._tell({"op": "event", "what": "filter_log", "filter": self._name, "level": level, "text": line})
