"""What a key of the configuration means, as text: from the models that a file is checked by."""

import difflib
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic.fields import FieldInfo

from fastmesh.config.describe import Place, default_of, homes, is_mapping, parsed_of, path_of, places, sections_of
from fastmesh.config.fields import Section
from fastmesh.config.log_format import ABSENT, meanings
from fastmesh.config.model import Config

WIDTH = 100
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_LOG_KEYS = ("access_log.template", "access_log.fields")


class Key(NamedTuple):
    """One key, and the section that it is a key of; without a section's name the whole file."""

    path: str
    name: str
    field: FieldInfo


class UnknownKey(LookupError):
    """There is no such key. `close` are those that may be meant."""

    def __init__(self, key: str, close: list[str]) -> None:
        super().__init__(key)
        self.close = close


def kind_of(field: FieldInfo, name: str, section: Callable[[str], str] = str) -> str:
    """What may stand there. `section` makes a reference of the path of a section."""
    kinds = []
    text = str(field.annotation)
    for inner, is_list in sections_of(field.annotation):
        shown = section(path_of(inner))
        if is_mapping(field.annotation) and "list[" not in text:
            return f"mapping of names to {shown}"
        kinds.append(f"list of {shown}" if is_list else shown)
    if kinds and is_mapping(field.annotation):
        kinds.insert(0, "mapping of names to values")
    if kinds:
        return " or ".join(kinds)
    if "dict[" in text:
        return "mapping of keys to operators" if name == "fields" else "mapping of names to values"
    parsed = parsed_of(field)
    words = parsed.kind if parsed else "text"
    return f"list of {words}s" if "list[" in text else words


def default_text(field: FieldInfo) -> str:
    """The default as one would write it; empty where there is none that could be written."""
    value = default_of(field)
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def plain_path(key: str) -> str:
    """`clusters[0].avoid`, `clusters[].avoid` and `clusters-avoid` are the same key."""
    return re.sub(r"\[\d*\]|\{\}", "", key.strip()).replace("-", ".").strip(".")


def reference(key: str = "") -> str:
    """All that there is to say of a key or a section; of the whole file without one. Raises UnknownKey."""
    wanted = plain_path(key)
    sections = {place.path: place for place in places()}
    if not wanted:
        return "\n".join(_section(place) for place in sections.values())
    found = _find(wanted)
    if found is None:
        raise UnknownKey(key, _meant(wanted, [
            f"{plain_path(place.path)}.{name}".lstrip(".") for place in homes()
            for name in place.section.model_fields]))
    inner = [path_of(section) for section, _ in sections_of(found.field.annotation)]
    return "\n".join([_entry(found, found.path), *(_section(sections[path]) for path in inner)])


def _meant(wanted: str, keys: list[str]) -> list[str]:
    """A key is known by its last part, and the place is forgotten or misspelled; or the last part is."""
    last = [key.rpartition(".")[2] for key in keys]
    close = difflib.get_close_matches(wanted.rpartition(".")[2], set(last), 1, 0.6)
    found = [key for key, name in zip(keys, last, strict=True) if name in close]
    return sorted(found, key=lambda key: -difflib.SequenceMatcher(None, wanted, key).ratio())[:3]


def _find(wanted: str) -> Key | None:
    """By the way that a file would go, or by the place where a section is described."""
    here: list[type[Section]] = [Config]
    found: Key | None = None
    steps = wanted.split(".")
    for i, step in enumerate(steps):
        section = next((one for one in here if step in one.model_fields), None)
        if section is None:
            # What a mapping has as its keys are names, which its author has chosen.
            is_name = found is not None and is_mapping(found.field.annotation)
            if not is_name:
                return None
            continue
        field = section.model_fields[step]
        path = plain_path(path_of(section))
        found = Key(f"{path}.{step}".lstrip("."), step, field)
        here = [inner for inner, _ in sections_of(field.annotation)]
        if not here and i + 1 < len(steps) and not is_mapping(field.annotation):
            return None
    return found


def _section(place: Place) -> str:
    lines = [place.path or "The top level of the file"]
    if place.path:
        lines += _wrapped(" ".join((place.section.__doc__ or "").split()), "  ")
    for name, field in place.section.model_fields.items():
        lines += ["", *_entry(Key("", name, field), name, "  ").splitlines()]
    return "\n".join(lines) + "\n"


def _entry(key: Key, title: str, indent: str = "") -> str:
    default = default_text(key.field)
    after = "required" if key.field.is_required() else f"default {default}" if default else ""
    lines = [f"{indent}{title}"]
    lines += _wrapped("; ".join(part for part in (kind_of(key.field, key.name), after) if part), f"{indent}  ")
    lines += _wrapped(_LINK.sub(r"\1", key.field.description or ""), f"{indent}  ")
    if key.path in _LOG_KEYS:
        lines += ["", *_operators(f"{indent}  ")]
    return "\n".join(lines) + "\n"


def _operators(indent: str) -> Iterator[str]:
    for operator, meaning in meanings():
        yield f"{indent}{operator}"
        yield from _wrapped(meaning, f"{indent}  ")
    absent = ", ".join(f"%{name}%" for name in sorted(ABSENT))
    yield from _wrapped(f"Accepted, and never with a value: {absent}", indent)


def _wrapped(text: str, indent: str) -> list[str]:
    plain = text.replace("`", "").replace("\\|", "|")
    return textwrap.wrap(plain, WIDTH, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)
