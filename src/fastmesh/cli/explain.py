"""`fastmesh explain`: which way a request goes, and why.

The decision is the compiled route table's own, made from the snapshot that workers would get; the configuration is only
walked for the words.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from fastmesh._core.explain import Refused, Tables
from fastmesh.config.checks import Finder
from fastmesh.config.cluster import Cluster
from fastmesh.config.fault import Fault
from fastmesh.config.fields import SHARE_ALL, Section
from fastmesh.config.filter import FilterMatch
from fastmesh.config.health_check import HealthCheck
from fastmesh.config.load import Loaded, load_source
from fastmesh.config.match import Match
from fastmesh.config.mirror import Mirror
from fastmesh.config.outlier import Outlier
from fastmesh.config.render import print_problems
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.config.source import read_source
from fastmesh.config.value_match import ValueMatch
from fastmesh.config.yaml_tree import compose
from fastmesh.errors import ConfigError
from fastmesh.filters.look import look_at_filters
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.members import members
from fastmesh.snapshot.registry import Registry
from fastmesh.snapshot.retries import retry_of
from fastmesh.units import format_duration, format_percent

_MOST = 40              # routes and endpoints that are listed
_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")      # RFC 9110 section 9.2.2
_REFUSED = {
    "none": "404: no route takes it",
    "bad path": "400: the path has a broken percent escape or an encoded NUL",
    "torn path": "400: the path can be read in two ways (an encoded slash, a backslash, a parameter after ;), and "
                 "another route would take the other one",
    "torn method": "400: the method is not in capitals, and another route would take it if it were",
    "torn field": "400: a header, parameter or cookie that the route asks for is there with different values, or can "
                  "be read in two ways",
}


class _Unclear(Exception):
    """The command line does not say enough; the text does."""


def run(args: argparse.Namespace) -> int:
    """0 when the request goes to a cluster or gets the answer of a route, 1 when it is refused or the file is wrong, 2
    when the command line is not clear."""
    try:
        source = read_source(args.file)
        loaded = load_source(source, None, look_at_filters)
    except ConfigError as error:
        print_problems(error.problems)
        return 1
    find = Finder(compose(source, os.environ))
    name = "<stdin>" if args.file == "-" else args.file
    try:
        request = _Request(args)
        explained = _Explanation(loaded, find, name, request)
        lines, is_taken = explained.lines()
    except _Unclear as unclear:
        print(f"fastmesh explain: {unclear}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0 if is_taken else 1


class _Request:
    """The request that is asked about."""

    def __init__(self, args: argparse.Namespace) -> None:
        url: str = args.url.partition("#")[0]
        if url.startswith("/") or url == "*":
            self.authority, self.target = "", url
        else:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            self.authority = parts.netloc
            self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.method: str = args.method
        self.port = _port(args.url, self.authority)
        self.listener: str | None = args.listener
        self.source: str = args.source
        self.draw = random.Random(args.seed).getrandbits(64)
        self.fields: list[tuple[str, str]] = []
        for text in args.header:
            header, colon, value = text.partition(":")
            if not colon or not header.strip():
                raise _Unclear(f"found the header {text!r}\n  to do: write it as 'name: value'")
            self.fields.append((header.strip(), value.strip()))
            if header.strip().lower() == "host":
                self.authority = value.strip()

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


def _port(url: str, netloc: str) -> int | None:
    try:
        return urlsplit(f"//{netloc}").port
    except ValueError:
        raise _Unclear(f"found the URL {url!r}\n  to do: write it as http://host:port/path") from None


class _Explanation:
    """The words for one request."""

    def __init__(self, loaded: Loaded, find: Finder, file: str, request: _Request) -> None:
        self.config = loaded.config
        self.find = find
        self.file = file
        self.request = request
        registry = Registry()
        chains = Chains(loaded.config, loaded.filters, registry)
        self.tables = Tables(compile(loaded.config, 1, registry, 1024, chains)[0])
        self.at = self._listener()
        self.listener = self.config.listeners[self.at]

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
            raise _Unclear(f"{self.file} has no listener for HTTP")
        raise _Unclear((f"{self.file} has no listener {wanted!r} for HTTP" if wanted else
                        f"{self.file} has several listeners for HTTP, and the URL has the port of none or of several")
                       + f"\n  to do: write --listener and one of {names}")

    def lines(self) -> tuple[list[str], bool]:
        """What to print, and whether the request is taken."""
        request = self.request
        lines = [f"{request.method} {request.target}, host {request.authority or '(none)'}, from {request.source}",
                 f"listener {self.listener.name} ({self._place(('listeners', self.at))}), {self.listener.address}"]
        try:
            how, route, path, cluster = self.tables.ask(self.at, request.head(), request.peer(), request.draw)
        except Refused as refused:
            return [*lines, f"answer {refused.status}: {refused}"], False
        except ValueError:
            raise _Unclear(f"found --source {request.source!r}\n  to do: write an IP address, or unix") from None
        lines.append(f"path compared: {path.decode('utf-8', 'replace')}")
        if self.listener.rate_limits:
            lines.append("rate limits of the listener are asked before: they may refuse the request")
        if self.listener.filters:
            lines.append("filters of the listener are asked before: what they change is not known here")
        lines += self._passed(len(self.listener.routes) if route is None else route)
        if route is not None:
            lines.append(f"  {self._route_name(route)}: takes it")
        if how != "route":
            return [*lines, f"answer {_REFUSED[how]}"], False
        assert route is not None
        return [*lines, *self._target(route, self.listener.routes[route], cluster)], True

    def _place(self, path: Path) -> str:
        return f"{self.file}:{self.find.line(path)}"

    def _route_name(self, i: int) -> str:
        name = self.listener.routes[i].name or f"route-{i}"
        return f"routes[{i}] {name} ({self._place(('listeners', self.at, 'routes', i))})"

    def _passed(self, end: int) -> Iterator[str]:
        """The routes before the one that takes it."""
        misses = [(i, *self.tables.miss(self.at, i)) for i in range(end)]
        if len(misses) > _MOST:
            near = [miss for miss in misses if miss[1] not in ("host", "path")]
            yield f"  {len(misses) - len(near[:_MOST]):,} routes whose host or path is another, or that are not listed"
            misses = near[:_MOST]
        for i, what, name in misses:
            yield f"  {self._route_name(i)}: no, {self._why(self.listener.routes[i].match, what, name)}"

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

    def _target(self, at: int, route: Route, cluster: int | None) -> Iterator[str]:
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
        yield f"timeout: {format_duration(timeout) if timeout else 'none'}"
        yield self._retry(at, route, self.config.clusters[cluster])
        yield from self._cluster(cluster, self.config.clusters[cluster])

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
            return f"retry ({self._place(path)}): {connects}, nothing else"
        named = [str(condition) for condition in rule.on]
        named += [f"the field {header}" for header in rule.headers]
        limit = ""
        if rule.per_try_timeout is not None:
            named += [] if "timeout" in named else ["timeout"]
            limit = f", each at most {format_duration(rule.per_try_timeout)}"
        said = f"retry ({self._place(path)}): {rule.attempts} attempts in all{limit}, after {', '.join(named)}"
        if not (is_safe or rule.non_idempotent):
            said += f"; as {self.request.method} is not safe to repeat, only what was not sent"
        if not rule.of_retries and self._is_retry():
            said += "; not this request, which is another proxy's further attempt"
        return f"{said}; {connects}; budget {budget}"

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
        yield f"cluster {cluster.name} ({self._place(('clusters', at))}), {by}"
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


def _fault(fault: Fault) -> str:
    what = [f"wait {format_duration(fault.delay)}"] if fault.delay else []
    what += [f"get {fault.abort}"] if fault.abort else []
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
