"""One version of the configuration, as control keeps it while it is live."""

import fcntl
import os
from dataclasses import dataclass, field, replace
from time import time
from typing import Any, TypedDict

import msgpack

from fastmesh.control.isolated import Isolated
from fastmesh.snapshot.endpoint import described
from fastmesh.snapshot.wire import CLUSTER_ENDPOINTS, CLUSTER_NAME, CLUSTERS

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Address(TypedDict):
    """`family` is 4, 6, or 1: then `path` counts, else `host` and `port`."""

    family: int
    host: str
    port: int
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """What control must know of a listener to open its sockets and to name its counters."""

    id: int
    name: str
    address: Address
    protocol: str
    direction: str
    backlog: int


@dataclass(frozen=True, slots=True)
class DiscoverySpec:
    """A policy that finds the endpoints of a cluster. Times are in seconds."""

    cluster: str
    use: str
    key: str                # alike as long as its class and its settings are
    first_wait: float
    debounce: float
    allow_empty: bool


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How the processes run."""

    workers: int
    reactor: str
    admin: Address | None
    drain_timeout_ms: int
    orphan_grace_ms: int
    hang_timeout_ms: int
    max_connections: int
    access_log: str | None      # a path
    max_checks: int = 256       # of health, at once


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A compiled configuration.

    The bytes for workers are in a sealed memfd: workers read it, nobody can change it, control does not hold it
    in its heap. Parts that are only looked at on request stay packed.
    """

    version: int
    size: int
    fd: int                 # owned; closed by `close`
    listeners: tuple[ListenerSpec, ...]
    process: ProcessSpec
    node: dict[str, str]
    listener_names: dict[int, str]
    cluster_names: dict[int, str]
    warnings: tuple[str, ...]
    registry: bytes         # for the next compile, packed, without endpoints
    config: bytes           # as configured, JSON
    clusters_packed: bytes  # without the endpoints that policies find
    loaded_at: float        # seconds since 1970
    filters_size: int = 0   # of what stands behind the snapshot in the memfd: filters, for the worker's Python
    isolated: Isolated | None = None
    filter_names: dict[int, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()     # that classes come from
    discovery_size: int = 0     # of what stands behind the filters: policies, for their host
    discoveries: tuple[DiscoverySpec, ...] = ()
    limit_names: dict[int, str] = field(default_factory=dict)
    route_names: dict[int, str] = field(default_factory=dict)   # "listener route"
    heal_size: int = 0      # of what stands behind those: healing policies, for their processes
    cluster_limits: dict[int, dict[str, int]] = field(default_factory=dict)     # row → limits there are
    reserve: tuple[bytes, int] = (b"", 0)   # rows of endpoints: those of which have gone, and the next free one

    def clusters(self) -> list[dict[str, Any]]:
        """`[{id, name, lb, warming, endpoints: [{row, address, weight, …}]}]`: ClusterRecord of snapshot/wire."""
        found: list[dict[str, Any]] = msgpack.unpackb(self.clusters_packed)
        if self.discoveries:
            discovered = {spec.cluster for spec in self.discoveries}
            rows = {cluster[CLUSTER_NAME]: cluster[CLUSTER_ENDPOINTS]
                    for cluster in msgpack.unpackb(os.pread(self.fd, self.size, 0))[CLUSTERS]}
            for cluster in found:
                if cluster["name"] in discovered:
                    cluster["endpoints"] = [described(row[0], row[1:]) for row in rows[cluster["name"]]]
        return found

    def listener(self, listener_id: int) -> ListenerSpec | None:
        return next((spec for spec in self.listeners if spec.id == listener_id), None)

    def revised(self, answer: dict[str, Any]) -> "Snapshot":
        """This one with other endpoints, from the compile process's answer. It is another one: both are closed."""
        packed: bytes = answer["snapshot"]
        behind = os.pread(self.fd, self.filters_size + self.discovery_size + self.heal_size, self.size)
        return replace(
            self, version=answer["version"], size=len(packed), reserve=tuple(answer["reserve"]),
            loaded_at=time(),
            fd=sealed(f"fastmesh-snapshot-{answer['version']}", packed + behind))

    def close(self) -> None:
        os.close(self.fd)


def from_answer(answer: dict[str, Any]) -> Snapshot:
    """From the compile process's answer to a good file."""
    packed: bytes = answer["snapshot"]
    filters: bytes = answer["filters"]
    discovery: bytes = answer["discovery"]
    process = dict(answer["process"])
    log = process.pop("access_log")
    return Snapshot(
        version=answer["version"],
        size=len(packed),
        fd=sealed(f"fastmesh-snapshot-{answer['version']}", packed + filters + discovery + answer["healers"]),
        listeners=tuple(ListenerSpec(**spec) for spec in answer["listeners"]),
        process=ProcessSpec(access_log=log and log["path"], **process),
        node=answer["node"],
        listener_names=answer["names"]["listeners"],
        cluster_names=answer["names"]["clusters"],
        warnings=tuple(_sentence(warning) for warning in answer["warnings"]),
        registry=answer["registry"],
        config=answer["config"],
        clusters_packed=answer["clusters"],
        loaded_at=time(),
        filters_size=len(filters),
        isolated=_isolated(answer["isolated"]),
        filter_names=answer["names"]["filters"],
        files=tuple(answer["files"]),
        discovery_size=len(discovery),
        discoveries=tuple(DiscoverySpec(**spec) for spec in answer["discoveries"]),
        limit_names=answer["names"]["rate_limits"],
        route_names=answer["names"]["routes"],
        heal_size=len(answer["healers"]),
        cluster_limits=answer["names"]["cluster_limits"],
        reserve=tuple(answer["reserve"]),
    )


def _isolated(told: dict[str, Any] | None) -> Isolated | None:
    return None if told is None else Isolated(told["key"], tuple(told["names"]), told["timeout_ns"] / 1e9,
                                              told["priority"])


def _sentence(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}:{problem['column']}" if problem["line"] else problem["file"]
    return ": ".join(part for part in (place, problem["path"], problem["message"]) if part)


def sealed(name: str, content: bytes) -> int:
    """A memfd that holds these bytes and can never hold others."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view):]
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd
