"""What pydantic found wrong, in the words of the file's author."""

import difflib
from typing import Any

from pydantic import ValidationError

from fastmesh.config.describe import homes, is_mapping, path_of, sections_of
from fastmesh.config.fields import Section, shown
from fastmesh.config.model import Config
from fastmesh.config.yaml_tree import MapMark, Tree, Value
from fastmesh.errors import Problem, WrongValue

Path = tuple[int | str, ...]


def path_text(path: Path) -> str:
    """`listeners[0].timeouts.header`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def anchor(path: Path) -> str:
    """The key as `fastmesh reference` takes it: `listeners.timeouts.header`; empty for an unknown one."""
    known: list[str] = []
    here: Any = Config
    for step in path:
        here = _inner(here, step)
        if here is None:
            break
        if isinstance(step, str):
            known.append(step)
            if isinstance(here, type):      # it may be described elsewhere
                known = path_of(here).replace("[]", "").replace("{}", "").split(".")
    return ".".join(known)


def section_at(path: Path, root: type[Section] = Config) -> type[Section] | None:
    """The model of the mapping at `path`, below that of the whole file."""
    here: Any = root
    for step in path:
        here = _inner(here, step)
    if isinstance(here, tuple):
        here = next(section for section, is_list in here if not is_list)
    return here if isinstance(here, type) and issubclass(here, Section) else None


def problems_of(error: ValidationError, tree: Tree, at: Path = ()) -> list[Problem]:
    """Each error once, at its place below `at`. Those that only follow from a reported one are left out."""
    found: list[Problem] = []
    # Unknown keys first: one that is misspelled explains why another is missing.
    items = sorted(error.errors(include_url=False, include_input=False),
                   key=lambda item: item["type"] != "extra_forbidden")
    for item in items:
        problem = _problem(item, (*at, *item["loc"]), tree)
        if problem is not None:
            found.append(problem)
    return found


def wrong_at(tree: Tree, path: Path, wrong: WrongValue) -> Problem:
    """A value that cannot be used, at its place."""
    mark, _ = tree.find(path)
    found = wrong.found
    if mark.source is not None:
        found += f" (from {mark.source if len(mark.source) <= 60 else mark.source[:57] + '…'})"
    return tree.source.problem(f"found {found}", mark.start, mark.end, path=path_text(path), found=wrong.found,
                               allowed=wrong.allowed, hint=wrong.hint, anchor=anchor(path))


def raw_at(value: Value, path: Path) -> Value:
    """What the file says at `path`; None when there is no such place."""
    for step in path:
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        elif isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def _problem(item: Any, path: Path, tree: Tree) -> Problem | None:
    kind: str = item["type"]
    wrong = item.get("ctx", {}).get("error")
    if path and path[-1] == "[key]":
        return _bad_key(path[:-1], wrong, tree)
    mark, taken = tree.find(path)
    if tree.is_broken(mark):
        return None
    if kind == "missing":
        return _missing(path, tree)
    if kind == "extra_forbidden":
        return _unknown(path, tree)
    if isinstance(wrong, WrongValue):
        return wrong_at(tree, path, wrong)
    value = raw_at(tree.value, path) if taken == len(path) else None
    limits = item.get("ctx", {})
    if kind in ("list_type", "iterable_type"):
        wrong = WrongValue(shown(value), "a list", _as_list(value))
    elif kind == "too_long":
        wrong = WrongValue("a longer list", f"at most {limits['max_length']:,} items")
    elif kind == "too_short":
        wrong = WrongValue("an empty one", "at least one item, or leave the key out")
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        section = section_at(path)
        allowed = f"a mapping with the keys {_listed(list(section.model_fields))}" if section else "a mapping"
        wrong = WrongValue(shown(value), allowed,
                           "remove the '- '" if isinstance(value, list) and len(value) == 1 else "")
    else:
        wrong = WrongValue(shown(value), str(item["msg"]))
    return wrong_at(tree, path, wrong)


def _bad_key(path: Path, wrong: object, tree: Tree) -> Problem:
    parent, taken = tree.find(path[:-1])
    key = str(path[-1])
    start, end = parent.start, parent.end
    if isinstance(parent, MapMark) and taken == len(path) - 1 and key in parent.keys:
        start, end = parent.keys[key]
    if not isinstance(wrong, WrongValue):
        wrong = WrongValue(shown(key), "a name")
    return tree.source.problem(f"found the key {wrong.found}", start, end, path=path_text(path[:-1]),
                               found=wrong.found, allowed=wrong.allowed, hint=wrong.hint, anchor=anchor(path[:-1]))


def _missing(path: Path, tree: Tree) -> Problem | None:
    parent, taken = tree.find(path[:-1])
    if path in tree.meant:
        return None
    if taken < len(path) - 1 and tree.is_broken(parent):
        return None
    key = str(path[-1])
    section = section_at(path[:-1])
    hint = f"add {key}"
    if section is not None:
        examples = section.model_fields[key].examples
        hint = f"add it, as {key}: {_flow(examples[0])}" if examples else f"add {key}"
    name = raw_at(tree.value, (*path[:-1], "name"))
    of = f" of {shown(name)}" if isinstance(name, str) else ""
    return tree.source.problem(f"the key '{key}'{of} is missing", parent.start, parent.end,
                               path=path_text(path[:-1]), hint=hint, anchor=anchor(path))


def _unknown(path: Path, tree: Tree) -> Problem:
    key = str(path[-1])
    parent, _ = tree.find(path[:-1])
    start, end = parent.keys[key] if isinstance(parent, MapMark) and key in parent.keys else (parent.start, 0)
    section = section_at(path[:-1])
    known = list(section.model_fields) if section else []
    # Case, and dashes for underscores, are the commonest slips; then spelling; then the wrong place.
    plain = key[:100].replace("-", "_").lower()
    others = _homes().get(plain)
    if close := difflib.get_close_matches(plain, known, 1, 0.8 if others else 0.6):
        if isinstance(parent, MapMark) and close[0] in parent.keys:
            hint = f"{close[0]} is there already; remove this one"
        else:
            hint = f"write {close[0]}"
            tree.meant.add((*path[:-1], close[0]))
    elif others:
        hint = f"{plain} is a key of {' and of '.join(others[:2])}"
    elif "${" in key:
        hint = "only values are substituted, not keys"
    else:
        hint = "remove it"
    return tree.source.problem(f"unknown key {shown(key)}", start, end, path=path_text(path[:-1]), found=shown(key),
                               allowed=_listed(known), hint=hint, anchor=anchor(path[:-1]))


def _as_list(value: Value) -> str:
    """What makes a list of a mapping: its own keys are names where each leads to a mapping."""
    if not isinstance(value, dict):
        return ""
    name = next(iter(value), "")
    if value and all(isinstance(item, dict) for item in value.values()):
        return f"begin each item with '- ' and give it its name as a key: '- name: {name[:60]}'"
    return "begin each item with '- '"


def _homes() -> dict[str, list[str]]:
    """Every key, and the sections that have it."""
    found: dict[str, list[str]] = {}
    for place in homes():
        for key in place.section.model_fields:
            found.setdefault(key, []).append(place.path or "the top level")
    return found


def _inner(here: Any, step: int | str) -> Any:
    """One step into the models; None where they end."""
    if isinstance(here, _ByName):
        return here.section
    if isinstance(here, tuple):     # a list of sections, or one of another kind
        here = next(section for section, is_list in here if is_list == isinstance(step, int))
    if isinstance(step, int):
        return here
    if isinstance(here, type) and issubclass(here, Section) and step in here.model_fields:
        annotation = here.model_fields[step].annotation
        found = sections_of(annotation)
        if found and is_mapping(annotation):
            return _ByName(found[0][0])
        return tuple(found) if len(found) > 1 else found[0][0] if found else here.model_fields[step]
    return None


class _ByName:
    """A mapping whose keys are names; each leads to a section."""

    def __init__(self, section: type[Section]) -> None:
        self.section = section


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:-1]) + f" and {keys[-1]}" if len(keys) > 1 else "".join(keys)


def _flow(value: object) -> str:
    """A value as one would write it on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return str(value)
