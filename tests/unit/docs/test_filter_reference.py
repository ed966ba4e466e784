"""docs/filters/reference.md: it has everything that can be imported, and nothing that would leave a reader alone."""

import ast
import builtins
import re
from pathlib import Path

import pytest

import fastmesh
import fastmesh.testing

PAGE = (Path(__file__).parents[3] / "docs/filters/reference.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SECTIONS = {section.partition("\n")[0]: re.split(r"^## ", section, flags=re.MULTILINE)[0].partition("\n")[2]
            for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
# What two modules call alike has a word behind it.
TWICE = {"endpoint": "endpoint (of tests)"}
# Of `typing`, `collections.abc` and `enum`, and variables of types, which mean nothing but "the same".
LANGUAGE = {"Any", "AsyncIterator", "Awaitable", "Callable", "Generator", "Generic", "Iterable", "Iterator", "Mapping",
            "MutableMapping", "NamedTuple", "NoReturn", "Sequence", "TypedDict", "Unpack", "_D", "_T"}


def test_nothing_private_is_shown():
    assert not re.findall(r"^(?:async )?def (_(?!_)\w*)", PAGE, re.MULTILINE)


def test_signatures_are_as_one_calls_them():
    assert not [block for block in BLOCKS if re.match(r"(async )?def \w+\(\s*self\b", block)]


def is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def test_blocks_hold_python():
    """Signatures have no body, those of constructors no `def`, and what is written with brackets has a result."""
    assert len(BLOCKS) > 100
    for block in BLOCKS:
        whole = block.rstrip()
        for part in [whole] if is_python(whole) else re.split(r"\n(?=def )", whole.removeprefix("shared.")):
            plain = re.sub(r" -> .*$", "", part)
            assert part and any(is_python(each) for each in (
                part, f"{part}: ...", f"def {part}: ...", plain, f"{plain}: ...")), block


@pytest.mark.parametrize("module", [fastmesh, fastmesh.testing])
def test_what_can_be_imported_is_explained(module):
    names = set(module.__all__) - {"__version__"}
    assert names and {name for name in names if not text_of(SECTIONS.get(TWICE.get(name, name), ""))} == set()
    assert "`fastmesh.__version__`" in PAGE


def test_what_shared_offers_is_explained():
    from fastmesh import shared

    inner = {"Segment", "attach", "detach", "segment"}      # of the worker's own
    assert {name for name in set(shared.__all__) - inner if not text_of(SECTIONS.get(f"shared.{name}", ""))} == set()


def text_of(section: str) -> str:
    """The sentences of a section: no code, no anchors, no lists."""
    plain = re.sub(r"^```[\s\S]*?^```$|^<a .*$|^`class .*`$|^- .*\n.*$", "", section, flags=re.MULTILINE)
    return plain.strip()


def test_each_section_says_something():
    assert len(SECTIONS) > 60
    assert [name for name, section in SECTIONS.items() if not text_of(section)] == []


def test_each_attribute_and_each_method_has_a_text():
    lines = PAGE.split("\n")
    bare = []
    for i, line in enumerate(lines):
        if re.match(r"- `\w+: ", line) and not lines[i + 1].strip():
            bare.append(line)
        if re.match(r"(async )?def \w+\(", line) and not line.endswith(":"):
            end = lines.index("```", i)
            if re.match(r"$|#|<a|```|- ", lines[end + 2]):
                bare.append(line)
    assert bare == []


def test_lines_can_be_read():
    assert [line for line in PAGE.split("\n") if len(line) > 120] == []


def test_the_list_above_leads_everywhere():
    anchors = re.findall(r'^<a id="(.*)"></a>$', PAGE, re.MULTILINE)
    assert len(anchors) == len(set(anchors)) == len(SECTIONS)
    assert re.findall(r"\]\(#(.*?)\)", PAGE.partition("\n## ")[0]) == anchors


def named_types():
    """Names in signatures and beside attributes that begin as names of classes do."""
    found = set()
    for section in SECTIONS.values():
        attributes = re.findall(r"^- `\w+: (.*?)(?: = .*)?`", section, re.MULTILINE)
        blocks = [block for block in re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
                  if re.match(r"(async )?def \w+\(.*\) -> [^\n]*\n\Z", block, re.DOTALL)]
        for text in [*attributes, *blocks]:
            found |= set(re.findall(r"(?<![\w\"'.])_?[A-Z]\w*", text))
    return found


def test_every_type_that_is_named_is_explained():
    known = {name.partition(" ")[0].removeprefix("shared.") for name in SECTIONS}
    assert {name for name in named_types() - known - LANGUAGE if not hasattr(builtins, name)} == set()
