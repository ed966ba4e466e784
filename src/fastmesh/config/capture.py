"""What parts of a path were, for the path that takes its place: `/v2/{id}`.

The parts that are kept stand behind each other, so two passes of tables find them: one from the end marks where what
follows a part may begin, one from the beginning gives each part as much as it can have.
"""

import functools
import re
from typing import NamedTuple

from fastmesh.config.automaton import Automaton, TooLarge, Tree, backwards, build
from fastmesh.config.path import normalize_path
from fastmesh.config.regex import Regex
from fastmesh.errors import WrongValue

MAX_PARTS = 31              # bits of a mark, less one
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]?)\}")
_MARK = "fastmesh-hole"
ALLOWED = "a path in which {name} or {1} stands for what was there"


class Captures(NamedTuple):
    """`forward` takes each part; `rest`, read from the end, the part and all that follows. `places`: the number of a
    part by the names of what it keeps."""

    forward: tuple[Automaton, ...]
    rest: tuple[Automaton, ...]
    places: dict[str, int]


class Piece(NamedTuple):
    """A text, or what a part was when `part` is not -1."""

    part: int
    text: bytes


@functools.lru_cache(maxsize=1024)
def captures_of(found: Regex) -> Captures:
    """Raises WrongValue."""
    parts: list[Tree] = []
    places: dict[str, int] = {}
    between: list[Tree] = []
    for child in found.tree[1:] if found.tree[0] == "cat" else (found.tree,):
        assert isinstance(child, tuple)
        if child[0] != "group":
            between.append(child)
            continue
        if between:
            parts.append(("cat", *between))
            between = []
        places[str(child[1])] = len(parts)
        if child[2]:
            places[str(child[2])] = len(parts)
        parts.append(child)
    if between:
        parts.append(("cat", *between))
    if len(parts) > MAX_PARTS:
        raise WrongValue(repr(found.text[:60]), f"at most {MAX_PARTS // 2} groups")
    try:
        return Captures(tuple(build(part) for part in parts),
                        tuple(build(backwards(("cat", *parts[i:]))) for i in range(len(parts))), places)
    except TooLarge:
        raise WrongValue(repr(found.text[:60]), "one whose table has at most 2,048 states",
                         "make what repeats shorter, or write several routes") from None


def pieces_of(text: str, found: Regex) -> list[Piece]:
    """What a path is made of. Raises WrongValue."""
    places = captures_of(found).places
    names = [match[1] for match in _HOLE.finditer(text)]
    outside = _HOLE.sub("", text)
    if "{" in outside or "}" in outside or _MARK in text:
        raise WrongValue(repr(text), ALLOWED, "percent-encode a brace that is meant as itself, as %7B")
    for name in names:
        if name not in places:
            known = ", ".join(f"{{{place}}}" for place in places)
            raise WrongValue(repr(text), f"of what was there, {known or 'nothing'}",
                             f"{{{name}}} is no name of the match, or a group that repeats, may be missing or stands "
                             "within another")
    # The first may be what begins with the slash.
    path = normalize_path(_HOLE.sub(_MARK, text) if not text.startswith("{") else "/" + _HOLE.sub(_MARK, text))
    literals = (path.removeprefix("/") if text.startswith("{") else path).split(_MARK)
    if len(literals) != len(names) + 1:
        raise WrongValue(repr(text), "a path without . and .. as segments")
    pieces = [Piece(-1, literals[0].encode())]
    for name, literal in zip(names, literals[1:], strict=True):
        pieces += [Piece(places[name], b""), Piece(-1, literal.encode())]
    return [piece for piece in pieces if piece.part >= 0 or piece.text]
