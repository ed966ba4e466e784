"""What is doubtful about a configuration that can be used."""

from collections.abc import Iterator

from fastmesh.config.access_log import AccessLog
from fastmesh.config.address import Address
from fastmesh.config.automaton import Automaton
from fastmesh.config.checks import Finder
from fastmesh.config.cluster import Cluster
from fastmesh.config.counted import MAX_COUNTED, counted_routes
from fastmesh.config.fields import SHARE_ALL
from fastmesh.config.listener import Listener
from fastmesh.config.log_format import absent_operators
from fastmesh.config.match import Match
from fastmesh.config.model import Config
from fastmesh.config.path_rule import path_rule
from fastmesh.config.regex import compile_regex
from fastmesh.config.report import raw_at
from fastmesh.config.route import Route
from fastmesh.config.subset_checks import doubtful_subsets
from fastmesh.config.template import compile_template
from fastmesh.config.yaml_tree import Tree
from fastmesh.errors import Problem

_MAX_COMPARED = 1_000_000       # pairs of routes; more only with thousands of routes on one path
_ROWS = 131_072                 # endpoint rows in shared memory


def warnings_of(config: Config, tree: Tree) -> list[Problem]:
    """Every warning, in no order."""
    find = Finder(tree)
    if not config.listeners:
        _warn(find, ("listeners",), "there are no listeners: nothing is proxied")
    if not config.admin.address.is_local:
        _warn(find, ("admin", "address"), f"the admin API listens on {config.admin.address}, beyond this machine",
              "whoever reaches it can drain this proxy; keep it on loopback")
    _overlaps(find, config)
    _unused(find, config)
    _unused_filters(find, config)
    _unused_limits(find, config)
    _unset_labels(find, config)
    _uncounted(find, config)
    _unused_policies(find, config)
    _endpoints(find, config)
    for i, listener in enumerate(config.listeners):
        for j, route in enumerate(listener.routes):
            _spelling(find, ("listeners", i, "routes", j), route, tree)
        _unreachable(find, i, listener)
        _unbounded(find, i, listener)
    for place, why in doubtful_subsets(config):
        _warn(find, place, why)
    if config.access_log is not None:
        _absent(find, config.access_log)
    return find.problems


def _warn(find: Finder, path: tuple[int | str, ...], reason: str, hint: str = "") -> None:
    find.add(path, reason, hint=hint, severity="warning")


def _overlaps(find: Finder, config: Config) -> None:
    every = {(listener.address.family, listener.address.port): listener.name
             for listener in config.listeners if listener.address.is_any}
    for i, listener in enumerate(config.listeners):
        address = listener.address
        other = every.get((address.family, address.port))
        if other is not None and not address.is_any:
            _warn(find, ("listeners", i, "address"),
                  f"the address {address} is part of that of listener '{other}': connections to it come here")


def _unbounded(find: Finder, i: int, listener: Listener) -> None:
    """An upstream that does not answer holds a connection, a place below the limits, and the client, for ever."""
    if listener.timeouts.request:
        return
    names = []
    for j, route in enumerate(listener.routes):
        if not route.leads_to() or route.timeout:
            continue
        if route.stream_idle == 0:
            _warn(find, ("listeners", i, "routes", j, "stream_idle"), "nothing ends a request of the route that is "
                  "never answered", "give it a time, or the route a timeout")
        elif route.stream_idle is None and not listener.timeouts.stream_idle:
            names.append(route.name or f"route-{j}")
    if names:
        more = f" and of {len(names) - 1} more" if len(names) > 1 else ""
        _warn(find, ("listeners", i, "timeouts", "stream_idle"),
              f"nothing ends a request of the route '{names[0]}'{more} that is never answered",
              "leave out stream_idle: 0, or give timeouts: {request: …} or the route's timeout")


def _unused(find: Finder, config: Config) -> None:
    used = {listener.cluster for listener in config.listeners}
    routes = [route for listener in config.listeners for route in listener.routes]
    used |= {name for route in routes for name in (*route.leads_to(), *(mirror.cluster for mirror in route.mirrors))}
    chains = [listener.fallback for listener in config.listeners] + [route.fallback for route in routes]
    used |= {step.cluster for steps in chains for step in steps or ()}
    for i, cluster in enumerate(config.clusters):
        if cluster.name not in used:
            _warn(find, ("clusters", i, "name"), f"no route leads to the cluster '{cluster.name}'")


def _unused_filters(find: Finder, config: Config) -> None:
    lists = [use for listener in config.listeners for use in listener.filters]
    lists += [use for listener in config.listeners for route in listener.routes for use in route.filters]
    lists += [use for cluster in config.clusters for use in cluster.filters]
    used = {use.name for use in lists if use.is_reference}
    for i, use in enumerate(config.filters):
        if use.name not in used:
            _warn(find, ("filters", i, "name"), f"nothing refers to the filter '{use.name}'")
    of_clusters = {cluster.name for cluster in config.clusters if cluster.filters}
    for i, listener in enumerate(config.listeners):
        if listener.cluster in of_clusters:
            _warn(find, ("listeners", i, "cluster"),
                  f"the filters of the cluster '{listener.cluster}' are not asked about connections",
                  "they see requests; name filters with on_connection at the listener")


def _uncounted(find: Finder, config: Config) -> None:
    names = list(counted_routes(config))
    if len(names) > MAX_COUNTED:
        _warn(find, ("metrics", "routes"), f"{len(names):,} routes are to be counted by themselves, and there is room "
              f"for {MAX_COUNTED:,}: the others are in no fastmesh_route_requests_total",
              "name those alone that are to be told apart, and give the same name to those that are not")


def _unused_limits(find: Finder, config: Config) -> None:
    used = {limit.name for listener in config.listeners
            for limit in (*listener.rate_limits, *(limit for route in listener.routes for limit in route.rate_limits))}
    for i, limit in enumerate(config.rate_limits):
        if limit.name not in used:
            _warn(find, ("rate_limits", i, "name"), f"nothing refers to the rate limit '{limit.name}'")


def _unset_labels(find: Finder, config: Config) -> None:
    owners: list[Listener | Route | Cluster] = [
        *config.listeners, *config.clusters, *(route for listener in config.listeners for route in listener.routes)]
    if config.metrics.labels and not any(owner.filters for owner in owners):
        _warn(find, ("metrics", "labels"), "no request has a label: there are no filters, which set them")


def _unused_policies(find: Finder, config: Config) -> None:
    users: list[Listener | Route | Cluster] = [
        *config.listeners, *(route for listener in config.listeners for route in listener.routes), *config.clusters]
    used = {name for user in users for name in user.policies}
    for i, policy in enumerate(config.policies):
        if policy.name not in used:
            _warn(find, ("policies", i, "name"), f"nothing refers to the policy '{policy.name}'")


def _endpoints(find: Finder, config: Config) -> None:
    places = {cluster.name: i for i, cluster in enumerate(config.clusters)}
    for i, cluster in enumerate(config.clusters):
        if cluster.discovery is None and not cluster.listed:
            _warn(find, ("clusters", i, "endpoints"), f"the cluster '{cluster.name}' has no endpoints: "
                                                      "requests to it get 503")
    if sum(len(cluster.listed) for cluster in config.clusters) > _ROWS:
        _warn(find, ("clusters",), f"there are more than {_ROWS:,} endpoints: those beyond share one row of statistics")
    for listener in config.listeners:
        leads = {listener.cluster} if listener.cluster else {
            name for route in listener.routes for name in route.leads_to()}
        for name in leads:
            cluster_at = places.get(name) if name else None
            if cluster_at is None:
                continue
            for j, endpoint in enumerate(config.clusters[cluster_at].listed):
                if _reaches(endpoint.address, listener.address):
                    _warn(find, ("clusters", cluster_at, "endpoints", j),
                          f"the endpoint {endpoint.address} is the listener '{listener.name}', which leads here: "
                          "requests go round in circles", "write the address of the service itself")


def _reaches(endpoint: Address, listener: Address) -> bool:
    if endpoint.family != listener.family or endpoint.port != listener.port:
        return False
    return endpoint.packed == listener.packed or (listener.is_any and endpoint.is_local)


def _spelling(find: Finder, path: tuple[int | str, ...], route: Route, tree: Tree) -> None:
    """What the file says otherwise than it will be compared."""
    for key, value in (("prefix", route.match.prefix), ("path", route.match.path),
                       ("starts_with", route.match.starts_with)):
        written = raw_at(tree.value, (*path, "match", key))
        if value is not None and isinstance(written, str) and written != value:
            _warn(find, (*path, "match", key), f"the {key} {written!r} is compared in its normal form, {value!r}",
                  f"write {value}")
    for i, method in enumerate(route.match.methods):
        if method != method.upper():
            _warn(find, (*path, "match", "methods", i), f"the method {method!r} matches only requests that write it so",
                  f"methods have case: write {method.upper()}")


def _absent(find: Finder, log: AccessLog) -> None:
    texts: list[tuple[tuple[str, ...], str]]
    if log.format == "text" and log.template is not None:
        texts = [(("access_log", "template"), log.template)]
    elif log.format == "json" and log.fields is not None:
        texts = [(("access_log", "fields", key), value) for key, value in log.fields.items()]
    else:
        return
    for path, text in texts:
        if operators := absent_operators(text):
            names = ", ".join(f"%{name}%" for name in operators)
            verb = "has" if len(operators) == 1 else "have"
            _warn(find, path, f"{names} never {verb} a value in this version", "remove it, or keep it for its key")


# --- routes that no request reaches -------------------------------------------

# Earlier routes by kind of path, path, and host; None is every host. What is no path or prefix is compared as text.
_Index = dict[tuple[str, str, str | None], list[int]]


def _unreachable(find: Finder, at: int, listener: Listener) -> None:
    """Only whether one earlier route takes everything; several that do so together are not found out, nor is it decided
    between two patterns that differ."""
    index: _Index = {}
    lengths: set[int] = set()       # of what paths start with
    compared = 0
    for j, route in enumerate(listener.routes):
        for i in _candidates(index, lengths, route.match):
            compared += 1
            if compared > _MAX_COMPARED:
                return
            if _covers(listener.routes[i].match, route.match):
                first = ("listeners", at, "routes", i)
                _warn(find, ("listeners", at, "routes", j), f"no request reaches this route: routes[{i}] on line "
                      f"{find.line(first)} takes all that match it", "move it up, or remove it")
                break
        kind, text = _path(route.match)
        if kind == "starts_with":
            lengths.add(len(text))
        for host in _hosts(route.match) or (None,):
            index.setdefault((kind, text, host), []).append(j)
            if kind in ("regex", "template"):
                index.setdefault(("pattern", "", host), []).append(j)


def _candidates(index: _Index, lengths: set[int], match: Match) -> Iterator[int]:
    """The earlier routes whose path, and one host of them, fit: so that rules by host need no search."""
    kind, text = _path(match)
    ways = [] if kind == "prefix" else [(kind, text)]
    ways += [("pattern", "")] if kind in ("path", "prefix", "starts_with") else []
    ways += [("prefix", prefix) for prefix in _prefixes(_beginning(match))]
    begun = _literal(match)
    # "/" as a prefix takes "*" too.
    if (kind, begun) != ("prefix", "/"):
        ways += [("starts_with", begun[:length]) for length in lengths if length <= len(begun)]
    hosts: list[str | None] = [None]
    if names := _hosts(match):
        hosts += _wider(names[0])
    for way, value in ways:
        for host in hosts:
            yield from index.get((way, value, host), ())


def _hosts(match: Match) -> list[str]:
    return [] if "*" in match.hosts else match.hosts


def _wider(host: str) -> Iterator[str]:
    """The hosts of a rule that take everything that `host` stands for."""
    yield host
    at = host.find(".")
    while not host.startswith("*") and 0 <= at < len(host) - 1:
        if host[at:] != ".*":
            yield host[:at] + ".*"
        at = host.find(".", at + 1)
    if host.endswith(".*"):
        return
    at = host.find(".", 2 if host.startswith("*.") else 0)
    while at >= 0:
        yield "*" + host[at:]
        at = host.find(".", at + 1)


def _prefixes(text: str) -> Iterator[str]:
    """The prefixes that take everything that `text`, a path or a prefix, stands for."""
    yield text
    at = len(text)
    while at > 0:
        at = text.rfind("/", 0, at)
        if at >= 0 and text[:at + 1] != text:
            yield text[:at + 1]
        if at > 0:
            yield text[:at]


def _covers(wide: Match, narrow: Match) -> bool:
    """Path, apart from a pattern, and one host are known to fit. Whatever `narrow` matches, `wide` matches."""
    pattern = path_rule(wide).automaton
    if pattern is not None and _path(wide) != _path(narrow) and not _takes_all(pattern, *_path(narrow)):
        return False
    if hosts := set(_hosts(wide)):
        names = _hosts(narrow)
        if not names or any(hosts.isdisjoint(_wider(name)) for name in names):
            return False
    if wide.methods and not (narrow.methods and set(narrow.methods) <= set(wide.methods)):
        return False
    if wide.sources and wide.sources != narrow.sources:
        return False
    if wide.share < SHARE_ALL:
        return False
    return all(of_narrow.get(name) == value
               for of_wide, of_narrow in ((wide.headers, narrow.headers), (wide.query, narrow.query),
                                          (wide.cookies, narrow.cookies))
               for name, value in of_wide.items())


def _takes_all(pattern: Automaton, kind: str, text: str) -> bool:
    """All paths of that kind."""
    begun = text.encode()
    if kind == "path":
        return pattern.matches(begun)
    if kind == "prefix" and not text.endswith("/"):
        return pattern.matches(begun) and pattern.takes_all_behind(begun + b"/")
    return kind in ("prefix", "starts_with") and pattern.takes_all_behind(begun) and (
        (kind, text) != ("prefix", "/") or pattern.matches(b"*"))


def _path(match: Match) -> tuple[str, str]:
    for kind in ("path", "starts_with", "regex", "template"):
        if (text := getattr(match, kind)) is not None:
            return kind, text
    if match.grpc is not None:
        return "grpc", f"{match.grpc.service or '*'}/{match.grpc.method or '*'}"
    return "prefix", match.prefix or "/"


def _literal(match: Match) -> str:
    """What all paths begin with that it takes."""
    if match.regex is not None:
        return compile_regex(match.regex).literal.decode()
    if match.template is not None:
        return compile_template(match.template).literal.decode()
    return path_rule(match).literal.decode()


def _beginning(match: Match) -> str:
    """The same, up to where segments part."""
    begun = _literal(match)
    pattern = path_rule(match).automaton
    if _path(match)[0] in ("path", "prefix", "grpc") or (pattern and pattern.only_behind(begun.encode(), ord("/"))):
        return begun
    return begun[:begun.rfind("/") + 1] or "/"
