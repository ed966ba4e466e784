"""The rate limits that a request meets."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.match import Verdicts
from fastmesh.config.rate_limit import RateLimit
from fastmesh.config.report import Path


def limit_lines(file: File, path: Path, limits: list[RateLimit], verdicts: Verdicts) -> Iterator[str]:
    """Those of one list, which stands at `path`."""
    shared = {limit.name: (i, limit) for i, limit in enumerate(file.config.rate_limits)}
    for i, named in enumerate(limits):
        limit, place = named, file.place((*path, i))
        if named.is_reference:
            at, limit = shared[named.name]
            place = file.place(("rate_limits", at))
        key = ", ".join(map(str, limit.key))
        whose = f"for each {key}" if key else "for all together"
        takes, why = verdicts.of(limit.match)
        counts = f"not this request: {why}" if not takes else f"counts this request{f', {why}' if why else ''}"
        tells = ", only tells (dry_run)" if limit.dry_run else f", else {limit.status}"
        yield f"  {limit.name} ({place}): {limit.rate}, at most {limit.depth:,} at once, {whose}{tells}; {counts}"
