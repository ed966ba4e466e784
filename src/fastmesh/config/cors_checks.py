"""What must hold within the rules about pages of other origins, and between them and what stands around them."""

from fastmesh.config.checks import Finder, map_of, maps_of
from fastmesh.config.cors import ANY
from fastmesh.config.fields import shown
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem

_OWN = "access-control-"


def check_cors(tree: Tree) -> list[Problem]:
    """Every contradiction in the rules of the file."""
    find = Finder(tree)
    for i, listener in maps_of(map_of(tree.value), "listeners"):
        path: Path = ("listeners", i)
        shared = listener.get("cors")
        if shared is not None and listener.get("protocol") == "tcp":
            find.add((*path, "cors"), "a tcp listener has no requests that pages could send", key=True,
                     hint="remove cors, or write protocol: http")
            continue
        _rule(find, (*path, "cors"), map_of(shared))
        for j, route in maps_of(listener, "routes"):
            at: Path = (*path, "routes", j)
            _rule(find, (*at, "cors"), map_of(route.get("cors")))
            own = route.get("cors")
            if _is_on(shared if own is None else own):
                _edits(find, at, map_of(route.get("response_headers")))
    return find.problems


def _is_on(rule: Value) -> bool:
    return isinstance(rule, dict) and rule.get("enabled") != "false"


def _rule(find: Finder, path: Path, rule: dict[str, Value]) -> None:
    origins = rule.get("allow_origins")
    seen: set[str] = set()
    for i, origin in enumerate(origins if isinstance(origins, list) else ()):
        at: Path = (*path, "allow_origins", i)
        if isinstance(origin, dict):
            _one(find, at, origin)
            continue
        text = str(origin).lower()
        if text in seen:
            find.add(at, f"the origin {shown(text)} is in the list already", hint="remove one of them")
        seen.add(text)
        if text == ANY and rule.get("allow_credentials") == "true":
            find.add(at, "with credentials any page could act as its visitor",
                     hint="name the origins, or remove allow_credentials")
    for key in ("allow_methods", "allow_headers"):
        names = rule.get(key)
        if isinstance(names, list) and ANY in names and len(names) > 1:
            find.add((*path, key, names.index(ANY)), "* stands for all of them, and there are others beside it",
                     hint="remove it, or the others")


def _one(find: Finder, path: Path, origin: dict[str, Value]) -> None:
    given = [key for key in ("exact", "regex") if origin.get(key) is not None]
    if len(given) == 2:
        find.add((*path, "regex"), "the origin has both exact and regex", key=True, hint="remove one of them")
    elif not given and not any(find.is_broken((*path, key)) for key in ("exact", "regex")):
        find.add(path, "the entry does not say which origin", allowed="exact or regex")


def _edits(find: Finder, path: Path, edits: dict[str, Value]) -> None:
    for key in ("set", "add"):
        for name in map_of(edits.get(key)):
            if name.lower().startswith(_OWN):
                find.add((*path, "response_headers", key, name), "the route has cors, which says this by itself",
                         key=True, hint=f"remove {name}, or say it in cors")
