"""docs/filters/builtin.md says of each built-in filter what there is to say."""

import re
from importlib import import_module
from inspect import get_annotations
from pathlib import Path
from typing import Any

import pytest

from fastmesh import Fallback, Filter, LoadBalancer
from fastmesh.filters.builtin import FALLBACKS, LOAD_BALANCERS, NAMES
from fastmesh.units import parse_duration, parse_percent, parse_size

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "filters" / "builtin.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
REQUIRED = object()
ALL = {**NAMES, **LOAD_BALANCERS, **FALLBACKS}
BASES = (Filter, LoadBalancer, Fallback)


def class_of(name: str) -> type[Filter] | type[LoadBalancer] | type[Fallback]:
    module, _, found = ALL[name].partition(":")
    made = getattr(import_module(module), found)
    assert issubclass(made, Filter if name in NAMES else LoadBalancer if name in LOAD_BALANCERS else Fallback)
    return made


def fields_of(filter_class: type[Filter] | type[LoadBalancer] | type[Fallback]) -> dict[str, tuple[Any, Any]]:
    """Type and default of each field, as an operator may set it."""
    found: dict[str, tuple[Any, Any]] = {}
    own = [base for base in filter_class.__mro__
           if issubclass(base, BASES) and base not in BASES]
    for base in own:
        for field, kind in get_annotations(base, eval_str=True).items():
            found.setdefault(field, (kind, getattr(filter_class, field, REQUIRED)))
    return found


def told(kind: Any, default: Any, text: str) -> bool:
    """Whether `text` in the table stands for that default."""
    if default is REQUIRED:
        return text == "required"
    text = text.strip("`")
    if default in ("", (), {}, None):
        return text == "none"
    if isinstance(default, bool):
        return text == str(default).lower()
    if isinstance(default, tuple):
        return text == ", ".join(default)
    if kind.__name__ == "Duration":
        return parse_duration(text) == default * 10**9
    if kind.__name__ == "Size":
        return parse_size(text) == default
    if kind.__name__ == "Share":
        return parse_percent(text) == default * 10**6
    return text == str(default) or (isinstance(default, float) and float(text) == default)


def test_each_has_a_section_and_a_line():
    assert set(SECTIONS) == set(ALL)
    assert re.findall(r"^\| \[([a-z-]+)\]\(#\1\)", PAGE, re.M) == [*sorted(NAMES), *LOAD_BALANCERS, *FALLBACKS]


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_table_has_each_field_and_its_default(name):
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| ", SECTIONS[name], re.M)
    fields = fields_of(class_of(name))
    assert {field for field, _ in rows} == set(fields)
    wrong = [(field, text, fields[field][1]) for field, text in rows if not told(*fields[field], text)]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_whether_it_fails_closed(name):
    made = class_of(name)
    assert issubclass(made, Filter)
    assert SECTIONS[name].lstrip().startswith("**closed.**") is made.security


def test_a_wrong_default_would_be_noticed():
    fields = fields_of(class_of("compress"))
    assert told(*fields["min_size"], "`1KiB`") and not told(*fields["min_size"], "`2KiB`")
    assert not told(*fields["level"], "required") and not told(*fields["types"], "none")
