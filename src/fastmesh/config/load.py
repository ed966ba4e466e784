"""From a file to a checked configuration, or to everything that is wrong with it."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from fastmesh.config.balance_checks import check_balancing
from fastmesh.config.chains import check_filters
from fastmesh.config.checks import check
from fastmesh.config.cluster import Cluster
from fastmesh.config.cors_checks import check_cors
from fastmesh.config.fallback_checks import check_fallbacks
from fastmesh.config.fields import Section, shown
from fastmesh.config.heal_checks import check_heals
from fastmesh.config.health_check_checks import check_health_checks
from fastmesh.config.hedge_checks import check_hedges
from fastmesh.config.limits import check_limits
from fastmesh.config.listener import Listener
from fastmesh.config.model import Config
from fastmesh.config.policies import take_policies
from fastmesh.config.report import problems_of
from fastmesh.config.retry_checks import check_retries
from fastmesh.config.source import Source, read_source
from fastmesh.config.subset_checks import check_subsets
from fastmesh.config.warn import warnings_of
from fastmesh.config.yaml_tree import Tree, Value, compose
from fastmesh.errors import ConfigError, Problem, WrongValue

MAX_PROBLEMS = 100
_LARGE = 20_000             # values in a file


class Loaded(NamedTuple):
    """A configuration that can be used, and what is doubtful about it."""

    config: Config
    warnings: list[Problem]
    filters: Any = None         # what `look` found


class Looked(NamedTuple):
    """What somebody found who looked at the file's filters: the configuration itself knows nothing of classes."""

    problems: list[Problem]
    warnings: list[Problem]
    found: Any


Look = Callable[[Tree], Looked]


def load(path: str, env: Mapping[str, str] | None = None, look: Look | None = None) -> Loaded:
    """Reads and checks a file, `-` for standard input. Raises ConfigError with all problems of the file, those that
    `look` finds with its filters among them; without it their classes are not looked at."""
    return load_source(read_source(path), env, look)


def load_text(text: str, name: str = "<text>", env: Mapping[str, str] | None = None,
              look: Look | None = None) -> Loaded:
    """The same for a text."""
    return load_source(Source(name, text), env, look)


def load_source(source: Source, env: Mapping[str, str] | None = None, look: Look | None = None) -> Loaded:
    """The same for a text that was read already. `env` is the process's own environment when None."""
    tree = compose(source, os.environ if env is None else env)
    problems = list(tree.problems)
    config: Config | None = None
    looked = Looked([], [], None)
    if isinstance(tree.value, dict):
        problems += take_policies(tree)
        config, wrong_values = _validate(tree, tree.value)
        problems += wrong_values
        problems += check(tree)
        problems += check_balancing(tree)
        problems += check_filters(tree)
        problems += check_limits(tree)
        problems += check_retries(tree)
        problems += check_health_checks(tree)
        problems += check_hedges(tree)
        problems += check_fallbacks(tree)
        problems += check_heals(tree)
        problems += check_cors(tree)
        problems += check_subsets(tree)
        if look is not None:
            looked = look(tree)
            problems += looked.problems
    else:
        wrong = WrongValue(shown(tree.value), "a mapping that begins with keys such as listeners: and clusters:")
        problems.append(source.problem(f"found {wrong.found}", tree.mark.start, tree.mark.end, found=wrong.found,
                                       allowed=wrong.allowed))
    if problems or config is None:
        raise ConfigError(_in_order(problems))
    return Loaded(config, _in_order([*warnings_of(config, tree), *looked.warnings]), looked.found)


def _validate(tree: Tree, value: dict[str, Value]) -> tuple[Config | None, list[Problem]]:
    """The models of a file, and what their fields found wrong."""
    problems: list[Problem] = []
    given: dict[str, Any] = dict(value)
    if tree.count > _LARGE:
        # Part by part: a file with a million errors must not hold them all at once.
        models: dict[str, type[Section]] = {"listeners": Listener, "clusters": Cluster}
        for key, model in models.items():
            items = given.get(key)
            if not isinstance(items, list):
                continue
            good = given[key] = []
            for i, item in enumerate(items):
                try:
                    good.append(model.model_validate(item))
                except ValidationError as error:
                    problems += problems_of(error, tree, (key, i))
                    if len(problems) > MAX_PROBLEMS:
                        return None, problems
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        return None, problems + problems_of(error, tree)
    return (None if problems else config), problems


def _in_order(problems: list[Problem]) -> list[Problem]:
    """By place, each once: an alias or a policy shows one fault at every place that uses it, the policy's own first. At
    most MAX_PROBLEMS."""
    seen: set[tuple[int, int, str]] = set()
    kept: list[Problem] = []
    for problem in sorted(problems, key=lambda problem: (
            problem.line, problem.column, not problem.path.startswith("policies["))):
        key = (problem.line, problem.column, problem.reason)
        if key not in seen:
            seen.add(key)
            kept.append(problem)
    if len(kept) > MAX_PROBLEMS:
        first = kept[0]
        more = Problem(f"there is more; these are the first {MAX_PROBLEMS}", file=first.file, severity=first.severity)
        return [*kept[:MAX_PROBLEMS], more]
    return kept
