"""Subsets of clusters, and the routes that ask for them, on their way into a snapshot."""

from collections.abc import Mapping
from typing import Any

from fastmesh.config.model import Config
from fastmesh.config.subset import FALLBACKS, SubsetValue


def subsets(config: Config, places: Mapping[str, int]) -> list[Any]:
    """The item `subsets`. `places`: of the clusters."""
    return [
        [[places[cluster.name], [sorted(selector.keys, key=_order) for selector in split.selectors],
          FALLBACKS.index(split.fallback),
          [word for name in sorted(split.default, key=_order) for word in (name, split.default[name])], split.max]
         for cluster in config.clusters if (split := cluster.subsets) is not None],
        [[i, j, -1 if route.cluster is not None else k,
          [_word(name, part.subset[name]) for name in sorted(part.subset, key=_order)]]
         for i, listener in enumerate(config.listeners) for j, route in enumerate(listener.routes)
         for k, part in enumerate(route.parts()) if part.subset]]


def _order(name: str) -> bytes:
    # As compiled code compares them.
    return name.encode("utf-8", "surrogatepass")


def _word(name: str, value: SubsetValue) -> list[Any]:
    text = value.default if value.value is None else value.value
    return [name, (value.header or "").lower(), text is not None, text or ""]
