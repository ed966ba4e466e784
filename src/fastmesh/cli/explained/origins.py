"""Which pages of other origins may read the answer."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.match import listed
from fastmesh.cli.explained.request import Request
from fastmesh.config.listener import Listener
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.snapshot.cors import cors_of
from fastmesh.units import format_duration


def origin_lines(file: File, path: Path, listener: Listener, route: Route, request: Request) -> Iterator[str]:
    """The rule of a route, which stands at `path`."""
    rule = cors_of(listener, route)
    if rule is None:
        return
    at: Path = (*path[:2], "cors") if route.cors is None else (*path, "cors")
    whose = listed([origin.exact or f"{{regex: {origin.regex}}}" for origin in rule.allow_origins]) or "no other origin"
    also = ", with credentials" if rule.allow_credentials else ""
    also += ", from the open network too" if rule.allow_private_network else ""
    headers = f"; headers {listed(rule.allow_headers)}" if rule.allow_headers else ""
    yield (f"cors ({file.place(at)}): pages of {whose} may read the answer{also}; methods {listed(rule.allow_methods)}"
           f"{headers}; remembered for {format_duration(rule.max_age)}")
    if request.matched != request.method:
        yield f"it is a preflight for {request.matched}, and answered here"
