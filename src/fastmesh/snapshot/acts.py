"""What a route does to requests and answers, in the written form of a snapshot."""

from typing import Any

from fastmesh.config import capture
from fastmesh.config.capture import captures_of
from fastmesh.config.header_edit import RequestEdit, ResponseEdit, pieces_of
from fastmesh.config.match import Match
from fastmesh.config.redirect import Redirect
from fastmesh.config.regex import compile_regex
from fastmesh.config.rewrite import Rewrite
from fastmesh.config.route import Route
from fastmesh.config.template import compile_template
from fastmesh.snapshot.conditions import Patterns

_STAYS, _WHOLE, _PREFIX, _PARTS = 0, 1, 2, 3
_STAYING: list[Any] = [_STAYS, b"", 0, [], []]
_REMOVE, _SET, _ADD = 0, 1, 2


def acts(route: Route, patterns: Patterns) -> list[Any] | None:
    """None when it passes everything on as it is. Adds to `patterns` what is needed."""
    redirect, rewrite = route.redirect, route.rewrite
    host, change = "", _STAYING
    if rewrite is not None:
        host, change = rewrite.host or "", _change(route.match, rewrite, patterns)
    found = [
        None if redirect is None else [
            redirect.status, redirect.scheme or "", redirect.host or "", redirect.port or 0,
            _change(route.match, redirect, patterns), redirect.strip_query],
        host, change, edits_record(route.request_headers), edits_record(route.response_headers)]
    return None if found == [None, "", _STAYING, [], []] else found


def _change(match: Match, to: Rewrite | Redirect, patterns: Patterns) -> list[Any]:
    if to.path is not None:
        return [_WHOLE, to.path.encode(), 0, [], []]
    if to.template is not None:
        found = compile_regex(match.regex) if match.regex is not None else compile_template(match.template or "")
        captures = captures_of(found)
        return [_PARTS, b"", 0,
                [[patterns.place(one), patterns.place(rest)]
                 for one, rest in zip(captures.forward, captures.rest, strict=True)],
                [[piece.part, piece.text] for piece in capture.pieces_of(to.template, found)]]
    if to.prefix is None:
        return _STAYING
    if match.starts_with is not None:
        return [_PREFIX, to.prefix.encode(), len(match.starts_with), [], []]
    # On a segment border what follows begins with a slash, or there is nothing.
    return [_PREFIX, to.prefix.rstrip("/").encode(), len((match.prefix or "/").rstrip("/")), [], []]


def edits_record(edit: RequestEdit | ResponseEdit | None) -> list[Any]:
    """The edits one by one."""
    if edit is None:
        return []
    written: list[Any] = [[_REMOVE, name, []] for name in edit.remove]
    return written + set_record(edit.set) + _values(_ADD, edit.add)


def set_record(values: dict[str, str]) -> list[Any]:
    """Headers that are set."""
    return _values(_SET, values)


def _values(op: int, values: dict[str, str]) -> list[Any]:
    return [[op, name, [[int(piece.field), piece.text] for piece in pieces_of(text)]] for name, text in values.items()]
