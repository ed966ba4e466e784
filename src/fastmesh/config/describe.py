"""What the models say about themselves: for the JSON Schema, the documents, and messages."""

import functools
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from fastmesh.config.fields import Parsed, Section
from fastmesh.config.model import Config


class Place(NamedTuple):
    """A section, and where it stands: `listeners[].limits`; empty for the whole file."""

    path: str
    section: type[Section]
    is_list: bool


def sections_of(annotation: Any) -> list[tuple[type[Section], bool]]:
    """The sections that a field may hold, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [(annotation, False)]
    is_list = typing.get_origin(annotation) not in (types.UnionType, typing.Union, typing.Annotated)
    return [(section, is_list or inner) for part in typing.get_args(annotation) for section, inner in sections_of(part)]


def section_of(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The first of them."""
    return next(iter(sections_of(annotation)), (None, False))


def is_mapping(annotation: Any) -> bool:
    """The field holds values by names that the file's author chooses."""
    return typing.get_origin(annotation) is dict or any(is_mapping(part) for part in typing.get_args(annotation))


def places() -> Iterator[Place]:
    """Every section, the outer before the inner, in the order of the keys. One that stands at several places comes
    once: as that of the top level, else as the first. The path of one that stands in place of a list ends in `{}`."""
    return iter(_places())


@functools.cache
def _places() -> tuple[Place, ...]:
    outer = {section_of(field.annotation)[0] for field in Config.model_fields.values()}
    seen: set[type[Section]] = set()

    def walk(place: Place) -> Iterator[Place]:
        yield place
        for key, field in place.section.model_fields.items():
            found = sections_of(field.annotation)
            for inner, is_list in found:
                if inner not in seen and (place.section is Config or inner not in outer):
                    seen.add(inner)
                    path = f"{place.path}.{key}".lstrip(".") + ("[]" if is_list else "{}" if len(found) > 1 else "")
                    yield from walk(Place(path, inner, is_list))

    return tuple(walk(Place("", Config, False)))


def homes() -> Iterator[Place]:
    """The same without the parts of policies: their keys are at home elsewhere."""
    return (place for place in places() if not place.path.startswith("policies[]."))


@functools.cache
def path_of(section: type[Section]) -> str:
    """Where a section is described."""
    return next(place.path for place in places() if place.section is section)


def parsed_of(field: FieldInfo) -> Parsed | None:
    """How a scalar field is read."""
    for item in field.metadata:
        if isinstance(item, Parsed):
            return item
    return _inner_parsed(field.annotation)


def default_of(field: FieldInfo) -> Any:
    """The default as one would write it; None where there is none, or it is a section's own defaults."""
    value = field.get_default(call_default_factory=True)
    if field.is_required() or value is None or isinstance(value, Section):
        return None
    parsed = parsed_of(field)
    if parsed is None or parsed.show is None:
        return value
    return [parsed.show(item) for item in value] if isinstance(value, list) else parsed.show(value)


def _inner_parsed(annotation: Any) -> Parsed | None:
    """The reader of a list's items, or of what may be left out."""
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, Parsed):
            return item
    if typing.get_origin(annotation) is dict:
        return None
    for part in typing.get_args(annotation):
        if found := _inner_parsed(part):
            return found
    return None
