"""fastmesh: a service-mesh sidecar whose data plane is compiled and whose policies are plain Python.

Importing this package starts nothing and imports nothing: workers import it. The names of the filter API come when
they are asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastmesh._core.filter.view import (
        Cancelled,
        Connection,
        FilterTimeout,
        HeaderError,
        Headers,
        Outcome,
        Request,
        Response,
        Signal,
        UpstreamError,
        ViewClosed,
    )
    from fastmesh._core.filter.view import Sleep as sleep
    from fastmesh.filters import shared
    from fastmesh.filters.filter import Filter

__version__ = "0.1.0"
__all__ = [
    "Cancelled", "Connection", "Filter", "FilterTimeout", "HeaderError", "Headers", "Outcome", "Request", "Response",
    "Signal", "UpstreamError", "ViewClosed", "__version__", "shared", "sleep",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'fastmesh' has no attribute {name!r}")
    if name == "Filter":
        from fastmesh.filters import filter as place
    elif name == "shared":
        import fastmesh.filters as place
        import fastmesh.filters.shared
    else:
        from fastmesh._core.filter import view as place
    found: object = getattr(place, "Sleep" if name == "sleep" else name)
    globals()[name] = found
    return found
