"""See counter.pxd. The Python constants at the end are how control finds its way in the pages."""
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport ftruncate

cdef extern from *:
    """
    static const double fm_bounds[19] = {0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000,
                                         300000, 600000, 1800000, 3600000};
    static const unsigned long fm_bounds_us[19] = {500, 1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
        1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 300000000, 600000000, 1800000000, 3600000000};
    static const unsigned long fm_bounds_bytes[19] = {0, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000,
                                         10000, 30000, 60000,
                                         300000, 600000, 1800000, 3600000};
    static const unsigned long fm_time_us[23] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000,
        50000, 100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000, 60000000};
    """
    const double fm_bounds[19]
    const unsigned long fm_bounds_us[19]
    const unsigned long fm_bounds_bytes[19]
    const unsigned long fm_time_us[23]


cdef series_row_t *series_row(stats_t *s, uint32_t listener, uint32_t cluster, int protocol,
                              uint32_t code, uint32_t flags) noexcept nogil:
    cdef uint64_t place = (<uint64_t>listener << 32) | cluster
    cdef uint64_t kind = ((<uint64_t>1 << 63) | (<uint64_t>protocol << 48) |
                          (<uint64_t>(code & 0xFFFF) << 32) | flags)
    cdef uint64_t h = (place * <uint64_t>0x9E3779B97F4A7C15) ^ (kind * <uint64_t>0xC2B2AE3D27D4EB4F)
    cdef uint32_t i = <uint32_t>(h >> 40) & (STATS_SERIES - 1)
    cdef uint32_t step
    cdef series_row_t *row
    # 64 steps bound the work; the table is sized so that a full run means thousands of label sets.
    for step in range(64):
        row = &s.series[1 + ((i + step) & (STATS_SERIES - 1)) % (STATS_SERIES - 1)]
        if row.kind == kind and row.place == place:
            return row
        if row.kind == 0:
            row.place = place
            row.kind = kind
            return row
    s.globals[G_SERIES_OVERFLOW] += 1
    row = &s.series[0]
    row.place = <uint64_t>0xFFFFFFFFFFFFFFFF
    row.kind = (<uint64_t>1 << 63) | (<uint64_t>protocol << 48)
    return row


cdef inline uint32_t _bucket(const unsigned long *bounds, uint32_t n, uint64_t v) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        if v <= bounds[i]:
            return i
    return n


cdef void series_observe(series_row_t *row, uint64_t duration_ns, uint64_t received, uint64_t sent) noexcept nogil:
    cdef uint64_t us = duration_ns // 1000
    row.count += 1
    row.received += received
    row.sent += sent
    row.duration_us += us
    row.duration[_bucket(fm_bounds_us, STATS_BOUNDS, us)] += 1
    row.request_bytes[_bucket(fm_bounds_bytes, STATS_BOUNDS, received)] += 1
    row.response_bytes[_bucket(fm_bounds_bytes, STATS_BOUNDS, sent)] += 1


cdef void label_row_observe(label_row_t *row, uint32_t hundred, uint64_t duration_ns) noexcept nogil:
    cdef uint64_t us = duration_ns // 1000
    row.requests[hundred if hundred < 6 else 0] += 1
    row.duration_us += us
    row.duration[_bucket(fm_bounds_us, STATS_BOUNDS, us)] += 1


cdef void times_observe(cluster_row_t *row, uint64_t proxy_ns, uint64_t wait_ns) noexcept nogil:
    row.proxy_count += 1
    row.proxy_sum_ns += proxy_ns
    row.proxy[_bucket(fm_time_us, STATS_TIME_BOUNDS, proxy_ns // 1000)] += 1
    row.wait_count += 1
    row.wait_sum_ns += wait_ns
    row.wait[_bucket(fm_time_us, STATS_TIME_BOUNDS, wait_ns // 1000)] += 1


cdef void _reset_gauges(stats_t *s) noexcept nogil:
    # A worker that died leaves its gauges standing; its counters stay true. Rows are set by whoever takes them
    # up again (a snapshot's clusters and endpoints): a scan of all would turn the file's holes into pages.
    s.globals[G_DOWNSTREAM_CONNECTIONS] = 0
    s.globals[G_UPSTREAM_CONNECTIONS] = 0
    s.globals[G_STREAMS] = 0
    s.globals[G_BLOCKS] = 0
    s.globals[G_STALE_COPIES] = 0
    s.globals[G_STALE_BYTES] = 0
    s.header.draining = 0
    s.header.filter_now = 0


cdef stats_t *stats_map(int fd) noexcept nogil:
    cdef void *at
    cdef stats_t *s
    if ftruncate(fd, sizeof(stats_t)) != 0:
        return NULL
    at = mmap(NULL, sizeof(stats_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if at == MAP_FAILED:
        return NULL
    s = <stats_t *>at
    _reset_gauges(s)
    s.header.layout = STATS_LAYOUT
    memcpy(s.header.magic, b"fmstats1", 8)
    return s


cdef stats_t *stats_new() noexcept nogil:
    cdef void *at = mmap(NULL, sizeof(stats_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    if at == MAP_FAILED:
        return NULL
    return <stats_t *>at


cdef void stats_unmap(stats_t *s) noexcept nogil:
    if s is not NULL:
        munmap(s, sizeof(stats_t))


# --- what control needs to know ---------------------------------------------------------------

GLOBALS = (
    "accepted", "accept_failed", "shed_connections", "requests", "local_answers", "bad_request", "uri_too_long",
    "head_too_large", "too_many_fields", "bad_version", "header_timeout", "body_timeout", "idle_closed",
    "requests_limit_closed", "request_timeout", "no_route", "no_endpoint", "overflow", "connect_failed",
    "connect_timeout", "retry_connect", "retry_reused", "reuse_stale", "upstream_reset", "upstream_protocol",
    "upstream_idle_closed", "downstream_reset", "ambiguous_path", "ambiguous_field", "upgrades", "tcp_idle_closed",
    "read_paused", "lingered", "log_lines", "log_dropped", "series_overflow", "snapshots", "snapshots_refused", "turns",
    "sends_short", "buffers_exhausted", "queued", "upstream_retired", "pending_timeout", "idle_evicted", "stream_idle",
    "drain_cut", "deadline_exceeded", "bad_deadline", "fault_delayed", "fault_aborted", "mirrored",
    "mirror_dropped", "fault_slowed", "stale_kept", "stale_dropped", "stale_evicted",
    "cors_preflight", "cors_refused", "cors_other_origin",
    "fault_slowed_requests", "fault_overflow", "overload_reset",
    "downstream_connections", "upstream_connections", "streams", "blocks", "stale_copies",
    "stale_bytes", "bytes_received", "bytes_sent",
)
GAUGES = ("downstream_connections", "upstream_connections", "streams", "blocks", "stale_copies", "stale_bytes")
FLAGS = (
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DR", "FB",
)
LISTENER_COLUMNS = ("accepted", "active", "requests", "shed")
CLUSTER_COLUMNS = (
    "requests", "active", "pending", "connections", "connections_opened", "reused", "connect_failed",
    "connect_timeout", "retries", "overflow", "no_endpoint", "resets", "timeouts", "bytes_sent", "bytes_received",
    "class_0", "class_1", "class_2", "class_3", "class_4", "class_5", "retry_success", "retry_limit_exceeded",
    "retry_overflow", "try_timeouts", "retry_waits", "retry_too_late",
    "retried_connect", "retried_reset", "retried_protocol", "retried_status", "retried_timeout",
    "hedges", "hedge_won", "hedge_lost", "hedge_overflow",
)
ENDPOINT_COLUMNS = (
    "active", "connections", "total", "failures", "connect_failures", "ewma_ns", "avoid_until_ns", "weight_given",
    "warm_since_ns",
)
# In the order of PHASE_*. Chunk, whole and stream kinds of a body count as one.
FILTER_PHASES = (
    "connection", "request", "route", "request_body", "request_trailers", "upstream_error", "retry", "response",
    "response_body", "response_trailers", "complete", "weights", "pick", "answer",
)
FILTER_PHASE_COLUMNS = ("calls", "wall_ns", "cpu_ns", "errors", "overruns")
FILTER_COLUMNS = ("fingerprint", "quarantined", "quarantines", "skipped", "in_flight")
# In the order of STEP_* (from 1) and REASON_* of resil/fallback_rule.
FALLBACK_STEPS = ("cluster", "stale", "response", "use")
FALLBACK_REASONS = (
    "no-endpoint", "overflow", "connect-failure", "reset", "protocol-error", "timeout", "overload", "rate-limit",
    "deadline", "status",
)
BALANCE_COLUMNS = (
    "subset_found", "subset_any", "subset_default", "subset_none", "subsets", "subset_left_out", "panics", "panic",
    "panic_picks", "sticky_kept", "sticky_moved", "no_key", "bound_passed",
)
LIMIT_COLUMNS = ("checked", "limited", "would", "evicted", "odd_keys")
# In the order of METRIC_*, from 1.
METRIC_KINDS = ("counter", "gauge", "histogram")
SERIES_COLUMNS = ("place", "kind", "count", "closed", "received", "sent", "duration_us")
DURATION_MS_BOUNDS = tuple(fm_bounds[i] for i in range(STATS_BOUNDS))
BYTES_BOUNDS = tuple(fm_bounds_bytes[i] for i in range(STATS_BOUNDS))
TIME_US_BOUNDS = tuple(fm_time_us[i] for i in range(STATS_TIME_BOUNDS))


cdef enum:
    BASE = 1 << 30


def _layout():
    # Stands for an address; nothing is read there. Not NULL, of which the sanitizers allow no field.
    cdef stats_t *s = <stats_t *><size_t>BASE
    assert len(GLOBALS) == G_COUNT
    assert len(FILTER_PHASES) == PHASE_COUNT
    return {
        "size": sizeof(stats_t),
        "layout": STATS_LAYOUT,
        "header_pid": <size_t>&s.header.pid - BASE,
        "header_version": <size_t>&s.header.version - BASE,
        "header_started_ns": <size_t>&s.header.started_ns - BASE,
        "header_heartbeat_ns": <size_t>&s.header.heartbeat_ns - BASE,
        "header_draining": <size_t>&s.header.draining - BASE,
        "header_engine": <size_t>&s.header.engine - BASE,
        "header_filter_now": <size_t>&s.header.filter_now - BASE,
        "header_filter_since_ns": <size_t>&s.header.filter_since_ns - BASE,
        "header_level": <size_t>&s.header.level - BASE,
        "header_level_reason": <size_t>&s.header.level_reason - BASE,
        "header_pressures": <size_t>&s.header.pressures[0] - BASE,
        "header_shed": <size_t>&s.header.shed[0] - BASE,
        "globals": <size_t>&s.globals[0] - BASE,
        "listeners": <size_t>&s.listeners[0] - BASE,
        "listener_stride": sizeof(listener_row_t),
        "listener_rows": STATS_LISTENERS,
        "clusters": <size_t>&s.clusters[0] - BASE,
        "cluster_stride": sizeof(cluster_row_t),
        "cluster_rows": STATS_CLUSTERS,
        "cluster_proxy_count": <size_t>&s.clusters[0].proxy_count - <size_t>&s.clusters[0],
        "cluster_proxy_sum_ns": <size_t>&s.clusters[0].proxy_sum_ns - <size_t>&s.clusters[0],
        "cluster_proxy_buckets": <size_t>&s.clusters[0].proxy[0] - <size_t>&s.clusters[0],
        "cluster_overflowed": <size_t>&s.clusters[0].overflowed[0] - <size_t>&s.clusters[0],
        "cluster_wait_count": <size_t>&s.clusters[0].wait_count - <size_t>&s.clusters[0],
        "cluster_wait_sum_ns": <size_t>&s.clusters[0].wait_sum_ns - <size_t>&s.clusters[0],
        "cluster_wait_buckets": <size_t>&s.clusters[0].wait[0] - <size_t>&s.clusters[0],
        "endpoints": <size_t>&s.endpoints[0] - BASE,
        "endpoint_stride": sizeof(endpoint_row_t),
        "endpoint_rows": STATS_ENDPOINTS,
        "series": <size_t>&s.series[0] - BASE,
        "series_stride": sizeof(series_row_t),
        "series_rows": STATS_SERIES,
        "series_duration": <size_t>&s.series[0].duration[0] - <size_t>&s.series[0],
        "series_request_bytes": <size_t>&s.series[0].request_bytes[0] - <size_t>&s.series[0],
        "series_response_bytes": <size_t>&s.series[0].response_bytes[0] - <size_t>&s.series[0],
        "log_head": <size_t>&s.log.head - BASE,
        "log_dropped": <size_t>&s.log.dropped - BASE,
        "log_tail": <size_t>&s.log.tail - BASE,
        "log_bytes": <size_t>&s.log.bytes[0] - BASE,
        "log_size": STATS_LOG_BYTES,
        "filters": <size_t>&s.filters[0] - BASE,
        "filter_stride": sizeof(filter_row_t),
        "filter_rows": STATS_FILTERS,
        "filter_phase_stride": sizeof(filter_phase_t),
        "filter_columns": <size_t>&s.filters[0].fingerprint - <size_t>&s.filters[0],
        "limits": <size_t>&s.limits[0] - BASE,
        "limit_stride": sizeof(limit_row_t),
        "limit_rows": STATS_LIMITS,
        "fallbacks": <size_t>&s.fallbacks[0] - BASE,
        "fallback_stride": sizeof(fallback_row_t),
        "fallback_reasons": STATS_FALLBACK_REASONS,
        "balances": <size_t>&s.balances[0] - BASE,
        "balance_stride": sizeof(balance_row_t),
        "balance_groups": STATS_GROUPS,
        "routes": <size_t>&s.routes[0] - BASE,
        "route_stride": sizeof(route_row_t),
        "route_rows": STATS_ROUTES,
        "metric_head": <size_t>&s.metrics.head - BASE,
        "metrics": <size_t>&s.metrics.metrics[0] - BASE,
        "metric_stride": sizeof(metric_row_t),
        "metric_rows": STATS_METRICS,
        "metric_text": <size_t>&s.metrics.metrics[0].text[0] - <size_t>&s.metrics.metrics[0],
        "metric_text_size": STATS_METRIC_TEXT,
        "metric_series": <size_t>&s.metrics.series[0] - BASE,
        "metric_series_stride": sizeof(metric_series_t),
        "metric_series_rows": STATS_METRIC_SERIES,
        "metric_series_value": <size_t>&s.metrics.series[0].value - <size_t>&s.metrics.series[0],
        "metric_series_buckets": <size_t>&s.metrics.series[0].buckets[0] - <size_t>&s.metrics.series[0],
        "metric_series_is_other": <size_t>&s.metrics.series[0].is_other - <size_t>&s.metrics.series[0],
        "metric_series_size": <size_t>&s.metrics.series[0].size - <size_t>&s.metrics.series[0],
        "metric_series_labels": <size_t>&s.metrics.series[0].labels[0] - <size_t>&s.metrics.series[0],
        "metric_labels_size": STATS_METRIC_LABELS,
        "metric_bounds": STATS_METRIC_BOUNDS,
        "label_head": <size_t>&s.labelled.head - BASE,
        "labels": <size_t>&s.labelled.rows[0] - BASE,
        "label_stride": sizeof(label_row_t),
        "label_rows": STATS_LABEL_ROWS,
        "label_text_size": STATS_LABEL_TEXT,
        "label_name_size": STATS_LABEL_NAME,
    }


LAYOUT = _layout()
