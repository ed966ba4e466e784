"""A cluster: how an endpoint is picked, which there are, and how much of it may be in use."""

from collections.abc import Callable, Iterator

from fastmesh.cli.explained.file import File
from fastmesh.config.balancing import Balancing, HashKey
from fastmesh.config.breakers import breaker_limits
from fastmesh.config.cluster import Cluster
from fastmesh.config.fields import Section
from fastmesh.config.health_check import HealthCheck
from fastmesh.config.outlier import Outlier
from fastmesh.config.report import Path
from fastmesh.snapshot.members import members
from fastmesh.units import format_duration, format_percent

MOST = 40              # endpoints that are listed
Place = Callable[[str], str]


def _places(file: File, path: Path, section: Section) -> Place:
    """Where keys of a section stand; "" for those that are left out."""
    return lambda key: f" ({file.place((*path, key))})" if key in section.model_fields_set else ""


def cluster_lines(file: File, at: int, cluster: Cluster) -> Iterator[str]:
    """What holds for all that go to a cluster."""
    path: Path = ("clusters", at)
    given = _places(file, path, cluster)
    balancer, listed = cluster.load_balancer, cluster.listed
    by = f"the policy {balancer.use} above {balancer.pick_by}" if balancer.is_policy else balancer.pick_by
    yield f"cluster {cluster.name} ({file.place(path)}), {by}"
    yield from file.policies(cluster.policies, "  ")
    if cluster.discovery is not None:
        yield f"  the policy {cluster.discovery.use} finds its endpoints: which ones is not known here"
    elif not listed:
        yield "  no endpoint: answer 503"
    if cluster.balancing != Balancing():
        yield from _balanced(cluster.balancing, _places(file, (*path, "balancing"), cluster.balancing))
    levels = members(cluster, file.config.node)
    if len(levels) > 1:
        below = cluster.balancing.spill_below
        at_all = _places(file, (*path, "balancing"), cluster.balancing)("spill_below")
        yield f"  with less than {format_percent(below)} of a group usable{at_all}, the next gets what is missing"
    for i, level in enumerate(levels):
        if len(levels) > 1:
            yield f"  group {i + 1} of {len(levels)}:"
        total = sum(endpoint.weight for endpoint in level)
        for endpoint in level[:MOST]:
            yield f"  {endpoint.address}  weight {endpoint.weight}  {endpoint.weight * 100 / total:.4g} %"
        if len(level) > MOST:
            yield f"  and {len(level) - MOST:,} more"
    yield from _checked(cluster.health_check, given("health_check"))
    yield from _outlier(cluster.outlier, given("outlier"))
    if (heal := cluster.heal) is not None:
        what = f"the policy {heal.use}" if heal.use else (heal.run or [""])[0]
        how = "would be told" if heal.dry_run else "is run"
        yield f"  heal{given('heal')}: {what} {how} when one is out and when it is in again, at most {heal.at_most}"
    yield from _limits(cluster, given)


def _checked(check: HealthCheck | None, place: str) -> Iterator[str]:
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
    yield f"  health checks{place}: {asked}; {every}"
    at_once = ", at once by another status" if check.http is not None else ""
    yield (f"    out after {check.unhealthy} failures in a row{at_once}; in again after {check.healthy} successes, new "
           "ones after the first")


def _outlier(outlier: Outlier, place: str) -> Iterator[str]:
    """Who of its endpoints is ejected."""
    if not outlier.enabled:
        yield f"  ejected{place}: nobody"
        return
    counts = [f"{count} {name}" for name in ("server_errors", "gateway_errors", "connect_failures", "timeouts")
              if (count := getattr(outlier, name))]
    windows = [name for name, is_on in (
        ("success_rate", outlier.success_rate.factor), ("failure_percentage", outlier.failure_percentage.threshold),
        ("latency", outlier.latency is not None and outlier.latency.factor)) if is_on]
    yield f"  ejected{place}: who has {', '.join(counts) or 'nothing'} in a row"
    by = f"or by {', '.join(windows)} in {format_duration(outlier.interval)}; " if windows else ""
    how = "only told of" if outlier.dry_run or not outlier.enforce else f"out for {format_duration(outlier.base)}"
    yield f"    {by}{how}, at most {format_percent(outlier.max_ejected)} or one at a time"


def _limits(cluster: Cluster, place: Place) -> Iterator[str]:
    """How much of it may be in use."""
    limits = [f"{name} {limit:,}{place(name)}" for name, limit in breaker_limits(cluster).items()]
    yield f"  limits: {', '.join(limits) or 'none'}"
    if (adaptive := cluster.adaptive) is not None:
        yield (f"    and what each worker finds{place('adaptive')}: {adaptive.min_concurrency:,} to "
               f"{adaptive.max_concurrency:,} requests in flight")
    if (admission := cluster.admission) is not None:
        yield (f"    and{place('admission')}, with less than {format_percent(admission.success_rate)} of good answers, "
               f"by chance, up to {format_percent(admission.max_rejected)}")
    if cluster.high_priority_reserve:
        yield (f"    {format_percent(cluster.high_priority_reserve)} of max_requests and max_pending are for routes "
               f"with priority: high{place('high_priority_reserve')}")


def _balanced(balancing: Balancing, place: Place) -> Iterator[str]:
    """What the choice of an endpoint goes by, beside the algorithm."""
    if (sticky := balancing.sticky) is not None:
        where = f"cookie {sticky.cookie}" if sticky.cookie else f"header {sticky.header}"
        yield f"  sessions stay where they began{place('sticky')}: the {where} says where, before anything else"
    if (hashing := balancing.hash) is not None:
        bound = f", each at most {hashing.load_bound}% of its share in flight" if hashing.load_bound else ""
        yield f"  hash keys{place('hash')}: {', else '.join(map(_key, hashing.keys))}, else any endpoint{bound}"
    if (start := balancing.slow_start) is not None:
        yield (f"  slow start{place('slow_start')}: new endpoints come to their share in "
               f"{format_duration(start.window)}, from {format_percent(start.min_weight)} on")
    if balancing.panic_threshold:
        yield (f"  panic{place('panic_threshold')}: with less than {format_percent(balancing.panic_threshold)} of them "
               "usable, all are asked")


def _key(key: HashKey) -> str:
    if key.source:
        return "the client's address"
    named = next(f"{what} {name}" for what, name in (("header", key.header), ("cookie", key.cookie),
                                                     ("parameter", key.query)) if name)
    made = f", set for {format_duration(key.ttl)} where it is missing" if key.ttl else (
        ", set where it is missing" if key.ttl == 0 else "")
    return f"the {named}{made}"
