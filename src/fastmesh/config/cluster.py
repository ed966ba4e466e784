"""A set of endpoints that can answer for each other."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from fastmesh.config import address, fields
from fastmesh.config.adaptive import Adaptive, Admission
from fastmesh.config.balancing import MAX_ENDPOINTS, Balancing
from fastmesh.config.discovery import DiscoveryUse
from fastmesh.config.fields import (
    LIST,
    MAX_TAKEN,
    OR_DEFAULT,
    U32_MAX,
    Count,
    Duration,
    Label,
    Name,
    Section,
    Share,
    shown,
)
from fastmesh.config.filter import MAX_CHAIN, FilterUse
from fastmesh.config.heal import Heal
from fastmesh.config.health_check import HealthCheck
from fastmesh.config.load_balancer import LoadBalancer, plain
from fastmesh.config.outlier import Outlier
from fastmesh.config.retry import RetryBudget
from fastmesh.config.subset import Subsets
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration

MAX_WEIGHT = 1 << 31
MAX_METADATA = 32           # names of one endpoint
MAX_PRIORITY = 127


class Endpoint(Section):
    """One instance: an address, or a mapping of `address` and what else there is to say of it."""

    address: Annotated[fields.Address, Field(
        description="Where to connect to: `127.0.0.1:9000`, `[::1]:9000`, `unix:/run/app.sock`; `localhost` is "
                    "127.0.0.1. Other host names are found by a policy, `endpoints: {use: dns}`.",
        examples=["127.0.0.1:9000"])]
    weight: Annotated[int, Count(1, MAX_WEIGHT), Field(
        description="Its share relative to the others: 2 gets twice the requests of 1.")] = 1
    priority: Annotated[int, Count(0, MAX_PRIORITY), Field(
        description="0 is asked first; a higher number only when too few of the lower ones can be used "
                    "(`balancing.spill_below`).")] = 0
    zone: Annotated[Label, Field(
        description="Where it is, for `balancing.prefer_zone`.", examples=["eu-1a"])] = ""
    check_address: Annotated[fields.Address | None, Field(
        description="What health checks connect to in place of `address`.", examples=["127.0.0.1:9100"])] = None
    metadata: Annotated[dict[Label, Label], Field(
        description="What else there is to say of it, for `subsets` and load balancers in Python: names and values.",
        max_length=MAX_METADATA, examples=[{"version": "v2"}])] = {}  # noqa: RUF012

    @model_validator(mode="before")
    @classmethod
    def _accept_text(cls, value: Any) -> Any:
        if isinstance(value, (str, address.Address)):
            return {"address": value}
        if not isinstance(value, (dict, Endpoint)):
            raise WrongValue(shown(value), "an address, or a mapping of address, weight, priority, zone, check_address "
                                           "and metadata")
        return value


class Avoid(Section):
    """How long an endpoint that could not be connected to is left alone."""

    base: Annotated[int, Duration("1ms", "1h"), Field(
        description="After the first failed connect; doubles with each further one.")] = parse_duration("1s")
    max: Annotated[int, Duration("1ms", "24h"), Field(
        description="The longest. When every endpoint is to be avoided, the one whose time ends first is tried "
                    "anyway.")] = parse_duration("30s")


Listed = Annotated[list[Endpoint], LIST, Field(max_length=MAX_ENDPOINTS)]
_listed: TypeAdapter[list[Endpoint]] = TypeAdapter(Listed, config=ConfigDict(defer_build=True))


def _endpoints(value: Any, handler: ValidatorFunctionWrapHandler) -> list[Endpoint] | DiscoveryUse:
    """A mapping is a policy, all else a list or what is wrong with it: a union would report both."""
    if isinstance(value, (dict, DiscoveryUse)):
        return DiscoveryUse.model_validate(value)
    return _listed.validate_python(value)


class Cluster(Section):
    """A named set of endpoints, with how one is picked and how connections to them are kept."""

    name: Annotated[Name, Field(
        description="Name of the cluster, for routes, metrics and logs. What is known of its endpoints is kept over "
                    "a reload by this name.", examples=["app"])]
    load_balancer: Annotated[LoadBalancer, Field(
        description="How an endpoint is picked. `least_request` (the default): of two drawn at random, the one with "
                    "fewer requests in flight; `round_robin`: in turn, weights interleaved; `random`: by weight alone; "
                    "`peak_ewma`: of two drawn at random, the one that is likely to answer first, by its response "
                    "times and the requests in flight; `failure_aware_ewma`: the same, and failures count as slow; "
                    "`ring_hash` and `maglev`: requests with the same key go to the same endpoint. See "
                    "[load balancing](load-balancing.md). Or a policy in Python, as a mapping with `use`.",
        examples=["round_robin", {"use": "least-latency"}])
    ] = Field(default_factory=lambda: plain("least_request"))
    balancing: Annotated[Balancing, OR_DEFAULT, Field(
        description="What the choice goes by besides.")] = Field(default_factory=Balancing)
    endpoints: Annotated[Listed | DiscoveryUse, WrapValidator(_endpoints), Field(
        description="The instances, or a policy that finds them: `{use: file, path: /run/app.yaml}`. With none, "
                    "requests get 503.",
        examples=[["127.0.0.1:9000", {"address": "127.0.0.1:9001", "weight": 2}]])]
    connect_timeout: Annotated[int, Duration("1ms", "1h"), Field(
        description="For one attempt to connect; then another endpoint is tried, as far as `connect_attempts` "
                    "allows.")] = parse_duration("1s")
    idle_timeout: Annotated[int, Duration(), Field(
        description="How long an unused connection is kept for the next request. Keep it below the keep-alive "
                    "limit of the servers: one that closes first may do so just when a request is under way. 0 "
                    "keeps it until the server closes it.")] = parse_duration("60s")
    max_connections: Annotated[int, Count(0, U32_MAX), Field(
        description="Connections to one endpoint, over all workers: each has its part, and at least one. Requests "
                    "beyond wait. 0 is no limit.")] = 0
    max_pending: Annotated[int, Count(1, U32_MAX), Field(
        description="Requests that may wait for a connection, or for one being made, over all workers. Beyond: 503.")
    ] = 1024
    pending_timeout: Annotated[int, Duration(), Field(
        description="How long a request waits for one of `max_connections` to come free. Longer: 503. 0 is no limit.")
    ] = parse_duration("60s")
    max_requests: Annotated[int, Count(0, U32_MAX), Field(
        description="Requests, and TCP connections, in flight over all workers. Beyond: 503. 0 is no limit. See "
                    "[overload](overload.md).")] = 10_000
    max_endpoint_requests: Annotated[int, Count(0, U32_MAX), Field(
        description="The same of one endpoint: others are picked while it is full. With none that is not: 503. 0 is no "
                    "limit.")] = 0
    max_cluster_connections: Annotated[int, Count(0, U32_MAX), Field(
        description="Connections to all endpoints together, over all workers. Beyond, an idle one makes room; with "
                    "none, the request waits for one to its endpoint, or is 503 where this worker has none. 0 is no "
                    "limit.")
    ] = 10_000
    max_retries: Annotated[int, Count(0, U32_MAX), Field(
        description="Requests at a further attempt at the same time, over all workers, whatever `retry_budget` has "
                    "left. Beyond, the failure that there is counts. 0 is no limit.")] = 500
    high_priority_reserve: Annotated[Share, Field(
        description="This share of `max_requests` and `max_pending` is only for routes with `priority: high`.")] = 0
    adaptive: Annotated[Adaptive | None, Field(
        description="A further limit of requests in flight, which each worker finds out by itself. Left out, there is "
                    "none. See [overload](overload.md).", examples=[{}])] = None
    admission: Annotated[Admission | None, Field(
        description="Who is turned away while many requests of the cluster fail. Left out, nobody is.", examples=[{}])
    ] = None
    max_requests_per_connection: Annotated[int, Count(0, U32_MAX), Field(
        description="After so many requests a connection is not used again. 0 is no limit.")] = 0
    connect_attempts: Annotated[int, Count(1, 8), Field(
        description="Endpoints tried for one request, the first included: when connecting fails, or when one "
                    "ends before it answered and the request may be repeated.")] = 3
    retry_budget: Annotated[RetryBudget, OR_DEFAULT, Field(
        description="How many further attempts there are in all, whoever asks for them; those that `connect_attempts` "
                    "gives after failed connects are free.")
    ] = Field(default_factory=RetryBudget)
    avoid: Annotated[Avoid, OR_DEFAULT, Field(
        description="How long an endpoint that could not be connected to is left alone.")
    ] = Field(default_factory=Avoid)
    outlier: Annotated[Outlier, OR_DEFAULT, Field(
        description="Which endpoints are taken out for a while, by how they answer. On unless told otherwise.")
    ] = Field(default_factory=Outlier)
    health_check: Annotated[HealthCheck | None, Field(
        description="How the control process asks each endpoint whether it is well. One that does not pass gets no "
                    "requests from any worker, and a new one gets them when it has passed once. Left out, nobody asks.",
        examples=[{"http": {"path": "/healthz"}}])] = None
    heal: Annotated[Heal | None, Field(
        description="A command or a policy in Python that is run when an endpoint is ejected or found dead by health "
                    "checks, and when it is in again.",
        examples=[{"run": ["/usr/local/bin/restart-instance"], "at_most": "1/m"}])] = None
    filters: Annotated[list[FilterUse], LIST, Field(
        description="Filters of the requests that go to this cluster, in order, behind those of listener and route.",
        max_length=MAX_CHAIN, examples=[["tenant"]])] = []  # noqa: RUF012

    policies: Annotated[list[Name], LIST, Field(
        description="Names of `policies` whose keys it takes over, as far as it has none of its own; of several the "
                    "first that has a key counts.", max_length=MAX_TAKEN, examples=[["patient"]])] = []  # noqa: RUF012
    subsets: Annotated[Subsets | None, Field(
        description="By which metadata of its endpoints it can be split, for the `subset` of routes. Not at all when "
                    "left out. See [load balancing](load-balancing.md#subsets).",
        examples=[{"selectors": [{"keys": ["version"]}]}])] = None

    @property
    def listed(self) -> list[Endpoint]:
        """The endpoints that the file names."""
        return self.endpoints if isinstance(self.endpoints, list) else []

    @property
    def discovery(self) -> DiscoveryUse | None:
        """What finds them, where the file does not name them."""
        return None if isinstance(self.endpoints, list) else self.endpoints
