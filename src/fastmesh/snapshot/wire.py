"""The written form of a snapshot: the contract with `_core/snapshot`.

A snapshot is msgpack: arrays whose items have fixed places, in the order of the builders below.
Text is msgpack str or bin, durations are whole nanoseconds (0 = none, unless noted), indexes of
clusters are places in the snapshot's list of clusters, -1 for none. A change of any place that a
release has is a new FORMAT.

    snapshot  = ["fmsn", FORMAT, version, settings, listeners, clusters, filters, rate_limits, faults, mirrors,
                 retries, fallbacks, cors, subsets, counted]
    settings  = [max_connections (0 = no limit), log_ops or nil, patterns, overload, metric_labels]
    overload  = nil (nothing is looked at), or [memory in bytes, lag, retry_after in seconds, header,
                 reset_at in millionths of the memory (0 = never)]
    metric_labels = nil (requests are counted by none), or [[name, …], values]     values: that each may have
    log_op    = [field, quote, text]            the numbers of config.log_format.LogField
    listener  = [id, name, protocol, inbound, plain_answers, cluster, limits, trusted, via, routes, chain,
                 deadlines, half_close]
    pattern   = [classes, flags, table]         256 bytes; a byte for each state; two for each step, little-endian
    limits    = [head_bytes, line_bytes, fields, header_timeout, body_timeout, idle_timeout, tcp_idle,
                 request_timeout, linger, max_requests_per_connection, max_connections, buffer_bytes, stream_idle]
    deadlines = [read, send, header]            header: a further name, or ""
    trusted   = [[family, bits, 16 bytes], …]   IPv4 in the first four bytes
    route     = [name, path_kind, path, hosts, methods, headers, cluster, status, body, content_type, timeout,
                 further, acts, split, chain, priority, has_timeout, stream_idle]   priority: 0 default, 1 low, 2 high;
                 has_timeout: it is the route's own
    headers   = [value, …]
    value     = [name, text, kind, invert, low, high]   low: the smallest number, or the place of a pattern
    further   = nil, or [pattern, query, cookies, sources, share]   pattern: a place or -1; query and cookies as
                 headers, sources as trusted, share in millionths
    acts      = nil, or [redirect, host, change, request_edits, response_edits]   host: empty, or another one
    redirect  = nil, or [status, scheme, host, port, change, strip_query]   empty and 0: as it was asked for
    change    = [kind, text, cut, parts, pieces]   the path: 0 stays, 1 is the text, 2 has the text for its first `cut`
                 bytes, 3 is made of pieces: [part, text], part -1 for a text
    parts     = [[pattern, rest], …]   places of patterns: of a part, and of it with all that follows, from the end
    edits     = [[op, name, pieces], …]         op: 0 remove, 1 set, 2 add
    pieces    = [[field, text], …]              as in log_op
    split     = nil, or [[[cluster, weight], …], header, cookie]   with cluster -1 and status 0; one name at most
    cluster   = [id, name, lb, connect_timeout, idle_timeout, max_connections, max_pending, max_requests,
                 max_requests_per_connection, max_connect_attempts, avoid_base, avoid_max, pending_timeout,
                 endpoints, chain, balancer, balancing, outlier, checks, breakers]
    endpoint  = [row, family, port, address, weight, text, note]
    note      = nil, or [priority, zone, [name, value, …]]   what is said of it besides, for policies in Python
    balancer  = nil, or [slot, interval]        the policy that gives weights and picks, a place in the list of rules
    balancing = nil, or [ewma, hash, slow_start, panic in millionths, levels, sticky]
                                                each but panic is nil where the defaults hold
    ewma      = [decay, initial, penalty, retry_after_max]
    hash      = [[[kind, name, is_made, ttl in seconds, path], …], points, table_size, load_bound in percent]
    slow_start = [window, aggression in thousandths, least in millionths]
    levels    = [spill_below in millionths, [how many endpoints, …]]    endpoints stand in the order of their levels
                 or, of those that a policy finds, [spill_below, zone]: by what each one's note says, with those of the
                 zone before others, or nil for no such preference
    outlier   = nil (nobody is watched), or [server_errors, gateway_errors, connect_failures, timeouts, interval,
                 rate_factor in thousandths, rate_hosts, rate_requests, failure_part, failure_hosts, failure_requests,
                 latency_factor in thousandths, latency_least, latency_requests, base, most, jitter, most_out, enforce,
                 ramp]                          shares in millionths; 0 of a count or factor: not looked at
    checks    = 0 (nobody checks its endpoints), or 1, and 2 besides: connections that wait are closed when one fails
    breakers  = [max_cluster_connections, max_retries, max_endpoint_requests, reserve in millionths, adaptive,
                 admission]
    adaptive  = nil, or [least, most, first, tolerance in thousandths]
    admission = nil, or [wanted and most in millionths, aggression in thousandths, least, [status, …]]   those that fail
    sticky    = [1 = cookie, 2 = header; name, ttl in seconds, path, 16 bytes of secret]
    filters   = [rules, chains]
    rule      = [match, share]                  match: nil, or a route with status 200, for its conditions alone
    chain     = [slot, …]                       places in the list of rules, in the order of the way in

    rate_limits = [limits, uses]
    limit     = [name, row, kind, token, burst, keys, key, match, share, status, dry_run, skips_missing, shown, policy,
                 details, why]                  kind: of LIMIT_KINDS; token and burst: the time they take to come back
    faults    = [[listener, route, [fault, …]], …]     places
    mirrors   = [[listener, route, [mirror, …]], …]    places
    mirror    = [match, share, cluster, suffix]
    fault     = [match, share, delay, status, bandwidth, bandwidth_up, most, grpc, is_asked]    status and grpc: 0 = the
                 request goes on; bytes a second, 0 = any; most: of a worker at a time, 0 = any
    key       = [[source, name], …]             source: of KEY_SOURCES
    use       = [listener, route, [limit, …]]   places; route -1: the listener's own, which come before its routes'

    retries   = [rules, uses, budgets, hedges, hedge_uses]
    rule      = [attempts, faults, statuses, headers, backoff, backoff_max, wait, try, non_idempotent, told,
                 of_retries, grpc]              faults: a bit for each FAULT_* of _core/resil/retry; grpc: likewise for
                 each status of gRPC
    use       = [listener, route, rule]         places
    budget    = [cluster, share in millionths, attempts a second]    others have 200000 and 10
    hedge     = [attempts, delay, least, part in millionths, share, rate, on_try_timeout, non_idempotent, told]
                                                one of delay, part and on_try_timeout; share and rate as of a budget
    hedge_use = [listener, route, hedge]        places

    fallbacks = [[[step, …], …], [[listener, route, chain], …]]    places
    step      = [kind, reasons, statuses, what]    kind: STEP_* of _core/resil/fallback_rule; reasons: a bit for each
                 REASON_*; what, by the kind:
    cluster   = [cluster, non_idempotent, timeout, host, path, cut, prefix, request_edits]    empty and 0: as it was;
                 a path that begins with `cut` begins with `prefix`, if that is not empty
    stale     = [store, max_age, max_body, max_bytes, max_entries, headers, ignores]    ignores: a bit for each IGNORE_*
    response  = [status, content_type, escape, headers, pieces]    headers as request_edits; texts of pieces are bytes
    use       = [slot, name, before_filters]    a policy: its place in the list of rules

    cors      = [[rule, …], [[listener, route, rule], …]]    places
    rule      = [any, [origin, …], methods, headers, expose, max_age in seconds, credentials, private_network]    lists
                 as they are written out; "*": whatever is asked for
    origin    = [kind, text, domain, pattern]   kind: ORIGIN_* of _core/route/cors_rule; pattern: a place or -1

    subsets   = [[[cluster, [[name, …], …], fallback, [name, value, …], max], …], [[listener, route, part, words], …],
                 [[listener, route, mirror, words], …], [[chain, step, words], …]]
                                                by what clusters are split, and which part of them routes, mirrors and
                                                steps of fallbacks are for; fallback: 0 any, 1 none, 2 default; part:
                                                a place in the split, or -1; names ascend
    words     = [[name, header, has_value, value], …]    header: "", or the one whose value it is, where there is one

    counted   = [[listener, route, row], …]     places; requests of the route are counted there

A route's timeout and stream_idle are final: the listener's default has been applied, and 0 is no limit. Log lines
end where their pieces end; the worker adds the line break. `max_pending` and `max_requests` are
never 0: no limit is UNLIMITED.
"""

from typing import Any, NotRequired, TypedDict

MAGIC = "fmsn"
FORMAT = 6
UNLIMITED = (1 << 32) - 1
# Places.
VERSION = 2
CLUSTERS = 5
CLUSTER_NAME = 1
CLUSTER_ENDPOINTS = 13
ENDPOINT_WEIGHT = 4
ENDPOINT_TEXT = 5
ENDPOINT_NOTE = 6
NO_CHAIN = -1

PROTOCOLS = {"http": 0, "tcp": 1}
PATH_KINDS = {"prefix": 0, "exact": 1, "starts": 2, "pattern": 3}
KEY_SOURCES = {source: number for number, source in enumerate((
    "client_address", "client_network", "method", "host", "path", "route", "header", "cookie", "query", "label"))}
LIMIT_KINDS = {"local": 0}      # where a limit is counted: in the memory that workers share
VALUE_KINDS = {"exact": 0, "prefix": 1, "suffix": 2, "contains": 3, "present": 4, "range": 5, "pattern": 6}
LOAD_BALANCERS = {"round_robin": 0, "random": 1, "least_request": 2, "peak_ewma": 3, "failure_aware_ewma": 4,
                  "ring_hash": 5, "maglev": 6}
WEIGHING = tuple(LOAD_BALANCERS)[:5]    # those that go by any weights; the others by tables
STICKY = {"cookie": 1, "header": 2}
PRIORITIES = {"default": 0, "low": 1, "high": 2}
HASH_KEYS = {"header": 0, "cookie": 1, "query": 2, "source": 3}

# Rows in the shared memory of a worker slot (mem/counter). The last of each stands for all that do not fit.
LISTENER_ROWS = 1_024
CLUSTER_ROWS = 16_384
ENDPOINT_ROWS = 131_072
FILTER_ROWS = 256           # each is one filter's: there are never more
LIMIT_ROWS = 256            # likewise of rate limits
ROUTE_ROWS = 4_096          # likewise; what has none is not counted


class AddressRecord(TypedDict):
    """Where to listen or connect. `family` is 4, 6, or 1: then `path` counts, else `host` and `port`."""

    family: int
    host: str
    port: int
    path: str
    text: str


class ListenerRecord(TypedDict):
    """What control needs to open a listening socket."""

    id: int
    name: str
    address: AddressRecord
    protocol: str       # "http" or "tcp"
    direction: str      # "outbound" or "inbound"
    backlog: int


class EndpointRecord(TypedDict):
    """One endpoint and its row in shared memory."""

    row: int
    address: str
    weight: int
    # Together, where any of them is said.
    priority: NotRequired[int]
    zone: NotRequired[str]
    metadata: NotRequired[dict[str, str]]


class HealRecord(TypedDict):
    """What is run when an endpoint of a cluster is ejected or found dead, or is in again."""

    run: list[str]      # empty: a policy
    policy: int         # its place among those of the snapshot, or -1
    use: str            # its name, for people
    each_ns: int        # from one to the next
    timeout_ns: int
    dry_run: bool


class ChecksRecord(TypedDict):
    """How control checks the endpoints of a cluster. Times are in seconds."""

    http: list[Any] | None      # [method, path, host, [[name, value], …], expected, retriable, body]; see checks.py
    tcp: list[bytes] | None     # [send, expect]
    port: int                   # in place of the endpoint's; 0 = that
    addresses: dict[str, str]   # endpoint → what is checked in its place
    timeout: float
    interval: float
    unhealthy_interval: float
    edge_interval: float
    jitter: float               # part of an interval
    healthy: int
    unhealthy: int
    keep_alive: bool
    end_ejection: bool


class ClusterRecord(TypedDict):
    """One cluster and its row in shared memory."""

    id: int
    name: str
    lb: str
    warming: list[int] | None           # slow start, or else the ramp behind an ejection: slow_start of a snapshot
    endpoints: list[EndpointRecord]
    heal: NotRequired[HealRecord]
    checks: NotRequired[ChecksRecord]


class DiscoveryRecord(TypedDict):
    """A policy that finds the endpoints of one cluster. Times are in seconds."""

    cluster: str
    use: str
    key: str            # alike as long as its class and its settings are
    first_wait: float
    debounce: float
    allow_empty: bool


class AccessLogRecord(TypedDict):
    """Where the lines that workers write go."""

    path: str
    format: str


class ProcessRecord(TypedDict):
    """How the processes run, with `auto` resolved where that does not need a worker."""

    workers: int
    reactor: str
    admin: AddressRecord
    drain_timeout_ms: int
    orphan_grace_ms: int
    hang_timeout_ms: int
    max_connections: int
    access_log: AccessLogRecord | None
    max_checks: int     # of health, at once


class NodeRecord(TypedDict):
    """Whom the proxy speaks for."""

    service: str
    version: str
    namespace: str
    workload: str
    cluster: str


class NamesRecord(TypedDict):
    """Names of the rows in shared memory that this snapshot uses."""

    listeners: dict[int, str]
    clusters: dict[int, str]
    filters: dict[int, str]
    rate_limits: dict[int, str]
    cluster_limits: dict[int, dict[str, int]]       # those there are, by the keys of the configuration
    routes: dict[int, str]                          # "listener route", of those that are counted


class CompileRequest(TypedDict):
    """What `python -m fastmesh.snapshot.process` reads from its standard input."""

    file: str
    version: int
    registry: NotRequired[dict[str, Any] | None]    # of the last snapshot; none for the first
    env: NotRequired[dict[str, str] | None]         # for ${NAME}; its own environment when left out
    open_files: NotRequired[int]                    # limit of open files of a worker; its own when left out
    # Descriptor and size of the last snapshot: clusters with a discovery policy begin with what they have there.
    former: NotRequired[tuple[int, int] | None]


class ReviseRequest(TypedDict):
    """For other endpoints in a snapshot; see `fastmesh.snapshot.revise`."""

    version: int                                    # of the new one
    snapshot: tuple[int, int]                       # descriptor and size
    reserve: tuple[bytes, int]                      # rows of endpoints: see pack_reserve, and the next free one
    sets: dict[str, tuple[bytes, bool]]             # cluster → what its policy has yielded, and whether it may be empty


class ReviseResult(TypedDict):
    """With neither `changed` clusters nor `refused` ones everything is as it was."""

    ok: bool
    version: int
    changed: dict[str, list[int]]                   # cluster → endpoints, how many are new, how many are gone
    refused: dict[str, list[str]]                   # cluster → kind of error, and for people
    snapshot: bytes                                 # empty when nothing has changed
    reserve: tuple[bytes, int]
    reused: dict[str, list[int]]


class CompileResult(TypedDict):
    """What it writes to its standard output: with `ok` everything but `errors`, else `errors` and `text`."""

    ok: bool
    errors: NotRequired[list[dict[str, str | int]]]
    text: NotRequired[str]                          # the errors, or the warnings, for people
    warnings: NotRequired[list[dict[str, str | int]]]
    version: NotRequired[int]
    snapshot: NotRequired[bytes]
    filters: NotRequired[bytes]                     # for the worker's Python; empty = there are none
    isolated: NotRequired[dict[str, Any] | None]    # filters that run in a host of their own; see Chains.isolated
    discovery: NotRequired[bytes]                   # for the discovery host; empty = there are no policies
    discoveries: NotRequired[list[DiscoveryRecord]]
    healers: NotRequired[bytes]                     # for processes of healing policies; empty = there are none
    files: NotRequired[list[str]]                   # that classes come from; also of a configuration that is wrong
    registry: NotRequired[dict[str, Any]]
    reused: NotRequired[dict[str, list[int]]]       # rows that had another name: their counters must be zeroed
    listeners: NotRequired[list[ListenerRecord]]
    clusters: NotRequired[list[ClusterRecord]]
    names: NotRequired[NamesRecord]
    process: NotRequired[ProcessRecord]
    node: NotRequired[NodeRecord]
    config: NotRequired[dict[str, Any]]
