"""The attempts that are made for a request beside the first, and what is given when all fail."""

from collections.abc import Iterator

from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.request import Request
from fastmesh.cli.explained.subset import in_brackets
from fastmesh.config.cluster import Cluster
from fastmesh.config.fallback import FallbackStep
from fastmesh.config.listener import Listener
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.snapshot.chains import FALLBACK_TIMEOUT
from fastmesh.snapshot.fallbacks import fallback_of
from fastmesh.snapshot.hedges import hedge_of
from fastmesh.snapshot.retries import retry_of
from fastmesh.units import format_duration, format_percent


class Attempts:
    """The words for them, of one listener."""

    def __init__(self, file: File, at: int, listener: Listener, request: Request) -> None:
        self.file = file
        self.at = at
        self.listener = listener
        self.request = request

    def retry(self, at: int, route: Route, cluster: Cluster) -> str:
        """What is tried again, and who says so."""
        budget = f"{format_percent(cluster.retry_budget.share)} and {cluster.retry_budget.per_second}/s"
        connects = f"failed connects at up to {cluster.connect_attempts} endpoints"
        rule = retry_of(self.listener, route)
        is_safe = self.request.is_safe()
        if rule is None:
            lost = f", lost connections too (budget {budget})" if is_safe else ""
            return f"retry: {connects}{lost}; no rule"
        path: Path = ("listeners", self.at, "retry") if route.retry is None else (
            "listeners", self.at, "routes", at, "retry")
        if rule.attempts == 1:
            return f"retry ({self.file.place(path)}): {connects}, nothing else"
        named = [str(condition) for condition in rule.on]
        named += [f"the field {header}" for header in rule.headers]
        limit = ""
        if rule.per_try_timeout is not None:
            named += [] if "timeout" in named else ["timeout"]
            limit = f", each at most {format_duration(rule.per_try_timeout)}"
        said = f"retry ({self.file.place(path)}): {rule.attempts} attempts in all{limit}, after {', '.join(named)}"
        if not (is_safe or rule.non_idempotent):
            said += f"; as {self.request.method} is not safe to repeat, only what was not sent"
        if not rule.of_retries and self.request.is_retry():
            said += "; not this request, which is another proxy's further attempt"
        return f"{said}; {connects}; budget {budget}"

    def hedge(self, at: int, route: Route) -> Iterator[str]:
        """What is sent beside the first attempt, and who says so."""
        rule = hedge_of(self.listener, route)
        if rule is None:
            return
        path: Path = ("listeners", self.at, "hedge") if route.hedge is None else (
            "listeners", self.at, "routes", at, "hedge")
        when = "after per_try_timeout" if rule.on != "delay" else (
            f"after {rule.delay} of the recent times, at least {format_duration(rule.min_delay)}"
            if isinstance(rule.delay, str) else f"after {format_duration(rule.delay)}")
        said = f"hedge ({self.file.place(path)}): {rule.attempts} attempts beside each other, {when} without an answer"
        if not (self.request.is_safe() or rule.non_idempotent):
            said += f"; not this request, as {self.request.method} is not safe to repeat"
        elif self.request.is_retry():
            said += "; not this request, which is another proxy's further attempt"
        yield f"{said}; budget {format_percent(rule.budget.share)} and {rule.budget.per_second}/s"

    def fallback(self, at: int, route: Route) -> Iterator[str]:
        """What is tried when the cluster fails, and who says so."""
        steps = fallback_of(self.listener, route)
        path: Path = ("listeners", self.at, "fallback") if route.fallback is None else (
            "listeners", self.at, "routes", at, "fallback")
        for i, step in enumerate(steps):
            yield (f"fallback {i + 1} of {len(steps)} ({self.file.place((*path, i))}), after {', '.join(step.on)}: "
                   f"{self._step(step)}")

    def _step(self, step: FallbackStep) -> str:
        if step.cluster is not None:
            said = f"cluster {step.cluster}{in_brackets(step.subset)}"
            said += f", within {format_duration(step.timeout)}" if step.timeout else ", within what is left of the time"
            if not (self.request.is_safe() or step.non_idempotent):
                said += f"; as {self.request.method} is not safe to repeat, only what was not sent"
            return said
        if step.stale is not None:
            if self.request.method not in ("GET", "HEAD"):
                return f"no copy, as there is none of {self.request.method}"
            return f"a copy of an earlier answer, at most {format_duration(step.stale.max_age)} old"
        if step.use is not None:
            where = ", in a process of its own" if step.isolated else ""
            return f"ask {step.use}, within {format_duration(step.timeout or FALLBACK_TIMEOUT)}{where}"
        assert step.response is not None
        return f"answer {step.response.status}"
