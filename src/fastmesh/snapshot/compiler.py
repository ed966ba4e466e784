"""From a checked configuration to a snapshot, and to what the control process keeps beside it."""

import resource
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from fastmesh.config.access_log import AccessLog
from fastmesh.config.address import Address
from fastmesh.config.breakers import breaker_limits
from fastmesh.config.cluster import Cluster, Endpoint
from fastmesh.config.listener import Listener
from fastmesh.config.log_format import compile_json, compile_template
from fastmesh.config.metrics import Metrics
from fastmesh.config.model import Config
from fastmesh.config.node import Node
from fastmesh.config.route import Route
from fastmesh.snapshot import wire
from fastmesh.snapshot.acts import acts
from fastmesh.snapshot.balancing import balancing_record, warming
from fastmesh.snapshot.breakers import breakers_record
from fastmesh.snapshot.chains import Chains
from fastmesh.snapshot.checks import checks_bits, checks_record
from fastmesh.snapshot.conditions import conditions, network
from fastmesh.snapshot.cors import cors
from fastmesh.snapshot.counted import counted
from fastmesh.snapshot.discoveries import Discoveries
from fastmesh.snapshot.endpoint import TEXT, described, note_of
from fastmesh.snapshot.fallbacks import fallbacks, steps_of
from fastmesh.snapshot.faults import faults
from fastmesh.snapshot.healers import Healers
from fastmesh.snapshot.hedges import hedges
from fastmesh.snapshot.limits import rate_limits
from fastmesh.snapshot.members import members
from fastmesh.snapshot.mirrors import mirrors
from fastmesh.snapshot.outlier import outlier_record
from fastmesh.snapshot.overload import overload_record
from fastmesh.snapshot.processors import usable_processors
from fastmesh.snapshot.registry import Registry, endpoint_key
from fastmesh.snapshot.retries import retries
from fastmesh.snapshot.subsets import subsets

_MILLISECOND = 1_000_000
# Descriptors a worker needs besides connections: sockets of control, listeners, log, reactor.
_RESERVED_FILES = 64

# Cluster → what its discovery policy has found, as `endpoints_of` has it.
Found = Mapping[str, list[list[Any]]]


class Numbered(NamedTuple):
    """The numbers of one configuration's things."""

    listeners: dict[str, int]
    clusters: dict[str, int]
    endpoints: dict[str, int]
    indexes: dict[str, int]     # place of a cluster in the snapshot


def compile(config: Config, version: int, registry: Registry, open_files: int = 0,
            chains: Chains | None = None, found: Found | None = None) -> tuple[bytes, Registry]:
    """The snapshot as bytes, and the registry with the numbers of this configuration's things.

    `registry` is changed in place. `open_files` is the workers' limit of open files, this process's own when 0.
    `chains` holds the filters, made with the same registry; without it the configuration must have none. `found` has
    the endpoints of clusters with a discovery policy: with none they begin without.
    """
    found = found or {}
    numbers = assign(config, registry, found)
    if chains is None:
        chains = Chains(config, None, registry)
    limits = rate_limits(config, registry, chains.patterns)
    injected = faults(config, chains.patterns, workers_of(config))
    copied = mirrors(config, numbers.indexes, chains.patterns)
    shared = cors(config, chains.patterns)
    degrading = fallbacks(config, numbers.indexes, chains)
    snapshot = [
        wire.MAGIC, wire.FORMAT, version,
        [max_connections(config, open_files), _log_ops(config.access_log, bool(chains.slots), bool(limits[0])),
         chains.patterns.written, overload_record(config, workers_of(config)),
         _metric_labels(config.metrics)],
        [_listener(i, listener, numbers, chains) for i, listener in enumerate(config.listeners)],
        [_cluster(i, cluster, config.node, numbers, chains, found) for i, cluster in enumerate(config.clusters)],
        [chains.rules, chains.chains],
        limits,
        injected,
        copied,
        [*retries(config), *hedges(config)],
        degrading,
        shared,
        subsets(config, numbers.indexes, steps_of(config, degrading[1])),
        counted(config, registry),
    ]
    return msgpack.packb(snapshot), registry


def assign(config: Config, registry: Registry, found: Found) -> Numbered:
    """Gives every listener, cluster and endpoint its number."""
    return Numbered(
        registry.listeners.assign(listener.name for listener in config.listeners),
        registry.clusters.assign(cluster.name for cluster in config.clusters),
        registry.endpoints.assign(endpoint_key(cluster.name, row[TEXT]) for cluster in config.clusters
                                  for level in _levels(cluster, config.node, found) for row in level),
        {cluster.name: i for i, cluster in enumerate(config.clusters)})


def _levels(cluster: Cluster, node: Node, found: Found) -> list[list[list[Any]]]:
    """The groups of its endpoints, as the snapshot has these, without numbers."""
    if cluster.discovery is not None:
        return [list(found.get(cluster.name, ()))]
    return [[_endpoint(endpoint) for endpoint in level] for level in members(cluster, node)]


def _endpoint(endpoint: Endpoint) -> list[Any]:
    address = endpoint.address
    return [address.family, address.port, address.packed, endpoint.weight, str(address),
            note_of(endpoint.metadata.items(), endpoint.priority, endpoint.zone)]


def describe(config: Config, registry: Registry, open_files: int = 0, chains: Chains | None = None,
             found: Found | None = None, discoveries: Discoveries | None = None,
             healers: Healers | None = None) -> wire.CompileResult:
    """What control keeps beside the snapshot. Call it after `compile` with the registry it returned."""
    found = found or {}
    listeners, clusters, rows = registry.listeners.live, registry.clusters.live, registry.endpoints.live
    log = config.access_log
    node = config.node
    return {
        "ok": True,
        "registry": registry.to_dict(),
        "reused": registry.reused(),
        "listeners": [{
            "id": listeners[listener.name], "name": listener.name, "address": _address(listener.address),
            "protocol": listener.protocol, "direction": listener.direction, "backlog": listener.backlog,
        } for listener in config.listeners],
        "clusters": [_described(cluster, clusters[cluster.name], rows, _levels(cluster, node, found),
                                healers.places if healers is not None else {})
                     for cluster in config.clusters],
        "names": {"listeners": {number: name for name, number in listeners.items()},
                  "clusters": {number: name for name, number in clusters.items()},
                  "filters": chains.rows if chains is not None else {},
                  "rate_limits": {number: name for name, number in registry.limits.live.items()},
                  "cluster_limits": {clusters[cluster.name]: breaker_limits(cluster) for cluster in config.clusters},
                  "routes": {number: name for name, number in registry.routes.live.items()
                             if number != registry.routes.overflow}},
        "filters": chains.blob() if chains is not None else b"",
        "isolated": chains.isolated() if chains is not None else None,
        "discovery": discoveries.blob() if discoveries is not None else b"",
        "discoveries": discoveries.records if discoveries is not None else [],
        "process": {
            "workers": workers_of(config),
            "reactor": config.reactor,
            "admin": _address(config.admin.address),
            "drain_timeout_ms": -(-config.drain_timeout // _MILLISECOND),
            "orphan_grace_ms": -(-config.orphan_grace // _MILLISECOND),
            "hang_timeout_ms": -(-config.hang_timeout // _MILLISECOND),
            "max_connections": max_connections(config, open_files),
            "max_checks": config.max_health_checks,
            "access_log": None if log is None else {"path": log.path, "format": log.format},
        },
        "node": {"service": node.service, "version": node.version, "namespace": node.namespace,
                 "workload": node.workload or node.service, "cluster": node.cluster},
        "healers": healers.blob() if healers is not None else b"",
        "config": as_written(config, chains, discoveries, healers),
    }


def as_written(config: Config, chains: Chains | None = None, discoveries: Discoveries | None = None,
               healers: Healers | None = None) -> dict[str, Any]:
    """The configuration with all defaults, as a file could say it, but for secrets of filters and policies."""
    written = config.model_dump(mode="json", exclude_none=True)
    for listener in written["listeners"]:
        if listener["protocol"] == "tcp":
            del listener["routes"]
    if chains is not None:
        chains.hide_secrets(written)
    if discoveries is not None:
        discoveries.hide_secrets(written)
    if healers is not None:
        healers.hide_secrets(written)
    return written


def workers_of(config: Config) -> int:
    return usable_processors() if isinstance(config.workers, str) else config.workers


def max_connections(config: Config, open_files: int = 0) -> int:
    """Client connections per worker: each proxied one needs a second descriptor, towards the upstream."""
    if config.max_connections:
        return config.max_connections
    limit = open_files or resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return 0
    return int(max(16, (limit - _RESERVED_FILES - len(config.listeners)) // 2))


def _address(address: Address) -> wire.AddressRecord:
    is_path = address.family == 1
    return {"family": address.family, "host": "" if is_path else address.host, "port": address.port,
            "path": address.host if is_path else "", "text": str(address)}


def _log_ops(log: AccessLog | None, has_filters: bool, has_limits: bool) -> list[list[Any]] | None:
    if log is None:
        return None
    ops = (compile_json(log.chosen_fields(has_filters, has_limits)) if log.format == "json" else
           compile_template(log.chosen_template()))
    return [[int(op.field), op.quote, op.text] for op in ops]


def _metric_labels(metrics: Metrics) -> list[Any] | None:
    return [metrics.labels, metrics.values] if metrics.labels else None


def _listener(index: int, listener: Listener, numbers: Numbered, chains: Chains) -> list[Any]:
    limits, timeouts = listener.limits, listener.timeouts
    is_tcp = listener.protocol == "tcp"
    return [
        numbers.listeners[listener.name], listener.name, wire.PROTOCOLS[listener.protocol],
        listener.direction == "inbound", listener.plain_answers,
        numbers.indexes[listener.cluster] if is_tcp and listener.cluster is not None else -1,
        [limits.head, limits.request_line, limits.header_count, timeouts.header, timeouts.body_idle,
         timeouts.keepalive_idle, timeouts.tcp_idle, timeouts.request, timeouts.linger,
         limits.requests_per_connection, limits.connections, limits.buffer,
         timeouts.stream_idle],
        [network(client) for client in listener.trusted_clients],
        listener.via,
        [_route(i, route, listener, numbers, chains, chains.of("listeners", index, "routes", i))
         for i, route in enumerate(listener.routes)],
        chains.of("listeners", index),
        [listener.deadlines.read, listener.deadlines.send, listener.deadlines.header or ""],
        listener.half_close,
    ]


def _route(index: int, route: Route, listener: Listener, numbers: Numbered, chains: Chains, chain: int) -> list[Any]:
    response = route.response
    found = conditions(route.match, chains.patterns)
    body = b"" if response is None else response.body.encode()
    return [
        route.name or f"route-{index}", found.path_kind, found.path, found.hosts, found.methods, found.headers,
        -1 if route.cluster is None else numbers.indexes[route.cluster],
        _status(route), body,
        response.content_type if response is not None and body else "",
        listener.timeouts.request if route.timeout is None else route.timeout, found.further,
        acts(route, chains.patterns), _split(route, numbers), chain, wire.PRIORITIES[route.priority],
        route.timeout is not None,
        listener.timeouts.stream_idle if route.stream_idle is None else route.stream_idle,
    ]


def _split(route: Route, numbers: Numbered) -> list[Any] | None:
    if route.clusters is None:
        return None
    sticky = route.sticky
    return [[[numbers.indexes[part.cluster], part.weight] for part in route.parts()],
            sticky.header or "" if sticky else "", sticky.cookie or "" if sticky else ""]


def _described(cluster: Cluster, number: int, rows: Mapping[str, int],
               levels: list[list[list[Any]]], policies: Mapping[str, int]) -> wire.ClusterRecord:
    record: wire.ClusterRecord = {
        "id": number, "name": cluster.name, "lb": cluster.load_balancer.use or cluster.load_balancer.pick_by,
        "warming": warming(cluster),
        "endpoints": [described(rows[endpoint_key(cluster.name, row[TEXT])], row) for level in levels for row in level]}
    if (heal := cluster.heal) is not None:
        record["heal"] = {"run": heal.run or [], "policy": policies.get(cluster.name, -1), "use": heal.use or "",
                          "each_ns": heal.at_most.nanoseconds, "timeout_ns": heal.timeout,
                          "dry_run": heal.dry_run}
    if (checks := checks_record(cluster)) is not None:
        record["checks"] = checks
    return record


def _status(route: Route) -> int:
    """0 when a cluster answers."""
    answer = route.response or route.redirect
    return 0 if answer is None else answer.status


def _cluster(index: int, cluster: Cluster, node: Node, numbers: Numbered, chains: Chains,
             found: Found) -> list[Any]:
    rows, name = numbers.endpoints, cluster.name
    levels = _levels(cluster, node, found)
    endpoints = [[rows[endpoint_key(name, row[TEXT])], *row] for level in levels for row in level]
    return [
        numbers.clusters[name], name, wire.LOAD_BALANCERS[cluster.load_balancer.pick_by], cluster.connect_timeout,
        cluster.idle_timeout, cluster.max_connections, cluster.max_pending, cluster.max_requests or wire.UNLIMITED,
        cluster.max_requests_per_connection, cluster.connect_attempts, cluster.avoid.base, cluster.avoid.max,
        cluster.pending_timeout, endpoints, chains.of("clusters", index), chains.balancer(index),
        balancing_record(cluster, [len(level) for level in levels], node.zone), outlier_record(cluster.outlier),
        checks_bits(cluster),
        breakers_record(cluster),
    ]
