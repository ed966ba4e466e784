"""fastmesh: a service-mesh sidecar whose data plane is compiled and whose policies are plain Python.

Importing this package starts nothing and imports nothing: workers import it. The names that authors of filters use are
fetched when they are asked for.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastmesh._core.filter.balance import Endpoint as Endpoint
    from fastmesh._core.filter.retry_rule import Retry as Retry
    from fastmesh._core.filter.view import Cancelled as Cancelled
    from fastmesh._core.filter.view import Connection as Connection
    from fastmesh._core.filter.view import Failure as Failure
    from fastmesh._core.filter.view import FilterTimeout as FilterTimeout
    from fastmesh._core.filter.view import HeaderError as HeaderError
    from fastmesh._core.filter.view import Headers as Headers
    from fastmesh._core.filter.view import Labels as Labels
    from fastmesh._core.filter.view import Outcome as Outcome
    from fastmesh._core.filter.view import Request as Request
    from fastmesh._core.filter.view import Response as Response
    from fastmesh._core.filter.view import Signal as Signal
    from fastmesh._core.filter.view import Sleep as sleep
    from fastmesh._core.filter.view import UpstreamError as UpstreamError
    from fastmesh._core.filter.view import ViewClosed as ViewClosed
    from fastmesh._core.filter.view import Wait as Wait
    from fastmesh.filters import shared as shared
    from fastmesh.filters.balancer import LoadBalancer as LoadBalancer
    from fastmesh.filters.discovery import Discovery as Discovery
    from fastmesh.filters.discovery import Endpoints as Endpoints
    from fastmesh.filters.fallback import Fallback as Fallback
    from fastmesh.filters.filter import Filter as Filter
    from fastmesh.filters.healer import Healer as Healer
    from fastmesh.filters.healer import HealEvent as HealEvent
    from fastmesh.filters.mesh import CallFailed as CallFailed
    from fastmesh.filters.policies import AccessLogger as AccessLogger
    from fastmesh.filters.policies import Authorizer as Authorizer
    from fastmesh.filters.policies import RateLimitKey as RateLimitKey
    from fastmesh.filters.policies import RetryPolicy as RetryPolicy
    from fastmesh.filters.types import Duration as Duration
    from fastmesh.filters.types import Secret as Secret
    from fastmesh.filters.types import Share as Share
    from fastmesh.filters.types import Size as Size

# Name -> the module that has it, and its name there.
_PLACES = {
    "CallFailed": ("fastmesh.filters.mesh", "CallFailed"),
    "Discovery": ("fastmesh.filters.discovery", "Discovery"),
    "Endpoint": ("fastmesh._core.filter.balance", "Endpoint"),
    "Endpoints": ("fastmesh.filters.discovery", "Endpoints"),
    "Fallback": ("fastmesh.filters.fallback", "Fallback"),
    "Filter": ("fastmesh.filters.filter", "Filter"),
    "HealEvent": ("fastmesh.filters.healer", "HealEvent"),
    "Healer": ("fastmesh.filters.healer", "Healer"),
    "LoadBalancer": ("fastmesh.filters.balancer", "LoadBalancer"),
    "Retry": ("fastmesh._core.filter.retry_rule", "Retry"),
    "shared": ("fastmesh.filters.shared", ""),
    "sleep": ("fastmesh._core.filter.view", "Sleep"),
    **{name: ("fastmesh.filters.policies", name) for name in (
        "AccessLogger", "Authorizer", "RateLimitKey", "RetryPolicy")},
    **{name: ("fastmesh.filters.types", name) for name in ("Duration", "Secret", "Share", "Size")},
    **{name: ("fastmesh._core.filter.view", name) for name in (
        "Cancelled", "Connection", "Failure", "FilterTimeout", "HeaderError", "Headers", "Labels", "Outcome",
        "Request", "Response", "Signal", "UpstreamError", "ViewClosed", "Wait")},
}  # fmt: skip
__all__ = [
    "AccessLogger", "Authorizer", "CallFailed", "Cancelled", "Connection", "Discovery", "Duration", "Endpoint",
    "Endpoints", "Failure", "Fallback", "Filter", "FilterTimeout", "HeaderError", "Headers", "HealEvent", "Healer",
    "Labels", "LoadBalancer", "Outcome", "RateLimitKey", "Request", "Response", "Retry", "RetryPolicy", "Secret",
    "Share", "Signal", "Size", "UpstreamError", "ViewClosed", "Wait", "__version__", "shared", "sleep",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'fastmesh' has no attribute {name!r}")
    from sys import modules

    place, there = _PLACES[name]
    __import__(place)
    found: object = getattr(modules[place], there) if there else modules[place]
    globals()[name] = found
    return found
