"""The filters that a request meets."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.match import Verdicts
from fastmesh.config.filter import FilterUse
from fastmesh.config.report import Path


def filter_lines(file: File, path: Path, uses: list[FilterUse], verdicts: Verdicts | None) -> Iterator[str]:
    """Those of one list, which stands at `path`. Without `verdicts` nothing is said of matches: of TCP connections."""
    shared = {use.name: (i, use) for i, use in enumerate(file.config.filters)}
    for i, named in enumerate(uses):
        use, place = named, file.place((*path, i))
        if named.is_reference:
            at, use = shared[named.name]
            place = file.place(("filters", at))
        runs = "is asked"
        if verdicts is not None:
            takes, why = verdicts.of(use.match)
            runs = f"is not asked: {why}" if not takes else f"is asked{f', {why}' if why else ''}"
        shadow = ", on copies (mode: shadow)" if use.mode == "shadow" else ""
        called = f"{use.name}, {use.use}" if use.name else use.use
        yield f"  {called} ({place}): {runs}{shadow}"
