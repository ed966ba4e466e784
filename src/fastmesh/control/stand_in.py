"""Modules that others import and never use here: kept out of a process that stays, for the memory they take."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Within the block, importing one of these gives a stand-in, unless the module is there already.

    Whoever has imported a function from a stand-in can call it, also after the block: the real module is imported
    then. Nothing but functions can be had from it.
    """
    added = [name for name in names if name not in sys.modules]
    for name in added:
        sys.modules[name] = _stand_in(name)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)

    def attribute(function: str) -> Callable[..., Any]:
        if function.startswith("__"):
            raise AttributeError(function)

        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(name), function)(*args, **kwargs)

        return call

    module.__getattr__ = attribute  # type: ignore[method-assign]
    return module
