"""The healing policies of a configuration: classes imported, settings read, all that is wrong in one go."""

import difflib
import inspect
import types
from typing import Any, NamedTuple

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.fields import shown
from fastmesh.config.heal import Heal
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.filters.given import Keys, bad_settings_of, read_given
from fastmesh.filters.healer import METHODS, Healer
from fastmesh.filters.loading import HEALER, CannotLoad, Loaded, Loader
from fastmesh.filters.phases import BadClass
from fastmesh.filters.settings import settings_of

KEYS = Keys(Heal.OPERATORS, frozenset((*Heal.OPERATORS, "log", "mesh", "name", "start", *METHODS)), "clusters.heal",
            refused=("run",))
HEADS = {name: f"async def {name}(self, event: HealEvent) -> None" for name in METHODS}


class HealerFound(NamedTuple):
    """One policy of the file that can be used."""

    loaded: Loaded
    settings: dict[str, Any]        # every one that the class declares
    secrets: frozenset[str]         # names of those that nobody is shown
    place: str                      # where the file names it, for what goes wrong later


class HealersLooked(NamedTuple):
    """All of the file's, by their places: `("clusters", 0, "heal")`."""

    problems: list[Problem]
    warnings: list[Problem]
    found: dict[Path, HealerFound]


def inspect_healers(tree: Tree, loader: Loader) -> HealersLooked:
    """Loads every policy of the file, and runs none."""
    find, warn = Finder(tree), Finder(tree)
    found: dict[Path, HealerFound] = {}
    seen: dict[type, list[BadClass]] = {}
    for i, cluster in maps_of(map_of(tree.value), "clusters"):
        item = map_of(cluster.get("heal"))
        path: Path = ("clusters", i, "heal")
        use = text_of(item, "use")
        if not use or not use.isprintable() or use != use.strip():
            continue        # none, or reported by its field
        try:
            one = _look(find, warn, path, use, item, loader, seen)
        except Exception as error:      # what a class makes of being looked at is its author's
            find.add((*path, "use"), f"the class cannot be looked at: {type(error).__name__}: {error}",
                     hint="make it a plain class with plain attributes")
            continue
        if one is not None:
            found[path] = one
    return HealersLooked(find.problems, warn.problems, found)


def _look(find: Finder, warn: Finder, path: Path, use: str, item: dict[str, Value], loader: Loader,
          seen: dict[type, list[BadClass]]) -> HealerFound | None:
    try:
        loaded = loader.load(use, HEALER)
    except CannotLoad as cannot:
        find.add((*path, "use"), cannot.reason, allowed=cannot.allowed, hint=cannot.hint)
        return None
    cls, before = loaded.cls, len(find.problems)
    is_new = cls not in seen
    if is_new and loaded.printed.strip():
        warn.add((*path, "use"), f"{cls.__name__}'s module prints while it is imported: "
                 f"{shown(loaded.printed.strip().splitlines()[0])}", severity="warning",
                 hint="say it with self.log.info")
    settings, bad_settings = settings_of(cls, Healer)
    values, bad = read_given(find, path, item, cls, settings, KEYS)
    if is_new:
        seen[cls] = [*wrong_with(cls), *bad_settings_of(cls, settings, bad_settings, KEYS, "healing policy"), *bad]
        for problem in seen[cls]:
            find.add((*path, "use"), problem.reason, allowed=problem.allowed, hint=problem.hint)
    if seen[cls] or len(find.problems) > before:
        return None
    return HealerFound(loaded, values, frozenset(setting.name for setting in settings if setting.is_secret),
                       find.place((*path, "use")))


def wrong_with(cls: type[Healer]) -> list[BadClass]:
    """What keeps a class from being used."""
    bad = []
    methods = {name: inspect.getattr_static(cls, name) for name in METHODS}
    own = {name: method for name, method in methods.items() if method is not inspect.getattr_static(Healer, name)}
    if not own:
        close = [match for name in METHODS for match in difflib.get_close_matches(
            name, [other for other in vars(cls) if not other.startswith("_")], 1, 0.6)]
        bad.append(BadClass(f"{cls.__name__} has neither on_ejected nor on_recovered", HEADS["on_ejected"],
                            f"rename {close[0]}" if close else f"write {HEADS['on_ejected']}"))
    for name, method in own.items():
        if not isinstance(method, types.FunctionType) or not inspect.iscoroutinefunction(method):
            bad.append(BadClass(f"{cls.__name__}.{name}{_line(method)} is no async def", HEADS[name],
                                f"write {HEADS[name]}"))
        elif not _takes(method, 2):
            bad.append(BadClass(f"{cls.__name__}.{name}{_line(method)} cannot be called with an event",
                                "self and event", f"write {HEADS[name]}"))
    start = inspect.getattr_static(cls, "start")
    if not isinstance(start, types.FunctionType) or inspect.iscoroutinefunction(start) or not _takes(start, 1):
        bad.append(BadClass(f"{cls.__name__}.start{_line(start)} cannot be called as it will be",
                            "a method with def, and self alone",
                            "write def start(self) -> None; what must be awaited is awaited in on_ejected"))
    made = cls.__init__
    if isinstance(made, types.FunctionType) and not _takes(made, 1):
        bad.append(BadClass(f"{cls.__name__}.__init__{_line(made)} wants arguments",
                            "one without arguments, or none",
                            "annotated attributes are the settings; what is made of them is made in start(self)"))
    return bad


def _takes(method: types.FunctionType, count: int) -> bool:
    """It can be called with so many arguments, self included."""
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True


def _line(method: object) -> str:
    code = getattr(method, "__code__", None)
    return f" on line {code.co_firstlineno}" if isinstance(code, types.CodeType) else ""
