"""The discovery policies of a configuration: classes imported, settings read, all that is wrong in one go."""

import difflib
import inspect
import types

from fastmesh.config.discovery import DiscoveryUse
from fastmesh.config.yaml_tree import Tree
from fastmesh.filters.discovery import Discovery
from fastmesh.filters.given import Keys
from fastmesh.filters.loading import DISCOVERY, Loader
from fastmesh.filters.phases import BadClass
from fastmesh.filters.policy_inspection import PoliciesLooked, PolicyLook

KEYS = Keys(DiscoveryUse.OPERATORS, frozenset((*DiscoveryUse.OPERATORS, "log", "metrics", "mesh", "name", "start",
                                         "endpoints")),
            "clusters.endpoints")
HEAD = "async def endpoints(self) -> AsyncIterator[Endpoints], with yield in it"


def inspect_discoveries(tree: Tree, loader: Loader) -> PoliciesLooked:
    """By their places: `("clusters", 0, "endpoints")`."""
    return PolicyLook(tree, loader, DISCOVERY, "endpoints", KEYS, "say it in start, with self.log.info",
                      wrong_with).run()


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
        bad.append(BadClass(f"{cls.__name__}.endpoints {what}", "an async generator", f"write {HEAD}",
                            "endpoints"))
    elif needed := _needed(method):
        bad.append(BadClass(f"{cls.__name__}.endpoints wants {', '.join(needed)}", "self alone",
                            "annotated attributes of the class are the settings", "endpoints"))
    start = inspect.getattr_static(cls, "start")
    if not isinstance(start, types.FunctionType) or inspect.iscoroutinefunction(start) or _needed(start):
        bad.append(BadClass(f"{cls.__name__}.start cannot be called as it will be",
                            "a method with def, and self alone",
                            "write def start(self) -> None; what must be awaited is awaited in endpoints",
                            "start"))
    made = cls.__init__
    if isinstance(made, types.FunctionType) and (needed := _needed(made)):
        bad.append(BadClass(f"{cls.__name__}.__init__ wants {', '.join(needed)}",
                            "one without arguments, or none",
                            "annotated attributes are the settings; what is made of them is made in start(self)",
                            "__init__"))
    return bad


def _needed(method: types.FunctionType) -> list[str]:
    """Parameters that nobody would give, besides self; of a method without self, the lack of it."""
    parameters = list(inspect.signature(method).parameters.values())
    if not parameters:
        return ["nothing, not even self"]
    return [p.name for p in parameters[1:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
