"""The types that fields of the models have: how text becomes a value, and back.

The loader hands over every scalar as text, so each type here parses text. They take the parsed
value too, so models can be made from Python.
"""

import contextlib
import difflib
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import CoreSchema, core_schema

from fastmesh.config import address, network, path
from fastmesh.errors import WrongValue
from fastmesh.units import (
    DURATION_ALLOWED,
    DURATION_PATTERN,
    PERCENT_ALLOWED,
    PERCENT_PATTERN,
    SIZE_ALLOWED,
    SIZE_PATTERN,
    format_duration,
    format_percent,
    format_size,
    parse_duration,
    parse_percent,
    parse_size,
)

U32_MAX = (1 << 32) - 1
MAX_TAKEN = 8               # policies that one listener, route or cluster takes over
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")      # RFC 9110 section 5.6.2
NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:/|@-]{0,126}$"
_NAME = re.compile(NAME_PATTERN)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_VISIBLE = re.compile(r"[\x20-\x7e\x80-\U0010ffff]*")


class Section(BaseModel):
    """A mapping of the configuration. Unknown keys are errors; nothing changes once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Parsed:
    """Says how a field is read (`parse`), printed (`show`), and described to editors (`json`) and readers (`kind`)."""

    __slots__ = ("json", "kind", "parse", "show")

    def __init__(self, parse: Callable[[object], Any], kind: str, json: dict[str, Any],
                 show: Callable[[Any], str] | None = None) -> None:
        self.parse = parse
        self.kind = kind
        self.json = json
        self.show = show

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        printed = core_schema.plain_serializer_function_ser_schema(self.show) if self.show else None
        return core_schema.no_info_plain_validator_function(self.parse, serialization=printed)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return dict(self.json)


def shown(value: object) -> str:
    """A value as found, for a message: bounded, in quotes where it is text, named where it is not."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "…")
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(value)


def _text(value: object, allowed: str) -> str:
    if isinstance(value, str):
        return value
    raise WrongValue(shown(value), allowed)


# --- numbers ----------------------------------------------------------------

class Count(Parsed):
    """A whole number within bounds."""

    __slots__ = ("allowed", "high", "low")

    def __init__(self, low: int, high: int) -> None:
        super().__init__(self.read, f"number, {low:,} to {high:,}",
                         {"type": "integer", "minimum": low, "maximum": high})
        self.low = low
        self.high = high
        self.allowed = f"a whole number from {low} to {high}"

    def read(self, value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            raise WrongValue(shown(value), self.allowed)
        if not self.low <= number <= self.high:
            raise WrongValue(shown(value), self.allowed)
        return number


def _integer(value: object) -> int:
    allowed = "a whole number of at most 18 digits"
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10 ** 18:
        return value
    raise WrongValue(shown(value), allowed)


Integer = Annotated[int, Parsed(_integer, "whole number", {"type": "integer"})]


def read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE"):
        return True
    if value in ("false", "False", "FALSE"):
        return False
    meant = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
    word = meant.get(value.lower()) if isinstance(value, str) else None
    raise WrongValue(shown(value), "true or false", f"write {word}" if word else "")


Flag = Annotated[bool, Parsed(read_flag, "`true` \\| `false`", {"type": "boolean"})]


class _Measure(Parsed):
    """A number with a unit, within bounds."""

    __slots__ = ("allowed", "bounds", "high", "low", "of_text")

    def __init__(self, kind: str, of_text: Callable[[str], int], show: Callable[[int], str], allowed: str,
                 low: str, high: str, json: dict[str, Any]) -> None:
        super().__init__(self.read, f"{kind}, {low} to {high}", json, show)
        self.of_text = of_text
        self.allowed = allowed
        self.low = of_text(low)
        self.high = of_text(high)
        self.bounds = f"from {low} to {high}" if self.low else f"at most {high}"

    def read(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            number = self.of_text(_text(value, self.allowed))
        if not self.low <= number <= self.high:
            raise WrongValue(shown(value), self.bounds)
        return number


def _written(pattern: str, low: str) -> dict[str, Any]:
    """How editors see a measure: text with a unit, and 0 without one where 0 is allowed."""
    if low != "0":
        return {"type": "string", "pattern": pattern.replace("0|", "", 1)}
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]}


class Duration(_Measure):
    """Nanoseconds, written `250ms`."""

    def __init__(self, low: str = "0", high: str = "8760h") -> None:
        super().__init__("duration", parse_duration, format_duration, DURATION_ALLOWED, low, high,
                         {**_written(DURATION_PATTERN, low), "examples": ["250ms", "1.5s", "2m"]})


class Size(_Measure):
    """Bytes, written `64KiB`."""

    def __init__(self, low: str, high: str) -> None:
        super().__init__("size", parse_size, format_size, SIZE_ALLOWED, low, high,
                         {**_written(SIZE_PATTERN, low), "examples": ["64KiB", "1MiB"]})


SHARE_ALL = 1_000_000       # millionths


def _share(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= SHARE_ALL:
        return value
    if isinstance(value, str):
        return parse_percent(value)
    raise WrongValue(shown(value), PERCENT_ALLOWED)


Share = Annotated[int, Parsed(_share, "percentage", {"type": "string", "pattern": PERCENT_PATTERN,
                                                     "examples": ["10%"]}, format_percent)]


# --- text -------------------------------------------------------------------

def _name(value: object) -> str:
    allowed = "a name of 1 to 127 letters, digits and . _ - : / | @ that begins with a letter, a digit or _"
    text = _text(value, allowed)
    if not _NAME.fullmatch(text):
        raise WrongValue(shown(text), allowed)
    return text


# Editors read `1.10` as a number; here it is text all the same.
Name = Annotated[str, Parsed(_name, "name", {"type": ["string", "integer"], "pattern": NAME_PATTERN})]


def visible(value: object) -> str:
    """A text that can stand in a line. Raises WrongValue."""
    allowed = "text without control characters, at most 1,024 characters"
    text = _text(value, allowed)
    if len(text) > 1024 or not _VISIBLE.fullmatch(text):
        raise WrongValue(shown(text), allowed)
    return text


def _word(value: object) -> str:
    allowed = "one word of visible ASCII characters, or nothing"
    text = _text(value, allowed)
    if (text and not TOKEN.fullmatch(text)) or len(text) > 255:
        raise WrongValue(shown(text), allowed)
    return text


Word = Annotated[str, Parsed(_word, "word", {"type": "string", "maxLength": 255})]
Label = Annotated[str, Parsed(visible, "text", {"type": ["string", "number"], "maxLength": 1024})]


class Text(Parsed):
    """Any text of bounded length in UTF-8."""

    __slots__ = ("allowed", "limit")

    def __init__(self, limit: int) -> None:
        super().__init__(self.read, "text", {"type": "string", "maxLength": limit})
        self.limit = limit
        self.allowed = f"text of at most {limit:,} bytes"

    def read(self, value: object) -> str:
        text = _text(value, self.allowed)
        length = len(text.encode("utf-8", "surrogatepass"))
        if length > self.limit:
            raise WrongValue(f"{length:,} bytes", self.allowed)
        return text


class Choice(Parsed):
    """One of a few words."""

    __slots__ = ("allowed", "options")

    def __init__(self, *options: str) -> None:
        super().__init__(self.read, " \\| ".join(f"`{option}`" for option in options),
                         {"type": "string", "enum": list(options)})
        self.options = options
        self.allowed = ", ".join(options[:-1]) + f" or {options[-1]}"

    def read(self, value: object) -> str:
        if isinstance(value, str) and value in self.options:
            return value
        raise WrongValue(shown(value), self.allowed, closest(value, self.options))


def closest(value: object, options: tuple[str, ...]) -> str:
    """The hint that names the option somebody probably meant, or nothing."""
    if not isinstance(value, str):
        return ""
    folded = {option.replace("_", "").lower(): option for option in options}
    plain = re.sub(r"[\s_-]", "", value[:100]).lower()
    match = difflib.get_close_matches(plain, folded, 1, 0.6)
    return f"write {folded[match[0]]}" if match else ""


# --- HTTP -------------------------------------------------------------------

def _method(value: object) -> str:
    allowed = "a method, as GET or PURGE"
    text = _text(value, allowed)
    if not TOKEN.fullmatch(text) or len(text) > 64:
        raise WrongValue(shown(text), allowed)
    return text


Method = Annotated[str, Parsed(_method, "method", {
    "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$", "examples": ["GET", "POST"]})]


def read_header_name(value: object) -> str:
    allowed = "a header name: letters, digits and - (a token of RFC 9110)"
    text = _text(value, allowed)
    if text.startswith(":"):
        hint = {":authority": "use hosts", ":host": "use hosts", ":path": "use prefix or path",
                ":method": "use methods"}.get(text.lower(), "")
        raise WrongValue(shown(text), allowed, hint)
    if not TOKEN.fullmatch(text) or len(text) > 256:
        raise WrongValue(shown(text), allowed)
    return text.lower()


HeaderName = Annotated[str, Parsed(read_header_name, "header name", {"type": "string"})]


def _header_value(value: object) -> str:
    allowed = "text without control characters and without spaces at its ends"
    text = _text(value, allowed)
    if not _VISIBLE.fullmatch(text) or text != text.strip() or len(text) > 8192:
        raise WrongValue(shown(text), allowed)
    return text


HeaderValue = Annotated[str, Parsed(_header_value, "text", {"type": ["string", "number", "boolean"]})]

_HOST = re.compile(r"\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]"
                   r"|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.\*")


def read_host(value: object) -> str:
    allowed = "a host name without port, as shop.example.com, *.example.com or shop.*"
    text = _text(value, allowed)
    # A trailing dot means the same host (RFC 3986 section 3.2.2), and requests are compared without it.
    plain = text.removesuffix(".")
    if _HOST.fullmatch(plain) and len(plain) <= 255 and ".." not in plain:
        return plain.lower()
    hint = ""
    if "://" in text:
        hint = "leave out the scheme"
    elif "*" in text:
        hint = "a * stands only at one end, for one or more whole labels: *.example.com or shop.*"
    elif not text.isascii():
        with contextlib.suppress(UnicodeError):
            hint = f"write its ASCII form, {text.encode('idna').decode()}"
    elif (found := re.fullmatch(r"(.+):[0-9]+", text)) and _HOST.fullmatch(found[1]):
        hint = f"write {found[1]}: every port of it matches"
    raise WrongValue(shown(text), allowed, hint)


Host = Annotated[str, Parsed(read_host, "host", {
    "type": "string", "examples": ["shop.example.com", "*.example.com"],
    "pattern": r"^(\*|(\*\.)?[A-Za-z0-9_][A-Za-z0-9_.-]*|[A-Za-z0-9_][A-Za-z0-9_.-]*\.\*|\[[0-9A-Fa-f:.]+\])$"})]


def _path(value: object) -> str:
    return path.normalize_path(_text(value, path.ALLOWED))


Prefix = Annotated[str, Parsed(_path, "path", {"type": "string", "pattern": path.PATTERN, "examples": ["/api"]})]


def _whole_path(value: object) -> str:
    # `OPTIONS *` asks about the server as a whole (RFC 9110 section 9.3.7).
    return "*" if value == "*" else _path(value)


Path = Annotated[str, Parsed(_whole_path, "path", {
    "type": "string", "pattern": rf"^\*$|{path.PATTERN}", "examples": ["/healthz"]})]


_QUERY_NAME = re.compile(r"[\x21-\x7e\x80-\U0010ffff](?:[\x20-\x7e\x80-\U0010ffff]{0,254}[\x21-\x7e\x80-\U0010ffff])?")


def _parameter(value: object) -> str:
    allowed = "the name of a parameter, 1 to 256 characters without control characters, as it is when it is decoded"
    text = _text(value, allowed)
    if not _QUERY_NAME.fullmatch(text):
        raise WrongValue(shown(text), allowed)
    return text


Parameter = Annotated[str, Parsed(_parameter, "name of a parameter", {"type": "string"})]


def _cookie(value: object) -> str:
    allowed = "the name of a cookie (a token of RFC 6265)"
    text = _text(value, allowed)
    if not TOKEN.fullmatch(text) or len(text) > 256:
        raise WrongValue(shown(text), allowed)
    return text


CookieName = Annotated[str, Parsed(_cookie, "name of a cookie", {"type": "string"})]


# --- addresses --------------------------------------------------------------

def _address(value: object) -> address.Address:
    if isinstance(value, address.Address):
        return value
    return address.parse_address(_text(value, address.ALLOWED))


Address = Annotated[address.Address, Parsed(_address, "address", {
    "type": "string", "pattern": address.PATTERN,
    "examples": ["127.0.0.1:8080", "[::1]:8080", "unix:/run/app.sock"]}, str)]


def _network(value: object) -> network.Network:
    if isinstance(value, network.Network):
        return value
    return network.parse_network(_text(value, network.ALLOWED))


Network = Annotated[network.Network, Parsed(_network, "network", {
    "type": "string", "pattern": network.PATTERN, "examples": ["10.0.0.0/8", "::1", "unix"]}, str)]


# --- sections ---------------------------------------------------------------

def _or_default(value: object) -> object:
    # `limits:` with everything below it commented out means the defaults.
    return {} if value is None else value


OR_DEFAULT = BeforeValidator(_or_default)


def _items(value: object) -> object:
    """Before a list of texts: a single value is a common slip."""
    if isinstance(value, str):
        raise WrongValue(shown(value), "a list", f"write [{value}]")
    return value


LIST = BeforeValidator(_items)
