"""Tests of filters: without sockets in a `Kit`, or through a real `Proxy`::

    from fastmesh.testing import Kit

    def test_requests_without_a_tenant_are_refused() -> None:
        with Kit(RequireTenant(header="x-team")) as kit:
            assert kit.get("/").status == 400
            assert kit.get("/", headers={"x-team": "blue"}).labels == {"tenant": "blue"}

A `Discovery` is tested by what `take_sets` gets from it, a `Healer` by `tell_healer`. pytest finds the fixtures
`filter_kit` and `filter_proxy` by itself where fastmesh is installed; see `fastmesh.testing.plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastmesh.testing.discovery import take_sets
    from fastmesh.testing.healer import tell_healer
    from fastmesh.testing.kit import Kit, Leftover
    from fastmesh.testing.made_up import endpoint
    from fastmesh.testing.message import Fields, Message
    from fastmesh.testing.origin import Origin
    from fastmesh.testing.proxy import Proxy, ProxyFailed
    from fastmesh.testing.reply import LogLine, Reply, Report, Unanswered
    from fastmesh.testing.upstream import Answer, Asked, Cluster

# Fetched when they are asked for: pytest imports this package wherever fastmesh is installed.
_PLACES = {
    "discovery": ("take_sets",), "healer": ("tell_healer",), "made_up": ("endpoint",),
    "kit": ("Kit", "Leftover"), "message": ("Fields", "Message"),
    "origin": ("Origin",), "proxy": ("Proxy", "ProxyFailed"), "reply": ("LogLine", "Reply", "Report", "Unanswered"),
    "upstream": ("Answer", "Asked", "Cluster")}

__all__ = ["Answer", "Asked", "Cluster", "Fields", "Kit", "Leftover", "LogLine", "Message", "Origin", "Proxy",
           "ProxyFailed", "Reply", "Report", "Unanswered", "endpoint", "take_sets", "tell_healer"]  # fmt: skip


def __getattr__(name: str) -> object:
    for place, names in _PLACES.items():
        if name in names:
            found: object = getattr(import_module(f"fastmesh.testing.{place}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'fastmesh.testing' has no attribute {name!r}")
