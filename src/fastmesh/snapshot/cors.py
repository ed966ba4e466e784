"""Rules about pages of other origins on their way into a snapshot."""

from typing import Any

from fastmesh.config.cors import ANY, Cors, Origin
from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.regex import compile_regex
from fastmesh.config.route import Route
from fastmesh.snapshot.conditions import Patterns

# Of _core/route/cors_rule.
_EXACT, _BELOW, _PATTERN = 0, 1, 2
_SECOND = 1_000_000_000


def cors_of(listener: Listener, route: Route) -> Cors | None:
    """The rule that holds for a route; None where upstreams say it themselves."""
    rule = listener.cors if route.cors is None else route.cors
    return rule if rule is not None and rule.enabled else None


def cors(config: Config, patterns: Patterns) -> list[Any]:
    """The rules, each once, and who has them. Adds to `patterns` what they need."""
    rules: dict[str, tuple[int, list[Any]]] = {}
    uses = []
    for i, listener in enumerate(config.listeners):
        for j, route in enumerate(listener.routes):
            rule = cors_of(listener, route)
            if rule is not None:
                record = _rule(rule, patterns)
                place, _ = rules.setdefault(repr(record), (len(rules), record))
                uses.append([i, j, place])
    return [[record for _, record in rules.values()], uses]


def _rule(rule: Cors, patterns: Patterns) -> list[Any]:
    is_any = any(origin.exact == ANY for origin in rule.allow_origins)
    return [is_any, [] if is_any else [_one(origin, patterns) for origin in rule.allow_origins],
            ", ".join(rule.allow_methods), ", ".join(rule.allow_headers), ", ".join(rule.expose_headers),
            rule.max_age // _SECOND, rule.allow_credentials, rule.allow_private_network]


def _one(origin: Origin, patterns: Patterns) -> list[Any]:
    if origin.exact is None:
        assert origin.regex is not None
        return [_PATTERN, "", "", patterns.place(compile_regex(origin.regex).automaton)]
    scheme, wild, domain = origin.exact.partition("://*.")
    if wild:
        return [_BELOW, f"{scheme}://", f".{domain}", -1]
    return [_EXACT, origin.exact, "", -1]
