"""Takes over what policies say, before anything else looks at the file: from here on a listener, route or cluster has
the keys of its policies as if they stood in it, each with the place of the policy's line."""

from collections.abc import Iterator
from typing import NamedTuple

from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.fields import shown
from fastmesh.config.policy import OWN
from fastmesh.config.report import Path, path_text
from fastmesh.config.yaml_tree import MAX_VALUES, MapMark, Tree, Value
from fastmesh.errors import ConfigError, Problem

_KEY = "policies"


def take_policies(tree: Tree) -> list[Problem]:
    """In place. Every error between policies and those that name them. Raises ConfigError when they expand to more
    values than a file may have."""
    find = Finder(tree)
    root = map_of(tree.value)
    named: dict[str, _Named] = {}
    for i, policy in maps_of(root, _KEY):
        _policy(find, i, policy, named)
    # Written as a mapping instead of a list: that is reported, and each reference would be a second report of it.
    if isinstance(root.get(_KEY), dict):
        return find.problems
    sizes: dict[int, int] = {}
    for part, path, user in list(_users(root)):
        mark, _ = tree.find(path)
        names = user.get(_KEY)
        if not isinstance(mark, MapMark) or not isinstance(names, list):
            continue
        for j, name in enumerate(names):
            at: Path = (*path, _KEY, j)
            if not isinstance(name, str):
                continue        # told by the field
            if name not in named:
                find.unknown(at, "policy", name, named,
                             f"name it at the top level, as policies: [{{name: {name[:60]}, …}}]")
                continue
            source: Path = (_KEY, named[name].at, part)
            if part in named[name].policy:
                _take(tree, user, mark, named[name].policy[part], source, sizes)
            elif not find.is_broken(source):
                find.add(at, f"the policy {shown(name)} says nothing of {part}",
                         hint=f"add {part}: to it, on line {find.line(source[:2])}, or remove it here")
    return find.problems


class _Named(NamedTuple):
    """A policy, and its place in the list."""

    at: int
    policy: dict[str, Value]


def _policy(find: Finder, i: int, policy: dict[str, Value], named: dict[str, _Named]) -> None:
    name = text_of(policy, "name")
    if name is not None:
        if name in named:
            first: Path = (_KEY, named[name].at)
            find.add((_KEY, i, "name"), f"the name {shown(name)} is taken by {path_text(first)} on line "
                                        f"{find.line(first)}", hint="give each of the policies a name of its own")
        else:
            named[name] = _Named(i, policy)
    for part in ("listeners", "routes"):
        limits = map_of(policy.get(part)).get("rate_limits")
        for j, limit in enumerate(limits if isinstance(limits, list) else []):
            if not isinstance(limit, str):
                find.add((_KEY, i, part, "rate_limits", j), "a policy cannot have a rate limit in place",
                         hint="name it at the top level, in rate_limits, and write its name here: then it is clear "
                              "that all who take the policy share its buckets")


def _users(root: dict[str, Value]) -> Iterator[tuple[str, Path, dict[str, Value]]]:
    """All who may name policies."""
    for i, listener in maps_of(root, "listeners"):
        yield "listeners", ("listeners", i), listener
        for j, route in maps_of(listener, "routes"):
            yield "routes", ("listeners", i, "routes", j), route
    for i, cluster in maps_of(root, "clusters"):
        yield "clusters", ("clusters", i), cluster


def _take(tree: Tree, user: dict[str, Value], mark: MapMark, shared: Value, source: Path,
          sizes: dict[int, int]) -> None:
    marks, _ = tree.find(source)
    if not isinstance(shared, dict) or not isinstance(marks, MapMark):
        return      # told by the field
    for key, value in shared.items():
        if key in user or key in OWN[str(source[-1])]:
            continue        # what cannot be shared is told where it stands
        if id(value) not in sizes:
            sizes[id(value)] = _size(value)
        tree.count += sizes[id(value)] + 1
        if tree.count > MAX_VALUES:
            raise ConfigError([tree.source.problem(f"policies expand to more than {MAX_VALUES:,} values", mark.start)])
        user[key] = value
        mark.keys[key] = marks.keys[key]
        mark.items[key] = marks.items[key]


def _size(value: Value) -> int:
    """Values in it: what aliases stand for as often as they are used, which composing the file has bounded."""
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return 1 + sum(_size(one) + 1 for one in inner)
