"""The policies that clusters name, of one kind: classes imported, settings read, all that is wrong in one go."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.fields import shown
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem
from fastmesh.filters.given import Keys, bad_settings_of, read_given
from fastmesh.filters.loading import CannotLoad, Kind, Loaded, Loader
from fastmesh.filters.phases import BadClass
from fastmesh.filters.settings import settings_of


class PolicyFound(NamedTuple):
    """One policy of the file that can be used."""

    loaded: Loaded
    settings: dict[str, Any]        # every one that the class declares
    secrets: frozenset[str]         # names of those that nobody is shown
    place: str                      # where the file names it, for what goes wrong later


class PoliciesLooked(NamedTuple):
    """All of the file's, by their places: `("clusters", 0, "heal")`."""

    problems: list[Problem]
    warnings: list[Problem]
    found: dict[Path, PolicyFound]


class PolicyLook:
    """`key`: where a cluster names its policy; `say`: how one says what it must not print; `wrong_with`: what keeps a
    class from being used."""

    def __init__(self, tree: Tree, loader: Loader, kind: Kind, key: str, keys: Keys, say: str,
                 wrong_with: Callable[[type[Any]], list[BadClass]]) -> None:
        self._loader = loader
        self._kind = kind
        self._key = key
        self._keys = keys
        self._say = say
        self._wrong_with = wrong_with
        self._find = Finder(tree)
        self._warn = Finder(tree)
        self._seen: dict[type, list[BadClass]] = {}     # what is wrong with one is said once

    def run(self) -> PoliciesLooked:
        """Loads every policy of the file, and runs none."""
        found: dict[Path, PolicyFound] = {}
        for i, cluster in maps_of(map_of(self._find.tree.value), "clusters"):
            item = map_of(cluster.get(self._key))
            path: Path = ("clusters", i, self._key)
            use = text_of(item, "use")
            if not use or not use.isprintable() or use != use.strip():
                continue        # none, or reported by its field
            try:
                one = self._one(path, use, item)
            except Exception as error:      # what a class makes of being looked at is its author's
                self._find.add((*path, "use"), f"the class cannot be looked at: {type(error).__name__}: {error}",
                               hint="make it a plain class with plain attributes")
                continue
            if one is not None:
                found[path] = one
        return PoliciesLooked(self._find.problems, self._warn.problems, found)

    def _one(self, path: Path, use: str, item: dict[str, Value]) -> PolicyFound | None:
        find, kind, keys, seen = self._find, self._kind, self._keys, self._seen
        try:
            loaded = self._loader.load(use, kind)
        except CannotLoad as cannot:
            find.add((*path, "use"), cannot.reason, allowed=cannot.allowed, hint=cannot.hint)
            return None
        cls, before = loaded.cls, len(find.problems)
        is_new = cls not in seen
        if is_new and loaded.printed.strip():
            self._warn.add((*path, "use"), f"{cls.__name__}'s module prints while it is imported: "
                           f"{shown(loaded.printed.strip().splitlines()[0])}", severity="warning", hint=self._say)
        settings, bad_settings = settings_of(cls, kind.base)
        values, bad = read_given(find, path, item, cls, settings, keys)
        if is_new:
            seen[cls] = [*self._wrong_with(cls), *bad_settings_of(cls, settings, bad_settings, keys, kind.noun), *bad]
            for problem in seen[cls]:
                find.add((*path, "use"), problem.said_of(cls), allowed=problem.allowed, hint=problem.hint_of(cls))
        if seen[cls] or len(find.problems) > before:
            return None
        return PolicyFound(loaded, values, frozenset(setting.name for setting in settings if setting.is_secret),
                           find.place((*path, "use")))
