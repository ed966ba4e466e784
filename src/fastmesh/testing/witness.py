"""What a kit sees of filters: how each exchange ends, and every line of their log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastmesh._core.filter.view import Outcome, Request
from fastmesh.filters.filter import Filter
from fastmesh.filters.reporter import Reporter


class Witness(Filter):
    """Sees how each exchange ends: the first of all filters, so that its `on_complete` comes last."""

    def __init__(self, see: Callable[..., Any]) -> None:
        super().__init__()
        self.see = see

    def on_complete(self, request: Request, outcome: Outcome) -> None:
        """As every filter."""
        self.see(request, outcome)


class UnhurriedReporter(Reporter):
    """Leaves no line out: how many there are in a second depends on the machine."""

    def _say(self, level: str, text: str, args: tuple[object, ...]) -> None:
        self._send(level, self._line(text, args))
