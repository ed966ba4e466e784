"""One rule of a listener: which requests, and what becomes of them."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.cors import Cors
from fastmesh.config.fallback import MAX_STEPS, FallbackStep
from fastmesh.config.fault import MAX_FAULTS, Fault
from fastmesh.config.fields import (
    LIST,
    MAX_TAKEN,
    OR_DEFAULT,
    Choice,
    Count,
    Duration,
    HeaderValue,
    Name,
    Section,
    Text,
)
from fastmesh.config.filter import MAX_CHAIN, FilterUse
from fastmesh.config.header_edit import RequestEdit, ResponseEdit
from fastmesh.config.hedge import Hedge
from fastmesh.config.match import Match
from fastmesh.config.mirror import MAX_MIRRORS, Mirror
from fastmesh.config.rate_limit import MAX_ON_WAY, RateLimit
from fastmesh.config.redirect import Redirect
from fastmesh.config.retry import Retry
from fastmesh.config.rewrite import Rewrite
from fastmesh.config.split import Split, SplitPart, Sticky
from fastmesh.config.subset import Asked

MAX_BODY = 65_536
PRIORITIES = ("low", "default", "high")


class Response(Section):
    """An answer that the proxy gives by itself."""

    status: Annotated[int, Count(200, 599), Field(description="The status code of the answer.", examples=[403])]
    body: Annotated[str, Text(MAX_BODY), Field(
        description="The body of the answer. There is none with status 204, 205 and 304.")] = ""
    content_type: Annotated[HeaderValue, Field(
        description="The `content-type` of the answer, when it has a body.")] = "text/plain; charset=utf-8"


class Route(Section):
    """Requests that match go to a cluster, or get an answer here. The first route that matches wins."""

    name: Annotated[Name | None, Field(
        description="Name of the route in access logs; `route-N` by its place in the list when left out.")] = None
    match: Annotated[Match, OR_DEFAULT, Field(
        description="Which requests this route takes.", examples=[{"prefix": "/"}])]
    cluster: Annotated[Name | None, Field(
        description="Name of the cluster that answers. Either this, `clusters`, `response` or `redirect`.",
        examples=["app"])] = None
    clusters: Annotated[Split, Field(
        description="Names of several clusters, each with its share relative to the others, decided for each request: "
                    "`{app: 90, app-next: 10}`. One with 0 gets none. Or a list, where each may have a `subset`.",
        examples=[{"app": 90, "app-next": 10}])] = None
    sticky: Annotated[Sticky | None, Field(
        description="With `clusters`: what decides in place of chance.", examples=[{"cookie": "session"}])] = None
    response: Annotated[Response | None, Field(
        description="A fixed answer.", examples=[{"status": 403}])] = None
    redirect: Annotated[Redirect | None, Field(
        description="An answer that sends the client elsewhere.", examples=[{"scheme": "https"}])] = None
    rewrite: Annotated[Rewrite | None, Field(
        description="Another path or host for the cluster.", examples=[{"prefix": "/v2"}])] = None
    request_headers: Annotated[RequestEdit | None, Field(
        description="Headers that are set, added or removed on the way to the cluster.",
        examples=[{"remove": ["x-debug"]}])] = None
    response_headers: Annotated[ResponseEdit | None, Field(
        description="Headers that are set, added or removed on the way back.",
        examples=[{"remove": ["server"]}])] = None
    timeout: Annotated[Annotated[int, Duration()] | None, Field(
        description="From the whole request received to the whole answer sent; then 504. 0 is no limit. The "
                    "listener's `timeouts.request` when left out.", examples=["15s"])] = None
    stream_idle: Annotated[Annotated[int, Duration()] | None, Field(
        description="How long nothing may move in either direction while it is answered or waits for its answer; then "
                    "504, or the answer is cut once it has begun. 0 is no limit. The listener's `timeouts.stream_idle` "
                    "when left out.", examples=["30m"])] = None
    retry: Annotated[Retry | None, Field(
        description="What is tried again of the requests that this route takes, in place of the listener's `retry`. "
                    "With neither, connects that fail are, and requests of a safe method whose connection was lost: "
                    "at other endpoints, as many as the cluster's `connect_attempts` says. See [retries](retries.md).",
        examples=[{"on": ["reset", 503], "attempts": 3}])] = None
    hedge: Annotated[Hedge | None, Field(
        description="When a request is sent to a second endpoint as well, in place of the listener's `hedge`. With "
                    "neither, only after a failure. See [hedging](hedging.md).",
        examples=[{"delay": "p95"}])] = None
    filters: Annotated[list[FilterUse], LIST, Field(
        description="Filters of the requests that this route takes, in order, between those of the listener and those "
                    "of the cluster.", max_length=MAX_CHAIN, examples=[["tenant"]])] = []  # noqa: RUF012
    rate_limits: Annotated[list[RateLimit], LIST, Field(
        description="Limits of the requests that this route takes, asked in order behind the filters of the listener "
                    "and before those of the route: names of `rate_limits`, or limits in place.",
        max_length=MAX_ON_WAY, examples=[["per-client"]])] = []  # noqa: RUF012

    faults: Annotated[list[Fault], LIST, Field(
        description="Delays and failures that are put into requests on purpose, behind all filters.",
        max_length=MAX_FAULTS, examples=[[{"delay": "200ms", "match": {"share": "10%"}}]])] = []  # noqa: RUF012

    mirrors: Annotated[list[Mirror], LIST, Field(
        description="Clusters that get copies of the requests. A copy leaves when the request is complete; one with "
                    "more than 64 KiB of body is not copied.",
        max_length=MAX_MIRRORS, examples=[[{"cluster": "app-next"}]])] = []  # noqa: RUF012

    fallback: Annotated[list[FallbackStep] | None, LIST, Field(
        description="What is tried, in order, when the cluster gives no useful answer, in place of the listener's "
                    "`fallback`; `[]` is nothing. See [degradation](degradation.md).", max_length=MAX_STEPS,
        examples=[[{"cluster": "backup"}, {"stale": {"max_age": "10m"}}, {"response": {"status": 503}}]])] = None
    cors: Annotated[Cors | None, Field(
        description="Which pages of other origins may read the answers, in place of the listener's `cors`. With "
                    "neither, or `enabled: false`, what upstreams say of it is passed on. See [cors](cors.md).",
        examples=[{"allow_origins": ["https://app.example.com"]}])] = None
    priority: Annotated[str, Choice(*PRIORITIES), Field(
        description="Which requests are refused first when there are too many: those of `low`, then those of "
                    "`default`. `high` may use what a cluster's `high_priority_reserve` keeps free. See "
                    "[overload](overload.md).")
    ] = "default"
    subset: Annotated[Asked | None, Field(
        description="With `cluster`: which of its `subsets` requests are for, by names and values of the endpoints' "
                    "metadata: `{version: v2}`, or `{version: {header: x-version}}` for what the request says. See "
                    "[load balancing](load-balancing.md#subsets).", examples=[{"version": "v2"}])] = None
    policies: Annotated[list[Name], LIST, Field(
        description="Names of `policies` whose keys it takes over, as far as it has none of its own; of several the "
                    "first that has a key counts.", max_length=MAX_TAKEN, examples=[["patient"]])] = []  # noqa: RUF012

    def leads_to(self) -> list[str]:
        """The names of all its clusters."""
        # Of each of thousands of routes somebody asks several times: no part is made for that.
        if self.cluster is not None:
            return [self.cluster]
        names = (part.cluster for part in self.clusters) if isinstance(self.clusters, list) else self.clusters or ()
        return list(dict.fromkeys(names))

    def parts(self) -> list[SplitPart]:
        """The clusters that its requests are shared out among; the one of `cluster` has all of them."""
        if self.cluster is not None:
            return [SplitPart.model_construct(cluster=self.cluster, weight=1, subset=self.subset)]
        if isinstance(self.clusters, list):
            return self.clusters
        return [SplitPart.model_construct(cluster=name, weight=weight, subset=None)
                for name, weight in (self.clusters or {}).items()]
