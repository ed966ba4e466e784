"""The whole configuration."""

from typing import Annotated

from pydantic import Field

from fastmesh.config.access_log import AccessLog
from fastmesh.config.admin import Admin
from fastmesh.config.cluster import Cluster
from fastmesh.config.fields import OR_DEFAULT, Choice, Count, Duration, Parsed, Section, Size, shown
from fastmesh.config.filter import MAX_FILTERS, FilterUse
from fastmesh.config.filter_host import FilterHost
from fastmesh.config.listener import Listener
from fastmesh.config.metrics import Metrics
from fastmesh.config.node import Node
from fastmesh.config.overload import Overload
from fastmesh.config.policy import MAX_POLICIES, Policy
from fastmesh.config.rate_limit import MAX_LIMITS, RateLimit
from fastmesh.errors import WrongValue
from fastmesh.units import parse_duration, parse_size

MAX_WORKERS = 256
MAX_LISTENERS = 1_024       # rows in shared memory
MAX_CLUSTERS = 16_384
MAX_CONNECTIONS = 1 << 24


def _workers(value: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WORKERS:
        return value
    raise WrongValue(shown(str(value)) if isinstance(value, int) else shown(value),
                     f"a whole number from 1 to {MAX_WORKERS}, or auto")


class Config(Section):
    """Everything that fastmesh reads from its file."""

    node: Annotated[Node, OR_DEFAULT, Field(
        description="The workload this proxy stands beside.")] = Field(default_factory=Node)
    admin: Annotated[Admin, OR_DEFAULT, Field(description="The admin API.")] = Field(default_factory=Admin)
    workers: Annotated[int | str, Parsed(_workers, f"number, 1 to {MAX_WORKERS}, or `auto`", {"anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MAX_WORKERS}, {"const": "auto"}]}), Field(
        description="Worker processes, each with one thread. `auto` is one for each processor that this process may "
                    "use. A reload starts or drains workers.")] = 1
    reactor: Annotated[str, Choice("auto", "io_uring", "epoll"), Field(
        description="How workers wait for the kernel. `auto` takes io_uring where it works, else epoll. A change "
                    "holds for workers that start after it.")] = "auto"
    drain_timeout: Annotated[int, Duration(high="24h"), Field(
        description="After SIGTERM, how long requests in flight may take before they are cut."
    )] = parse_duration("30s")
    orphan_grace: Annotated[int, Duration(high="24h"), Field(
        description="How long workers stay when the control process has died: half of it they go on serving, half they "
                    "drain; then they exit."
    )] = parse_duration("10s")
    hang_timeout: Annotated[int, Duration("2s", "24h"), Field(
        description="How long a worker may stand still before it is killed and replaced. One that is idle moves once a "
                    "second; time in which the control process or the whole machine stood still is not counted."
    )] = parse_duration("10s")
    max_connections: Annotated[int, Count(0, MAX_CONNECTIONS), Field(
        description="Client connections per worker. Beyond, an idle one makes room, or the new one is closed. 0 "
                    "derives it from the limit of open files.")] = 0
    max_health_checks: Annotated[int, Count(1, 65_536), Field(
        description="Health checks that are under way at the same time, of all clusters. Beyond, those that are due "
                    "wait for each other, and are counted.")] = 256
    overload: Annotated[Overload, OR_DEFAULT, Field(
        description="What is refused before memory, descriptors or time run out. On unless told otherwise.")
    ] = Field(default_factory=Overload)
    filter_memory: Annotated[int, Size("0", "1024GiB"), Field(
        description="What filters in a worker may allocate together, in Python, before they get MemoryError. When they "
                    "keep what they have, the worker is replaced, and the filter that came to the limit is bypassed "
                    "for a while, as its `on_error` says. 0: no limit. Isolated filters have 1 GiB of their own.")
    ] = parse_size("1GiB")
    filter_host: Annotated[FilterHost, OR_DEFAULT, Field(
        description="The processes that isolated filters run in.")] = Field(default_factory=FilterHost)
    metrics: Annotated[Metrics, OR_DEFAULT, Field(
        description="What requests are counted by, besides where they went.")] = Field(default_factory=Metrics)
    access_log: Annotated[AccessLog | None, Field(
        description="The access log. There is none when this section is left out.")] = None
    listeners: Annotated[list[Listener], Field(
        description="Where the proxy accepts connections.", max_length=MAX_LISTENERS,
        examples=[[{"name": "web", "address": "127.0.0.1:8080", "routes": [
            {"match": {"prefix": "/"}, "cluster": "app"}]}]])]
    clusters: Annotated[list[Cluster], Field(
        description="Where requests and connections go.", max_length=MAX_CLUSTERS)] = []  # noqa: RUF012
    filters: Annotated[list[FilterUse], Field(
        description="Filters that listeners, routes and clusters refer to by name.", max_length=MAX_FILTERS,
        examples=[[{"name": "tenant", "use": "my_package.tenants:RequireTenant"}]])] = []  # noqa: RUF012
    rate_limits: Annotated[list[RateLimit], Field(
        description="Rate limits that listeners and routes refer to by name; all who refer to one share its buckets.",
        max_length=MAX_LIMITS, examples=[[{"name": "per-client", "rate": "100/s", "key": ["client_address"]}]])
    ] = []  # noqa: RUF012
    policies: Annotated[list[Policy], Field(
        description="What listeners, routes or clusters have in common: they refer to it by name, and have its keys as "
                    "if they stood in them.",
        max_length=MAX_POLICIES, examples=[[{"name": "patient", "routes": {"timeout": "30s"}}]])] = []  # noqa: RUF012
