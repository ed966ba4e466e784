"""What must hold between the rate limits of a configuration.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fastmesh.config.checks import Finder, check_match, check_names, check_references, map_of, maps_of, text_of
from fastmesh.config.fields import shown
from fastmesh.config.rate_limit import DEFAULT_KEYS, MAX_KEYS, MAX_LIMITS, MAX_NAME, MAX_ON_WAY
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem, WrongValue
from fastmesh.units import MAX_DURATION, format_duration, parse_rate

_KEY = "rate_limits"
_AFTER_ROUTING = {"route": "the route is not known yet", "label": "no filter has set a label yet"}


class _List(NamedTuple):
    """One list of limits: where it stands, what it holds, and whose it is."""

    path: Path
    items: list[Value]
    is_listener: bool


def check_limits(tree: Tree) -> list[Problem]:
    """Every error between the rate limits of the file."""
    find = Finder(tree)
    root = map_of(tree.value)
    lists = list(_lists(root))
    named = {name: item for _, item in maps_of(root, _KEY) if (name := text_of(item, "name")) is not None}
    whole = [*(((_KEY, i), item) for i, item in maps_of(root, _KEY)),
             *(((*each.path, i), item) for each in lists for i, item in enumerate(each.items)
               if isinstance(item, dict))]
    _top(find, root)
    _names(find, whole)
    for path, item in whole:
        _limit(find, path, item)
    # Written as a mapping instead of a list: that is reported, and each reference would be a second report of it.
    is_known = not isinstance(root.get(_KEY), dict)
    for each in lists:
        _references(find, each, named, is_known)
    _places(find, root)
    _sizes(find, root, whole)
    return find.problems


def _lists(root: dict[str, Value]) -> Iterator[_List]:
    for i, listener in maps_of(root, "listeners"):
        yield _List(("listeners", i, _KEY), _items(listener), True)
        for j, route in maps_of(listener, "routes"):
            yield _List(("listeners", i, "routes", j, _KEY), _items(route), False)


def _items(value: dict[str, Value]) -> list[Value]:
    items = value.get(_KEY)
    return items if isinstance(items, list) else []


def _top(find: Finder, root: dict[str, Value]) -> None:
    for i, item in enumerate(_items(root)):
        if isinstance(item, str):
            find.add((_KEY, i), f"found {shown(item)}", allowed="a mapping with name and rate",
                     hint=f"write {{name: {item[:60]}, rate: 100/s}}; names alone stand at listeners and routes")


def _names(find: Finder, whole: list[tuple[Path, dict[str, Value]]]) -> None:
    for path, item in whole:
        if len(name := text_of(item, "name") or "") > MAX_NAME:
            find.add((*path, "name"), f"the name has {len(name)} characters", allowed=f"at most {MAX_NAME}")
    check_names(find, whole, "give each rate limit a name of its own; to use one twice, name it at the top level and "
                             "write its name alone")


def _limit(find: Finder, path: Path, item: dict[str, Value]) -> None:
    check_match(find, (*path, "match"), map_of(item.get("match")))
    key = item.get("key")
    if not key and not find.is_broken((*path, "key")):
        for other in ("keys", "missing"):
            if item.get(other) is not None:
                find.add((*path, other), f"{other} is there, but no key: all requests share one bucket", key=True,
                         hint=f"add key: [client_address], or remove {other}")
    if isinstance(key, list):
        seen: set[str] = set()
        for i, part in enumerate(key):
            if isinstance(part, str) and part in seen:
                find.add((*path, "key", i), f"the key has {shown(part)} twice", hint="remove one of them")
            elif isinstance(part, str):
                seen.add(part)
    burst, rate = _whole(item, "burst"), text_of(item, "rate")
    if rate is None or burst is None:
        return
    try:
        takes = burst * parse_rate(rate).nanoseconds
    except WrongValue:
        return
    if takes > MAX_DURATION:
        find.add((*path, "burst"), f"a burst of {burst:,} takes {takes / 86_400e9:,.0f} days to come back at "
                 f"{rate}", allowed=f"at most {format_duration(MAX_DURATION)}", hint="make it smaller")


def _references(find: Finder, each: _List, named: dict[str, dict[str, Value]], is_known: bool) -> None:
    check_references(find, each.path, each.items, "rate limit", named if is_known else None, lambda name: (
        f"name it at the top level, as rate_limits: [{{name: {name}, rate: 100/s}}], or write the limit in place"))
    for i, item in enumerate(each.items):
        path = (*each.path, i)
        limit = named.get(item) if isinstance(item, str) else item
        key = map_of(limit).get("key")
        if not each.is_listener or not isinstance(key, list):
            continue
        for k, part in enumerate(key):
            word = part.split(" ")[0] if isinstance(part, str) else ""
            if word in _AFTER_ROUTING:
                at = path if isinstance(item, str) else (*path, "key", k)
                find.add(at, f"the key has {shown(part)}, and at a listener {_AFTER_ROUTING[word]}",
                         hint="put the limit at the routes")


def _places(find: Finder, root: dict[str, Value]) -> None:
    for i, listener in maps_of(root, "listeners"):
        own = len(_items(listener))
        if own and listener.get("protocol") == "tcp":
            find.add(("listeners", i, _KEY), "a tcp listener has no requests to limit", key=True,
                     hint="remove rate_limits, or write protocol: http; limits.connections bounds connections")
        if own > MAX_ON_WAY:
            find.add(("listeners", i, _KEY), f"there are {own} rate limits", key=True, allowed=f"at most {MAX_ON_WAY}")
            continue
        for j, route in maps_of(listener, "routes"):
            here = len(_items(route))
            if here and own + here > MAX_ON_WAY:
                find.add(("listeners", i, "routes", j, _KEY), f"there are {own + here} rate limits on the way of a "
                         f"request: {own} of the listener, {here} of the route", key=True,
                         allowed=f"at most {MAX_ON_WAY}")


def _sizes(find: Finder, root: dict[str, Value], whole: list[tuple[Path, dict[str, Value]]]) -> None:
    if not whole:
        return
    at: Path = (_KEY,) if _KEY in root else whole[-1][0]
    if len(whole) > MAX_LIMITS:
        find.add(at, f"there are {len(whole):,} rate limits", allowed=f"at most {MAX_LIMITS}, those in place included",
                 hint="name a limit once at the top level, with a key that tells its users apart, and refer to it")
    total = sum(_keys(item) for _, item in whole)
    if total > MAX_KEYS:
        find.add(at, f"the rate limits have {total:,} keys together", allowed=f"at most {MAX_KEYS:,}",
                 hint=f"make keys smaller; a limit has {DEFAULT_KEYS:,} when it is left out")


def _keys(item: dict[str, Value]) -> int:
    keys = _whole(item, "keys")
    if not item.get("key"):
        return 1
    return DEFAULT_KEYS if keys is None else keys


def _whole(item: dict[str, Value], key: str) -> int | None:
    text = text_of(item, key)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 12 else None
