"""Rules for further attempts on their way into a snapshot."""

from typing import Any

from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.retry import Retry, RetryBudget
from fastmesh.config.route import Route

# Bits of _core/resil/retry.
_CONNECT, _RESET, _PROTOCOL, _TIMEOUT = 1 << 1 | 1 << 2, 1 << 3, 1 << 4, 1 << 6
_NO_ANSWER = _CONNECT | _RESET | _PROTOCOL | _TIMEOUT
_FAULTS = {"connect-failure": _CONNECT, "reset": _RESET, "timeout": _TIMEOUT, "protocol-error": _PROTOCOL,
           "gateway-error": _NO_ANSWER, "5xx": _NO_ANSWER}
# The numbers of gRPC's statuses; and what says by a field of the answer that a limit has refused it.
_GRPC = {"cancelled": 1, "deadline-exceeded": 4, "resource-exhausted": 8, "internal": 13, "unavailable": 14}
_HEADERS = {"envoy-ratelimited": "x-envoy-ratelimited"}
_STATUSES = {"gateway-error": (502, 503, 504), "5xx": tuple(range(500, 600)), "retriable-4xx": (409,)}


def retry_of(listener: Listener, route: Route) -> Retry | None:
    """The rule that holds for a route; None where the cluster's settings alone do."""
    if not route.leads_to():
        return None
    return listener.retry if route.retry is None else route.retry


def retries(config: Config) -> list[Any]:
    """The rules, each once; who has them; and the budgets of clusters, as far as they are not as by default."""
    rules: dict[str, tuple[int, list[Any]]] = {}
    uses = []
    for i, listener in enumerate(config.listeners):
        for j, route in enumerate(listener.routes):
            rule = retry_of(listener, route)
            if rule is not None:
                record = _rule(rule)
                place, _ = rules.setdefault(repr(record), (len(rules), record))
                uses.append([i, j, place])
    default = RetryBudget()
    return [[record for _, record in rules.values()], uses,
            [[i, cluster.retry_budget.share, cluster.retry_budget.per_second]
             for i, cluster in enumerate(config.clusters) if cluster.retry_budget != default]]


def _rule(rule: Retry) -> list[Any]:
    faults = 0
    grpc = 0
    headers = list(rule.headers)
    statuses: set[int] = set()
    for condition in rule.on if rule.attempts > 1 else ():
        if isinstance(condition, int):
            statuses.add(condition)
        else:
            faults |= _FAULTS.get(condition, 0)
            grpc |= 1 << _GRPC[condition] if condition in _GRPC else 0
            if condition in _HEADERS and _HEADERS[condition] not in headers:
                headers.append(_HEADERS[condition])
            statuses.update(_STATUSES.get(condition, ()))
    if rule.per_try_timeout is not None:
        faults |= _TIMEOUT
    return [rule.attempts, faults, sorted(statuses), headers, rule.backoff.base, rule.backoff.max,
            rule.retry_after_max, rule.per_try_timeout or 0, rule.non_idempotent, rule.tell and rule.attempts > 1,
            rule.of_retries, grpc]
