"""The page of flags and details has what the source says, and nothing besides."""

import re
from collections.abc import Iterator
from pathlib import Path

from fastmesh._core.mem.counter import FLAGS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "response-flags.md").read_text()
SOURCES = [path for path in sorted((ROOT / "src" / "fastmesh").rglob("*.py*")) if path.suffix in (".py", ".pyx")]
# Beside the flags of an answer, set by itself, handed to what answers when time is over, and chosen by a function.
SAID = (r'(?:\bFLAG_\w+|\bflags|\b0),\s*b"([^" ]+)"', r'\bdetails = b"([^"]+)"', r'\b_late\(\w+, b"([^"]+)"',
        r'\btimeout_by = b"([^"]+)"', r'\btimeout_by = b"[^"]+" if [\w.]+ else b"([^"]+)"', r'\bCALL_LATE = b"([^"]+)"',
        r'\bLOG_RESPONSE_CODE_DETAILS:\n(?: .*\n)*? *v = span_of\(b"([^"]+)"')
CHOSEN = r'^cdef const char \*\w*details\(.*?(?=^\S|\Z)'
FAMILY = r'f"(\w+)\{\{\{[\w.]+\}\}\}"'
# Likewise with a word before the name; and made of parts of a snapshot.
KIND = r'f"(\w+)\{\{(\w+):\{[\w.]+\}\}\}"'
PRINTED = r'b"(\w+)\{%\.\*s[^"]*\}"'


def said(text: str) -> Iterator[str]:
    for pattern in SAID:
        yield from re.findall(pattern, text)
    for body in re.findall(CHOSEN, text, re.M | re.S):
        yield from re.findall(r'return b"([^"]+)"', body)
    for name in re.findall(FAMILY, text):
        yield f"{name}{{NAME}}"
    for name, kind in re.findall(KIND, text):
        yield f"{name}{{{kind}:NAME}}"
    for name in re.findall(PRINTED, text):
        yield f"{name}{{NAME}}"


def test_details_are_those_of_the_source() -> None:
    found = {details for path in SOURCES for details in said(path.read_text())}
    shown = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("\n## Details\n")[2], re.M)
    assert len(shown) == len(set(shown))
    assert found - {*shown} == set() and {*shown} - found == set()
    assert len(found) > 40


def test_no_word_that_looks_like_details_is_overlooked() -> None:
    """Whatever has braces in it is one, wherever it stands."""
    braced = {word for path in SOURCES if path.suffix == ".pyx"
              for word in re.findall(r'b"([a-z_]+\{[a-z_]+\})"', path.read_text())}
    assert braced and all(f"\n| `{word}` |" in PAGE for word in braced)


def test_flags_are_those_that_there_are() -> None:
    table, _, details = PAGE.partition("\n## Details\n")
    rows = set(re.findall(r"^\| `([A-Z]+)` \|", table, re.M))
    assert rows <= {*FLAGS}
    beside = {flag for cell in re.findall(r"^\| `[^`]+` \| ([^|]+) \|", details, re.M)
              for flag in re.findall(r"`([A-Z]+)`", cell)}
    assert beside <= rows


def test_each_flag_that_is_set_has_its_row() -> None:
    table = PAGE.partition("\n## Details\n")[0]
    set_here = {flag for path in SOURCES if path.parent.name in ("proxy", "_core", "filter") and path.suffix == ".pyx"
                for line in path.read_text().splitlines() if "import" not in line
                for flag in re.findall(r"\bFLAG_([A-Z]+)\b", line)}
    assert set_here and all(f"\n| `{flag}` |" in table for flag in set_here), set_here
