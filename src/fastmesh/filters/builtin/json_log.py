"""An access log with the fields of your choice, one JSON object a line."""

from collections.abc import Callable
from json import JSONEncoder
from time import gmtime, strftime, time

from fastmesh import AccessLogger, Outcome, Request

Value = str | int | float | None
Reader = Callable[[Request, Outcome], Value]


def now(request: Request, outcome: Outcome) -> str:
    seconds = time() - outcome.duration
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


FIELDS: dict[str, Reader] = {
    "time": now,
    "id": lambda request, outcome: request.id,
    "peer": lambda request, outcome: request.peer,
    "listener": lambda request, outcome: request.listener,
    "route": lambda request, outcome: request.route,
    "cluster": lambda request, outcome: request.cluster,
    "endpoint": lambda request, outcome: outcome.endpoint,
    "method": lambda request, outcome: request.method,
    "scheme": lambda request, outcome: request.scheme,
    "host": lambda request, outcome: request.host,
    "path": lambda request, outcome: request.path,
    "query": lambda request, outcome: request.query,
    "status": lambda request, outcome: outcome.status,
    "flags": lambda request, outcome: outcome.flags,
    "details": lambda request, outcome: outcome.details,
    "attempts": lambda request, outcome: request.attempts,
    "received": lambda request, outcome: outcome.received,
    "sent": lambda request, outcome: outcome.sent,
    "ms": lambda request, outcome: milliseconds(outcome.duration),
    "upstream_ms": lambda request, outcome: milliseconds(outcome.upstream_time),
}


class JsonLog(AccessLogger):
    """Writes one JSON object for each exchange to `path`, or to the journal without one.

    `fields` are words of the list in docs/filters/builtin.md, `header:NAME` for a header of the request, and
    `label:NAME`. What there is none of is null. `min_ms` and `errors_only` leave out the ordinary.
    """

    fields: tuple[str, ...] = ("time", "id", "peer", "method", "host", "path", "status", "flags", "ms", "sent",
                               "cluster", "endpoint")
    min_ms: float = 0.0
    errors_only: bool = False       # status 0 (no answer) and 500 and above

    def start(self) -> None:
        self.readers = [(field, reader_of(field)) for field in self.fields]
        self.encode = JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
        super().start()

    def line(self, request: Request, outcome: Outcome) -> str | None:
        if self.errors_only and 0 < outcome.status < 500:
            return None
        if self.min_ms and outcome.duration * 1000 < self.min_ms:
            return None
        return self.encode({field: read(request, outcome) for field, read in self.readers})


def reader_of(field: str) -> Reader:
    """What reads a field. Raises ValueError for one that does not exist."""
    word, _, name = field.partition(":")
    if name and word == "header":
        return lambda request, outcome: request.headers.get(name)
    if name and word == "label":
        return lambda request, outcome: request.labels.get(name)
    if field in FIELDS:
        return FIELDS[field]
    raise ValueError(f"fields: there is no {field!r}; allowed: {', '.join(FIELDS)}, header:NAME and label:NAME")
