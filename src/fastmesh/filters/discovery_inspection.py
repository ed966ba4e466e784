"""The discovery policies of a configuration: classes imported, settings read, all that is wrong in one go."""

import difflib
import inspect
import types
from typing import Any, NamedTuple

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.discovery import DiscoveryUse
from fastmesh.config.fields import shown
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.filters.discovery import Discovery
from fastmesh.filters.given import Keys, bad_settings_of, read_given
from fastmesh.filters.loading import DISCOVERY, CannotLoad, Loaded, Loader
from fastmesh.filters.phases import BadClass
from fastmesh.filters.settings import settings_of

KEYS = Keys(DiscoveryUse.OPERATORS, frozenset((*DiscoveryUse.OPERATORS, "log", "metrics", "mesh", "name", "start",
                                         "endpoints")),
            "clusters.endpoints")
HEAD = "async def endpoints(self) -> AsyncIterator[Endpoints], with yield in it"


class DiscoveryFound(NamedTuple):
    """One policy of the file that can be used."""

    loaded: Loaded
    settings: dict[str, Any]        # every one that the class declares
    secrets: frozenset[str]         # names of those that nobody is shown
    place: str                      # where the file names it, for what goes wrong later


class DiscoveriesLooked(NamedTuple):
    """All of the file's, by their places."""

    problems: list[Problem]
    warnings: list[Problem]
    found: dict[Path, DiscoveryFound]


def inspect_discoveries(tree: Tree, loader: Loader) -> DiscoveriesLooked:
    """Loads every policy of the file, and runs none."""
    find, warn = Finder(tree), Finder(tree)
    found: dict[Path, DiscoveryFound] = {}
    seen: dict[type, list[BadClass]] = {}
    for i, cluster in maps_of(map_of(tree.value), "clusters"):
        item = cluster.get("endpoints")
        if not isinstance(item, dict):
            continue
        path: Path = ("clusters", i, "endpoints")
        try:
            one = _look(find, warn, path, item, loader, seen)
        except Exception as error:      # what a class makes of being looked at is its author's
            find.add((*path, "use"), f"the class cannot be looked at: {type(error).__name__}: {error}",
                     hint="make it a plain class with plain attributes")
            continue
        if one is not None:
            found[path] = one
    return DiscoveriesLooked(find.problems, warn.problems, found)


def _look(find: Finder, warn: Finder, path: Path, item: dict[str, Value], loader: Loader,
          seen: dict[type, list[BadClass]]) -> DiscoveryFound | None:
    use = text_of(item, "use")
    if not use or not use.isprintable() or use != use.strip():
        return None     # reported by its field
    try:
        loaded = loader.load(use, DISCOVERY)
    except CannotLoad as cannot:
        find.add((*path, "use"), cannot.reason, allowed=cannot.allowed, hint=cannot.hint)
        return None
    cls, before = loaded.cls, len(find.problems)
    is_new = cls not in seen
    if is_new and loaded.printed.strip():
        warn.add((*path, "use"), f"{cls.__name__}'s module prints while it is imported: "
                 f"{shown(loaded.printed.strip().splitlines()[0])}", severity="warning",
                 hint="say it in start, with self.log.info")
    settings, bad_settings = settings_of(cls, Discovery)
    values, bad = read_given(find, path, item, cls, settings, KEYS)
    if is_new:
        seen[cls] = [*wrong_with(cls), *bad_settings_of(cls, settings, bad_settings, KEYS, "discovery policy"), *bad]
        for problem in seen[cls]:
            find.add((*path, "use"), problem.reason, allowed=problem.allowed, hint=problem.hint)
    if seen[cls] or len(find.problems) > before:
        return None
    return DiscoveryFound(loaded, values, frozenset(setting.name for setting in settings if setting.is_secret),
                          find.place((*path, "use")))


def wrong_with(cls: type[Discovery]) -> list[BadClass]:
    """What keeps a class from being used."""
    bad = []
    method = inspect.getattr_static(cls, "endpoints")
    if method is inspect.getattr_static(Discovery, "endpoints"):
        close = difflib.get_close_matches("endpoints", [name for name in vars(cls) if not name.startswith("_")], 1, 0.6)
        bad.append(BadClass(f"{cls.__name__} has no method endpoints", HEAD,
                            f"rename {close[0]}" if close else f"write {HEAD}"))
    elif not isinstance(method, types.FunctionType) or not inspect.isasyncgenfunction(method):
        what = "has no yield" if inspect.iscoroutinefunction(method) else "is no async def"
        bad.append(BadClass(f"{cls.__name__}.endpoints{_line(method)} {what}", "an async generator", f"write {HEAD}"))
    elif needed := _needed(method):
        bad.append(BadClass(f"{cls.__name__}.endpoints{_line(method)} wants {', '.join(needed)}", "self alone",
                            "annotated attributes of the class are the settings"))
    start = inspect.getattr_static(cls, "start")
    if not isinstance(start, types.FunctionType) or inspect.iscoroutinefunction(start) or _needed(start):
        bad.append(BadClass(f"{cls.__name__}.start{_line(start)} cannot be called as it will be",
                            "a method with def, and self alone",
                            "write def start(self) -> None; what must be awaited is awaited in endpoints"))
    made = cls.__init__
    if isinstance(made, types.FunctionType) and (needed := _needed(made)):
        bad.append(BadClass(f"{cls.__name__}.__init__{_line(made)} wants {', '.join(needed)}",
                            "one without arguments, or none",
                            "annotated attributes are the settings; what is made of them is made in start(self)"))
    return bad


def _needed(method: types.FunctionType) -> list[str]:
    """Parameters that nobody would give, besides self; of a method without self, the lack of it."""
    parameters = list(inspect.signature(method).parameters.values())
    if not parameters:
        return ["nothing, not even self"]
    return [p.name for p in parameters[1:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _line(method: object) -> str:
    code = getattr(method, "__code__", None)
    return f" on line {code.co_firstlineno}" if isinstance(code, types.CodeType) else ""
