from typing import Any

from fastmesh._core.filter.view import HeaderError as HeaderError
from fastmesh._core.filter.view import Headers as Headers
from fastmesh._core.filter.view import ViewClosed as ViewClosed

class View:
    """Something with a head; the compiled core's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class OwnHead(View): ...

def cookies_of(headers: Any) -> dict[str, str]: ...
