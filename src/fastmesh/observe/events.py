"""What workers tell of their filters and of endpoints, and control of discovery policies: into the journal, and the
last of it for `GET /events`."""

from collections import deque
from collections.abc import Iterator
from time import time
from typing import Any, Protocol

from fastmesh.observe.health import Change
from fastmesh.observe.journal import LEVELS, Journal

KEPT = 1000
MOST_TEXT = 8192        # characters; a traceback with its lines

# What is told, and at which level the journal has it.
KINDS = {"filter_error": "error", "filter_overrun": "warn", "filter_quarantined": "error", "filter_back": "info",
         "filter_shadow": "info", "filter_log": "info", "filter_host": "error", "filter_memory": "error"}
DISCOVERY = {"discovery_update": "info", "discovery_log": "info", "discovery_error": "error"}
HEALTH = {"ejected": "warn", "recovered": "info", "ejection_refused": "warn", "ejection_watched": "info"}
CHECKS = {"check_failed": "info", "unhealthy": "warn", "healthy": "info"}


class Checked(Protocol):
    """What a health check has changed."""

    @property
    def kind(self) -> str: ...      # of CHECKS
    @property
    def at(self) -> float: ...
    @property
    def seconds(self) -> float: ...     # how long it was what it is no more
    @property
    def times(self) -> int: ...
    @property
    def why(self) -> str: ...


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

    def note(self, cluster: str, what: str, text: str, level: str = "") -> None:
        """Of the discovery policy of a cluster; of all of them when it is empty."""
        cluster, text = cluster[:255], text[:MOST_TEXT]
        level = level if level in LEVELS else DISCOVERY[what]
        self._kept.append({"at": round(time(), 3), "worker": None, "what": what, "cluster": cluster, "level": level,
                           "text": text})
        self._journal.write(LEVELS.index(level), f"discovery of cluster {cluster}: {text}" if cluster else text)

    def heal(self, cluster: str, what: str, text: str, level: str) -> None:
        """Of the command or the policy of a cluster."""
        text = text[:MOST_TEXT]
        level = level if level in LEVELS else "info"
        self._kept.append({"at": round(time(), 3), "worker": None, "what": what, "cluster": cluster, "level": level,
                           "text": text})
        self._journal.write(LEVELS.index(level), f"{what} cluster={cluster} {text}")

    def labels(self, worker: int, label: str, text: str) -> None:
        """Of a label of metrics that has too many values; "" for all of them."""
        self._kept.append({"at": round(time(), 3), "worker": worker, "what": "labels_overflow", "label": label,
                           "level": "warn", "text": text})
        self._journal.warn(text)

    def strain(self, worker: int, level: str, reason: str, text: str, is_worse: bool) -> None:
        """Of a worker that refuses work, or does so no more."""
        severity = "warn" if is_worse else "info"
        self._kept.append({"at": round(time(), 3), "worker": worker, "what": "overload", "overload": level,
                           "reason": reason, "level": severity, "text": text})
        self._journal.write(LEVELS.index(severity), text)

    def near(self, cluster: str, limit: str, most: int, text: str) -> None:
        """Of a limit of a cluster, of which little is left."""
        self._kept.append({"at": round(time(), 3), "worker": None, "what": "limit_near", "cluster": cluster,
                           "limit": limit, "most_used": most, "level": "warn", "text": text})
        self._journal.write(LEVELS.index("warn"), f"limit_near cluster={cluster} limit={limit}: {text}")

    def reset(self, worker: int, text: str) -> None:
        """Of a worker that resets the connections that hold most of its memory."""
        self._kept.append({"at": round(time(), 3), "worker": worker, "what": "overload_reset", "level": "warn",
                           "text": text})
        self._journal.write(LEVELS.index("warn"), text)

    def health(self, cluster: str, endpoint: str, change: Change) -> None:
        """Of an endpoint that was ejected, or is back, or would have been ejected."""
        if change.kind not in HEALTH:
            return
        level, milliseconds = HEALTH[change.kind], round(change.seconds * 1000)
        entry: dict[str, Any] = {"at": round(change.at, 3), "worker": None, "what": change.kind, "cluster": cluster,
                                 "endpoint": endpoint, "reason": change.reason, "level": level}
        line = f"{change.kind} cluster={cluster} endpoint={endpoint} reason={change.reason}"
        if change.kind == "recovered":
            text = f"endpoint {endpoint} is in again after {change.seconds:.1f} s"
            entry |= {"out_ms": milliseconds, "times": change.times}
            line += f" out_ms={milliseconds} times={change.times}"
        else:
            says = {"ejected": f"is ejected for {change.seconds:.1f} s",
                    "ejection_refused": "stays, as as many are out as may be",
                    "ejection_watched": f"would be ejected for {change.seconds:.1f} s"}[change.kind]
            text = f"endpoint {endpoint} {says}: {change.why}"
            if change.kind != "ejection_refused":
                entry |= {"for_ms": milliseconds}
                line += f" for_ms={milliseconds}"
            if change.kind == "ejected":
                entry |= {"times": change.times}
                line += f" times={change.times}"
            line += f' why="{change.why}"'
        self._kept.append({**entry, "text": text})
        self._journal.write(LEVELS.index(level), line)

    def check(self, cluster: str, endpoint: str, verdict: Checked) -> None:
        """Of an endpoint whose health check says something new."""
        level, milliseconds = CHECKS[verdict.kind], round(verdict.seconds * 1000)
        why = "".join(c if c.isprintable() else " " for c in verdict.why)[:MOST_TEXT]
        says, key = {
            "check_failed": ("fails a health check", "after_ms"),
            "unhealthy": ("is unhealthy", "after_ms"),
            "healthy": (f"is healthy after {verdict.seconds:.1f} s", "out_ms")}[verdict.kind]
        self._kept.append({"at": round(verdict.at, 3), "worker": None, "what": verdict.kind, "cluster": cluster,
                           "endpoint": endpoint, "reason": "check", "level": level, key: milliseconds,
                           "times": verdict.times, "text": f"endpoint {endpoint} {says}: {why}"})
        quoted = why.replace('"', "'")
        self._journal.write(LEVELS.index(level), f"{verdict.kind} cluster={cluster} endpoint={endpoint} "
                                                 f'{key}={milliseconds} times={verdict.times} why="{quoted}"')

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(list(self._kept))
