"""The subset of a cluster that a request goes to, and why."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastmesh.cli.explained.file import File
from fastmesh.config.cluster import Cluster
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.config.subset import SubsetValue

# As `Tables.subset` tells it: how it was chosen, what was asked for, what its endpoints have, how many there are, and
# the first of them.
Chosen = tuple[str, dict[str, str], dict[str, str], int, list[str]]

_HOW = {
    "subset": "{asked}: {count}",
    "all": "the request asks for none: all endpoints",
    "default": "the request asks for none: the default, {has}: {count}",
    "all instead": "no endpoint is in {asked}: all endpoints, by the fallback",
    "default instead": "no endpoint is in {asked}: the default instead, {has}: {count}",
    "nothing": "no endpoint is in {asked}: answer 503",
}
# As an account of a request that has ended tells it, with what its endpoints have.
_WAS = {
    "subset": "{has}, as asked for",
    "all": "none was asked for: all endpoints",
    "default": "none was asked for: the default, {has}",
    "all instead": "what was asked for has no endpoint: all endpoints",
    "default instead": "what was asked for has no endpoint: the default, {has}",
    "nothing": "what was asked for has no endpoint, and there is no other",
}


def pairs_text(pairs: Mapping[str, str]) -> str:
    """`stage=beta, version=v2`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))


def asked_text(subset: Mapping[str, SubsetValue]) -> str:
    """The same of what a route says."""
    return ", ".join(f"{name}={value.text()}" if value.value is not None else f"{name} {value.text()}"
                     for name, value in sorted(subset.items()))


def in_brackets(subset: Mapping[str, SubsetValue] | None) -> str:
    """Likewise, behind the name of a cluster; nothing when none is asked for."""
    return f" ({asked_text(subset)})" if subset else ""


def subset_lines(file: File, path: Path, at: int, route: Route, cluster: Cluster,
                 chosen: Chosen | None) -> Iterator[str]:
    """`path`: of the route; `at`: of its cluster. Without `chosen` only what holds for all of its requests."""
    split = cluster.subsets
    if split is None:
        return
    by = "; ".join(" and ".join(selector.keys) for selector in split.selectors)
    place = file.place(("clusters", at, "subsets"))
    instead = {"any": "all endpoints", "none": "503", "default": pairs_text(split.default)}[split.fallback]
    yield f"  subsets ({place}) by {by}; where there is no endpoint: {instead}"
    for k, part in enumerate(route.parts()):
        if part.cluster == cluster.name and part.subset:
            where = (*path, "subset") if route.cluster is not None else (*path, "clusters", k, "subset")
            yield f"  the route asks for ({file.place(where)}): {asked_text(part.subset)}"
    if chosen is None:
        return
    how, asked, has, count, endpoints = chosen
    if cluster.discovery is not None:
        wanted = pairs_text(asked) if asked else "none is asked for"
        yield f"  subset: {wanted}; which endpoints it has is not known here"
        return
    counted = f"{count} endpoint{'' if count == 1 else 's'}"
    yield "  subset: " + _HOW[how].format(asked=pairs_text(asked) or "the default", has=pairs_text(has),
                                          count=counted)
    if has:
        yield f"    {', '.join(endpoints)}{f', and {count - len(endpoints):,} more' if count > len(endpoints) else ''}"


def subset_was(account: Mapping[str, Any]) -> Iterator[str]:
    """The same of a request that has ended."""
    if (subset := account.get("subset")) is not None:
        yield f"subset: {_WAS[subset['chosen']].format(has=pairs_text(subset['has']))}"
