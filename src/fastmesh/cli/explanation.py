"""What there is to say of a request: which way it goes by a configuration, and what holds for it on that way.

The decision is the compiled route table's own, made from the snapshot that workers would get; the configuration is only
walked for the words.
"""

from collections.abc import Iterable, Iterator

from fastmesh._core.explain import Refused, Tables
from fastmesh.cli.explained.attempts import Attempts
from fastmesh.cli.explained.cluster import cluster_lines
from fastmesh.cli.explained.edits import edit_lines
from fastmesh.cli.explained.faults import fault_lines, mirror_lines
from fastmesh.cli.explained.file import File
from fastmesh.cli.explained.filters import filter_lines
from fastmesh.cli.explained.limits import limit_lines
from fastmesh.cli.explained.match import Verdicts, why_not
from fastmesh.cli.explained.origins import origin_lines
from fastmesh.cli.explained.request import Request, Unclear
from fastmesh.cli.explained.subset import Chosen, in_brackets, subset_lines
from fastmesh.config.checks import Finder
from fastmesh.config.cluster import Cluster
from fastmesh.config.counted import counted_name
from fastmesh.config.fields import Section
from fastmesh.config.listener import Listener
from fastmesh.config.load import Loaded
from fastmesh.config.report import Path
from fastmesh.config.route import Route
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.compiler import compile
from fastmesh.snapshot.registry import Registry
from fastmesh.units import format_duration

_MOST = 40              # routes that are listed
REFUSED = {
    "none": "404: no route takes it",
    "bad path": "400: the path has a broken percent escape or an encoded NUL",
    "torn path": "400: the path can be read in two ways (an encoded slash, a backslash, a parameter after ;), and "
                 "another route would take the other one",
    "torn method": "400: the method is not in capitals, and another route would take it if it were",
    "torn field": "400: a header, parameter or cookie that the route asks for is there with different values, or can "
                  "be read in two ways",
}


class Explanation:
    """The words for one request."""

    def __init__(self, loaded: Loaded, find: Finder, name: str, request: Request) -> None:
        self.file = File(loaded, find, name)
        self.config = loaded.config
        self.request = request
        self.loaded = loaded
        self.at = self._listener()
        self.path: Path = ("listeners", self.at)
        self.listener = self.config.listeners[self.at]
        self.verdicts = Verdicts(self.config, self.listener, request)

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
            raise Unclear(f"{self.file.name} has no listener for HTTP\n"
                          "  to do: of one for TCP, write --listener alone, without METHOD and URL")
        name = self.file.name
        raise Unclear((f"{name} has no listener {wanted!r} for HTTP" if wanted else
                       f"{name} has several listeners for HTTP, and the URL has the port of none or of several")
                       + f"\n  to do: write --listener and one of {names}")

    def lines(self) -> tuple[list[str], bool]:
        """What to print, and whether the request is taken."""
        request = self.request
        tables = self._tables()
        lines = [f"{request.method} {request.target}, host {request.authority or '(none)'}, from {request.source}",
                 f"listener {self.listener.name} ({self.place(self.path)}), {self.listener.address}",
                 *self.file.policies(self.listener.policies)]
        try:
            how, route, path, cluster = tables.ask(self.at, request.head(), request.peer(), request.draw)
            if tables.is_preflight:
                request.matched = next(value for name, value in request.fields
                                       if name.lower() == "access-control-request-method")
        except Refused as refused:
            return [*lines, f"answer {refused.status}: {refused}"], False
        except ValueError:
            raise Unclear(f"found --source {request.source!r}\n  to do: write an IP address, or unix") from None
        lines += self.first()
        lines.append(f"path compared: {path.decode('utf-8', 'replace')}")
        misses = [(i, *tables.miss(self.at, i)) for i in range(len(self.listener.routes) if route is None else route)]
        lines += self.walk(misses, 0, route)
        if how != "route":
            return [*lines, f"answer {REFUSED[how]}"], False
        assert route is not None
        return [*lines, *self.target(route, cluster, tables.subset(request.draw))], True

    def place(self, path: Path) -> str:
        """Where a part of the file stands."""
        return self.file.place(path)

    def first(self) -> Iterator[str]:
        """What is asked before a route is chosen."""
        if self.listener.rate_limits:
            yield "rate limits of the listener, which may refuse the request before all else:"
            yield from limit_lines(self.file, (*self.path, "rate_limits"), self.listener.rate_limits, self.verdicts)
        yield from self._filters("the listener", self.path, self.listener)

    def _filters(self, owner: str, path: Path, section: Listener | Route | Cluster) -> Iterator[str]:
        if section.filters:
            yield f"filters of {owner} (what they change is not known here):"
            yield from filter_lines(self.file, (*path, "filters"), section.filters, self.verdicts)

    def _route_name(self, i: int) -> str:
        name = self.listener.routes[i].name or f"route-{i}"
        return f"routes[{i}] {name} ({self.place((*self.path, 'routes', i))})"

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
            yield f"  {self._route_name(i)}: no, {why_not(self.listener.routes[i].match, what, name, self.request)}"
        if taken is not None:
            yield f"  {self._route_name(taken)}: takes it"

    def target(self, at: int, cluster: int | None, chosen: Chosen | None = None) -> Iterator[str]:
        """What holds for a request that a route takes. `chosen`: its subset, where that is known."""
        route = self.listener.routes[at]
        path = (*self.path, "routes", at)
        yield from self.file.policies(route.policies)
        counted = counted_name(self.config, self.listener, at)
        if counted and self.config.metrics.routes != "named":
            yield (f'counted as fastmesh_route_requests_total{{listener="{self.listener.name}",route="{counted}"}} '
                   f"({self.place(('metrics', 'routes'))})")
        if self.config.metrics.labels:
            yield (f"counted by {', '.join(self.config.metrics.labels)}, as filters label it "
                   f"({self.place(('metrics', 'labels'))}), at most {self.config.metrics.values:,} values of each")
        yield from origin_lines(self.file, path, self.listener, route, self.request)
        if self.request.matched != self.request.method:
            return
        if route.rate_limits:
            yield "rate limits of the route, which may refuse the request:"
            yield from limit_lines(self.file, (*path, "rate_limits"), route.rate_limits, self.verdicts)
        yield from self._filters("the route", path, route)
        if cluster is None:
            if route.redirect is not None:
                yield f"answer {route.redirect.status}, a redirect: {_given(route.redirect)}"
            elif route.response is not None:
                yield f"answer {route.response.status}, the response of the route"
            yield from edit_lines(self.file, path, None, route.response_headers)
            return
        goal = self.config.clusters[cluster]
        yield from self._filters(f"the cluster {goal.name}", ("clusters", cluster), goal)
        if route.clusters is not None:
            yield self._split(path, route)
        yield from fault_lines(self.file, path, route.faults, self.verdicts)
        yield from mirror_lines(self.file, path, route.mirrors, self.verdicts)
        if route.rewrite is not None:
            yield f"rewrite ({self.place((*path, 'rewrite'))}): {_given(route.rewrite)}"
        yield from edit_lines(self.file, path, route.request_headers, route.response_headers)
        yield from self._priority(path, route)
        yield from self._times(path, route)
        attempts = Attempts(self.file, self.at, self.listener, self.request)
        yield attempts.retry(at, route, goal)
        yield from attempts.hedge(at, route)
        yield from cluster_lines(self.file, cluster, goal)
        yield from subset_lines(self.file, path, cluster, route, goal, chosen)
        yield from attempts.fallback(at, route)

    def _priority(self, path: Path, route: Route) -> Iterator[str]:
        """How soon it is refused when there are too many."""
        if route.priority != "default":
            yield f"priority ({self.place((*path, 'priority'))}): {route.priority}"
        header = self.config.overload.header
        if header is not None:
            yield (f"  the header {header} says another priority, from trusted_clients "
                   f"({self.place(('overload', 'header'))})")

    def _times(self, path: Path, route: Route) -> Iterator[str]:
        """How long it may take."""
        timeout = self.listener.timeouts.request if route.timeout is None else route.timeout
        place = ""
        if route.timeout is not None:
            place = f" ({self.place((*path, 'timeout'))})"
        elif timeout:
            place = f" ({self.place((*self.path, 'timeouts', 'request'))})"
        yield f"timeout{place}: {format_duration(timeout) if timeout else 'none'}"
        if route.stream_idle is not None:
            yield (f"stream_idle ({self.place((*path, 'stream_idle'))}): "
                   f"{format_duration(route.stream_idle) if route.stream_idle else 'none'}")
        deadlines = self.listener.deadlines
        if deadlines == type(deadlines)():
            return
        read = ["grpc-timeout", "x-envoy-expected-rq-timeout-ms", *([deadlines.header] if deadlines.header else [])]
        said = f"the client's own limit holds too, by {', '.join(read)}" if deadlines.read else (
            "the client's own limit is not read")
        told = "" if deadlines.send else "; upstreams are not told what is left"
        yield f"deadline ({self.place((*self.path, 'deadlines'))}): {said}{told}"

    def _split(self, path: Path, route: Route) -> str:
        total = sum(part.weight for part in route.parts())
        parts = ", ".join(f"{part.cluster}{in_brackets(part.subset)} "
                          f"{part.weight * 100 / total:.4g} %" for part in route.parts())
        by = "by chance" if route.sticky is None else (
            f"by the header {route.sticky.header}" if route.sticky.header else f"by the cookie {route.sticky.cookie}")
        return f"split ({self.place((*path, 'clusters'))}) {by}: {parts}"


def _given(section: Section) -> str:
    """What a section says, as far as it says something."""
    given = section.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in given.items()) or "to the same place"
