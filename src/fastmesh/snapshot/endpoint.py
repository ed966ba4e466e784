"""An endpoint as a snapshot has it, and as control keeps it."""

from collections.abc import Iterable
from typing import Any

from fastmesh.snapshot.wire import ENDPOINT_NOTE, ENDPOINT_TEXT, ENDPOINT_WEIGHT, EndpointRecord

TEXT = ENDPOINT_TEXT - 1        # of a record without its number


def described(number: int, row: list[Any]) -> EndpointRecord:
    """As control keeps it, from its number and the rest of its record."""
    found: EndpointRecord = {"row": number, "address": row[TEXT], "weight": row[ENDPOINT_WEIGHT - 1]}
    note = row[ENDPOINT_NOTE - 1]
    if note is not None:
        priority, zone, words = note
        found["priority"], found["zone"] = priority, zone
        found["metadata"] = dict(zip(words[::2], words[1::2], strict=True))
    return found


def note_of(metadata: Iterable[tuple[str, str]], priority: int = 0, zone: str = "") -> list[Any] | None:
    """What a snapshot has of what is said of an endpoint besides."""
    words = [word for pair in metadata for word in pair]
    return [priority, zone, words] if words or priority or zone else None
