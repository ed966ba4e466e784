"""Requests by the labels that filters gave them: `labelled_t` of the workers' shared memory, as control reads it."""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastmesh._core.mem.counter import DURATION_MS_BOUNDS, LAYOUT
from fastmesh.observe.stats import StatsFile

WAY = ("listener", "route", "cluster")
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
LABELS_MOST = 4
_BUCKETS = len(DURATION_MS_BOUNDS) + 1
_HEAD = struct.Struct(f"<QQQQ{LAYOUT['label_name_size']}s")
_ROW = struct.Struct(f"<Q{len(CLASSES)}QQ{_BUCKETS}Q{LAYOUT['label_text_size']}s")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")

# Names of listener, route and cluster, then each label with its value.
Way = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Labelled:
    """Requests of one way and one set of labels."""

    requests: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    duration_us: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    def add(self, numbers: tuple[int, ...]) -> None:
        """`numbers`: requests by class, the sum of what they took, and how many took how long."""
        self.requests = [a + b for a, b in zip(self.requests, numbers, strict=False)]
        self.duration_us += numbers[len(CLASSES)]
        self.buckets = [a + b for a, b in zip(self.buckets, numbers[len(CLASSES) + 1:], strict=True)]


@dataclass(slots=True)
class Overflow:
    """What had too many values, and how often that was met."""

    values: int = 0         # requests with a value that was counted as "other"
    rows: int = 0           # and those for which there was no row
    label: str = ""         # the one that had too many values first


def overflow(file: StatsFile) -> Overflow:
    _, values, rows, size, label = _HEAD.unpack(os.pread(file.fd, _HEAD.size, LAYOUT["label_head"]))
    name = label[:min(size, len(label))].decode("utf-8", "replace")
    return Overflow(values, rows, name if _NAME.fullmatch(name) else "")


def labelled(files: Iterable[StatsFile]) -> dict[Way, Labelled]:
    """The sums over all workers."""
    found: dict[Way, Labelled] = {}
    for file in files:
        for text, numbers in _rows(file):
            way = _way(text)
            if way is not None:
                found.setdefault(way, Labelled()).add(numbers)
    return found


def _rows(file: StatsFile) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    count = min(_HEAD.unpack(os.pread(file.fd, _HEAD.size, LAYOUT["label_head"]))[0], LAYOUT["label_rows"])
    for size, *numbers, text in _ROW.iter_unpack(os.pread(file.fd, count * _ROW.size, LAYOUT["labels"])):
        if size:
            yield text[:min(size, len(text))], tuple(numbers)


def _way(text: bytes) -> Way | None:
    """None for what is none: a worker's memory is its filters' too, and one of them must not be able to spoil the whole
    of the metrics."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        end = at + 1 + text[at]
        if end > len(text):
            return None
        parts.append(text[at + 1:end].decode("utf-8", "replace"))
        at = end
    names = parts[len(WAY)::2]
    if len(parts) < len(WAY) or (len(parts) - len(WAY)) % 2 or len(names) > LABELS_MOST:
        return None
    if len(set(names)) != len(names) or not all(_NAME.fullmatch(name) and not name.startswith("__") and
                                                name not in (*WAY, "code_class", "le") for name in names):
        return None
    return (*zip(WAY, parts, strict=False), *zip(names, parts[len(WAY) + 1::2], strict=True))
