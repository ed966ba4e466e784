"""Durations, sizes, percentages and rates as people write them: `250ms`, `1.5s`, `64KiB`, `50%`, `100/s`.

One parser for the configuration, the command line and the documents. Inside the program a
duration is a whole number of nanoseconds, a size is bytes, a percentage is millionths, a rate a count and its unit.

A number without a unit is refused, for a reader cannot tell seconds from milliseconds; only 0
needs none.
"""

import re
from typing import NamedTuple

from fastmesh.errors import WrongValue

DURATION_UNITS = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
PERCENT = 10_000                    # millionths in one percent
RATE_UNITS = {"s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000}
MAX_DURATION = 8_760 * DURATION_UNITS["h"]      # a year: far below what u64 nanoseconds hold
MAX_SIZE = 1 << 40

DURATION_ALLOWED = "a number with one of ms, s, m, h"
SIZE_ALLOWED = "a number with one of B, KiB, MiB, GiB"
MAX_RATE = 1_000_000                # a second: one in a microsecond
RATE_ALLOWED = "a whole number, a slash, and one of s, m, h, d, as 100/s"
PERCENT_ALLOWED = "a number from 0 to 100 with %"

# Nine digits before the point and nine after it hold every value in range, and bound the work. [0-9], for \d is
# any digit of Unicode.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
DURATION_PATTERN = rf"^(0|{_NUMBER}(ms|s|m|h))$"
SIZE_PATTERN = rf"^(0|{_NUMBER}(B|KiB|MiB|GiB))$"
PERCENT_PATTERN = rf"^({_NUMBER})%$"
RATE_PATTERN = r"^[0-9]{1,12}/(s|m|h|d)$"
_SPLIT = re.compile(rf"({_NUMBER})([A-Za-z%]*)")
_RATE = re.compile(r"([0-9]{1,12})/([smhd])")
_LOOSE_RATE = re.compile(r"\s*([0-9]{1,12})(?:\.[0-9]+)?\s*(?:r|req|reqs|requests)?\s*(?:/|p|per)\s*([A-Za-z]+)\s*")
_LOOSE = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµ%]*)\s*")

# What people write elsewhere, and what they mean by it.
_DURATION_SLIPS = {"sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "millis": "ms",
                   "milliseconds": "ms", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
                   "hr": "h", "hour": "h", "hours": "h"}
_SIZE_SLIPS = {"b": "B", "bytes": "B", "k": "KiB", "kb": "KiB", "ki": "KiB", "kib": "KiB", "m": "MiB",
               "mb": "MiB", "mi": "MiB", "mib": "MiB", "g": "GiB", "gb": "GiB", "gi": "GiB", "gib": "GiB"}
_RATE_SLIPS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h", "day": "d"}


class Rate(NamedTuple):
    """So many in a unit of time."""

    number: int
    unit: str

    @property
    def nanoseconds(self) -> int:
        """Of one: the time after which there is another."""
        return RATE_UNITS[self.unit] // self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.unit}"


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises WrongValue; also for a value that is not a whole number of nanoseconds."""
    return _parse(text, DURATION_UNITS, DURATION_ALLOWED, MAX_DURATION, "8760h", _DURATION_SLIPS, "s")


def parse_size(text: str) -> int:
    """Bytes. Raises WrongValue; also for a value that is not a whole number of bytes."""
    return _parse(text, SIZE_UNITS, SIZE_ALLOWED, MAX_SIZE, "1024GiB", _SIZE_SLIPS, "B")


def parse_percent(text: str) -> int:
    """Millionths: `50%` is 500,000. Raises WrongValue."""
    found = _SPLIT.fullmatch(text)
    if found and found[2] == "%":
        value = _scaled(found[1], PERCENT)
        if value is not None and value <= 100 * PERCENT:
            return value
        if value is None:
            raise WrongValue(repr(text), "at most 4 digits after the point")
    loose = _LOOSE.fullmatch(text)
    hint = ""
    # Not what would be refused in its turn.
    if loose and loose[2] in ("", "%") and float(loose[1]) <= 100 and _scaled(loose[1], PERCENT) is not None:
        hint = f"write {loose[1]}%"
    raise WrongValue(repr(text), PERCENT_ALLOWED, hint)


def parse_rate(text: str) -> Rate:
    """At least one, at most MAX_RATE a second. Raises WrongValue."""
    found = _RATE.fullmatch(text)
    if found is None:
        loose = _LOOSE_RATE.fullmatch(text)
        unit = loose[2].lower() if loose else ""
        unit = _RATE_SLIPS.get(unit.removesuffix("s") if len(unit) > 1 else unit, unit)
        meant = loose is not None and "." not in text and unit in RATE_UNITS
        hint = f"write {loose[1]}/{unit}" if loose and meant else ""
        if re.fullmatch(r"[0-9]{1,12}", text):
            hint = f"write {text}/s for so many a second"
        elif "." in text and loose and unit in ("s", "m", "h"):
            hint = "count by a longer unit: 30/m for one every two seconds"
        raise WrongValue(repr(text), RATE_ALLOWED, hint)
    rate = Rate(int(found[1]), found[2])
    if rate.number == 0:
        raise WrongValue(repr(text), "1 or more", "to refuse every request, give the route response: {status: 429}")
    if rate.number * RATE_UNITS["s"] > MAX_RATE * RATE_UNITS[rate.unit]:
        raise WrongValue(repr(text), f"at most {MAX_RATE:,} a second")
    return rate


def format_duration(ns: int) -> str:
    """The shortest form that parses back to the same value."""
    return _format(ns, DURATION_UNITS)


def format_size(count: int) -> str:
    """The shortest form that parses back to the same value."""
    return _format(count, SIZE_UNITS)


def format_percent(millionths: int) -> str:
    """The shortest form that parses back to the same value."""
    return f"{_decimal(millionths, PERCENT)}%"


def _parse(text: str, units: dict[str, int], allowed: str, maximum: int, maximum_text: str,
           slips: dict[str, str], plain: str) -> int:
    if text == "0":
        return 0
    found = _SPLIT.fullmatch(text)
    if found and found[2] in units:
        value = _scaled(found[1], units[found[2]])
        if value is None:
            raise WrongValue(repr(text), f"a whole number of {'nanoseconds' if plain == 's' else 'bytes'}")
        if value > maximum:
            raise WrongValue(repr(text), f"at most {maximum_text}")
        return value
    raise WrongValue(repr(text), allowed, _suggest(text, units, maximum, slips, plain))


def _suggest(text: str, units: dict[str, int], maximum: int, slips: dict[str, str], plain: str) -> str:
    """The order to write what was probably meant, if that can be used."""
    loose = _LOOSE.fullmatch(text)
    if not loose:
        return ""
    number, unit = loose[1], loose[2] or plain
    meant = unit if unit in units else slips.get(unit.lower(), unit.lower())
    value = _scaled(number, units[meant]) if meant in units else None
    return "" if value is None or value > maximum else f"write {number}{meant}"


def _scaled(number: str, unit: int) -> int | None:
    """`number` times `unit`, exactly; None when that is not a whole number."""
    whole, _, rest = number.partition(".")
    if not rest:
        return int(whole) * unit
    part, left = divmod(int(rest) * unit, 10 ** len(rest))
    return None if left else int(whole) * unit + part


def _format(value: int, units: dict[str, int]) -> str:
    if value == 0:
        return "0"
    for name, unit in reversed(units.items()):
        if value % unit == 0:
            return f"{value // unit}{name}"
    # Not whole in the smallest unit: only durations get here, below a millisecond.
    name, unit = next(iter(units.items()))
    return f"{_decimal(value, unit)}{name}"


def _decimal(value: int, unit: int) -> str:
    whole, left = divmod(value, unit)
    if not left:
        return str(whole)
    digits = len(str(unit)) - 1     # units with a remainder are powers of ten
    return f"{whole}.{left:0{digits}d}".rstrip("0")
