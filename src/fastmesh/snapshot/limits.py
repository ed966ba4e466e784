"""Rate limits on their way into a snapshot."""

from collections.abc import Iterator
from typing import Any

from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.model import Config
from fastmesh.config.rate_limit import RateLimit
from fastmesh.snapshot import wire
from fastmesh.snapshot.chains import match_record
from fastmesh.snapshot.conditions import Patterns
from fastmesh.snapshot.registry import Registry

_SECOND = 1_000_000_000


def rate_limits(config: Config, registry: Registry, patterns: Patterns) -> list[Any]:
    """The limits that somebody has, each once, and who has them. Gives each its number; adds to `patterns` what their
    matches need."""
    lists = list(_lists(config))
    used = {limit.name for _, _, limits in lists for limit in limits}
    whole = [limit for limit in config.rate_limits if limit.name in used]
    whole += [limit for _, _, limits in lists for limit in limits if not limit.is_reference]
    rows = registry.limits.assign(limit.name for limit in whole)
    places = {limit.name: place for place, limit in enumerate(whole)}
    return [[_limit(limit, rows[limit.name], patterns) for limit in whole],
            [[listener, route, [places[limit.name] for limit in limits]] for listener, route, limits in lists]]


def policy(name: str, depth: int, nanoseconds: int) -> str:
    """The item of RateLimit-Policy, as the filter RateLimitKey writes it: `depth` come back in the window."""
    return f'"{name}";q={depth};w={max(1, round(depth * nanoseconds / _SECOND))}'


def _lists(config: Config) -> Iterator[tuple[int, int, list[RateLimit]]]:
    """Places of listener and route, and their limits; of a listener first, then of its routes."""
    for i, listener in enumerate(config.listeners):
        if listener.rate_limits:
            yield i, -1, listener.rate_limits
        for j, route in enumerate(listener.routes):
            if route.rate_limits:
                yield i, j, route.rate_limits


def _limit(limit: RateLimit, row: int, patterns: Patterns) -> list[Any]:
    token, depth = limit.rate.nanoseconds, limit.depth
    many = "request" if depth == 1 else "requests"
    return [
        # Whole tokens of whole nanoseconds: exactly as many as it says fit into a bucket.
        limit.name, row, wire.LIMIT_KINDS["local"], token, token * depth, limit.keys if limit.key else 1,
        [[wire.KEY_SOURCES[part.source], part.name] for part in limit.key], match_record(limit.match, patterns),
        SHARE_ALL if limit.match is None else limit.match.share, limit.status, limit.dry_run, limit.missing == "skip",
        limit.headers and not limit.dry_run, policy(limit.name, depth, token), f"local_rate_limited{{{limit.name}}}",
        f"the rate limit {limit.name} allows {limit.rate}, and {depth} {many} at once",
    ]
