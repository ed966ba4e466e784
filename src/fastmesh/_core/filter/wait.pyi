from typing import Any

from fastmesh._core.filter.view import Cancelled as Cancelled
from fastmesh._core.filter.view import FilterTimeout as FilterTimeout
from fastmesh._core.filter.view import Signal as Signal
from fastmesh._core.filter.view import Sleep as Sleep
from fastmesh._core.filter.view import Wait as Wait

class Task:
    """A coroutine on its way; the compiled core's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
