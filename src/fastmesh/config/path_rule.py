"""How the paths of a match are told to the workers: where they are filed, and what is left to compare."""

from typing import NamedTuple

from fastmesh.config.automaton import Automaton
from fastmesh.config.match import Match
from fastmesh.config.regex import compile_regex
from fastmesh.config.template import compile_template


class PathRule(NamedTuple):
    """`kind` is a key of wire.PATH_KINDS.

    `literal` is what a path is, or begins with: on a segment border but with `starts`. `automaton` takes whole paths.
    """

    kind: str
    literal: bytes
    automaton: Automaton | None = None


def path_rule(match: Match) -> PathRule:
    """The rule of a match; that for every path when it names none."""
    if match.path is not None:
        return PathRule("exact", match.path.encode())
    if match.starts_with is not None:
        return PathRule("starts", match.starts_with.encode())
    if match.regex is not None:
        found = compile_regex(match.regex)
        return PathRule("pattern", on_border(found.literal), found.automaton)
    if match.template is not None:
        found = compile_template(match.template)
        return PathRule("pattern", on_border(found.literal), found.automaton)
    if match.grpc is not None:
        service, method = match.grpc.service, match.grpc.method
        if service is None and method is not None:
            return PathRule("pattern", b"/", compile_template(f"/*/{method}").automaton)
        if service is not None:
            return PathRule("prefix" if method is None else "exact", f"/{service}/{method or ''}".encode())
    return PathRule("prefix", (match.prefix or "/").encode())


def on_border(literal: bytes) -> bytes:
    """The longest prefix on a segment border that holds for all texts that begin with `literal`."""
    at = literal.rfind(b"/")
    return literal[:at] if at > 0 else b"/"
