"""What workers tell of their filters: into the journal, and the last of it for `GET /events`."""

from collections import deque
from collections.abc import Iterator
from time import time
from typing import Any

from fastmesh.observe.journal import LEVELS, Journal

KEPT = 1000
MOST_TEXT = 8192        # characters; a traceback with its lines

# What is told, and at which level the journal has it.
KINDS = {"filter_error": "error", "filter_overrun": "warn", "filter_quarantined": "error", "filter_back": "info",
         "filter_shadow": "info", "filter_log": "info", "filter_host": "error"}


class Events:
    """The last ones, oldest first. What a worker sends is not trusted: it is cut, and unknown kinds are dropped."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def take(self, worker: int, message: dict[str, Any]) -> None:
        what, name, text = message.get("what"), message.get("filter"), message.get("text")
        level = KINDS.get(what) if isinstance(what, str) else None
        if level is None or not isinstance(name, str) or not isinstance(text, str):
            return
        name, text = name[:255], text[:MOST_TEXT]
        if what == "filter_log" and message.get("level") in LEVELS:
            level = str(message["level"])
        self._kept.append({"at": round(time(), 3), "worker": worker, "what": what, "filter": name, "level": level,
                           "text": text})
        self._journal.write(LEVELS.index(level), f"filter {name}: {text}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(list(self._kept))
