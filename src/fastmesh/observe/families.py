"""Every metric there is: its name, kind, labels, and what it says. docs/metrics.md is made from this table.

    python -m fastmesh.observe.families > docs/metrics.md
"""

import sys
from dataclasses import dataclass
from typing import Any

from fastmesh._core.mem.counter import BYTES_BOUNDS, DURATION_MS_BOUNDS, GAUGES, GLOBALS, TIME_US_BOUNDS

SIDE = ("workload", "canonical_service", "canonical_revision", "workload_namespace", "principal", "app", "version",
        "cluster")
PEERS = (*(f"source_{name}" for name in SIDE), *(f"destination_{name}" for name in SIDE),
         "destination_service", "destination_service_name", "destination_service_namespace")
HTTP_LABELS = ("reporter", *PEERS, "request_protocol", "response_code", "grpc_response_status", "response_flags",
               "connection_security_policy")
TCP_LABELS = ("reporter", *PEERS, "request_protocol", "response_flags", "connection_security_policy")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric name."""

    name: str
    kind: str                       # counter, gauge or histogram
    help: str
    labels: tuple[str, ...] = ()


def _istio(name: str, kind: str, text: str, labels: tuple[str, ...]) -> Family:
    return Family(f"istio_{name}", kind, text, labels)


ISTIO_HTTP = (
    _istio("requests_total", "counter", "Requests that ended.", HTTP_LABELS),
    _istio("request_duration_milliseconds", "histogram",
           "From a request's complete head to its answer's last byte.", HTTP_LABELS),
    _istio("request_bytes", "histogram", "Size of requests, heads included.", HTTP_LABELS),
    _istio("response_bytes", "histogram", "Size of the bodies of answers.", HTTP_LABELS),
)
ISTIO_TCP = (
    _istio("tcp_connections_opened_total", "counter", "TCP connections that began.", TCP_LABELS),
    _istio("tcp_connections_closed_total", "counter", "TCP connections that ended.", TCP_LABELS),
    _istio("tcp_received_bytes_total", "counter", "Bytes received from TCP clients, counted every 5 s.",
           TCP_LABELS),
    _istio("tcp_sent_bytes_total", "counter", "Bytes sent to TCP clients, counted every 5 s.", TCP_LABELS),
)

_LISTENER = ("listener",)
# In the order of counter.LISTENER_COLUMNS.
LISTENERS = {
    "accepted": Family("fastmesh_listener_connections_total", "counter", "Connections accepted.", _LISTENER),
    "active": Family("fastmesh_listener_connections", "gauge", "Client connections now.", _LISTENER),
    "requests": Family("fastmesh_listener_requests_total", "counter", "Requests begun.", _LISTENER),
    "shed": Family("fastmesh_listener_shed_total", "counter",
                   "Connections closed at once, because a limit of connections was reached.", _LISTENER),
}

_CLUSTER = ("cluster",)


def _cluster(name: str, kind: str, text: str) -> Family:
    return Family(f"fastmesh_cluster_{name}", kind, text, _CLUSTER)


# In the order of counter.CLUSTER_COLUMNS, without the classes of answers.
CLUSTERS = {
    "requests": _cluster("requests_total", "counter", "Requests, or TCP connections, that were given to the cluster."),
    "active": _cluster("requests_active", "gauge", "Requests, or TCP connections, in flight."),
    "pending": _cluster("requests_pending", "gauge", "Requests that wait for a connection."),
    "connections": _cluster("connections", "gauge", "Connections to endpoints now."),
    "connections_opened": _cluster("connections_opened_total", "counter", "Connections opened to endpoints."),
    "reused": _cluster("connections_reused_total", "counter", "Requests sent on a connection that was there already."),
    "connect_failed": _cluster("connect_failures_total", "counter", "Connects that were refused or failed."),
    "connect_timeout": _cluster("connect_timeouts_total", "counter", "Connects that took too long."),
    "retries": _cluster("retries_total", "counter", "Requests sent again."),
    "overflow": _cluster("overflow_total", "counter",
                         "Requests refused because a limit of the cluster was reached, or because they waited "
                         "longer than pending_timeout."),
    "no_endpoint": _cluster("no_endpoint_total", "counter", "Requests refused for want of an endpoint."),
    "resets": _cluster("resets_total", "counter", "Upstream connections that broke while a request was on them."),
    "timeouts": _cluster("timeouts_total", "counter", "Requests that took longer than their timeout."),
    "bytes_sent": _cluster("sent_bytes_total", "counter",
                           "Bytes sent to endpoints; those of TCP and upgraded connections every 5 s."),
    "bytes_received": _cluster("received_bytes_total", "counter",
                               "Bytes received from endpoints; those of TCP and upgraded connections every 5 s."),
    "retry_success": _cluster("retry_success_total", "counter",
                              "Further attempts that were answered with a status below 500."),
    "retry_limit_exceeded": _cluster("retry_limit_exceeded_total", "counter",
                                     "Failures that were not tried again, as there had been all the attempts allowed."),
    "retry_overflow": _cluster("retry_overflow_total", "counter",
                               "Failures that were not tried again, as the budget for that was spent, or as many as "
                               "max_retries were being tried again."),
    "try_timeouts": _cluster("try_timeouts_total", "counter", "Attempts that took longer than one may."),
    "retry_waits": _cluster("retry_after_waits_total", "counter",
                            "Further attempts that were put off, as the answer's Retry-After said."),
    "retry_too_late": _cluster("retry_after_exceeded_total", "counter",
                               "Failures that were not tried again, as the answer's Retry-After asked for more time "
                               "than the rule allows, or the request had left."),
    "hedges": _cluster("hedges_total", "counter", "Attempts that were begun beside another one."),
    "hedge_won": _cluster("hedges_won_total", "counter", "Of those, whose answer the client got."),
    "hedge_lost": _cluster("hedges_lost_total", "counter", "Of those, that failed, or were given up."),
    "hedge_overflow": _cluster("hedges_refused_total", "counter",
                               "Attempts that were not begun beside another one, as the budget for that was spent, or "
                               "a limit of the cluster reached."),
}
RESPONSES = Family("fastmesh_cluster_responses_total", "counter",
                   "Answers of endpoints by class; \"none\" for requests that got none of theirs.",
                   ("cluster", "code_class"))
RETRIED_FOR = ("connect", "reset", "protocol", "status", "timeout")
RETRIED = Family("fastmesh_cluster_attempts_again_total", "counter",
                 "Further attempts by what was wrong with the one before: a failed `connect`, a `reset`, an answer "
                 "that is no HTTP (`protocol`), an answer's `status` or a field of it, a `timeout` of the attempt.",
                 ("cluster", "reason"))
PROXY_TIME = Family("fastmesh_proxy_time_seconds", "histogram",
                    "Time in the proxy itself: from the arrival of a head to its leaving, the request's and the "
                    "answer's together; connecting apart.", _CLUSTER)
UPSTREAM_TIME = Family("fastmesh_upstream_time_seconds", "histogram",
                       "Time a request waited for its endpoint, to the answer's first byte.", _CLUSTER)

# What a cluster may have, over all workers.
_BREAKER = ("cluster", "limit")
OVERFLOWED = Family("fastmesh_cluster_overflows_total", "counter",
                    "Requests that a limit of the cluster refused, by the key of the limit; of max_retries, failures "
                    "that were not tried again. Limits that refused nobody have no row.", _BREAKER)
BREAKER_LIMIT = Family("fastmesh_cluster_breaker_limit", "gauge", "The limit, as configured.", _BREAKER)
BREAKER_USED = Family("fastmesh_cluster_breaker_used", "gauge", "How much of it is in use, over all workers.", _BREAKER)
BREAKER_MOST = Family("fastmesh_cluster_breaker_most_used", "gauge",
                      "The most of it that was in use at the same time, as the present workers have seen it.", _BREAKER)
BREAKER_OPEN = Family("fastmesh_cluster_breaker_open", "gauge", "1 while all of it is in use: the next one is refused.",
                      _BREAKER)

ADAPTIVE_LIMIT = Family("fastmesh_cluster_adaptive_limit", "gauge",
                        "What `adaptive` allows in flight, the sum of what workers have found.", _CLUSTER)
ADAPTIVE_BASE = Family("fastmesh_cluster_adaptive_min_seconds", "gauge",
                       "The shortest mean time to an answer that it goes by, of the worker that has the shortest.",
                       _CLUSTER)
ADMISSION = Family("fastmesh_cluster_admission_rejected", "gauge",
                   "The share of requests that `admission` turns away, of the worker that has the largest.", _CLUSTER)
PRESSURE = Family("fastmesh_overload_pressure", "gauge",
                  "How much is in use of what a worker may have, 0 to 1, of the worker that has most: `memory`, "
                  "`descriptors`, `lag` of its loop, `connections`.", ("pressure",))
LEVEL = Family("fastmesh_overload_level", "gauge",
               "What workers do about that, the highest of all: 0 nothing, 1 connections end after their answer, 2 "
               "requests of low priority are refused, 3 those of default priority too, 4 and nothing is accepted.")
SHED = Family("fastmesh_overload_shed_total", "counter", "Requests refused for that.", ("pressure", "priority"))

# In what all workers share, so not summed over them.
EJECTIONS = Family("fastmesh_cluster_ejections_total", "counter",
                   "Endpoints that were ejected, by reason: server_errors, gateway_errors, connect_failures, timeouts, "
                   "success_rate, failure_percentage, latency, probe. Reasons that never were have no row.",
                   ("cluster", "reason"))
HEALTH = {
    "out": _cluster("ejected", "gauge", "Endpoints that are ejected now, those in probation included."),
    "recovered": _cluster("recoveries_total", "counter", "Endpoints that are in again: their probe ended well."),
    "probes": _cluster("probes_total", "counter", "Requests that asked an ejected endpoint whether it is well."),
    "refused": _cluster("ejections_refused_total", "counter",
                        "Endpoints that were not ejected, as as many were out as max_ejected allows."),
    "watched": _cluster("ejections_watched_total", "counter",
                        "Endpoints that would have been ejected, but for dry_run or enforce."),
}

_LIMIT = ("limit",)


def _limit(name: str, text: str) -> Family:
    return Family(f"fastmesh_rate_limit_{name}_total", "counter", text, _LIMIT)


# counter.LIMIT_COLUMNS.
LIMITS = {
    "checked": _limit("checked", "Requests that the rate limit has counted."),
    "limited": _limit("limited", "Requests that it has refused."),
    "would": _limit("dry_run_limited", "Requests that it would have refused, but for its dry run."),
    "evicted": _limit("keys_evicted", "Keys that left because there were as many as `keys` allows."),
    "odd_keys": _limit("odd_keys", "Requests whose key can be read in several ways or is too long: they share one "
                                   "bucket."),
}

_FILTER = ("filter",)
_PHASE = ("filter", "phase")


def _filter(name: str, kind: str, text: str, labels: tuple[str, ...] = _FILTER) -> Family:
    return Family(f"fastmesh_filter_{name}", kind, text, labels)


# counter.FILTER_PHASE_COLUMNS and FILTER_COLUMNS. filters.metrics.TAKEN has the names.
FILTER_PHASES = {
    "calls": _filter("calls_total", "counter", "Calls of a filter's phase.", _PHASE),
    "wall_ns": _filter("seconds_total", "counter", "Time in a filter's phase, without what it awaits.", _PHASE),
    "cpu_ns": _filter("cpu_seconds_total", "counter", "CPU time in a filter's phase.", _PHASE),
    "errors": _filter("errors_total", "counter", "Exceptions that a filter's phase raised.", _PHASE),
    "overruns": _filter("overruns_total", "counter", "Times a filter's phase took longer than its budget.", _PHASE),
}
FILTERS = {
    "quarantined": _filter("quarantined", "gauge", "Workers that bypass the filter after too many errors or overruns."),
    "quarantines": _filter("quarantines_total", "counter", "Times a worker began to bypass the filter."),
    "skipped": _filter("skipped_total", "counter", "Exchanges that the filter's match or share left out; of a load "
                                                   "balancer, picks that were not taken."),
    "in_flight": _filter("in_flight", "gauge", "Phases of the filter that wait for something now."),
}
FILTER_OVERFLOW = Family("fastmesh_filter_series_overflow_total", "counter",
                         "Times a filter's own metric was counted under `other`, as it had too many sets of labels.")

DISCOVERY_UPDATES = Family("fastmesh_discovery_updates_total", "counter",
                           "Sets of endpoints that a cluster's policy has found and that became live.", _CLUSTER)
DISCOVERY_UNCHANGED = Family("fastmesh_discovery_unchanged_total", "counter",
                             "Sets that said what was known already.", _CLUSTER)
DISCOVERY_ERRORS = Family("fastmesh_discovery_errors_total", "counter",
                          "Failures of a cluster's policy: it `raised`, `ended`, was `silent` for too long, its "
                          "process `died`, its set was `refused`, or `empty` and not believed. Endpoints stay as they "
                          "were.",
                          ("cluster", "kind"))
DISCOVERY_AGE = Family("fastmesh_discovery_age_seconds", "gauge",
                       "How long ago the policy's last good set came; no row before the first.", _CLUSTER)

HEALTH_CHECKS = Family("fastmesh_health_checks_total", "counter",
                       "Health checks of a cluster's endpoints, by how they ended: `passed`; another `status` than is "
                       "expected; the `body` lacks what is expected; no `connect`; `timeout`; `broken` connection; an "
                       "`answer` that is none; `unable`: this machine could not make it, which counts for nobody.",
                       ("cluster", "result"))
CHECKED_ENDPOINTS = Family("fastmesh_cluster_endpoints_checked", "gauge",
                           "Endpoints of clusters with a health check, by state: `healthy`, `unhealthy`, or "
                           "`unchecked`, of which nothing is known yet.", ("cluster", "state"))
ROUTE_REQUESTS = Family("fastmesh_route_requests_total", "counter",
                        "Requests that a route took, by how they ended: `2xx` and so on, or `none`, when the client "
                        "left before there was an answer.", ("listener", "route", "code_class"))

FALLBACK = Family("fastmesh_fallback_total", "counter",
                  "Requests that a step of their route's fallback answered in place of the cluster, by the kind of the "
                  "step and the reason.", ("cluster", "step", "reason"))
FALLBACK_EXHAUSTED = Family("fastmesh_fallback_exhausted_total", "counter",
                            "Failures of the cluster that steps were for, and that none could answer.",
                            ("cluster", "reason"))

SUBSET_REQUESTS = Family("fastmesh_cluster_subset_requests_total", "counter",
                         "Requests of a cluster with subsets, by where they went: to the `subset` they asked for; "
                         "by the fallback to `any` endpoint, to the `default` or, with 503, to `none`. Who asked for "
                         "none counts where that went to the default.", ("cluster", "chosen"))
STICKY_REQUESTS = Family("fastmesh_cluster_sticky_requests_total", "counter",
                         "Requests of sessions, by what became of these: `kept` at their endpoint, or `moved`, as it "
                         "was gone, could not be used, or never was.", ("cluster", "result"))
GROUP_PICKS = Family("fastmesh_cluster_group_picks_total", "counter",
                     "Endpoints chosen, further attempts included, by the group of endpoints, the preferred one first: "
                     "priorities, and in each the own zone before others. `8` is also what comes behind it.",
                     ("cluster", "group"))
# Column of a cluster's row in counter.BALANCE_COLUMNS → family, and the value of its second label.
BALANCE: dict[str, tuple[Any, ...]] = {
    "subset_found": (SUBSET_REQUESTS, "subset"), "subset_any": (SUBSET_REQUESTS, "any"),
    "subset_default": (SUBSET_REQUESTS, "default"), "subset_none": (SUBSET_REQUESTS, "none"),
    "subsets": (Family("fastmesh_cluster_subsets", "gauge", "Subsets of a cluster that there are.", _CLUSTER),),
    "subset_left_out": (Family("fastmesh_cluster_subset_endpoints_left_out", "gauge",
                               "Endpoints that are missing in a subset of theirs, as there would be more subsets than "
                               "`subsets.max`.", _CLUSTER),),
    "panics": (Family("fastmesh_cluster_panics_total", "counter",
                      "How often a worker has found too few of a group of endpoints usable, and has begun to ask all "
                      "of them.", _CLUSTER),),
    "panic": (Family("fastmesh_cluster_panic_groups", "gauge",
                     "Groups of endpoints in panic, in the worker that sees most of them. A group is looked at when a "
                     "request comes.", _CLUSTER),),
    "panic_picks": (Family("fastmesh_cluster_panic_picks_total", "counter",
                           "Endpoints chosen in panic, usable or not.", _CLUSTER),),
    "sticky_kept": (STICKY_REQUESTS, "kept"), "sticky_moved": (STICKY_REQUESTS, "moved"),
    "no_key": (Family("fastmesh_cluster_keyless_requests_total", "counter",
                      "Requests that had none of `hash.keys`, and went anywhere.", _CLUSTER),),
    "bound_passed": (Family("fastmesh_cluster_load_bound_skips_total", "counter",
                            "Endpoints that a key was led past, as they had `load_bound` of their part.", _CLUSTER),),
}
BALANCING = (*dict.fromkeys(family for family, *_ in BALANCE.values()), GROUP_PICKS)

HEALS = Family("fastmesh_heals_total", "counter",
               "Commands and policies of `heal`: `done`; `failed`, or killed as they took too long; `skipped`, as they "
               "came more often than may be; `watched`, with dry_run.", ("cluster", "result"))

# The global numbers of a worker. `_total` is added to counters.
_GLOBAL_HELP = {
    "accepted": "Client connections accepted.",
    "accept_failed": "Accepts that failed for want of descriptors or memory.",
    "shed_connections": "Client connections closed at once: a limit was reached and no idle one made room.",
    "requests": "Requests begun.",
    "local_answers": "Refusals and failures that the proxy answered itself; fixed responses of routes apart.",
    "bad_request": "Requests refused with 400: malformed or ambiguous.",
    "uri_too_long": "Requests refused with 414: longer than limits.request_line.",
    "head_too_large": "Requests refused with 431: larger than limits.head, or than a head may be with what the "
                      "route adds.",
    "too_many_fields": "Requests refused with 431: more fields than limits.header_count.",
    "bad_version": "Requests refused with 505.",
    "header_timeout": "Requests refused with 408: slower than timeouts.header.",
    "body_timeout": "Requests whose body stood still longer than timeouts.body_idle.",
    "idle_closed": "Client connections closed after timeouts.keepalive_idle.",
    "requests_limit_closed": "Client connections closed after limits.requests_per_connection.",
    "request_timeout": "Requests answered with 504: longer than their timeout.",
    "deadline_exceeded": "Requests answered with 504, or cut: the time that the client gave was over.",
    "bad_deadline": "Header fields that should say how long the client waits, and could not be read.",
    "fault_delayed": "Requests that faults of their route delayed.",
    "fault_aborted": "Requests that faults of their route answered.",
    "fault_slowed": "Requests whose answers faults of their route slowed down.",
    "fault_slowed_requests": "Requests whose bodies faults of their route slowed down.",
    "fault_overflow": "Times that a fault did not fall on a request, as its max_active were under way.",
    "overload_reset": "Connections that were reset because they held most while memory ran out.",
    "mirrored": "Copies of requests that were sent to mirrors.",
    "mirror_dropped": "Copies that were not sent: the body was too large or cut, or too many were under way.",
    "stale_kept": "Copies of answers that were kept.",
    "stale_dropped": "Copies that were not: too large, cut, of unknown end, or no room.",
    "stale_evicted": "Copies that made room for others.",
    "stale_copies": "Copies of answers that are kept now.",
    "stale_bytes": "Bytes that they take.",
    "no_route": "Requests answered with 404: no route matched.",
    "no_endpoint": "Requests answered with 503 for want of an endpoint.",
    "overflow": "Requests answered with 503 because the cluster has as many requests, or as many that wait, "
                "as it is allowed.",
    "connect_failed": "Connects to endpoints that were refused or failed.",
    "connect_timeout": "Connects to endpoints that took longer than connect_timeout.",
    "retry_connect": "Requests that moved on to another endpoint after a failed connect.",
    "retry_reused": "Requests sent again on a fresh connection, because the reused one had been closed.",
    "reuse_stale": "Idle upstream connections found closed when they were to be reused.",
    "upstream_reset": "Upstream connections that broke while a request was on them.",
    "upstream_protocol": "Answers that were not HTTP or broke its framing.",
    "upstream_idle_closed": "Idle upstream connections closed, by the upstream or after "
                            "the cluster's idle_timeout.",
    "downstream_reset": "Requests whose client left before the answer was complete.",
    "ambiguous_path": "Requests refused with 400: readings of their path lead to different routes.",
    "ambiguous_field": "Requests refused with 400: a field, parameter, cookie or method that a route asks for may be "
                       "read in two ways.",
    "upgrades": "Connections that became WebSockets or another protocol.",
    "tcp_idle_closed": "TCP connections closed after timeouts.tcp_idle.",
    "read_paused": "Times a sender was made to wait because the other side was slower.",
    "lingered": "Refused connections that were still listened to, so that the answer could arrive.",
    "log_lines": "Access-log lines written.",
    "log_dropped": "Access-log lines lost because their reader was too slow.",
    "series_overflow": "Requests counted under no labels of their own, because there were too many combinations.",
    "snapshots": "Snapshots taken by workers.",
    "snapshots_refused": "Snapshots refused by workers.",
    "turns": "Turns of the workers' loops.",
    "sends_short": "Sends that the kernel took only in part.",
    "buffers_exhausted": "Times the receive buffers ran out for a moment.",
    "queued": "Requests that waited in line, as their endpoint had max_connections.",
    "upstream_retired": "Connections to endpoints closed after max_requests_per_connection.",
    "pending_timeout": "Requests answered with 503: no connection to their endpoint came free within "
                       "pending_timeout.",
    "idle_evicted": "Client connections between two requests, closed to make room for new ones.",
    "stream_idle": "Requests in which nothing moved for timeouts.stream_idle.",
    "cors_preflight": "Preflight requests of browsers that routes with cors have answered.",
    "cors_refused": "Preflight requests refused with 403: pages of their origin may not read the answers of the route.",
    "cors_other_origin": "Requests of an origin that the cors of their route does not name: they were let through, and "
                         "their answers tell it nothing.",
    "drain_cut": "Connections cut unfinished at the end of a drain.",
    "downstream_connections": "Client connections now.",
    "upstream_connections": "Connections to endpoints now.",
    "streams": "Requests in flight.",
    "blocks": "Buffer blocks in use.",
    "bytes_received": "Bytes received from clients.",
    "bytes_sent": "Bytes sent to clients.",
}
GLOBAL = {
    name: Family(f"fastmesh_{name}" if name in GAUGES else f"fastmesh_{name}_total",
                 "gauge" if name in GAUGES else "counter", _GLOBAL_HELP.get(name, name.replace("_", " ")))
    for name in GLOBALS
}

# By labels of filters: the names of these come from the configuration.
_LABELLED = ("listener", "route", "cluster")
LABELLED = Family("fastmesh_labelled_requests_total", "counter",
                  "Requests that ended, by class of the answer; `none` for those without one.",
                  (*_LABELLED, "code_class"))
LABELLED_DURATION = Family("fastmesh_labelled_request_duration_seconds", "histogram",
                           "From a request's complete head to its answer's last byte.", _LABELLED)
LABELLED_OVERFLOW = Family("fastmesh_labelled_overflow_total", "counter",
                           "Requests counted as `other`: a label had too many `values`, or there were too many "
                           "combinations (`rows`).", ("reason",))

# What the control process knows by itself.
CONTROL = {
    "build_info": Family("fastmesh_build_info", "gauge", "Always 1; the labels say what runs.",
                         ("version", "python", "engine")),
    "start_time": Family("fastmesh_start_time_seconds", "gauge", "When the control process started, since 1970."),
    "snapshot_version": Family("fastmesh_snapshot_version", "gauge", "Version of the live snapshot."),
    "snapshot_loaded": Family("fastmesh_snapshot_loaded_seconds", "gauge",
                              "When the live snapshot became live, since 1970."),
    "reloads": Family("fastmesh_reloads_total", "counter", "Reloads that were asked for.", ("result",)),
    "reload_seconds": Family("fastmesh_last_reload_seconds", "gauge",
                             "What the last good reload took, until the last worker had it."),
    "workers": Family("fastmesh_workers", "gauge", "Worker slots."),
    "workers_serving": Family("fastmesh_workers_serving", "gauge", "Workers that serve the live snapshot."),
    "restarts": Family("fastmesh_worker_restarts_total", "counter", "Workers that died and were replaced."),
    "discovery_restarts": Family("fastmesh_discovery_host_restarts_total", "counter",
                                 "Times the process of discovery policies ended, or was killed, and was replaced."),
    "checks_running": Family("fastmesh_health_checks_running", "gauge", "Health checks that are under way."),
    "checks_delayed": Family("fastmesh_health_checks_delayed_total", "counter",
                             "Health checks that waited, as max_health_checks were under way."),
    "hangs": Family("fastmesh_worker_hangs_total", "counter",
                    "Workers that were killed because they stood still, or did not answer."),
    "heartbeat": Family("fastmesh_worker_heartbeat_age_seconds", "gauge",
                        "How long ago the loop of each slot's worker turned; an idle one turns once a second.",
                        ("slot",)),
    "draining": Family("fastmesh_draining", "gauge", "1 while the proxy drains."),
    "journal_lost": Family("fastmesh_journal_lost_total", "counter",
                           "Lines of the control process's own log that stderr did not take."),
    "log_lost": Family("fastmesh_log_lost_total", "counter",
                       "Access-log lines taken from a worker that could not be written any more: their reader left "
                       "in the middle, or the log was changed while it took none."),
    "memory": Family("fastmesh_process_resident_memory_bytes", "gauge", "Resident memory of each process.",
                     ("process", "slot")),
    "cpu": Family("fastmesh_process_cpu_seconds", "gauge", "CPU time of each process since it started.",
                  ("process", "slot")),
    "open_fds": Family("fastmesh_process_open_fds", "gauge", "Open descriptors of each process.", ("process", "slot")),
}

# What Kiali reads of Envoy's own.
ENVOY = {
    "cluster_active": Family("envoy_cluster_upstream_cx_active", "gauge", "Connections to endpoints now.",
                             ("cluster_name",)),
    "cluster_requests": Family("envoy_cluster_upstream_rq_total", "counter", "Requests given to the cluster.",
                               ("cluster_name",)),
    "listener_active": Family("envoy_listener_downstream_cx_active", "gauge", "Client connections now.",
                              ("listener_address",)),
    "listener_requests": Family("envoy_listener_http_downstream_rq", "counter", "Requests begun.",
                                ("listener_address",)),
    "memory_allocated": Family("envoy_server_memory_allocated", "gauge", "Resident memory of all processes."),
    "memory_heap": Family("envoy_server_memory_heap_size", "gauge", "Resident memory of all processes."),
    "uptime": Family("envoy_server_uptime", "gauge", "Seconds since the control process started."),
}

GROUPS: tuple[tuple[str, str, tuple[Family, ...]], ...] = (
    ("HTTP, as Istio names it",
     "`reporter` is `source` for outbound listeners and `destination` for inbound ones. The node of the configuration "
     "is the peer on the proxy's own side; the other side's service is the cluster's name, and `unknown` where the "
     "proxy does not know it. Rows of one label set are summed.", ISTIO_HTTP),
    ("TCP, as Istio names it", "", ISTIO_TCP),
    ("Listeners", "", tuple(LISTENERS.values())),
    ("Clusters", "", (*CLUSTERS.values(), RESPONSES, RETRIED, PROXY_TIME, UPSTREAM_TIME)),
    ("Limits of clusters", "", (OVERFLOWED, BREAKER_LIMIT, BREAKER_USED, BREAKER_MOST, BREAKER_OPEN,
                                ADAPTIVE_LIMIT, ADAPTIVE_BASE, ADMISSION)),
    ("Overload", "", (PRESSURE, LEVEL, SHED)),
    ("Choice of endpoints", "What never was has no row.", BALANCING),
    ("Fallbacks", "Kinds and reasons that never were have no row.", (FALLBACK, FALLBACK_EXHAUSTED)),
    ("Health of endpoints", "", (EJECTIONS, *HEALTH.values(), HEALTH_CHECKS, CHECKED_ENDPOINTS, HEALS)),
    ("Rate limits", "A request that passes several is counted by each of them.", tuple(LIMITS.values())),
    ("Filters",
     "Load balancers in Python count as filters, with the phases `weights` and `pick`, and fallbacks with the phase "
     "`answer`. Seconds are those of the worker's own thread. Phases that were never called have no row. What a "
     "filter counts for itself, with `self.metrics`, is `fastmesh_filter_<filter>_<name>`, with the labels that it"
     " declared: at most 200 sets of them for each metric and 2,048 in all, per worker; what comes beyond is "
     "counted under `other`. Such labels may be taken from requests.",
     (*FILTER_PHASES.values(), *FILTERS.values(), FILTER_OVERFLOW)),
    ("Requests by route",
     "Of routes with a name, or as [`metrics.routes`](configuration.md#metrics-routes) says. A request counts when it "
     "is over, whoever answered it; one that no route took, or that a filter or rate limit of the listener answered "
     "before, is in none. Classes that never were have no row. Durations by route are in the access log, and in the "
     "metrics of the next section where filters give labels.", (ROUTE_REQUESTS,)),
    ("Requests by labels of filters",
     "Where [`metrics.labels`](configuration.md#metrics-labels) names labels that filters set in `request.labels`. "
     "Each name is one more label of the first two, with the value that the request had when it was over, an isolated "
     "filter's `on_complete` included; empty where it had none. Values are cut after 64 bytes. Buckets are those of "
     "`istio_request_duration_milliseconds`, in seconds.",
     (LABELLED, LABELLED_DURATION, LABELLED_OVERFLOW)),
    ("Discovery", "Of clusters whose endpoints a policy finds.",
     (DISCOVERY_UPDATES, DISCOVERY_UNCHANGED, DISCOVERY_ERRORS, DISCOVERY_AGE)),
    ("Workers, summed", "Every limit and every timeout has its counter here.", tuple(GLOBAL.values())),
    ("The control process", "", tuple(CONTROL.values())),
    ("What Kiali reads of Envoy's", "", tuple(ENVOY.values())),
)


def document() -> str:
    """docs/metrics.md."""
    lines = [
        "# Metrics", "",
        "<!-- Made by `python -m fastmesh.observe.families > docs/metrics.md`; a test compares. -->", "",
        "`GET /metrics` of the admin API, in Prometheus' text format 0.0.4. Workers count in shared memory; the "
        "control process sums over all of them when it is asked, without asking them. A worker that dies or is "
        "replaced leaves its counts behind: no counter goes back, except when the control process itself starts "
        "anew.", "",
        f"Buckets: `istio_request_duration_milliseconds` {_bounds(DURATION_MS_BOUNDS)}; "
        f"`istio_request_bytes` and `istio_response_bytes` {_bounds(BYTES_BOUNDS)}; `fastmesh_proxy_time_seconds` and "
        f"`fastmesh_upstream_time_seconds` {_bounds(tuple(us / 1e6 for us in TIME_US_BOUNDS))}.", "",
        "At most 4,096 combinations of listener, cluster, status and flags are told apart per worker; what comes "
        "beyond is counted under `destination_service=\"other\"` and in `fastmesh_series_overflow_total`. No label of "
        "the proxy's own metrics is ever taken from a request, except those that "
        "[the configuration asks for](#requests-by-labels-of-filters): their values are bounded.",
    ]
    for title, text, families in GROUPS:
        lines += ["", f"## {title}", ""]
        if text:
            lines += [text, ""]
        shared = families[0].labels if len({f.labels for f in families}) == 1 else None
        if shared:
            lines += ["Labels: " + ", ".join(f"`{label}`" for label in shared) + ".", ""]
        head = "| metric | kind | says |" if shared is not None else "| metric | kind | labels | says |"
        lines += [head, "|---" * (head.count("|") - 1) + "|"]
        for family in families:
            labels = "" if shared is not None else ", ".join(f"`{label}`" for label in family.labels) + " | "
            lines.append(f"| `{family.name}` | {family.kind} | {labels}{family.help} |")
    return "\n".join(lines) + "\n"


def _bounds(bounds: tuple[float, ...]) -> str:
    return " ".join(f"{bound:g}" if bound < 1e5 else f"{bound:.0f}" for bound in bounds)


if __name__ == "__main__":
    sys.stdout.write(document())
