"""The healing policies of a configuration: classes imported, settings read, all that is wrong in one go."""

import difflib
import inspect
import types

from fastmesh.config.heal import Heal
from fastmesh.config.yaml_tree import Tree
from fastmesh.filters.given import Keys
from fastmesh.filters.healer import METHODS, Healer
from fastmesh.filters.loading import HEALER, Loader
from fastmesh.filters.phases import BadClass
from fastmesh.filters.policy_inspection import PoliciesLooked, PolicyLook

KEYS = Keys(Heal.OPERATORS, frozenset((*Heal.OPERATORS, "log", "mesh", "name", "start", *METHODS)), "clusters.heal",
            refused=("run",))
HEADS = {name: f"async def {name}(self, event: HealEvent) -> None" for name in METHODS}


def inspect_healers(tree: Tree, loader: Loader) -> PoliciesLooked:
    """By their places: `("clusters", 0, "heal")`."""
    return PolicyLook(tree, loader, HEALER, "heal", KEYS, "say it with self.log.info", wrong_with).run()


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
            bad.append(BadClass(f"{cls.__name__}.{name} is no async def", HEADS[name],
                                f"write {HEADS[name]}", name))
        elif not _takes(method, 2):
            bad.append(BadClass(f"{cls.__name__}.{name} cannot be called with an event",
                                "self and event", f"write {HEADS[name]}", name))
    start = inspect.getattr_static(cls, "start")
    if not isinstance(start, types.FunctionType) or inspect.iscoroutinefunction(start) or not _takes(start, 1):
        bad.append(BadClass(f"{cls.__name__}.start cannot be called as it will be",
                            "a method with def, and self alone",
                            "write def start(self) -> None; what must be awaited is awaited in on_ejected",
                            "start"))
    made = cls.__init__
    if isinstance(made, types.FunctionType) and not _takes(made, 1):
        bad.append(BadClass(f"{cls.__name__}.__init__ wants arguments",
                            "one without arguments, or none",
                            "annotated attributes are the settings; what is made of them is made in start(self)",
                            "__init__"))
    return bad


def _takes(method: types.FunctionType, count: int) -> bool:
    """It can be called with so many arguments, self included."""
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True
