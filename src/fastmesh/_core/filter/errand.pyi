"""A coroutine of the proxy's own that the reactor drives; this file is what type checkers read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastmesh._core.filter.wait import Task

class Errand(Task):
    def __init__(self, coroutine: Coroutine[Any, Any, Any],
                 done: Callable[[Any, BaseException | None], None]) -> None: ...
    def begin(self) -> None: ...
    def give_up(self) -> None: ...

def close_errands() -> None: ...
