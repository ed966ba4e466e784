"""URI templates: `/users/{id}/orders/**`."""

import functools
import re

from fastmesh.config.automaton import Tree
from fastmesh.config.path import normalize_path
from fastmesh.config.regex import Regex, literal_tree, of_tree
from fastmesh.errors import WrongValue

ALLOWED = "a path of which {name} or * stands for what is in one segment, and ** at the end for all that follows"
PATTERN = r"^/[^?#\s]*$"
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(=\*\*)?\}|\*\*|\*")
_SEGMENT: Tree = ("repeat", ("set", ((1 << 256) - 1) ^ 1 << ord("/")), 1, None)
_REST: Tree = ("repeat", ("set", (1 << 256) - 1), 0, None)
_MARK = "fastmesh-hole"     # stands for a hole while what is around it is brought into normal form


@functools.lru_cache(maxsize=4096)
def compile_template(text: str) -> Regex:
    """Raises WrongValue."""
    if not text.startswith("/"):
        raise WrongValue(repr(text), ALLOWED, f"write /{text}")
    whole, rest = text, ""
    if text == "/**" or re.search(r"/(\*\*|\{[A-Za-z_][A-Za-z0-9_]*=\*\*\})$", text):
        text, _, rest = text.rpartition("/")
    names = [match[1] for match in (*_HOLE.finditer(text), *_HOLE.finditer(rest)) if match[1]]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WrongValue(repr(whole), "names that differ", f"give the second {{{twice}}} another name")
    for match in _HOLE.finditer(text):
        if match[0].startswith("**") or match[2]:
            raise WrongValue(repr(whole), ALLOWED, f"write {match[0]} only as the last segment")
    outside = _HOLE.sub("", text)
    if "{" in outside or "}" in outside or "*" in outside:
        raise WrongValue(repr(whole), ALLOWED, "a name is letters, digits and _; percent-encode a brace that is meant "
                                               "as itself, as %7B")
    if re.search(r"(\}|\*)(\{|\*)", text):
        raise WrongValue(repr(whole), "text between two holes of one segment")
    if _MARK in text:
        raise WrongValue(repr(whole), f"a template without {_MARK}")
    path = normalize_path(_HOLE.sub(_MARK, text)) if text else ""
    if path.count(_MARK) != len(_HOLE.findall(text)):
        raise WrongValue(repr(whole), "a template without . and .. as segments")
    parts: list[Tree] = []
    holes = [match[1] or "" for match in _HOLE.finditer(text)]
    for i, literal in enumerate(path.split(_MARK)):
        if i:
            parts.append(("group", i, holes[i - 1], _SEGMENT))
        parts += literal_tree(literal.encode())[1:]  # type: ignore[arg-type]
    if rest:
        # Nothing more, or a slash and anything; the slash belongs to it.
        name = names[-1] if rest.startswith("{") else ""
        parts.append(("group", len(holes) + 1, name, ("repeat", ("cat", ("set", 1 << ord("/")), _REST), 0, 1)))
    return of_tree(whole, ("cat", *parts))
