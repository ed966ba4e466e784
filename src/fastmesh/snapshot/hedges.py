"""Rules for attempts beside the first on their way into a snapshot."""

from typing import Any

from fastmesh.config.hedge import Hedge, part_of
from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.route import Route


def hedge_of(listener: Listener, route: Route) -> Hedge | None:
    """The rule that holds for a route."""
    if not route.leads_to():
        return None
    return listener.hedge if route.hedge is None else route.hedge


def hedges(config: Config) -> list[Any]:
    """The rules, each once, and who has them."""
    rules: dict[str, tuple[int, list[Any]]] = {}
    uses = []
    for i, listener in enumerate(config.listeners):
        for j, route in enumerate(listener.routes):
            rule = hedge_of(listener, route)
            if rule is not None:
                record = hedge_record(rule)
                place, _ = rules.setdefault(repr(record), (len(rules), record))
                uses.append([i, j, place])
    return [[record for _, record in rules.values()], uses]


def hedge_record(rule: Hedge) -> list[Any]:
    """A rule as it stands in a snapshot."""
    waits = rule.on == "delay"
    part = part_of(rule.delay) if waits else 0
    return [rule.attempts, rule.delay if waits and not part else 0, rule.min_delay if part else 0, part,
            rule.budget.share, rule.budget.per_second, not waits, rule.non_idempotent, rule.tell]
