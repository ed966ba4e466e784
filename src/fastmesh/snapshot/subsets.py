"""Subsets of clusters, and the routes that ask for them, on their way into a snapshot."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastmesh.config.fallback import FallbackStep
from fastmesh.config.model import Config
from fastmesh.config.subset import FALLBACKS, SubsetValue


def subsets(config: Config, places: Mapping[str, int], chains: Iterable[tuple[int, int, FallbackStep]]) -> list[Any]:
    """The item `subsets`. `places`: of the clusters; `chains`: the steps of fallbacks, with the places of the chain and
    of the step in it."""
    return [
        [[places[cluster.name], [sorted(selector.keys, key=_order) for selector in split.selectors],
          FALLBACKS.index(split.fallback),
          [word for name in sorted(split.default, key=_order) for word in (name, split.default[name])], split.max]
         for cluster in config.clusters if (split := cluster.subsets) is not None],
        [[i, j, -1 if route.cluster is not None else k, _words(part.subset)]
         for i, listener in enumerate(config.listeners) for j, route in enumerate(listener.routes)
         for k, part in enumerate(route.parts()) if part.subset],
        [[i, j, k, _words(mirror.subset)]
         for i, listener in enumerate(config.listeners) for j, route in enumerate(listener.routes)
         for k, mirror in enumerate(route.mirrors) if mirror.subset],
        [[chain, k, _words(step.subset)] for chain, k, step in chains if step.subset]]


def _words(asked: Mapping[str, SubsetValue]) -> list[list[Any]]:
    return [_word(name, asked[name]) for name in sorted(asked, key=_order)]


def _order(name: str) -> bytes:
    # As compiled code compares them.
    return name.encode("utf-8", "surrogatepass")


def _word(name: str, value: SubsetValue) -> list[Any]:
    text = value.default if value.value is None else value.value
    return [name, (value.header or "").lower(), text is not None, text or ""]
