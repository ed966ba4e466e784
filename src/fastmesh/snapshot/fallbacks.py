"""Fallbacks of routes on their way into a snapshot."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastmesh.config.fallback import (
    IGNORES,
    REASONS,
    FallbackResponse,
    FallbackStep,
    Stale,
    body_pieces,
    escape_of,
    statuses_of,
)
from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.snapshot.acts import edits_record, set_record
from fastmesh.snapshot.chains import Chains

# STEP_* of _core/resil/fallback_rule.
_CLUSTER, _STALE, _RESPONSE, USE = 1, 2, 3, 4
_GATEWAY = (1 << 7) - 1         # the first seven of REASONS
_STATUSES = {"gateway-error": (502, 503, 504), "5xx": tuple(range(500, 600))}


def fallback_of(listener: Listener, route: Route) -> list[FallbackStep]:
    """The steps that hold for a route; none where a failure is the answer."""
    if not route.leads_to():
        return []
    return (listener.fallback if route.fallback is None else route.fallback) or []


def fallbacks(config: Config, places: Mapping[str, int], policies: Chains | None = None) -> list[Any]:
    """The chains, and who has them. `places`: of the clusters; `policies`: has those of the steps."""
    chains: list[Any] = []
    uses: list[Any] = []
    for i, listener in enumerate(config.listeners):
        known: dict[str, int] = {}      # of this listener's chain: what a prefix takes the place of is the route's
        for j, route in enumerate(listener.routes):
            steps = fallback_of(listener, route)
            if not steps:
                continue
            # Copies are found again after a reload by these names.
            store = listener.name if route.fallback is None else f"{listener.name}/{route.name or f'route-{j}'}"
            at: Path = ("listeners", i, "fallback") if route.fallback is None else (
                "listeners", i, "routes", j, "fallback")
            chain = [_step(step, route, places, store, None if step.use is None or policies is None else
                           policies.fallback((*at, k))) for k, step in enumerate(steps)]
            key = repr(chain)
            if key not in known or route.fallback is not None:
                known[key] = len(chains)
                chains.append(chain)
            uses.append([i, j, known[key]])
    return [chains, uses]


def steps_of(config: Config, uses: Iterable[list[int]]) -> Iterator[tuple[int, int, FallbackStep]]:
    """All steps, with the places of their chain and of the step in it. `uses`: who has which chain."""
    seen = set()
    for i, j, chain in uses:
        if chain not in seen:
            seen.add(chain)
            listener = config.listeners[i]
            for k, step in enumerate(fallback_of(listener, listener.routes[j])):
                yield chain, k, step


def _step(step: FallbackStep, route: Route, places: Mapping[str, int], store: str,
          policy: list[Any] | None) -> list[Any]:
    if step.cluster is not None:
        kind, what = _CLUSTER, _to_cluster(step, route, places[step.cluster])
    elif step.stale is not None:
        kind, what = _STALE, _from_copies(step.stale, store)
    elif policy is not None:
        kind, what = USE, policy
    else:
        assert step.response is not None
        kind, what = _RESPONSE, _answer(step.response)
    return [kind, *named_by(step.on), what]


def named_by(on: Iterable[str]) -> tuple[int, list[int]]:
    """A bit for each of the reasons, and the statuses."""
    reasons = 0
    statuses: set[int] = set()
    for condition in on:
        if condition in REASONS:
            reasons |= 1 << REASONS.index(condition)
        elif condition in _STATUSES:
            reasons |= _GATEWAY
            statuses.update(_STATUSES[condition])
        else:
            statuses.update(statuses_of(condition) or ())
    return reasons, sorted(statuses)


def _to_cluster(step: FallbackStep, route: Route, place: int) -> list[Any]:
    rewrite = step.rewrite
    host, path, cut, prefix = "", "", "", ""
    if rewrite is not None:
        host, path = rewrite.host or "", rewrite.path or ""
        if rewrite.prefix is not None:
            own = route.rewrite.prefix if route.rewrite is not None else None
            cut, prefix = (own or route.match.prefix or "/").rstrip("/"), rewrite.prefix
    return [place, step.non_idempotent, step.timeout or 0, host, path, cut, prefix, edits_record(step.request_headers)]


def _from_copies(stale: Stale, store: str) -> list[Any]:
    return [store, stale.max_age, stale.max_body, stale.max_bytes, stale.max_entries, list(stale.headers),
            sum(1 << IGNORES.index(what) for what in set(stale.ignore))]


def _answer(response: FallbackResponse) -> list[Any]:
    pieces = body_pieces(response.body) if response.body else []
    return [response.status, response.content_type if response.body else "", escape_of(response.content_type),
            set_record(response.headers),
            [[int(op.field), op.text if op.field else op.text.encode()] for op in _joined(pieces)]]


def _joined(pieces: list[Any]) -> list[Any]:
    """The same with neighbouring texts made one."""
    found: list[Any] = []
    for op in pieces:
        if found and not op.field and not found[-1].field:
            found[-1] = op._replace(text=found[-1].text + op.text)
        else:
            found.append(op)
    return found
