"""What is simulated: who asks how often, and how the endpoints behave."""

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from fastmesh.config.balancing import Percent
from fastmesh.config.cluster import MAX_METADATA, MAX_WEIGHT, Cluster
from fastmesh.config.fields import LIST, Choice, Count, Duration, Flag, Label, Parsed, Section, shown
from fastmesh.config.hedge import Hedge
from fastmesh.config.rate_limit import read_rate
from fastmesh.config.report import path_text, section_at
from fastmesh.config.retry import Retry
from fastmesh.config.source import Source
from fastmesh.config.split import MAX_SPLIT
from fastmesh.config.split import MAX_WEIGHT as MAX_SHARE
from fastmesh.config.subset import MAX_KEYS
from fastmesh.config.subset_checks import check_subsets
from fastmesh.config.yaml_tree import ListMark, MapMark, Mark, Tree, Value, compose
from fastmesh.errors import ConfigError, Problem, WrongValue
from fastmesh.units import RATE_PATTERN, Rate, parse_duration

MAX_ENDPOINTS = 65_536
MAX_REQUESTS = 10_000_000       # expected ones: some minutes of computing
_SECOND = 1_000_000_000


class Time(Section):
    """How long an endpoint works on a request."""

    kind: Annotated[str, Choice("fixed", "exponential", "lognormal"), Field(
        description="`fixed` is always `mean`; `exponential` and `lognormal` vary around it.")] = "exponential"
    mean: Annotated[int, Duration("0.001ms", "1h"), Field(description="The mean.", examples=["10ms"])]
    spread: Annotated[int, Count(1, 30), Field(
        description="With `lognormal`: ten times the standard deviation of the logarithm; 10 makes the 99th percentile "
                    "six times the mean.")] = 10


class Span(Section):
    """A part of the time, in which endpoints behave otherwise."""

    begin: Annotated[int, Duration(high="24h"), Field(description="When it begins, from the start.")] = 0
    end: Annotated[Annotated[int, Duration(high="24h")] | None, Field(
        description="When it ends; not at all when left out.", examples=["30s"])] = None

    def holds(self, now_ns: int) -> bool:
        return self.begin <= now_ns and (self.end is None or now_ns < self.end)


class Slow(Span):
    """Endpoints that are slower for a while."""

    factor: Annotated[int, Count(2, 10_000), Field(description="How many times as long work takes.", examples=[10])]


class Failing(Span):
    """Endpoints that answer 503 for a while."""

    share: Annotated[Percent, Field(description="Of the requests.", examples=["50%"])] = 1_000_000
    after: Annotated[int, Duration("0.001ms", "1h"), Field(
        description="How long a failure takes.")] = parse_duration("1ms")
    retry_after: Annotated[int, Duration(high="1h"), Field(description="What it says in `Retry-After`; 0 is nothing.")
                           ] = 0


class Group(Section):
    """Endpoints that behave alike."""

    name: Annotated[Label, Field(description="For the table; its number when left out.", examples=["slow"])] = ""
    count: Annotated[int, Count(1, MAX_ENDPOINTS), Field(description="How many.", examples=[10])] = 1
    weight: Annotated[int, Count(1, MAX_WEIGHT), Field(description="Of each.")] = 1
    priority: Annotated[int, Count(0, 127), Field(description="Of each.")] = 0
    zone: Annotated[Label, Field(
        description="Where they are, for `balancing.prefer_zone` of the cluster.", examples=["eu-1a"])] = ""
    metadata: Annotated[dict[Label, Label], Field(
        description="What is said of each, for `subsets` of the cluster.", max_length=MAX_METADATA,
        examples=[{"version": "v2"}])] = {}  # noqa: RUF012
    time: Annotated[Time, Field(description="How long they work on a request.", examples=[{"mean": "10ms"}])]
    slots: Annotated[int, Count(1, 100_000), Field(
        description="Requests that each works on at once; further ones wait in line.")] = 16
    slow: Annotated[Slow | None, Field(description="When they are slower.")] = None
    failing: Annotated[Failing | None, Field(description="When they fail.")] = None
    down: Annotated[Span | None, Field(description="When nobody can connect to them.")] = None
    joins: Annotated[int, Duration(high="24h"), Field(
        description="When they are added to the cluster; 0 is from the beginning.")] = 0


class Keys(Section):
    """What requests are told apart by."""

    count: Annotated[int, Count(1, 1_000_000), Field(description="How many different ones there are.",
                                                    examples=[10_000])]
    skew: Annotated[int, Count(0, 30), Field(
        description="0 is all equally often; 10 is Zipf's law, where the second is asked for half as often as the "
                    "first.")] = 0


class Asked(Section):
    """A share of the requests, and the subset of the cluster that they ask for."""

    name: Annotated[Label, Field(description="For the table; what it asks for when left out.",
                                 examples=["canary"])] = ""
    weight: Annotated[int, Count(0, MAX_SHARE), Field(
        description="Its share relative to the others. 0 gets none.", examples=[5])] = 1
    subset: Annotated[dict[Label, Label], Field(
        description="By names and values of the endpoints' `metadata`; none is asked for when left out.",
        max_length=MAX_KEYS, examples=[{"version": "v2"}])] = {}  # noqa: RUF012

    @property
    def title(self) -> str:
        return self.name or " ".join(f"{name}={value}" for name, value in self.subset.items()) or "no subset"


class Limit(Section):
    """How often requests may come, over all callers together; who asks for more is refused."""

    rate: Annotated[Rate, Parsed(read_rate, "rate, 1/d to 1000000/s", {"type": "string", "pattern": RATE_PATTERN}, str),
                    Field(description="As of a rate limit in a configuration.", examples=["100/s"])]
    burst: Annotated[Annotated[int, Count(1, 1_000_000_000)] | None, Field(
        description="How many may come at once. The number of `rate` when left out.", examples=[200])] = None
    by_key: Annotated[Flag, Field(
        description="Each key (`keys`) has a bucket of its own.")] = False

    @property
    def depth(self) -> int:
        return self.rate.number if self.burst is None else self.burst


class Scenario(Section):
    """A simulation."""

    seed: Annotated[int, Count(0, 1 << 31), Field(description="Of all random numbers.")] = 1
    duration: Annotated[int, Duration("1ms", "24h"), Field(description="How long requests come.", examples=["60s"])]
    warm_up: Annotated[int, Duration(high="24h"), Field(
        description="Requests of the first so much time are not in the table.")] = 0
    rate: Annotated[int, Count(1, 1_000_000), Field(
        description="Requests a second, at random moments (a Poisson process).", examples=[1000])]
    callers: Annotated[int, Count(1, 1000), Field(
        description="Workers that requests come to by lot, each with what it has seen itself.")] = 1
    zones: Annotated[list[Annotated[Label, Field(description="A zone.")]], LIST, Field(
        description="Zones that the callers are in, by turns: those of a zone are the workers of one proxy there, "
                    "which knows nothing of the others.", max_length=100, examples=[["eu-1a", "eu-1b"]])
    ] = []  # noqa: RUF012
    rate_limit: Annotated[Limit | None, Field(
        description="How often requests may come at all; as often as they like when left out.",
        examples=[{"rate": "900/s"}])] = None
    timeout: Annotated[int, Duration(high="1h"), Field(
        description="When a caller gives up; the endpoint works on. 0 is never.")] = 0
    retry: Annotated[Retry | None, Field(
        description="What callers try again, as in a configuration; nothing when left out.",
        examples=[{"on": [503], "attempts": 3}])] = None
    hedge: Annotated[Hedge | None, Field(
        description="When a request is sent to a second endpoint as well, as in a configuration; `on` is `delay`.",
        examples=[{"delay": "p95"}])] = None
    keys: Annotated[Keys | None, Field(description="What requests are told apart by; nothing when left out.")] = None
    split: Annotated[list[Asked], LIST, Field(
        description="Shares of the requests that ask for subsets of the cluster, as the split of a route; by lot. All "
                    "ask for none when left out.", max_length=MAX_SPLIT,
        examples=[[{"weight": 95, "subset": {"version": "v1"}}, {"weight": 5, "subset": {"version": "v2"}}]])
    ] = []  # noqa: RUF012
    cluster: Annotated[dict[str, Any], Field(
        description="A cluster as in a configuration, without name and endpoints.",
        examples=[{"load_balancer": "peak_ewma"}])] = {}  # noqa: RUF012
    endpoints: Annotated[list[Group], LIST, Field(
        description="Groups of endpoints.", min_length=1, max_length=1000,
        examples=[[{"count": 10, "time": {"mean": "10ms"}}]])]

    @model_validator(mode="after")
    def _is_bounded(self) -> "Scenario":
        count = sum(group.count for group in self.endpoints)
        if count > MAX_ENDPOINTS:
            raise WrongValue(f"{count:,} endpoints", f"at most {MAX_ENDPOINTS:,}")
        if self.rate * self.duration > MAX_REQUESTS * _SECOND:
            raise WrongValue(f"{self.rate * self.duration // _SECOND:,} requests (rate x duration)",
                             f"at most {MAX_REQUESTS:,}", "make duration shorter, or rate lower")
        try:
            balancer = cluster_of(self, 0).load_balancer
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(step) for step in ("cluster", *first["loc"]))
            wrong = first.get("ctx", {}).get("error")
            if isinstance(wrong, WrongValue):
                raise WrongValue(f"{wrong.found} at {path}", wrong.allowed, wrong.hint) from None
            raise WrongValue(f"a fault at {path}", "a cluster as in a configuration", str(first["msg"])) from None
        if self.split and not any(asked.weight for asked in self.split):
            raise WrongValue("a split whose weights are all 0", "at least one above 0", "write weight: 1")
        if len(self.zones) > self.callers:
            raise WrongValue(f"{len(self.zones):,} zones for {self.callers:,} callers", "at most as many as callers",
                             "add callers, or remove zones")
        if self.rate_limit is not None and self.rate_limit.by_key and self.keys is None:
            raise WrongValue("rate_limit.by_key without keys", "by_key where requests have keys",
                             "add keys: {count: …}")
        if self.hedge is not None and self.hedge.on != "delay":
            raise WrongValue(f"{self.hedge.on} at hedge.on", "delay", "what is tried again is said by retry")
        if balancer.is_policy:
            raise WrongValue("a policy at cluster.load_balancer", "the name of an algorithm",
                             "policies in Python are not simulated")
        return self


def address_of(number: int) -> str:
    """Of the endpoint with that number, over all groups."""
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80"


def cluster_of(scenario: Scenario, now_ns: int) -> Cluster:
    """The cluster as it is at that time."""
    endpoints = []
    number = 0
    for group in scenario.endpoints:
        if group.joins <= now_ns:
            endpoints += [{"address": address_of(i), "weight": group.weight, "priority": group.priority,
                           "zone": group.zone, "metadata": group.metadata}
                          for i in range(number, number + group.count)]
        number += group.count
    # Nobody checks health here: no endpoint would ever pass.
    for key in ("name", "endpoints", "filters", "health_check"):
        if key in scenario.cluster:
            raise WrongValue(f"the key {key!r}", "a cluster without name, endpoints, filters and health_check",
                             f"remove {key}")
    return Cluster.model_validate({**scenario.cluster, "name": "simulated", "endpoints": endpoints})


def read(source: Source, env: dict[str, str], balancer: str | None = None) -> Scenario:
    """The scenario, with another balancer if one is given. Raises ConfigError with everything that is wrong."""
    tree = compose(source, env)
    problems = list(tree.problems)
    if not isinstance(tree.value, dict):
        problems.append(source.problem(f"found {shown(tree.value)}", tree.mark.start, tree.mark.end,
                                       allowed="a mapping that begins with keys such as duration: and endpoints:"))
        raise ConfigError(problems)
    value: dict[str, Any] = dict(tree.value)
    if "listeners" in value and "duration" not in value:
        start, end = tree.mark.keys["listeners"] if isinstance(tree.mark, MapMark) else (tree.mark.start, tree.mark.end)
        raise ConfigError([source.problem(
            "this is a configuration of a proxy, which fastmesh run takes", start, end,
            allowed="a scenario, with duration, rate and endpoints",
            hint="write one as fastmesh simulate --help shows; its cluster may have the keys of a cluster there")])
    cluster = value.get("cluster") or {}
    if balancer is not None and isinstance(cluster, dict):
        value["cluster"] = {**cluster, "load_balancer": balancer}
    try:
        scenario = Scenario.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError(problems + [_problem(item, tree) for item in found]) from None
    problems += _contradictions(tree, value)
    if problems:
        raise ConfigError(problems)
    return scenario


def _contradictions(tree: Tree, value: dict[str, Any]) -> list[Problem]:
    """Those between the cluster's subsets, the groups' metadata and what is asked for: they are a configuration's, so
    they are looked for in one that says the same."""
    cluster, split = value.get("cluster") or {}, value.get("split") or []
    marks = tree.mark.items if isinstance(tree.mark, MapMark) else {}
    written: dict[str, Value] = {
        "clusters": [{**cluster, "name": "simulated", "endpoints": value["endpoints"]}],
        "listeners": [{"routes": [{"clusters": [{**asked, "cluster": "simulated"} for asked in split]}]}]}
    whole = MapMark(tree.mark.start)
    of_cluster = MapMark(tree.mark.start)
    if isinstance(given := marks.get("cluster"), MapMark):
        of_cluster.start, of_cluster.end = given.start, given.end
        of_cluster.keys, of_cluster.items = dict(given.keys), dict(given.items)
    of_cluster.items["endpoints"] = marks["endpoints"]
    route = MapMark(tree.mark.start)
    route.items["clusters"] = marks.get("split", tree.mark)
    listener = MapMark(tree.mark.start)
    listener.items["routes"] = _list_of(route)
    whole.items = {"clusters": _list_of(of_cluster), "listeners": _list_of(listener)}
    found = check_subsets(Tree(tree.source, written, whole, tree.count, [], set()))
    for problem in found:
        for prefix, here in (("clusters[0].endpoints", "endpoints"), ("clusters[0]", "cluster"),
                             ("listeners[0].routes[0].clusters", "split")):
            if problem.path.startswith(prefix):
                problem.path = here + problem.path[len(prefix):]
                break
    return found


def _list_of(mark: Mark) -> ListMark:
    found = ListMark(mark.start)
    found.items.append(mark)
    return found


def _problem(item: Any, tree: Tree) -> Problem:
    path = tuple(item["loc"])
    mark, _ = tree.find(path)
    start, end = mark.start, mark.end
    wrong = item.get("ctx", {}).get("error")
    if isinstance(wrong, WrongValue):
        return tree.source.problem(f"found {wrong.found}", start, end, path=path_text(path), found=wrong.found,
                                   allowed=wrong.allowed, hint=wrong.hint)
    parent, taken = tree.find(path[:-1])
    if item["type"] == "extra_forbidden":
        if isinstance(parent, MapMark) and taken == len(path) - 1 and path[-1] in parent.keys:
            start, end = parent.keys[path[-1]]
        section = section_at(path[:-1], Scenario)
        known = list(section.model_fields) if section else []
        close = get_close_matches(str(path[-1])[:100].replace("-", "_").lower(), known, 1)
        return tree.source.problem(f"unknown key {shown(path[-1])}", start, end, path=path_text(path[:-1]),
                                   allowed=", ".join(known), hint=f"write {close[0]}" if close else "remove it")
    if item["type"] == "missing":
        return tree.source.problem(f"the key {shown(path[-1])} is missing", parent.start, parent.end,
                                   path=path_text(path[:-1]), hint=f"add {path[-1]}")
    return tree.source.problem(str(item["msg"]), start, end)
