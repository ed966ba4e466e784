"""YAML as plain values, and beside them where each of them stands.

Works on the parser's events, for speed and so that nothing is built that was not asked for: no
tags, no types, no unbounded expansion of aliases. A scalar stays text; what it means is decided by
the model's field, so `version: 1.10` is the text "1.10" and `on` is never a boolean by accident.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Union

from fastmesh.config import yaml_events as yaml
from fastmesh.config.source import Source
from fastmesh.config.substitution import BadReference, substitute
from fastmesh.errors import ConfigError, Problem

MAX_DEPTH = 32
MAX_VALUES = 1_000_000      # aliases count as often as they are used
MAX_KEYS = 1_024            # of one mapping; the largest that means something has 128
_MAX_PROBLEMS = 1_000       # more are not recorded

# Text, or nothing (null), or lists and mappings of them.
Value = Union[str, None, "list[Value]", "dict[str, Value]"]

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TEXT_TAGS = frozenset((None, "!", "tag:yaml.org,2002:str"))
_IPV6 = re.compile(r"(?<![\w\"'])(\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]|[0-9A-Fa-f]*::[0-9A-Fa-f:.]*)(?![\"'])")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")

# libyaml's words, and what to do about it.
_SYNTAX_HINTS = (
    ("character that cannot start any token", "a tab cannot indent, and a value that begins with @, ` or % "
                                              "needs quotes"),
    ("mapping values are not allowed", "put a value that holds ': ' in quotes, and check the indentation"),
    ("did not find expected key", "check the indentation: keys of one mapping begin in one column"),
    ("did not find expected '-' indicator", "check the indentation: items of one list begin in one column"),
    ("expected ',' or ']'", "the list that begins with [ is not closed"),
    ("expected ',' or '}'", "the mapping that begins with { is not closed"),
    ("unexpected end of stream", "a quote is not closed"),
    ("did not find expected node content", "a value is missing here, or an earlier [ or { is not closed"),
    ("did not find expected <document start>", "check the indentation, and for a bracket too many"),
)


class Mark:
    """Where a value stands: character indexes into the file. `source` is its text before substitution, if any."""

    __slots__ = ("end", "source", "start")

    def __init__(self, start: int, end: int, source: str | None = None) -> None:
        self.start = start
        self.end = end
        self.source = source


class ListMark(Mark):
    __slots__ = ("items",)

    def __init__(self, start: int) -> None:
        super().__init__(start, start + 1)
        self.items: list[Mark] = []


class MapMark(Mark):
    """`keys` holds where each key stands: its first character, and the one after its last."""

    __slots__ = ("items", "keys")

    def __init__(self, start: int) -> None:
        super().__init__(start, start + 1)
        self.keys: dict[str, tuple[int, int]] = {}
        self.items: dict[str, Mark] = {}


class Tree:
    """A whole file: its values, their marks, and what was wrong with the YAML itself."""

    def __init__(self, source: Source, value: Value, mark: Mark, count: int, problems: list[Problem],
                 broken: set[int]) -> None:
        self.source = source
        self.count = count      # of values, those of aliases as often as they are used
        self.value = value
        self.mark = mark
        self.problems = problems
        self._broken = broken
        self.meant: set[tuple[int | str, ...]] = set()     # keys that another one, misspelled, stands for

    def find(self, path: tuple[int | str, ...]) -> tuple[Mark, int]:
        """The mark at `path`, or the innermost one that exists, and how many steps of `path` led there."""
        mark, taken = self.mark, 0
        for step in path:
            if isinstance(step, int):
                if not isinstance(mark, ListMark) or step >= len(mark.items):
                    break
                mark = mark.items[step]
            else:
                if not isinstance(mark, MapMark) or step not in mark.items:
                    break
                mark = mark.items[step]
            taken += 1
        return mark, taken

    def is_broken(self, mark: Mark) -> bool:
        """A problem with this value has been reported already: what follows from it is not news."""
        return mark.start in self._broken


def compose(source: Source, env: Mapping[str, str]) -> Tree:
    """Raises ConfigError when the file is not YAML; lesser faults are in the tree's `problems`."""
    return _Composer(source, env).run()


class _Composer:
    def __init__(self, source: Source, env: Mapping[str, str]) -> None:
        self.source = source
        self.env = env
        self.problems: list[Problem] = []
        self.broken: set[int] = set()
        self.anchors: dict[str, tuple[Value, Mark, int]] = {}
        self.count = 0

    def run(self) -> Tree:
        events = self._events()
        root: tuple[Value, Mark] | None = None
        for event in events:
            kind = type(event)
            if kind is yaml.DocumentStart and root is not None:
                raise self._fatal("found a second document", event.start_mark.index, event.start_mark.index + 3,
                                  allowed="one document to a file", hint="remove what follows '---'")
            if kind in _SKIPPED:
                continue
            root = self._node(event, events, 0)
        if root is None or (root[0] is None and not self.problems):
            raise ConfigError([Problem("the file is empty", file=self.source.name,
                                       allowed="a configuration with at least a listener",
                                       hint="begin with the example that fastmesh --help shows")])
        return Tree(self.source, *root, self.count, self.problems, self.broken)

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse_events(self.source.text)
        except yaml.YAMLError as error:
            raise self._syntax(error) from None

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> tuple[Value, Mark]:
        kind = type(event)
        if kind is yaml.Alias:
            return self._alias(event)
        before = self.count
        if kind is yaml.Scalar:
            self.count = before + 1
            value, mark = self._scalar(event)
        else:
            if depth >= MAX_DEPTH:
                start = event.start_mark.index
                raise self._fatal(f"values are nested more than {MAX_DEPTH} deep", start)
            self._check_tag(event)
            if kind is yaml.MappingStart:
                value, mark = self._mapping(event, events, depth + 1)
            else:
                value, mark = self._sequence(event, events, depth + 1)
            self.count += 1
        if self.count > MAX_VALUES:
            raise self._fatal(f"the file holds more than {MAX_VALUES:,} values", event.start_mark.index)
        if event.anchor is not None:
            # Known only from here on, so nothing can contain itself.
            self.anchors[event.anchor] = (value, mark, self.count - before)
        return value, mark

    def _scalar(self, event: Any) -> tuple[Value, Mark]:
        text: str = event.value
        start, end = event.start_mark.index, event.end_mark.index
        if event.tag is not None:
            self._check_tag(event)
        if "${" in text:
            try:
                replaced = substitute(text, self.env)
            except BadReference as bad:
                self._report_reference(event, bad)
                return None, Mark(start, end)
            if event.implicit[0] and replaced in _NULLS:
                return None, Mark(start, end, text)
            return replaced, Mark(start, end, text)
        if event.implicit[0] and text in _NULLS:
            return None, Mark(start, end)
        return text, Mark(start, end)

    def _sequence(self, opening: Any, events: Iterator[Any], depth: int) -> tuple[Value, Mark]:
        values: list[Value] = []
        mark = ListMark(opening.start_mark.index)
        items = mark.items
        for event in events:
            kind = type(event)
            if kind is yaml.SequenceEnd:
                break
            value, item = self._node(event, events, depth)
            values.append(value)
            items.append(item)
        return values, mark

    def _mapping(self, opening: Any, events: Iterator[Any], depth: int) -> tuple[Value, Mark]:
        values: dict[str, Value] = {}
        mark = MapMark(opening.start_mark.index)
        merges: list[tuple[Value, Mark]] = []
        for event in events:    # key and value alternate: the value's events are taken below
            if type(event) is yaml.MappingEnd:
                break
            start, end = event.start_mark.index, event.end_mark.index
            if type(event) is not yaml.Scalar:
                if type(event) is yaml.Alias:
                    what = "an alias"
                else:
                    what = "a list" if type(event) is yaml.SequenceStart else "a mapping"
                raise self._fatal(f"found {what} as a key", start, end, allowed="a name as a key",
                                  hint=_quotes(self.source.excerpt(start)[0]))
            self.count += 1
            key: str = event.value
            value, item = self._node(next(events), events, depth)
            if key == "<<" and event.implicit[0]:
                merges.append((value, item))
            elif key in mark.keys:
                line, _ = self.source.position(mark.keys[key][0])
                self._report(f"the key {_shown(key)} is there twice", start, end,
                             hint=f"the first is on line {line}; remove one of them")
            elif len(values) >= MAX_KEYS:
                raise self._fatal(f"a mapping has more than {MAX_KEYS:,} keys", start, end)
            else:
                mark.keys[key] = (start, end)
                values[key] = value
                mark.items[key] = item
        for value, item in merges:
            self._merge(values, mark, value, item)
        return values, mark

    def _merge(self, values: dict[str, Value], mark: MapMark, value: Value, item: Mark) -> None:
        """`<<: *defaults`: takes over the keys that are not there yet."""
        if isinstance(value, list) and isinstance(item, ListMark):
            for part, part_mark in zip(value, item.items, strict=True):
                self._merge(values, mark, part, part_mark)
            return
        if not isinstance(value, dict) or not isinstance(item, MapMark):
            self._report("'<<' merges something that is not a mapping", item.start, item.end,
                         allowed="an alias of a mapping, or a list of them")
            return
        if len(values) + len(value) > MAX_KEYS:
            raise self._fatal(f"a mapping has more than {MAX_KEYS:,} keys", mark.start)
        for key, part in value.items():
            if key not in mark.keys:
                mark.keys[key] = item.keys[key]
                mark.items[key] = item.items[key]
                values[key] = part
                self.count += 1

    def _alias(self, event: Any) -> tuple[Value, Mark]:
        start, end = event.start_mark.index, event.end_mark.index
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            raise self._fatal(f"the alias *{event.anchor} has no anchor", start, end,
                              hint=f"write &{event.anchor} before the value it stands for, earlier in the file; "
                                   "put a text that begins with * in quotes")
        self.count += anchored[2]
        if self.count > MAX_VALUES:
            # The sizes of what aliases stand for are added up, never walked: a bomb costs nothing to refuse.
            raise self._fatal(f"aliases expand to more than {MAX_VALUES:,} values", start, end)
        return anchored[0], anchored[1]

    def _check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag is None or (tag in _TEXT_TAGS and type(event) is yaml.Scalar):
            return
        start = event.start_mark.index
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        self._report(f"found the tag {_shown(shown)}", start, start + len(shown), allowed="plain values without tags",
                     hint="remove the tag: the type of a value follows from its key")

    def _report_reference(self, event: Any, bad: BadReference) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        self.broken.add(start)
        # The value may have been unescaped or folded, so look for the reference in the file itself.
        reference = event.value[bad.offset:bad.offset + bad.length]
        at = start
        for _ in range(event.value.count(reference, 0, bad.offset) + 1):
            at = self.source.text.find(reference, at if at == start else at + 1, end)
            if at < 0:
                at, end = start, min(end, start + 1)
                break
        else:
            end = at + len(reference)
        self._report(bad.reason, at, end, allowed=bad.allowed, hint=bad.hint)

    def _report(self, reason: str, start: int, end: int, **more: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(self.source.problem(reason, start, end, **more))

    def _fatal(self, reason: str, start: int, end: int = 0, **more: str) -> ConfigError:
        return ConfigError([*self.problems, self.source.problem(reason, start, end, **more)])

    def _syntax(self, error: Exception) -> ConfigError:
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            # The reader's offsets are bytes in one parser and characters in the other: look again.
            bad = _UNPRINTABLE.search(self.source.text)
            at = bad.start() if bad else 0
            if bad is None:
                return self._fatal(f"not valid YAML: {error}", 0)
            return self._fatal(f"found the character U+{ord(bad[0]):04X}", at, at + 1, allowed="printable text",
                               hint="write it as an escape in double quotes, or remove it")
        problem = str(getattr(error, "problem", "") or "this is not YAML")
        context = str(getattr(error, "context", "") or "")
        hint = next((hint for words, hint in _SYNTAX_HINTS if words in problem), "")
        at = min(mark.index, max(0, len(self.source.text) - 1))
        line, _ = self.source.excerpt(at)
        if self.source.text[at:at + 1] == "\t":
            problem, hint = "found a tab where YAML wants spaces", "indent with spaces"
        else:
            hint = _quotes(line) or hint
        context_mark = getattr(error, "context_mark", None)
        if context and context_mark is not None and context_mark.index != mark.index:
            context += f" that begins on line {self.source.position(context_mark.index)[0]}"
        reason = f"not valid YAML: {problem}" + (f" {context}" if context else "")
        return self._fatal(reason, at, at + 1, hint=hint)


_SKIPPED = frozenset((yaml.StreamStart, yaml.DocumentStart, yaml.DocumentEnd))


def _quotes(line: str) -> str:
    """What in a line that YAML cannot read most probably wants quotes."""
    if "${" in line and ("[" in line or "{" in line.replace("${", "")):
        return "inside [ ] and { } write \"${NAME}\" in quotes"
    return 'put IPv6 addresses in quotes, as "[::1]:8080"' if _IPV6.search(line) else ""


def _shown(text: str) -> str:
    """A text from the file, in quotes and of bounded length."""
    return repr(text if len(text) <= 60 else text[:57] + "…")
