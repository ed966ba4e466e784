"""The settings that a filter's class declares, and the values that a configuration gives them.

A file's values are text, or lists and mappings of text; what they mean follows from the annotation. What comes out is
plain data of the very type that the class asks for.
"""

import math
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from inspect import get_annotations
from typing import Any, NamedTuple

from fastmesh.config.fields import closest, read_flag, shown
from fastmesh.errors import WrongValue
from fastmesh.filters.types import Duration, Secret, Share, Size
from fastmesh.units import PERCENT_ALLOWED, parse_duration, parse_percent, parse_size

Path = tuple[int | str, ...]
KINDS = ("str, int, float, bool, None, Literal, Duration, Size, Share and Secret, and list, set, tuple and dict of "
         "them, joined with | where several may be")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_LARGEST = (1 << 63) - 1
MISSING: Any = object()
_MAX_DEPTH = 8


class NoSuchKind(Exception):
    """An annotation that is no kind of setting. The text is the part that is not."""


class Setting(NamedTuple):
    """One that a class declares."""

    name: str
    annotation: Any
    default: Any            # MISSING: there is none
    owner: type             # the class that declares it

    @property
    def is_required(self) -> bool:
        return self.default is MISSING

    @property
    def is_secret(self) -> bool:
        return _has_secret(self.annotation)


class Wrong(NamedTuple):
    """A value that cannot be used, and where in the setting's value it stands."""

    at: Path
    what: WrongValue


# --- what a class declares --------------------------------------------------------

def settings_of(cls: type, base: type) -> tuple[list[Setting], list[tuple[str, str]]]:
    """The settings of a class below `base`, those of its ancestors first, and (name, reason) of those that cannot be
    one."""
    found: dict[str, Setting] = {}
    bad: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if owner is base or not issubclass(owner, base):
            continue
        for name, annotation in _annotations(owner):
            if name.startswith("_"):
                continue
            if isinstance(annotation, Exception):
                bad[name] = f"its annotation cannot be evaluated: {type(annotation).__name__}: {annotation}"
                continue
            if _is_class_variable(annotation):
                found.pop(name, None)
                bad.pop(name, None)
                continue
            try:
                _check(annotation, 0)
            except NoSuchKind as kind:
                bad[name] = f"it has the type {kind}"
                continue
            bad.pop(name, None)
            default = getattr(cls, name, MISSING)
            if isinstance(default, (types.MemberDescriptorType, property)):
                default = MISSING
            found[name] = Setting(name, annotation, default, owner)
    return [setting for name, setting in found.items() if name not in bad], list(bad.items())


def _annotations(owner: type) -> Iterator[tuple[str, Any]]:
    """Evaluated one by one, so that one bad name does not hide the others; an exception in place of a bad one."""
    written = _written(owner)
    module = sys.modules.get(owner.__module__)
    # What is imported for type checkers alone is not there when the module runs.
    names = {**vars(typing), "Duration": Duration, "Size": Size, "Share": Share, "Secret": Secret,
             **(vars(module) if module is not None else {})}
    for name, annotation in written.items():
        if isinstance(annotation, str):
            text = annotation.strip()
            if re.match(r"(\w+\.)?(ClassVar|Final)\b", text):
                annotation = typing.ClassVar
            else:
                try:
                    annotation = eval(text, names, dict(vars(owner)))    # the module's own code, as it was imported
                except Exception as error:
                    annotation = error
        yield name, annotation


def _written(owner: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        # Evaluated lazily there: as text, so that one bad name does not hide the others.
        return annotationlib.get_annotations(owner, format=annotationlib.Format.STRING)
    return get_annotations(owner)


def _is_class_variable(annotation: Any) -> bool:
    return annotation is typing.ClassVar or annotation is typing.Final or typing.get_origin(annotation) in (
        typing.ClassVar, typing.Final)


def _check(annotation: Any, depth: int) -> None:
    """Raises NoSuchKind."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if depth > _MAX_DEPTH:
        raise NoSuchKind(f"{_named(annotation)}, nested too deep")
    if annotation in (str, int, float, bool, None, type(None), Duration, Size, Share, Secret):
        return
    if origin is typing.Annotated:
        _check(inner[0], depth + 1)
    elif origin is typing.Literal:
        if not all(isinstance(option, (str, int, bool, type(None))) for option in inner):
            raise NoSuchKind(_named(annotation))
    elif origin in (types.UnionType, typing.Union, list, set, frozenset):
        for part in inner:
            _check(part, depth + 1)
    elif origin is tuple:
        for part in inner:
            if part is not ...:
                _check(part, depth + 1)
    elif origin is dict:
        if inner[0] not in (str, int):
            raise NoSuchKind(f"{_named(annotation)}, whose keys are neither str nor int")
        _check(inner[1], depth + 1)
    else:
        raise NoSuchKind(_named(annotation))


def _has_secret(annotation: Any) -> bool:
    return annotation is Secret or any(_has_secret(part) for part in typing.get_args(annotation))


def _named(annotation: Any) -> str:
    if annotation in (list, set, frozenset, tuple, dict):
        return f"{annotation.__name__} of nobody knows what: write {annotation.__name__}[…]"
    return annotation.__qualname__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(
        annotation)


# --- values -----------------------------------------------------------------------

def read(annotation: Any, value: object) -> tuple[Any, list[Wrong]]:
    """The value of a setting, or everything that is wrong with it."""
    wrong: list[Wrong] = []
    return _read(annotation, value, (), wrong), wrong


def _read(annotation: Any, value: object, at: Path, wrong: list[Wrong]) -> Any:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _read_annotated(annotation, value, at, wrong)
    if origin is typing.Literal:
        return _scalar(_literal, inner, value, at, wrong)
    if origin in (types.UnionType, typing.Union):
        return _read_union(inner, value, at, wrong)
    if origin in (list, set, frozenset):
        items = _items(value, at, wrong)
        return origin([_read(inner[0], item, (*at, i), wrong) for i, item in enumerate(items)]) if not wrong else None
    if origin is tuple:
        return _read_tuple(inner, value, at, wrong)
    if origin is dict:
        if not isinstance(value, dict):
            wrong.append(Wrong(at, WrongValue(shown(value), "a mapping")))
            return None
        return {_read(inner[0], key, (*at, key), wrong): _read(inner[1], item, (*at, key), wrong)
                for key, item in value.items()}
    if annotation is None or annotation is type(None):
        if value is not None:
            wrong.append(Wrong(at, WrongValue(shown(value), "nothing")))
        return None
    return _scalar(_SCALARS[annotation], None, value, at, wrong)


def _scalar(reader: Callable[..., Any], options: Any, value: object, at: Path, wrong: list[Wrong]) -> Any:
    try:
        return reader(value) if options is None else reader(value, options)
    except WrongValue as bad:
        wrong.append(Wrong(at, bad))
        return None


def _read_annotated(annotation: Any, value: object, at: Path, wrong: list[Wrong]) -> Any:
    """What stands beside the type are constraints, which pydantic knows: Field(ge=1), annotated_types.Len(3), …"""
    kind = typing.get_args(annotation)[0]
    before = len(wrong)
    found = _read(kind, value, at, wrong)
    constraints = [item for item in annotation.__metadata__ if not isinstance(item, str)]
    if len(wrong) > before or not constraints:
        return found
    from pydantic import TypeAdapter, ValidationError

    origin = typing.get_origin(kind)
    known = kind if origin in (types.UnionType, typing.Union) else origin or kind
    plain: Any = typing.Annotated[(_PLAIN.get(kind, known), *constraints)]
    try:
        kept = TypeAdapter(plain).validate_python(found)
        return Secret(kept) if kind is Secret else kept
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[0]["msg"]
        said = said.removeprefix("Input should be ").removeprefix("Value error, ")
        wrong.append(Wrong(at, WrongValue(_hidden(kind, value), said)))
        return None


def _hidden(kind: Any, value: object) -> str:
    return "a secret" if _has_secret(kind) else shown(value)


def _read_union(kinds: tuple[Any, ...], value: object, at: Path, wrong: list[Wrong]) -> Any:
    """The first kind that takes it, text last: everything in a file could be text."""
    attempts: list[list[Wrong]] = []
    for kind in sorted(kinds, key=lambda kind: kind in (str, Secret)):
        own: list[Wrong] = []
        found = _read(kind, value, at, own)
        if not own:
            return found
        attempts.append(own)
    # Of a list or mapping, the one that got inside knows best what is wrong.
    deepest = max(attempts, key=lambda own: len(own[0].at))
    if len(deepest[0].at) > len(at):
        wrong += deepest
        return None
    allowed = " or ".join(dict.fromkeys(own[0].what.allowed for own in attempts))
    hint = next((own[0].what.hint for own in attempts if own[0].what.hint), "")
    wrong.append(Wrong(at, WrongValue(shown(value), allowed, hint)))
    return None


def _read_tuple(kinds: tuple[Any, ...], value: object, at: Path, wrong: list[Wrong]) -> Any:
    items = _items(value, at, wrong)
    if len(kinds) == 2 and kinds[1] is ...:
        kinds = (kinds[0],) * len(items)
    if wrong and not isinstance(value, (list, tuple)):
        return None
    if len(items) != len(kinds):
        wrong.append(Wrong(at, WrongValue(f"a list of {len(items)}", f"a list of {len(kinds)}")))
        return None
    return tuple(_read(kind, item, (*at, i), wrong) for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _items(value: object, at: Path, wrong: list[Wrong]) -> list[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    wrong.append(Wrong(at, WrongValue(shown(value), "a list", f"write [{value}]" if isinstance(value, str) else "")))
    return []


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise WrongValue(shown(value), "text")


def _secret(value: object) -> str:
    if isinstance(value, str):
        return Secret(value)
    raise WrongValue("nothing" if value is None else "no text", "text")


def _whole(value: object) -> int:
    number = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
    if isinstance(number, int) and not isinstance(number, bool) and abs(number) <= _LARGEST:
        return number
    raise WrongValue(shown(value), "a whole number")


def _real(value: object) -> float:
    if isinstance(value, str):
        try:
            number = float(value) if "_" not in value else math.nan
        except ValueError:
            number = math.nan
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        number = math.nan
    if not math.isfinite(number):
        raise WrongValue(shown(value), "a number")
    return number


def _seconds(value: object) -> float:
    if isinstance(value, str):
        return parse_duration(value) / 1_000_000_000
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return _real(value)
    raise WrongValue(shown(value), "a number with one of ms, s, m, h")


def _bytes(value: object) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    raise WrongValue(shown(value), "a number with one of B, KiB, MiB, GiB")


def _share(value: object) -> float:
    if isinstance(value, str):
        try:
            return parse_percent(value) / 1_000_000
        except WrongValue as wrong:
            if re.fullmatch(r"0?\.[0-9]{1,9}|[01]", value):    # as Python has it
                wrong.hint = f"write {float(value) * 100:g}%"
            raise
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise WrongValue(shown(value), PERCENT_ALLOWED)


def _literal(value: object, options: tuple[Any, ...]) -> Any:
    for option in options:
        if type(value) is type(option) and value == option:
            return option
        if isinstance(value, str) and value == (str(option).lower() if isinstance(option, bool) else str(option)):
            return option
        if value is None and option is None:
            return None
    words = tuple("nothing" if option is None else str(option) for option in options)
    allowed = ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
    raise WrongValue(shown(value), allowed, closest(value, words))


_SCALARS: dict[Any, Callable[[object], Any]] = {
    str: _text, int: _whole, float: _real, bool: read_flag, Duration: _seconds, Size: _bytes, Share: _share,
    Secret: _secret}
# As pydantic knows them.
_PLAIN: dict[Any, Any] = {Duration: float, Size: int, Share: float, Secret: str}
