"""Counters, gauges and histograms in pages that the control process maps too.

One memfd per worker slot. The worker is the only writer, so plain additions do; control
reads eight aligned bytes at a time and never sees half a number. The layout is fixed, its
pages are touched only when used: a sparse file costs what it counts.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    STATS_LAYOUT = 6
    STATS_LISTENERS = 1024
    STATS_CLUSTERS = 16384
    STATS_ENDPOINTS = 131072
    STATS_SERIES = 4096           # a power of two: open addressing
    STATS_BOUNDS = 19             # of durations (ms) and sizes (bytes); one more bucket for the rest
    STATS_TIME_BOUNDS = 23        # of times inside the proxy (microseconds)
    STATS_LOG_BYTES = 1048576     # a power of two
    STATS_FILTERS = 256
    STATS_PHASES = 16             # rows have room for some that are not there yet; the names are in counter.pyx
    STATS_LIMITS = 256
    STATS_FALLBACK_KINDS = 4      # STEP_* of resil/fallback_rule, less one
    STATS_FALLBACK_REASONS = 16   # REASON_*: rows have room for some that are not there yet
    STATS_METRICS = 256           # metrics that filters declare
    STATS_METRIC_SERIES = 2048    # their label sets
    STATS_METRIC_TEXT = 1000      # bytes of a declaration
    STATS_METRIC_LABELS = 400     # bytes of the label values of one series
    STATS_GROUPS = 8              # groups of a cluster's endpoints; the last stands for all further ones
    STATS_METRIC_BOUNDS = 24      # of a filter's histogram; one more bucket for the rest
    STATS_LABEL_ROWS = 4096       # requests by the labels that filters give them
    STATS_LABEL_TEXT = 928        # bytes of the names and values of one row
    STATS_LABEL_NAME = 64         # of a label's name
    STATS_ROUTES = 4096

# Phases of filters, in the order of FILTER_PHASES in counter.pyx. Chunk, whole and stream kinds of a body count as one.
cdef enum:
    PHASE_CONNECTION
    PHASE_REQUEST
    PHASE_ROUTE
    PHASE_REQUEST_BODY
    PHASE_REQUEST_TRAILERS
    PHASE_UPSTREAM_ERROR
    PHASE_RETRY
    PHASE_RESPONSE
    PHASE_RESPONSE_BODY
    PHASE_RESPONSE_TRAILERS
    PHASE_COMPLETE
    PHASE_WEIGHTS                 # of a load balancer
    PHASE_PICK
    PHASE_ANSWER                  # of a fallback
    PHASE_COUNT

# Process-wide counters; the names are in counter.pyx, in this order.
cdef enum:
    G_ACCEPTED
    G_ACCEPT_FAILED               # accept() failed: descriptors or memory
    G_SHED_CONNECTIONS            # closed at once: max_connections reached
    G_REQUESTS
    G_LOCAL_ANSWERS
    G_BAD_REQUEST                 # 400
    G_URI_TOO_LONG                # 414
    G_HEAD_TOO_LARGE              # 431
    G_TOO_MANY_FIELDS             # 431
    G_BAD_VERSION                 # 505
    G_HEADER_TIMEOUT              # 408
    G_BODY_TIMEOUT                # 408 or cut
    G_IDLE_CLOSED                 # keep-alive idle limit
    G_REQUESTS_LIMIT_CLOSED       # max_requests_per_connection
    G_REQUEST_TIMEOUT             # 504
    G_NO_ROUTE                    # 404
    G_NO_ENDPOINT                 # 503 UH
    G_OVERFLOW                    # 503 UO: pending or request limit
    G_CONNECT_FAILED
    G_CONNECT_TIMEOUT
    G_RETRY_CONNECT               # moved on to another endpoint
    G_RETRY_REUSED                # a reused connection had closed: sent again on a fresh one
    G_REUSE_STALE                 # found closed by the check before reuse
    G_UPSTREAM_RESET
    G_UPSTREAM_PROTOCOL           # an answer that is not HTTP, or breaks framing
    G_UPSTREAM_IDLE_CLOSED
    G_DOWNSTREAM_RESET            # the client left before its answer was complete
    G_AMBIGUOUS_PATH              # 400: readings of the path lead to different routes
    G_AMBIGUOUS_FIELD             # 400: fields or a method that a rule asks for may be read in two ways
    G_UPGRADES
    G_TCP_IDLE_CLOSED
    G_READ_PAUSED                 # back-pressure stopped a sender
    G_LINGERED
    G_LOG_LINES
    G_LOG_DROPPED
    G_SERIES_OVERFLOW
    G_SNAPSHOTS
    G_SNAPSHOTS_REFUSED
    G_TURNS
    G_SENDS_SHORT
    G_BUFFERS_EXHAUSTED           # receive buffers ran out for a moment
    G_QUEUED                      # waited in line for a connection
    G_UPSTREAM_RETIRED            # connections used as often as they may be
    G_PENDING_TIMEOUT             # 503 UO: waited too long for a connection
    G_IDLE_EVICTED                # connections between requests, closed to make room
    G_STREAM_IDLE                 # 504 SI or cut: nothing moved
    G_DRAIN_CUT                   # connections closed unfinished at the end of a drain
    G_DEADLINE                    # 504 or cut: later than the client said
    G_BAD_DEADLINE                # a field that should say so, and does not
    G_FAULT_DELAYED               # requests that were delayed on purpose
    G_FAULT_ABORTED               # requests that were answered on purpose
    G_MIRRORED                    # copies of requests that were sent
    G_MIRROR_DROPPED              # and that were not: too large, cut, or too many at a time
    G_FAULT_SLOWED                # answers whose bodies were slowed down on purpose
    G_STALE_KEPT                  # copies of answers, kept for the time when there are none
    G_STALE_DROPPED               # and that were not: too large, cut, or no room
    G_STALE_EVICTED               # copies that made room for others
    G_CORS_PREFLIGHT
    G_CORS_REFUSED
    G_CORS_OTHER
    G_FAULT_SLOWED_REQUESTS       # requests whose bodies were slowed down on purpose
    G_FAULT_OVERFLOW              # faults that did not fall on a request, as enough were under way
    G_OVERLOAD_RESET              # connections cut because they held most while memory ran out
    G_DOWNSTREAM_CONNECTIONS      # gauge
    G_UPSTREAM_CONNECTIONS        # gauge
    G_STREAMS                     # gauge
    G_BLOCKS                      # gauge: buffer blocks in use
    G_STALE_COPIES                # gauge
    G_STALE_BYTES                 # gauge
    G_BYTES_RECEIVED              # from clients
    G_BYTES_SENT                  # to clients
    G_COUNT

ctypedef struct listener_row_t:
    uint64_t accepted
    uint64_t active               # gauge
    uint64_t requests
    uint64_t shed
    uint64_t reserved[12]

ctypedef struct cluster_row_t:
    uint64_t requests
    uint64_t active               # gauge: requests or TCP connections in flight
    uint64_t pending              # gauge: waiting for a connection
    uint64_t connections          # gauge
    uint64_t connections_opened
    uint64_t reused
    uint64_t connect_failed
    uint64_t connect_timeout
    uint64_t retries
    uint64_t overflow
    uint64_t no_endpoint
    uint64_t resets
    uint64_t timeouts
    uint64_t bytes_sent           # to the upstream
    uint64_t bytes_received
    uint64_t class_[6]            # answers by hundred: [0] none, 1xx is never counted
    uint64_t retry_success        # further attempts that were answered with less than 500
    uint64_t retry_limit_exceeded     # failures that would have been retried, but for the number of attempts
    uint64_t retry_overflow       # … but for the budget
    uint64_t try_timeouts         # attempts that took longer than one may
    uint64_t retry_waits          # further attempts that were put off as an answer's Retry-After said
    uint64_t retry_too_late       # failures that would have been retried, had Retry-After asked for less time
    uint64_t retried[5]           # further attempts by what was wrong with the one before: RETRIED_*
    uint64_t hedges               # attempts that were begun beside another one
    uint64_t hedge_won            # of those, whose answer the client got
    uint64_t hedge_lost           # of those, that failed or were given up
    uint64_t hedge_overflow       # that were not begun: the budget is spent, or a limit of the cluster is reached
    uint64_t reserved[4]
    uint64_t proxy_count, proxy_sum_ns      # time spent in this process
    uint64_t proxy[24]                      # buckets of STATS_TIME_BOUNDS + 1
    uint64_t wait_count, wait_sum_ns        # time waiting for the upstream, to the first byte
    uint64_t wait[24]
    uint64_t overflowed[8]                  # requests refused, by the limit: OVER_* of resil/breaker

# One endpoint, as this worker sees it.
ctypedef struct endpoint_row_t:
    uint64_t active           # requests (or TCP connections) now
    uint64_t connections      # sockets now
    uint64_t total            # requests started
    uint64_t failures         # connect failures, resets, 5xx
    uint64_t connect_failures
    uint64_t ewma_ns          # smoothed time to first byte
    uint64_t avoid_until_ns   # CLOCK_MONOTONIC; 0 = not avoided
    uint64_t weight_given     # by a policy: 1 + millionths, on the scale of the configured ones; 0 = as configured
    uint64_t warm_since_ns    # slow start: since when, CLOCK_MONOTONIC; 1 = from its next request on; 0 = it is warm
    uint64_t reserved[7]

# One combination of labels: HTTP requests, or TCP connections.
ctypedef struct series_row_t:
    uint64_t place                # listener id << 32 | cluster id
    uint64_t kind                 # 1 << 63 (in use) | protocol << 48 | code << 32 | flags
    uint64_t count                # requests done, or connections opened
    uint64_t closed               # TCP only
    uint64_t received             # bytes of request bodies and heads, or from the TCP client
    uint64_t sent
    uint64_t duration_us
    uint64_t duration[20]         # buckets of DURATION_MS_BOUNDS
    uint64_t request_bytes[20]
    uint64_t response_bytes[20]
    uint64_t reserved[5]

ctypedef struct log_ring_t:
    uint64_t head                 # bytes ever written, by the worker
    uint64_t dropped
    uint64_t reserved[6]
    uint64_t tail                 # bytes ever read, by control
    uint64_t reserved2[7]
    uint8_t bytes[1048576]

# One phase of one filter.
ctypedef struct filter_phase_t:
    uint64_t calls
    uint64_t wall_ns              # without what it waits for
    uint64_t cpu_ns
    uint64_t errors
    uint64_t overruns             # went over the budget in one go
    uint64_t reserved[3]

ctypedef struct filter_row_t:
    filter_phase_t phases[16]
    uint64_t fingerprint          # first 8 bytes of that of the version that runs; 0 = none
    uint64_t quarantined          # gauge: 1 while the version is bypassed
    uint64_t quarantines          # how often it has begun to be
    uint64_t skipped              # exchanges that its `match` or its share left out
    uint64_t in_flight            # gauge: coroutines that wait
    uint64_t would                # of a shadow: phases that would have changed something
    uint64_t reserved[10]

# One rate limit.
ctypedef struct limit_row_t:
    uint64_t checked              # requests it has counted
    uint64_t limited              # of those, refused
    uint64_t would                # of those, let through because it is a dry run
    uint64_t evicted              # keys that made room for others
    uint64_t odd_keys             # requests of the bucket for keys that can be read in several ways
    uint64_t reserved[3]

# What became of requests that a cluster did not answer, by reason; in the order of the clusters' rows.
ctypedef struct fallback_row_t:
    uint64_t answered[4][16]      # by the kind of the step that answered
    uint64_t exhausted[16]        # no step could

# How the endpoints of a cluster were chosen; in the order of the clusters' rows.
ctypedef struct balance_row_t:
    uint64_t subset_found         # requests that went to the subset that they were for
    uint64_t subset_any           # … whose subset has no endpoint, and that had all of them
    uint64_t subset_default       # … that went to the default subset
    uint64_t subset_none          # … that had no endpoint at all
    uint64_t subsets              # gauge
    uint64_t subset_left_out      # gauge: endpoints that are not in a subset they belong to, for a limit
    uint64_t panics               # how often a group of endpoints has come into panic
    uint64_t panic                # gauge: groups in panic
    uint64_t panic_picks          # picks from such groups
    uint64_t sticky_kept          # requests of sessions that stayed at their endpoint
    uint64_t sticky_moved         # … whose endpoint was gone, or not to be used
    uint64_t no_key               # requests that had nothing to tell them apart by
    uint64_t bound_passed         # endpoints that keys were led past, as they had their part of the load
    uint64_t groups[8]            # picks, by the group of endpoints
    uint64_t reserved[11]

# What filters count for themselves. All text is in the row: control needs nothing else to read it. Rows are taken
# one after another and never given back, so that what is used lies together.
ctypedef struct metric_row_t:
    uint64_t declared_ns          # CLOCK_MONOTONIC, when it was declared last; 0 = not (yet) in use
    uint64_t size                 # bytes of text that are used
    uint64_t reserved
    uint8_t text[1000]            # msgpack: [name, filter, kind, help, [label, …], [bound, …]]

ctypedef struct metric_series_t:
    uint64_t metric               # row + 1; 0 = not in use
    uint64_t kind                 # METRIC_*
    double value                  # of a counter or gauge; the sum of what a histogram has seen
    uint64_t buckets[25]          # of a histogram: below each bound, and above the last; not cumulative
    uint64_t is_other             # takes what has no row of its own
    uint64_t size                 # bytes of labels that are used
    uint8_t labels[400]           # msgpack: the values, in the order of the metric's labels

ctypedef struct metric_head_t:
    uint64_t n_metrics
    uint64_t n_series
    uint64_t overflow             # label sets that were counted under "other"
    uint64_t reserved[5]

ctypedef struct metrics_t:
    metric_head_t head
    metric_row_t metrics[256]
    metric_series_t series[2048]

# Requests with the same labels of filters, on the same way. Rows are taken one after another and never given back.
ctypedef struct label_row_t:
    uint64_t size                 # bytes of text that are used
    uint64_t requests[6]          # by hundred of the answer: [0] none
    uint64_t duration_us
    uint64_t duration[20]         # buckets of DURATION_MS_BOUNDS
    # Names of listener, route and cluster, then name and value of each label: a byte of length before each.
    uint8_t text[928]

ctypedef struct label_head_t:
    uint64_t n_rows
    uint64_t overflow             # requests with a value that was counted as "other"
    uint64_t rows_full            # and those for which there was no row
    uint64_t full_size
    uint8_t full[64]              # the label that had too many values first
    uint64_t reserved[4]

ctypedef struct labelled_t:
    label_head_t head
    label_row_t rows[4096]

# Requests that one route took.
ctypedef struct route_row_t:
    uint64_t requests[6]          # by hundred of the answer: [0] none
    uint64_t reserved[2]

cdef enum:
    METRIC_COUNTER = 1
    METRIC_GAUGE = 2
    METRIC_HISTOGRAM = 3

ctypedef struct stats_header_t:
    char magic[8]
    uint64_t layout
    uint64_t pid
    uint64_t version              # of the live snapshot
    uint64_t started_ns           # CLOCK_MONOTONIC
    uint64_t heartbeat_ns         # last turn of the loop
    uint64_t draining
    uint64_t engine               # 1 epoll, 2 io_uring
    uint64_t filter_now           # row + 1 of the filter that runs on the data thread; 0 = none
    uint64_t filter_since_ns      # CLOCK_MONOTONIC, since when
    uint64_t level                # LEVEL_* of resil/pressure
    uint64_t level_reason         # PRESSURE_*
    uint64_t pressures[4]         # in millionths, by PRESSURE_*
    uint64_t shed[16]             # requests refused for them, by PRESSURE_* * 4 + PRIORITY_*
    uint64_t shed_connections     # accepted, and closed at once
    uint64_t reserved[479]

ctypedef struct stats_t:
    stats_header_t header
    uint64_t globals[512]
    listener_row_t listeners[1024]
    cluster_row_t clusters[16384]
    endpoint_row_t endpoints[131072]
    series_row_t series[4096]
    log_ring_t log
    filter_row_t filters[256]
    metrics_t metrics
    limit_row_t limits[256]
    fallback_row_t fallbacks[16384]
    labelled_t labelled
    balance_row_t balances[16384]
    route_row_t routes[4096]

# Envoy's response flags, a bit each; the names are in counter.pyx, in this order.
cdef enum:
    FLAG_LH = 1 << 0              # failed local health check
    FLAG_UH = 1 << 1              # no healthy upstream
    FLAG_UT = 1 << 2              # upstream request timeout
    FLAG_LR = 1 << 3              # connection local reset
    FLAG_UR = 1 << 4              # upstream remote reset
    FLAG_UF = 1 << 5              # upstream connection failure
    FLAG_UC = 1 << 6              # upstream connection termination
    FLAG_UO = 1 << 7              # upstream overflow
    FLAG_NR = 1 << 8              # no route
    FLAG_DI = 1 << 9              # delay injected
    FLAG_FI = 1 << 10             # answer injected
    FLAG_RL = 1 << 11             # rate limited
    FLAG_DC = 1 << 14             # downstream connection termination
    FLAG_URX = 1 << 15            # retry or connect attempts exhausted
    FLAG_SI = 1 << 16             # stream idle timeout
    FLAG_DPE = 1 << 18            # downstream protocol error
    FLAG_DT = 1 << 22             # duration timeout
    FLAG_UPE = 1 << 23            # upstream protocol error
    FLAG_NC = 1 << 24             # no cluster
    FLAG_OM = 1 << 25             # overload: shed
    FLAG_FB = 1 << 28             # a step of the route's fallback has answered

cdef enum:
    SERIES_HTTP = 0
    SERIES_TCP = 1

# The row of a combination, made when new. Never NULL: row 0 takes what does not fit.
cdef series_row_t *series_row(stats_t *s, uint32_t listener, uint32_t cluster, int protocol,
                              uint32_t code, uint32_t flags) noexcept nogil
cdef void series_observe(series_row_t *row, uint64_t duration_ns, uint64_t received, uint64_t sent) noexcept nogil
cdef void label_row_observe(label_row_t *row, uint32_t hundred, uint64_t duration_ns) noexcept nogil
cdef void times_observe(cluster_row_t *row, uint64_t proxy_ns, uint64_t wait_ns) noexcept nogil
# Maps the memfd of a slot; gauges of a former owner are set to zero. NULL and errno on failure.
cdef stats_t *stats_map(int fd) noexcept nogil
cdef stats_t *stats_new() noexcept nogil          # anonymous, for tests
cdef void stats_unmap(stats_t *s) noexcept nogil
