"""Labels that come after the end of an exchange; this file is what type checkers read."""

from fastmesh._core.filter.view import Labels
from fastmesh._core.filter.wait import Task

class Late:
    """The compiled core's own."""

class Detached(Task):
    """The compiled core's own."""

def set_label(labels: Labels, name: str, value: str) -> None: ...
def drop_label(labels: Labels, name: str) -> None: ...
