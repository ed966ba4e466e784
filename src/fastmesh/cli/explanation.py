"""What there is to say of a request: which way it goes by a configuration, and what holds for it on that way.

The decision is the compiled route table's own, made from the snapshot that workers would get; the configuration is only
walked for the words.
"""

import argparse
import random
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from fastmesh._core.explain import Refused, Tables
from fastmesh.config.breakers import breaker_limits
from fastmesh.config.checks import Finder
from fastmesh.config.cluster import Cluster
from fastmesh.config.fallback import FallbackStep
from fastmesh.config.fault import Fault
from fastmesh.config.fields import SHARE_ALL, Section
from fastmesh.config.filter import FilterMatch
from fastmesh.config.health_check import HealthCheck
from fastmesh.config.load import Loaded
from fastmesh.config.match import Match
from fastmesh.config.mirror import Mirror
from fastmesh.config.outlier import Outlier
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.config.value_match import ValueMatch
from fastmesh.snapshot.chains import FALLBACK_TIMEOUT, Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.fallbacks import fallback_of
from fastmesh.snapshot.hedges import hedge_of
from fastmesh.snapshot.members import members
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.retries import retry_of
from fastmesh.units import format_duration, format_percent, format_size

_MOST = 40              # routes and endpoints that are listed
_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")      # RFC 9110 section 9.2.2
REFUSED = {
    "none": "404: no route takes it",
    "bad path": "400: the path has a broken percent escape or an encoded NUL",
    "torn path": "400: the path can be read in two ways (an encoded slash, a backslash, a parameter after ;), and "
                 "another route would take the other one",
    "torn method": "400: the method is not in capitals, and another route would take it if it were",
    "torn field": "400: a header, parameter or cookie that the route asks for is there with different values, or can "
                  "be read in two ways",
}


class Unclear(Exception):
    """The command line does not say enough; the text does."""


class Request:
    """The request that is asked about."""

    def __init__(self, method: str, authority: str, target: str, source: str = "127.0.0.1",
                 listener: str | None = None, port: int | None = None, seed: int = 0) -> None:
        self.method = method
        self.authority = authority
        self.target = target
        self.source = source
        self.listener = listener
        self.port = port
        self.draw = random.Random(seed).getrandbits(64)
        self.fields: list[tuple[str, str]] = []

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Request":
        """That of a command line. Raises Unclear."""
        authority, target = split_url(args.url)
        request = cls(args.method, authority, target, args.source, args.listener, _port(args.url, authority), args.seed)
        for text in args.header:
            header, colon, value = text.partition(":")
            if not colon or not header.strip():
                raise Unclear(f"found the header {text!r}\n  to do: write it as 'name: value'")
            request.fields.append((header.strip(), value.strip()))
            if header.strip().lower() == "host":
                request.authority = value.strip()
        return request

    def head(self) -> bytes:
        """As a client would send it."""
        own = [] if any(name.lower() == "host" for name, _ in self.fields) else [("host", self.authority)]
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own, *self.fields))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def peer(self) -> str:
        """Its address, as sockets have it."""
        if self.source == "unix":
            return "unix:/client"
        return f"[{self.source}]:1" if ":" in self.source else f"{self.source}:1"


def split_url(url: str) -> tuple[str, str]:
    """Host, which a path alone does not have, and the rest."""
    url = url.partition("#")[0]
    if url.startswith("/") or url == "*":
        return "", url
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _port(url: str, netloc: str) -> int | None:
    try:
        return urlsplit(f"//{netloc}").port
    except ValueError:
        raise Unclear(f"found the URL {url!r}\n  to do: write it as http://host:port/path") from None


class Explanation:
    """The words for one request."""

    def __init__(self, loaded: Loaded, find: Finder, file: str, request: Request) -> None:
        self.config = loaded.config
        self.find = find
        self.file = file
        self.request = request
        self.loaded = loaded
        self.at = self._listener()
        self.listener = self.config.listeners[self.at]

    def _tables(self) -> Tables:
        registry = Registry()
        chains = Chains(self.config, self.loaded.filters, registry)
        return Tables(compile(self.config, 1, registry, 1024, chains)[0])

    def _listener(self) -> int:
        http = [i for i, listener in enumerate(self.config.listeners) if listener.protocol == "http"]
        wanted = self.request.listener
        if wanted is not None:
            found = [i for i in http if self.config.listeners[i].name == wanted]
        elif len(http) > 1 and self.request.port is not None:
            found = [i for i in http if self.config.listeners[i].address.port == self.request.port]
        else:
            found = http
        if len(found) == 1:
            return found[0]
        names = ", ".join(self.config.listeners[i].name for i in http)
        if not http:
            raise Unclear(f"{self.file} has no listener for HTTP")
        raise Unclear((f"{self.file} has no listener {wanted!r} for HTTP" if wanted else
                        f"{self.file} has several listeners for HTTP, and the URL has the port of none or of several")
                       + f"\n  to do: write --listener and one of {names}")

    def lines(self) -> tuple[list[str], bool]:
        """What to print, and whether the request is taken."""
        request = self.request
        tables = self._tables()
        lines = [f"{request.method} {request.target}, host {request.authority or '(none)'}, from {request.source}",
                 f"listener {self.listener.name} ({self.place(('listeners', self.at))}), {self.listener.address}",
                 *self._policies(self.listener.policies)]
        try:
            how, route, path, cluster = tables.ask(self.at, request.head(), request.peer(), request.draw)
        except Refused as refused:
            return [*lines, f"answer {refused.status}: {refused}"], False
        except ValueError:
            raise Unclear(f"found --source {request.source!r}\n  to do: write an IP address, or unix") from None
        lines.append(f"path compared: {path.decode('utf-8', 'replace')}")
        if self.listener.rate_limits:
            lines.append("rate limits of the listener are asked before: they may refuse the request")
        if self.listener.filters:
            lines.append("filters of the listener are asked before: what they change is not known here")
        misses = [(i, *tables.miss(self.at, i)) for i in range(len(self.listener.routes) if route is None else route)]
        lines += self.walk(misses, 0, route)
        if how != "route":
            return [*lines, f"answer {REFUSED[how]}"], False
        assert route is not None
        return [*lines, *self.target(route, cluster)], True

    def place(self, path: Path) -> str:
        return f"{self.file}:{self.find.line(path)}"

    def _route_name(self, i: int) -> str:
        name = self.listener.routes[i].name or f"route-{i}"
        return f"routes[{i}] {name} ({self.place(('listeners', self.at, 'routes', i))})"

    def walk(self, misses: Iterable[tuple[int, str, str]], hidden: int, taken: int | None) -> Iterator[str]:
        """The routes that did not take it (which, what kept it from it, of which field), and the one that does.
        `hidden` others are not among them."""
        misses = list(misses)
        if len(misses) + hidden > _MOST:
            near = [miss for miss in misses if miss[1] not in ("host", "path")]
            hidden += len(misses) - len(near[:_MOST])
            misses = near[:_MOST]
        if hidden:
            yield f"  {hidden:,} routes whose host or path is another, or that are not listed"
        for i, what, name in misses:
            yield f"  {self._route_name(i)}: no, {self._why(self.listener.routes[i].match, what, name)}"
        if taken is not None:
            yield f"  {self._route_name(taken)}: takes it"

    def _why(self, match: Match, what: str, name: str) -> str:
        request = self.request
        if what == "host":
            return f"the host is none of {_listed(match.hosts)}"
        if what == "path" and match.path is not None:
            return f"the path is not {match.path}"
        if what == "path" and (begin := match.starts_with or match.prefix):
            return f"the path does not begin with {begin}"
        if what in ("path", "pattern"):
            return f"the path is none of {match.regex or match.template or _grpc(match)}"
        if what == "method":
            return f"the method {request.method} is none of {_listed(match.methods)}"
        if what == "source":
            return f"the client {request.source} is none of {_listed([str(source) for source in match.sources])}"
        if what == "share":
            return f"it takes {format_percent(match.share)} of such requests, and this is none of them"
        if what == "header" and match.grpc is not None and name == "content-type" and name not in match.headers:
            return "the content-type is not that of gRPC"
        noun, values = {"header": ("header", match.headers), "cookie": ("cookie", match.cookies),
                        "query": ("parameter", match.query)}[what]
        return f"the {noun} {name} is not {_wanted(values[name])}"

    def _policies(self, names: list[str], indent: str = "") -> Iterator[str]:
        """Those that a listener, route or cluster takes over."""
        places = {policy.name: i for i, policy in enumerate(self.config.policies)}
        if names:
            shown = ", ".join(f"{name} ({self.place(('policies', places[name]))})" for name in names)
            yield f"{indent}policies: {shown}"

    def target(self, at: int, cluster: int | None) -> Iterator[str]:
        """What holds for a request that a route takes."""
        route = self.listener.routes[at]
        yield from self._policies(route.policies)
        if route.rate_limits:
            yield "rate limits of the route are asked: they may refuse the request"
        if cluster is None and route.redirect is not None:
            yield f"answer {route.redirect.status}, a redirect: {_given(route.redirect)}"
        elif cluster is None and route.response is not None:
            yield f"answer {route.response.status}, the response of the route"
        if cluster is None:
            return
        if route.filters:
            yield "filters of the route are asked: what they change is not known here"
        if route.clusters is not None:
            yield self._split(route)
        yield from map(_fault, route.faults)
        yield from map(_mirror, route.mirrors)
        if route.rewrite is not None:
            yield f"rewrite: {_given(route.rewrite)}"
        timeout = self.listener.timeouts.request if route.timeout is None else route.timeout
        if route.priority != "default":
            yield f"priority: {route.priority}"
        yield f"timeout: {format_duration(timeout) if timeout else 'none'}"
        yield self._retry(at, route, self.config.clusters[cluster])
        yield from self._hedge(at, route)
        yield from self._cluster(cluster, self.config.clusters[cluster])
        yield from self._fallback(at, route)

    def _retry(self, at: int, route: Route, cluster: Cluster) -> str:
        """What is tried again, and who says so."""
        budget = f"{format_percent(cluster.retry_budget.share)} and {cluster.retry_budget.per_second}/s"
        connects = f"failed connects at up to {cluster.connect_attempts} endpoints"
        rule = retry_of(self.listener, route)
        is_safe = self.request.method in _IDEMPOTENT
        if rule is None:
            lost = f", lost connections too (budget {budget})" if is_safe else ""
            return f"retry: {connects}{lost}; no rule"
        path: Path = ("listeners", self.at, "retry") if route.retry is None else (
            "listeners", self.at, "routes", at, "retry")
        if rule.attempts == 1:
            return f"retry ({self.place(path)}): {connects}, nothing else"
        named = [str(condition) for condition in rule.on]
        named += [f"the field {header}" for header in rule.headers]
        limit = ""
        if rule.per_try_timeout is not None:
            named += [] if "timeout" in named else ["timeout"]
            limit = f", each at most {format_duration(rule.per_try_timeout)}"
        said = f"retry ({self.place(path)}): {rule.attempts} attempts in all{limit}, after {', '.join(named)}"
        if not (is_safe or rule.non_idempotent):
            said += f"; as {self.request.method} is not safe to repeat, only what was not sent"
        if not rule.of_retries and self._is_retry():
            said += "; not this request, which is another proxy's further attempt"
        return f"{said}; {connects}; budget {budget}"

    def _hedge(self, at: int, route: Route) -> Iterator[str]:
        """What is sent beside the first attempt, and who says so."""
        rule = hedge_of(self.listener, route)
        if rule is None:
            return
        path: Path = ("listeners", self.at, "hedge") if route.hedge is None else (
            "listeners", self.at, "routes", at, "hedge")
        when = "after per_try_timeout" if rule.on != "delay" else (
            f"after {rule.delay} of the recent times, at least {format_duration(rule.min_delay)}"
            if isinstance(rule.delay, str) else f"after {format_duration(rule.delay)}")
        said = f"hedge ({self.place(path)}): {rule.attempts} attempts beside each other, {when} without an answer"
        if not (self.request.method in _IDEMPOTENT or rule.non_idempotent):
            said += f"; not this request, as {self.request.method} is not safe to repeat"
        elif self._is_retry():
            said += "; not this request, which is another proxy's further attempt"
        yield f"{said}; budget {format_percent(rule.budget.share)} and {rule.budget.per_second}/s"

    def _fallback(self, at: int, route: Route) -> Iterator[str]:
        """What is tried when the cluster fails, and who says so."""
        steps = fallback_of(self.listener, route)
        path: Path = ("listeners", self.at, "fallback") if route.fallback is None else (
            "listeners", self.at, "routes", at, "fallback")
        for i, step in enumerate(steps):
            yield (f"fallback {i + 1} of {len(steps)} ({self.place((*path, i))}), after {', '.join(step.on)}: "
                   f"{self._step(step)}")

    def _step(self, step: FallbackStep) -> str:
        if step.cluster is not None:
            said = f"cluster {step.cluster}"
            said += f", within {format_duration(step.timeout)}" if step.timeout else ", within what is left of the time"
            if not (self.request.method in _IDEMPOTENT or step.non_idempotent):
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

    def _is_retry(self) -> bool:
        return any(name.lower() == "x-envoy-attempt-count" and value.isdigit() and int(value) > 1
                   for name, value in self.request.fields)

    def _split(self, route: Route) -> str:
        weights = route.clusters or {}
        total = sum(weights.values())
        parts = ", ".join(f"{name} {weight * 100 / total:.4g} %" for name, weight in weights.items())
        by = "by chance" if route.sticky is None else (
            f"by the header {route.sticky.header}" if route.sticky.header else f"by the cookie {route.sticky.cookie}")
        return f"split {by}: {parts}"

    def _cluster(self, at: int, cluster: Cluster) -> Iterator[str]:
        balancer, listed = cluster.load_balancer, cluster.listed
        by = f"the policy {balancer.use} above {balancer.pick_by}" if balancer.is_policy else balancer.pick_by
        yield f"cluster {cluster.name} ({self.place(('clusters', at))}), {by}"
        yield from self._policies(cluster.policies, "  ")
        if cluster.discovery is not None:
            yield f"  the policy {cluster.discovery.use} finds its endpoints: which ones is not known here"
        elif not listed:
            yield "  no endpoint: answer 503"
        levels = members(cluster, self.config.node)
        for i, level in enumerate(levels):
            if len(levels) > 1:
                yield f"  group {i + 1} of {len(levels)}:"
            total = sum(endpoint.weight for endpoint in level)
            for endpoint in level[:_MOST]:
                yield f"  {endpoint.address}  weight {endpoint.weight}  {endpoint.weight * 100 / total:.4g} %"
            if len(level) > _MOST:
                yield f"  and {len(level) - _MOST:,} more"
        yield from _checked(cluster.health_check)
        yield from _outlier(cluster.outlier)
        if (heal := cluster.heal) is not None:
            what = f"the policy {heal.use}" if heal.use else (heal.run or [""])[0]
            how = "would be told" if heal.dry_run else "is run"
            yield f"  heal: {what} {how} when one is out and when it is in again, at most {heal.at_most}"
        yield from _limits(cluster)


def _checked(check: HealthCheck | None) -> Iterator[str]:
    """How its endpoints are asked whether they are well."""
    if check is None:
        return
    at = f" at port {check.port}" if check.port else ""
    if (http := check.http) is not None:
        asked = f"{http.method} {http.path}{at}, expects {', '.join(map(str, http.expect))}"
        asked += f" and {http.body!r}" if http.body else ""
    else:
        asked = f"a connection{at}"
        if check.tcp is not None and check.tcp.expect:
            asked += f", expects {check.tcp.expect!r}"
    every = f"every {format_duration(check.interval)}, at most {format_duration(check.timeout)} each"
    if check.unhealthy_interval:
        every += f", every {format_duration(check.unhealthy_interval)} when unhealthy"
    yield f"  health checks: {asked}; {every}"
    at_once = ", at once by another status" if check.http is not None else ""
    yield (f"    out after {check.unhealthy} failures in a row{at_once}; in again after {check.healthy} successes, new "
           "ones after the first")


def _outlier(outlier: Outlier) -> Iterator[str]:
    """Who of its endpoints is ejected."""
    if not outlier.enabled:
        yield "  ejected: nobody"
        return
    counts = [f"{count} {name}" for name in ("server_errors", "gateway_errors", "connect_failures", "timeouts")
              if (count := getattr(outlier, name))]
    windows = [name for name, is_on in (
        ("success_rate", outlier.success_rate.factor), ("failure_percentage", outlier.failure_percentage.threshold),
        ("latency", outlier.latency is not None and outlier.latency.factor)) if is_on]
    yield f"  ejected: who has {', '.join(counts) or 'nothing'} in a row"
    by = f"or by {', '.join(windows)} in {format_duration(outlier.interval)}; " if windows else ""
    how = "only told of" if outlier.dry_run or not outlier.enforce else f"out for {format_duration(outlier.base)}"
    yield f"    {by}{how}, at most {format_percent(outlier.max_ejected)} or one at a time"


def _limits(cluster: Cluster) -> Iterator[str]:
    """How much of it may be in use."""
    limits = breaker_limits(cluster)
    yield f"  limits: {', '.join(f'{name} {limit:,}' for name, limit in limits.items()) or 'none'}"
    if (adaptive := cluster.adaptive) is not None:
        yield (f"    and what each worker finds: {adaptive.min_concurrency:,} to {adaptive.max_concurrency:,} requests "
               "in flight")
    if (admission := cluster.admission) is not None:
        yield (f"    and, with less than {format_percent(admission.success_rate)} of good answers, by chance, up to "
               f"{format_percent(admission.max_rejected)}")
    if cluster.high_priority_reserve:
        yield (f"    {format_percent(cluster.high_priority_reserve)} of max_requests and max_pending are for routes "
               "with priority: high")


def _fault(fault: Fault) -> str:
    what = [f"wait {format_duration(fault.delay)}"] if fault.delay else []
    what += [f"get {fault.abort}"] if fault.abort else []
    what += [f"get the body at {format_size(fault.bandwidth)}/s"] if fault.bandwidth else []
    return f"fault: {_whose(fault.match)} {' and '.join(what)}"


def _mirror(mirror: Mirror) -> str:
    return f"mirror: {_whose(mirror.match)} are copied to {mirror.cluster}"


def _whose(match: FilterMatch | None) -> str:
    share = SHARE_ALL if match is None else match.share
    whose = "all requests" if share == SHARE_ALL else f"{format_percent(share)} of the requests"
    if match is not None and match.model_copy(update={"share": SHARE_ALL}) != type(match)():
        whose += " that its match takes"
    return whose


def _grpc(match: Match) -> str:
    grpc = match.grpc
    return f"/{grpc.service or '*'}/{grpc.method or '*'}" if grpc is not None else "/"


def _wanted(value: ValueMatch) -> str:
    if value.present is not None:
        return "there" if value.present else "absent"
    parts = [f"{key} {text!r}" for key in ("exact", "prefix", "suffix", "contains", "regex")
             if (text := getattr(value, key)) is not None]
    if value.min is not None:
        parts.append(f"at least {value.min}")
    if value.max is not None:
        parts.append(f"at most {value.max}")
    wanted = " and ".join(parts)
    return f"other than {wanted}" if value.invert else wanted


def _given(section: Section) -> str:
    """What a section says, as far as it says something."""
    given = section.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in given.items()) or "to the same place"


def _listed(items: list[str]) -> str:
    return ", ".join(items[:8]) + (f" and {len(items) - 8:,} more" if len(items) > 8 else "")
