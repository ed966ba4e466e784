"""The settings that a configuration gives to one class, beside the keys that are the operator's."""

from typing import Any, NamedTuple

from fastmesh.config.checks import Finder
from fastmesh.config.fields import closest, shown
from fastmesh.config.report import Path, path_text, wrong_at
from fastmesh.config.yaml_tree import MapMark, Value
from fastmesh.filters.phases import BadClass
from fastmesh.filters.settings import KINDS, Setting, read


class Keys(NamedTuple):
    """What stands beside the settings of a class, and what none of them may be called."""

    operators: tuple[str, ...]
    reserved: frozenset[str]        # those of the operator among them
    anchor: str                     # as `fastmesh reference` takes it
    refused: tuple[str, ...] = ()   # what the configuration itself says a word about


def read_given(find: Finder, path: Path, item: dict[str, Value], cls: type, settings: list[Setting],
               keys: Keys) -> tuple[dict[str, Any], list[BadClass]]:
    """The settings' values, and what is wrong with the class's own defaults; what is wrong with those of the file is
    reported at once."""
    values: dict[str, Any] = {}
    bad: list[BadClass] = []
    given = {key: value for key, value in item.items() if key not in (*keys.operators, *keys.refused)}
    known = [setting.name for setting in settings if setting.name not in keys.reserved]
    meant: set[str] = set()
    for key in given:
        if key not in known:
            meant.add(_unknown(find, path, key, cls, known, given, keys))
    for setting in settings:
        if setting.name in keys.reserved:
            continue
        if setting.name in given:
            mark, taken = find.tree.find((*path, setting.name))
            if taken == len(path) + 1 and find.tree.is_broken(mark):
                continue
            value, wrong = read(setting.annotation, given[setting.name])
            for one in wrong:
                find.problems.append(wrong_at(find.tree, (*path, setting.name, *one.at), one.what))
            values[setting.name] = value
        elif not setting.is_required:
            value, wrong = read(setting.annotation, setting.default)
            bad += [BadClass(f"the default of {cls.__name__}.{setting.name} is {one.what.found}", one.what.allowed,
                             name=setting.name)
                    for one in wrong]
            values[setting.name] = value
        elif setting.name not in meant:
            find.add(path, f"the setting '{setting.name}' of {cls.__name__} is missing", hint=f"add {setting.name}")
    return values, bad


def bad_settings_of(cls: type, settings: list[Setting], bad: list[tuple[str, str]], keys: Keys,
                    noun: str) -> list[BadClass]:
    """What is wrong with what a class declares: types that are none, names that are taken."""
    found = []
    for name, reason in bad:
        if name not in keys.reserved:
            where = f"{cls.__name__}.{name}" if name else f"the settings of {cls.__name__}"
            found.append(BadClass(f"{where} is no setting: {reason}", KINDS,
                                  f"annotate it with one of them; write {name or 'x'}: ClassVar[…] = … for what is no "
                                  "setting, or set it in start", name))
    found += [BadClass(f"{cls.__name__}.{name} has the name of what every {noun} has", "another name",
                       f"write {name} = … without an annotation to decide it for the class, or choose another name"
                       if not noun.endswith("policy") else "choose another name", name)
              for name in (*(setting.name for setting in settings), *(name for name, _ in bad))
              if name in keys.reserved]
    return found


def _unknown(find: Finder, path: Path, key: str, cls: type, known: list[str], given: dict[str, Value],
             keys: Keys) -> str:
    """Reports a key; returns the one that was probably meant."""
    mark, _ = find.tree.find(path)
    start, end = mark.keys[key] if isinstance(mark, MapMark) and key in mark.keys else (mark.start, 0)
    # The operator's keys are meant as often as the class's own.
    hint = closest(key, (*known, *keys.operators))
    meant = hint.removeprefix("write ")
    if meant in given:
        hint = f"{meant} is there already; remove this one"
    find.problems.append(find.tree.source.problem(
        f"unknown key {shown(key)}: {cls.__name__} has no such setting", start, end,
        path=path_text(path), found=shown(key), allowed=", ".join((*known, *keys.operators)),
        hint=hint or "remove it", anchor=keys.anchor))
    return meant
