"""All filters and policies of a configuration: their classes imported, their settings read, everything that is wrong
in one go.

It works on what the file says, as the checks of the configuration do, so that it finds everything even where another
part of the file is wrong.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from fastmesh.config.chains import Chain, balancers_of, chains_of, fallbacks_of, named_of
from fastmesh.config.checks import Finder, map_of, maps_of, text_of
from fastmesh.config.fallback import FallbackStep
from fastmesh.config.fields import read_flag, shown
from fastmesh.config.filter import FilterUse
from fastmesh.config.load import Looked
from fastmesh.config.load_balancer import LoadBalancer as LoadBalancerUse
from fastmesh.config.report import Path
from fastmesh.config.yaml_tree import Tree, Value
from fastmesh.errors import WrongValue
from fastmesh.filters.balancer import LoadBalancer
from fastmesh.filters.discovery_inspection import inspect_discoveries
from fastmesh.filters.fallback import Fallback
from fastmesh.filters.filter import Filter
from fastmesh.filters.given import Keys, bad_settings_of, read_given
from fastmesh.filters.heal_inspection import inspect_healers
from fastmesh.filters.loading import FALLBACK, FILTER, LOAD_BALANCER, CannotLoad, Kind, Loaded, Loader
from fastmesh.filters.phases import (
    ANSWER,
    PHASES,
    QUESTIONS,
    TCP_PHASES,
    BadClass,
    answer_of,
    phases_of,
    questions_of,
)
from fastmesh.filters.policy_inspection import PolicyFound
from fastmesh.filters.settings import settings_of
from fastmesh.units import format_duration, parse_duration, parse_size

# What the operator writes beside the settings, and what every instance has already.
RESERVED = frozenset((*FilterUse.OPERATORS, "log", "metrics", "mesh", "security", "needs", "changes_body", "start",
                      "stop", *PHASES))
KEYS = Keys(FilterUse.OPERATORS, RESERVED, "filters")
BALANCER_RESERVED = frozenset((*LoadBalancerUse.OPERATORS, *LoadBalancerUse.REFUSED, "log", "metrics", "start", "stop",
                               *QUESTIONS))
BALANCER_KEYS = Keys(LoadBalancerUse.OPERATORS, BALANCER_RESERVED, "clusters.load_balancer", LoadBalancerUse.REFUSED)
# What else a step may have is told beside `use`, by the checks of fallbacks.
STEP_REFUSED = tuple(key for key in FallbackStep.model_fields if key not in FallbackStep.OPERATORS)
STEP_RESERVED = frozenset((*FallbackStep.model_fields, "log", "metrics", "mesh", "needs", "before_filters", "start",
                           "stop", ANSWER))
STEP_KEYS = Keys(FallbackStep.OPERATORS, STEP_RESERVED, "listeners.routes.fallback", STEP_REFUSED)
POLICIES = ("closed", "open", "skip")
BALANCER_POLICIES = ("closed", "open")


class Found(NamedTuple):
    """One filter, load balancer or fallback of the file that can be used, with what its class has decided."""

    loaded: Loaded
    phases: dict[str, str]          # and their kinds; of a load balancer, what it can be asked
    settings: dict[str, Any]        # every one that the class declares
    secrets: frozenset[str]         # names of those that nobody is shown
    security: bool
    isolated: bool
    needs: tuple[str, ...] | None   # headers that travel to it, when it is isolated
    changes_body: bool
    on_error: str | None
    budget: int                     # nanoseconds
    body_limit: int                 # bytes
    place: str                      # where the file names it, for what goes wrong later
    interval: int = 0               # nanoseconds, of a load balancer
    before_filters: bool = False    # of a fallback
    timeout: int | None = None      # nanoseconds, of a filter; None = the default
    budget_per_second: int = 0      # nanoseconds, of a filter; 0 = no limit


class Inspected(NamedTuple):
    """All of them by their places: `("filters", 0)`, `("listeners", 1, "filters", 0)`, `("clusters", 0,
    "load_balancer")`, `("listeners", 1, "fallback", 0)`, …"""

    by_place: dict[Path, Found]
    files: list[str]                # that classes come from, whether or not they could be loaded
    discoveries: dict[Path, PolicyFound]  # `("clusters", 0, "endpoints")`
    healers: dict[Path, PolicyFound]      # `("clusters", 0, "heal")`


def inspect(tree: Tree) -> Looked:
    """Loads every filter and every policy of the file."""
    look = _Look(tree)
    look.run()
    discoveries = inspect_discoveries(tree, look.loader)
    healers = inspect_healers(tree, look.loader)
    return Looked([*look.find.problems, *discoveries.problems, *healers.problems],
                  [*look.warn.problems, *discoveries.warnings, *healers.warnings],
                  Inspected(look.found, look.loader.files, discoveries.found, healers.found))


class _Look:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.find = Finder(tree)
        self.warn = Finder(tree)
        self.loader = Loader(os.path.dirname(tree.source.name))
        self.found: dict[Path, Found] = {}
        self.seen: set[type] = set()        # classes that were looked at: what is wrong with one is said once
        self.printed: set[str] = set()

    def run(self) -> None:
        root = map_of(self.tree.value)
        chains = list(chains_of(root))
        for i, item in maps_of(root, "filters"):
            self.one(("filters", i), item)
        for chain in chains:
            for i, entry in enumerate(chain.items):
                if isinstance(entry, dict):
                    self.one((*chain.path, i), entry)
        named = {name: (("filters", i), item) for name, (i, item) in named_of(root).items()}
        for chain in chains:
            for i, entry in enumerate(chain.items):
                here = (*chain.path, i)
                if isinstance(entry, str) and entry in named:
                    self.place(chain, here, *named[entry])
                elif isinstance(entry, dict):
                    self.place(chain, here, here, entry)
        for path, item in balancers_of(root):
            self.one(path, item, self.look_at_balancer)
        for path, item in fallbacks_of(root):
            self.one(path, item, self.look_at_fallback)

    # --- one of them ---

    def one(self, path: Path, item: dict[str, Value],
            look: Callable[[Path, dict[str, Value]], None] | None = None) -> None:
        """What a class makes of being looked at is its author's: a property, a metaclass or a default may raise."""
        try:
            (look or self.look)(path, item)
        except Exception as error:
            self.find.add((*path, "use"), f"the class cannot be looked at: {type(error).__name__}: {error}",
                          hint="make it a plain class with plain attributes")

    def load(self, path: Path, item: dict[str, Value], kind: Kind) -> Loaded | None:
        """None when there is no such class, which is reported."""
        use = text_of(item, "use")
        if not use or not use.isprintable():
            return None
        try:
            loaded = self.loader.load(use, kind)
        except CannotLoad as cannot:
            self.find.add((*path, "use"), cannot.reason, allowed=cannot.allowed, hint=cannot.hint)
            return None
        if loaded.printed.strip() and loaded.module not in self.printed:
            self.printed.add(loaded.module)
            first = loaded.printed.strip().splitlines()[0]
            self.warn.add((*path, "use"), f"{loaded.cls.__name__}'s module prints while it is imported: "
                          f"{shown(first)}", severity="warning", hint="say it in start, with self.log.info")
        return loaded

    def look(self, path: Path, item: dict[str, Value]) -> None:
        loaded = self.load(path, item, FILTER)
        if loaded is None:
            return
        cls = loaded.cls
        before = len(self.find.problems)
        phases, bad = phases_of(cls)
        settings, bad_settings = settings_of(cls, Filter)
        bad += bad_settings_of(cls, settings, bad_settings, KEYS, "filter")
        budget = self.decided(bad, cls, "budget", parse_duration)
        body_limit = self.decided(bad, cls, "body_limit", parse_size)
        timeout = self.lasting(bad, cls, "timeout", FilterUse.LONGEST)
        second = self.lasting(bad, cls, "budget_per_second", FilterUse.SECOND)
        policy = cls.on_error
        if policy is not None and policy not in POLICIES:
            bad.append(BadClass(f"{cls.__name__}.on_error is {policy!r}", "closed, open, skip or None",
                                name="on_error"))
        needs = self.needed(bad, cls)
        values, bad_defaults = read_given(self.find, path, item, cls, settings, KEYS)
        bad += bad_defaults
        self.tell(path, cls, bad)
        is_bad = bool(bad) or len(self.find.problems) > before
        self.policy(path, item, cls)
        if is_bad:
            return
        self.found[path] = Found(
            loaded, phases, values, frozenset(setting.name for setting in settings if setting.is_secret),
            bool(cls.security), bool(cls.isolated), needs, bool(cls.changes_body), policy, budget, body_limit,
            self.find.place((*path, "use")), timeout=timeout, budget_per_second=second or 0)

    def look_at_balancer(self, path: Path, item: dict[str, Value]) -> None:
        loaded = self.load(path, item, LOAD_BALANCER)
        if loaded is None:
            return
        cls = loaded.cls
        before = len(self.find.problems)
        questions, bad = questions_of(cls)
        settings, bad_settings = settings_of(cls, LoadBalancer)
        bad += bad_settings_of(cls, settings, bad_settings, BALANCER_KEYS, "load balancer")
        budget = self.decided(bad, cls, "budget", parse_duration)
        interval = self.decided(bad, cls, "interval", parse_duration)
        if interval and not LoadBalancerUse.SHORTEST <= interval <= LoadBalancerUse.LONGEST:
            bad.append(BadClass(f"{cls.__name__}.interval is {cls.interval!r}",
                                f"{format_duration(LoadBalancerUse.SHORTEST)} to "
                                f"{format_duration(LoadBalancerUse.LONGEST)}", name="interval"))
        policy = cls.on_error
        if policy is not None and policy not in BALANCER_POLICIES:
            bad.append(BadClass(f"{cls.__name__}.on_error is {policy!r}", "closed, open or None", name="on_error"))
        if getattr(cls, "isolated", False):
            bad.append(BadClass(f"{cls.__name__}.isolated is True, and a load balancer is asked within the worker", "",
                                "remove it; let an isolated filter or another process put what it found into "
                                "fastmesh.shared, and read it here", "isolated"))
        values, bad_defaults = read_given(self.find, path, item, cls, settings, BALANCER_KEYS)
        bad += bad_defaults
        self.tell(path, cls, bad)
        written = text_of(item, "on_error")
        if "closed" in (written, policy if written is None else None) and questions and "pick" not in questions:
            at: Path = (*path, "on_error") if written else (*path, "use")
            says = "on_error: closed" if written else f"{cls.__name__}.on_error = 'closed'"
            self.find.add(at, f"{cls.__name__} has no pick, and {says} refuses requests that pick fails for",
                          allowed="open",
                          hint="weights that fail are replaced by those of the configuration; remove it")
        if bad or len(self.find.problems) > before:
            return
        self.found[path] = Found(
            loaded, questions, values, frozenset(setting.name for setting in settings if setting.is_secret), False,
            False, None, True, policy, budget, 0, self.find.place((*path, "use")), interval)

    def look_at_fallback(self, path: Path, item: dict[str, Value]) -> None:
        loaded = self.load(path, item, FALLBACK)
        if loaded is None:
            return
        cls = loaded.cls
        before = len(self.find.problems)
        asked, bad = answer_of(cls)
        settings, bad_settings = settings_of(cls, Fallback)
        bad += bad_settings_of(cls, settings, bad_settings, STEP_KEYS, "fallback policy")
        budget = self.decided(bad, cls, "budget", parse_duration)
        needs = self.needed(bad, cls)
        values, bad_defaults = read_given(self.find, path, item, cls, settings, STEP_KEYS)
        bad += bad_defaults
        self.tell(path, cls, bad)
        if bad or len(self.find.problems) > before:
            return
        self.found[path] = Found(
            loaded, asked, values, frozenset(setting.name for setting in settings if setting.is_secret), False,
            bool(cls.isolated), needs, False, None, budget, 0, self.find.place((*path, "use")),
            before_filters=bool(cls.before_filters))

    def tell(self, path: Path, cls: type, bad: list[BadClass]) -> None:
        """What is wrong with a class, at the first place that names it."""
        for problem in bad if cls not in self.seen else ():
            self.find.add((*path, "use"), problem.said_of(cls), allowed=problem.allowed, hint=problem.hint_of(cls))
        self.seen.add(cls)

    def lasting(self, bad: list[BadClass], cls: type, name: str, longest: int) -> int | None:
        """A time that a class may leave open."""
        if getattr(cls, name) is None:
            return None
        before = len(bad)
        time = self.decided(bad, cls, name, parse_duration)
        if len(bad) == before and not FilterUse.SHORTEST <= time <= longest:
            bad.append(BadClass(f"{cls.__name__}.{name} is {getattr(cls, name)!r}",
                                f"{format_duration(FilterUse.SHORTEST)} to {format_duration(longest)}, or None",
                                name=name))
        return time

    @staticmethod
    def decided(bad: list[BadClass], cls: type, name: str, parse: Any) -> int:
        text = getattr(cls, name)
        try:
            if not isinstance(text, str):
                raise WrongValue(repr(text), "text with a unit")
            return int(parse(text))
        except WrongValue as wrong:
            bad.append(BadClass(f"{cls.__name__}.{name} is {text!r}", wrong.allowed, wrong.hint, name))
            return 0

    @staticmethod
    def needed(bad: list[BadClass], cls: type[Filter | Fallback]) -> tuple[str, ...] | None:
        if cls.needs is None:
            return None
        if not isinstance(cls.needs, tuple | list) or not all(
                isinstance(name, str) and name and name.isascii() for name in cls.needs):
            bad.append(BadClass(f"{cls.__name__}.needs is {cls.needs!r}", "a tuple of header names, or None for all",
                                'write needs = ("authorization",)', "needs"))
            return None
        return tuple(name.lower() for name in cls.needs)

    def policy(self, path: Path, item: dict[str, Value], cls: type[Filter]) -> None:
        """A filter that guards something is not made to let everybody through by accident."""
        if not cls.security:
            return
        written = text_of(item, "on_error")
        policy = written or cls.on_error or "closed"
        try:
            is_allowed = read_flag(item.get("allow_fail_open", False))
        except WrongValue:
            return      # reported by its field
        if policy in ("open", "skip") and not is_allowed:
            at: Path = (*path, "on_error") if written else (*path, "use")
            says = f"on_error: {policy}" if written else f"{cls.__name__}.on_error = {policy!r}"
            bad = BadClass(f"{cls.__name__} is marked security, and {says} lets requests through when it fails",
                           "closed", "write on_error: closed; add allow_fail_open: true if that is meant",
                           "on_error")
            self.find.add(at, bad.reason if written else bad.said_of(cls), allowed=bad.allowed, hint=bad.hint_of(cls))

    # --- where it stands ---

    def place(self, chain: Chain, at: Path, path: Path, item: dict[str, Value]) -> None:
        found = self.found.get(path)
        if found is None:
            return
        name = found.loaded.cls.__name__
        if chain.owner != "listener" and "on_connection" in found.phases:
            self.find.add(at, f"{name} has the phase on_connection, which a {chain.owner} does not have",
                          allowed="filters without it", hint="name it at a listener")
        if chain.is_tcp:
            others = [phase for phase in found.phases if phase not in TCP_PHASES]
            if others:
                self.find.add(at, f"{name} has {', '.join(others)}, and a tcp listener sees no requests",
                              allowed=f"filters with {' and '.join(TCP_PHASES)} alone",
                              hint="remove it here, or write protocol: http")
        elif chain.owner == "listener" and "on_connection" in found.phases:
            match = map_of(item.get("match"))
            for key in ("prefix", "path", "hosts", "methods", "headers"):
                if match.get(key):
                    self.find.add((*path, "match", key), f"{name} has the phase on_connection, and a connection has no "
                                  f"{key} to match", allowed="a match with share alone", key=True,
                                  hint="make two filters of it, one of them with on_connection alone")
