"""What must hold within the section that says who heals.

As the other checks, it works on what the file says, so that it finds everything in one go.
"""

from fastmesh.config.checks import Finder, map_of, maps_of
from fastmesh.config.fields import closest, shown
from fastmesh.config.heal import Heal
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import Problem

_KEYS = ("run", *Heal.OPERATORS)


def check_heals(tree: Tree) -> list[Problem]:
    """Every contradiction in these sections of the file."""
    find = Finder(tree)
    for i, cluster in maps_of(map_of(tree.value), "clusters"):
        heal = cluster.get("heal")
        if isinstance(heal, dict):
            _check(find, ("clusters", i, "heal"), heal)
    return find.problems


def _check(find: Finder, path: Path, heal: dict[str, Value]) -> None:
    has_run, has_use = (heal.get(key) is not None or find.is_broken((*path, key)) for key in ("run", "use"))
    if has_run and has_use:
        find.add((*path, "run"), "there is use already: it is either a command or a policy", key=True,
                 hint="remove one of run and use")
    if has_use:
        return
    unknown = [key for key in heal if key not in _KEYS]
    for key in unknown:
        find.add((*path, key), f"unknown key {shown(key)}", allowed=", ".join(_KEYS[:-1]) + f" and {_KEYS[-1]}",
                 hint=closest(key, _KEYS) or "remove it; settings of one's own stand beside use", key=True)
    if not has_run and not any(closest(key, _KEYS) in ("write run", "write use") for key in unknown):
        find.add(path, "it does not say what is done", allowed="run or use",
                 hint="write run: [/path/of/program], or use: my_package.module:Class")
