"""Filters on their way into a snapshot: slots, rules and chains, and what the worker's Python is told of each slot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastmesh.config.fallback import FallbackQuarantine, FallbackStep
from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.filter import FilterUse
from fastmesh.config.load_balancer import LoadBalancer
from fastmesh.config.match import Match
from fastmesh.config.model import Config
from fastmesh.config.report import Path
from fastmesh.snapshot import wire
from fastmesh.snapshot.conditions import Patterns, conditions
from fastmesh.snapshot.registry import Registry

if TYPE_CHECKING:
    from fastmesh.filters.inspection import Found, Inspected

_SECOND = 1_000_000_000
_ISOLATED_TIMEOUT = _SECOND
_TIMEOUT = 30 * _SECOND
FALLBACK_TIMEOUT = _SECOND
HIDDEN = "(secret)"
# What a filter host reads of a slot.
HOSTED = frozenset(("name", "kind", "module", "qualname", "file", "fingerprint", "settings", "phases", "needs",
                    "timeout_ns"))


class Chains:
    """One slot for each filter that is referred to, and for each one in place, in the order of the file."""

    def __init__(self, config: Config, found: Inspected | None, registry: Registry) -> None:
        """Gives each slot its number. Raises ValueError when the configuration has filters that nobody looked at."""
        self.patterns = Patterns()              # of the whole snapshot
        self.rules: list[list[Any]] = []
        self.chains: list[list[int]] = []
        self.slots: list[dict[str, Any]] = []
        # Of each slot, in the file. Not in the slots: a filter that stands elsewhere now is still the same.
        self.places: list[str] = []
        self.rows: dict[int, str] = {}
        self._of: dict[Path, int] = {}          # a list of filters → its chain
        self._balancers: dict[int, list[int]] = {}      # a cluster → its policy's slot and interval
        self._fallbacks: dict[Path, int] = {}   # a step of a fallback → its policy's slot
        self._files: dict[str, str] = {}
        self._found = found
        self._priority = config.filter_host.priority
        self._memory = config.filter_memory
        lists = [(path, owner, uses) for path, owner, uses in lists_of(config) if uses]
        policies = [(i, cluster) for i, cluster in enumerate(config.clusters) if cluster.load_balancer.is_policy]
        steps = list(steps_of(config))
        if (lists or policies or steps) and found is None:
            raise ValueError("the configuration has filters, and their classes were not looked at")
        taken = {use.name for use in config.filters} | {
            use.name for _, _, uses in lists for use in uses if use.name is not None} | {
            cluster.load_balancer.name for _, cluster in policies} | {step.name for _, _, step in steps}
        referred = {use.name for _, _, uses in lists for use in uses if use.is_reference}
        slots: dict[str, int] = {}              # of the top level, by name
        wanted: list[tuple[str, FilterUse | LoadBalancer | FallbackStep, Path]] = []
        for i, use in enumerate(config.filters):
            if use.name in referred:
                slots[use.name or ""] = len(wanted)
                wanted.append((use.name or "", use, ("filters", i)))
        known: dict[tuple[int, ...], int] = {}  # chains that are alike are one
        for path, owner, uses in lists:
            chain = []
            for i, use in enumerate(uses):
                if use.is_reference:
                    chain.append(slots[use.name or ""])
                    continue
                name = use.name or _own_name(self._at((*path, i)).loaded.cls.__name__, owner, taken)
                taken.add(name)
                chain.append(len(wanted))
                wanted.append((name, use, (*path, i)))
            if tuple(chain) not in known:
                known[tuple(chain)] = len(self.chains)
                self.chains.append(chain)
            self._of[path] = known[tuple(chain)]
        for i, cluster in policies:
            path = ("clusters", i, "load_balancer")
            policy, seen = cluster.load_balancer, self._at(path)
            name = policy.name or _own_name(seen.loaded.cls.__name__, cluster.name, taken)
            taken.add(name)
            self._balancers[i] = [len(wanted), policy.interval or seen.interval]
            wanted.append((name, policy, path))
        alike: dict[str, int] = {}              # a named step that several routes have taken over is one
        for path, owner, step in steps:
            if step.name is None or step.name not in alike:
                name = step.name or _own_name(self._at(path).loaded.cls.__name__, owner, taken)
                taken.add(name)
                alike[name] = len(wanted)
                wanted.append((name, step, path))
            else:
                name = step.name
            self._fallbacks[path] = alike[name]
        rows = registry.filters.assign(name for name, _, _ in wanted)
        for name, one, path in wanted:
            self.rows[rows[name]] = name
            self.places.append(self._at(path).place)
            if isinstance(one, LoadBalancer):
                self.rules.append([None, SHARE_ALL])
                self.slots.append(self._balancer_slot(rows[name], name, one, self._at(path)))
            elif isinstance(one, FallbackStep):
                self.rules.append([None, SHARE_ALL])
                self.slots.append(self._fallback_slot(rows[name], name, one, self._at(path)))
            else:
                self.rules.append([match_record(one.match, self.patterns),
                                   SHARE_ALL if one.match is None else one.match.share])
                self.slots.append(self._slot(rows[name], name, one, self._at(path)))

    def of(self, *path: int | str) -> int:
        """The chain of a listener, route or cluster, by its place in the configuration."""
        return self._of.get((*path, "filters"), wire.NO_CHAIN)

    def balancer(self, cluster: int) -> list[int] | None:
        """Of a cluster, by its place: the slot of the policy that balances it, and the nanoseconds between two of its
        weights."""
        return self._balancers.get(cluster)

    def fallback(self, path: Path) -> list[Any]:
        """Of a step, by its place: the slot of its policy, its name, and whether it comes before filters."""
        slot = self._fallbacks[path]
        return [slot, self.slots[slot]["name"], self._at(path).before_filters]

    def blob(self) -> bytes:
        """For the worker's Python; empty when there is no filter."""
        if not self.slots:
            return b""
        from fastmesh.filters.blob import pack

        return pack({"slots": self.slots, "places": self.places, "files": self._files, "paths": import_paths(),
                     "memory": self._memory})

    def isolated(self) -> dict[str, Any] | None:
        """For control, of the filters that run in a host: a key that changes when any of them or their host does,
        their names, the longest of their timeouts, and the host's priority."""
        slots = [slot for slot in self.slots if slot["isolated"]]
        if not slots:
            return None
        import hashlib  # brings OpenSSL along, and most configurations have no filter

        from fastmesh.filters.blob import pack

        # Rows and error policies are the worker's business.
        told = [{key: value for key, value in slot.items() if key in HOSTED} for slot in slots]
        return {"key": hashlib.sha256(pack([told, import_paths(), self._priority])).hexdigest()[:32],
                "names": [slot["name"] for slot in slots], "timeout_ns": max(slot["timeout_ns"] for slot in slots),
                "priority": self._priority}

    def hide_secrets(self, written: dict[str, Any]) -> None:
        """Takes out of a configuration as it is shown what nobody is shown."""
        for path, found in (self._found.by_place if self._found is not None else {}).items():
            here: Any = written
            for step in path:
                here = here[step]
            for name in found.secrets:
                if name in here:
                    here[name] = HIDDEN

    def _at(self, path: Path) -> Found:
        assert self._found is not None
        return self._found.by_place[path]

    def _slot(self, row: int, name: str, use: FilterUse, found: Found) -> dict[str, Any]:
        isolated = found.isolated if use.isolated is None else use.isolated
        return {
            **self._any_slot(row, name, use, found, "closed" if found.security else "open"),
            "timeout_ns": use.timeout or found.timeout or (_ISOLATED_TIMEOUT if isolated else _TIMEOUT),
            "body_limit": found.body_limit if use.body_limit is None else use.body_limit,
            "isolated": isolated, "needs": None if found.needs is None else list(found.needs),
            "second_ns": found.budget_per_second if use.budget_per_second is None else use.budget_per_second,
        }

    def _balancer_slot(self, row: int, name: str, use: LoadBalancer, found: Found) -> dict[str, Any]:
        # It waits for nothing and collects no body.
        return {**self._any_slot(row, name, use, found, "open"), "timeout_ns": _TIMEOUT, "body_limit": 0,
                "isolated": False, "needs": None}

    def _fallback_slot(self, row: int, name: str, step: FallbackStep, found: Found) -> dict[str, Any]:
        # What it fails to say, the next step does.
        return {**self._any_slot(row, name, step, found, "open"), "timeout_ns": step.timeout or FALLBACK_TIMEOUT,
                "body_limit": 0, "isolated": found.isolated if step.isolated is None else step.isolated,
                "needs": None if found.needs is None else list(found.needs)}

    def _any_slot(self, row: int, name: str, use: FilterUse | LoadBalancer | FallbackStep, found: Found,
                  on_error: str) -> dict[str, Any]:
        loaded, quarantine = found.loaded, use.quarantine or FallbackQuarantine()
        if loaded.kind == "file":
            self._files[loaded.fingerprint] = loaded.source
        return {
            "row": row, "name": name, "use": use.use, "kind": loaded.kind, "module": loaded.module,
            "qualname": loaded.qualname, "file": loaded.file, "fingerprint": loaded.fingerprint,
            "settings": found.settings, "phases": found.phases,
            "on_error": on_error if isinstance(use, FallbackStep) else use.on_error or found.on_error or on_error,
            "security": found.security,
            "budget_ns": found.budget if use.budget is None else use.budget,
            "changes_body": found.changes_body,
            "shadow": not isinstance(use, FallbackStep) and use.mode == "shadow",
            "quarantine": [quarantine.failures, quarantine.window, quarantine.pause, quarantine.longest],
        }


def lists_of(config: Config) -> Iterator[tuple[Path, str, list[FilterUse]]]:
    """Every list of filters below the top level: where it stands, the name of what it belongs to, and what it holds."""
    for i, listener in enumerate(config.listeners):
        yield ("listeners", i, "filters"), listener.name, listener.filters
        for j, route in enumerate(listener.routes):
            yield (("listeners", i, "routes", j, "filters"), f"{listener.name}/{route.name or f'route-{j}'}",
                   route.filters)
    for i, cluster in enumerate(config.clusters):
        yield ("clusters", i, "filters"), cluster.name, cluster.filters


def steps_of(config: Config) -> Iterator[tuple[Path, str, FallbackStep]]:
    """Every step of a fallback with a policy: where it stands, the name of what it belongs to, and what it says."""
    for i, listener in enumerate(config.listeners):
        chains: list[tuple[Path, str, list[FallbackStep]]] = [
            (("listeners", i, "fallback"), listener.name, listener.fallback or [])]
        chains += [(("listeners", i, "routes", j, "fallback"), f"{listener.name}/{route.name or f'route-{j}'}",
                    route.fallback or []) for j, route in enumerate(listener.routes)]
        for path, owner, steps in chains:
            for k, step in enumerate(steps):
                if step.use is not None:
                    yield (*path, k), owner, step


def import_paths() -> list[str]:
    """Where modules are found, without the standard library, which every interpreter finds by itself."""
    library = os.path.dirname(os.__file__)
    return [os.path.abspath(path) for path in sys.path if path and os.path.exists(path) and path != library
            and not path.endswith(("lib-dynload", ".zip"))]


def _own_name(cls: str, owner: str, taken: set[str | None]) -> str:
    name = f"{cls}@{owner}"
    number = 2
    while name in taken:
        name = f"{cls}@{owner}.{number}"
        number += 1
    return name


def match_record(match: Match | None, patterns: Patterns) -> list[Any] | None:
    """A route that leads nowhere; None when every request matches. Its share is the rule's."""
    if match is None:
        return None
    match = match.model_copy(update={"share": SHARE_ALL})
    found = conditions(match, patterns)
    if not (match.path or found.path != b"/" or found.hosts or found.methods or found.headers or found.further):
        return None
    return ["", *found[:5], -1, 200, b"", "", 0, found.further, None, None, wire.NO_CHAIN, 0, False,
            0]
