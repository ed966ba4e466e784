"""The configuration as the data plane reads it: msgpack bytes decoded into one arena.

Immutable once built. Counted: each stream holds the snapshot it began with.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.http.h1 cimport h1_limits_t
from fastmesh._core.mem.counter cimport endpoint_row_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.mem.arena cimport arena_t
from fastmesh._core.net.addr cimport cidr_t
from fastmesh._core.route.pattern cimport pattern_t
from fastmesh._core.resil.fallback_rule cimport fallback_t
from fastmesh._core.resil.injection cimport injection_list_t
from fastmesh._core.resil.pressure cimport pressure_settings_t
from fastmesh._core.resil.rate_limit cimport limit_list_t, rate_limit_t
from fastmesh._core.resil.hedge_rule cimport hedge_rule_t
from fastmesh._core.resil.retry cimport retry_t
from fastmesh._core.route.cors_rule cimport cors_rule_t
from fastmesh._core.route.mirror_rule cimport mirror_list_t
from fastmesh._core.route.route_table cimport route_table_t
from fastmesh._core.route.subset_rule cimport subset_rule_t
from fastmesh._core.snapshot.live cimport live_free, live_new, live_on_last, live_share

cdef enum:
    SNAPSHOT_FORMAT = 6
    PROTOCOL_HTTP = 0
    PROTOCOL_TCP = 1
    FILTER_SLOTS_MAX = 256    # rules of a snapshot
    FILTER_CHAIN_MAX = 64     # slots of a chain, and of those of a listener, a route and any cluster together
    SHARE_ALL = 1000000
    BALANCER_INTERVAL_NS = 1000000    # the shortest between two questions to a policy that balances

# One piece of an access-log line: a literal, or a field with its escaping.
ctypedef struct log_op_t:
    uint8_t field             # LOG_* of proxy/access_log; 0 = literal
    uint8_t quote             # 1 = as a JSON string with quotes (null when absent), 0 = text ("-" when absent)
    span_t text               # the literal; or the header name (lower case) of LOG_REQUEST_HEADER / LOG_RESPONSE_HEADER

ctypedef struct listener_t:
    uint32_t id               # stable over snapshots; row in the shared listener rows
    span_t name
    uint8_t protocol          # PROTOCOL_*
    uint8_t inbound           # reporter="destination" when 1
    uint8_t is_plain_answers  # local answers explain themselves (only to loopback and Unix peers)
    uint8_t half_close        # who ends his side still waits for his answers
    int32_t cluster           # tcp: index of its cluster
    h1_limits_t limits
    uint64_t header_timeout_ns
    uint64_t body_timeout_ns
    uint64_t idle_timeout_ns      # keep-alive, between requests
    uint64_t tcp_idle_ns
    uint64_t request_timeout_ns   # default for its routes; 0 = none
    uint64_t stream_idle_ns       # of an exchange in which nothing moves while its answer is waited for; 0 = none
    uint64_t linger_ns            # how long a refused sender is listened to after the answer
    uint32_t max_requests_per_connection  # 0 = no limit
    uint32_t max_connections      # per worker; 0 = no limit
    uint32_t buffer_bytes         # high watermark per direction; the low one is half of it
    cidr_t *trusted               # clients whose x-forwarded-* and x-request-id are believed
    uint32_t n_trusted
    span_t via                    # pseudonym for Via, empty = none
    span_t deadline_name          # of a further field with a deadline, lower case; empty = none
    uint8_t deadline_reads        # fields with deadlines are looked for
    uint8_t deadline_sends        # what is left is told to upstreams
    route_table_t routes
    int32_t chain             # index into snapshot_t.chains, or -1
    uint32_t limit_list       # index + 1 into snapshot_t.limit_lists; 0 = no rate limits
    uint8_t has_cors          # one of its routes says which origins may read its answers

# When one filter is asked at all. Its slot in the worker's table has the same index.
ctypedef struct filter_rule_t:
    route_table_t *match      # a table of one route; NULL = every request
    uint32_t share            # of the requests that match, in parts of SHARE_ALL

# Filters in the order of the way in.
ctypedef struct filter_chain_t:
    uint16_t n
    uint16_t *slots           # indexes into rules

# Labels of filters by which requests are counted.
ctypedef struct metric_labels_t:
    uint32_t n                    # 0 = they are not
    uint32_t most                 # values that each has in this worker
    span_t names[4]               # LABELS_MOST of mem/label_table

ctypedef struct snapshot_t:
    uint64_t version
    uint32_t refs                 # the one who decoded it holds the first
    uint32_t n_listeners, n_clusters
    listener_t *listeners
    cluster_t *clusters
    log_op_t *log_ops
    uint32_t n_log_ops            # 0 = no access log
    pattern_t *patterns
    uint32_t n_patterns
    uint32_t n_rules, n_chains
    filter_rule_t *rules
    filter_chain_t *chains
    uint32_t n_rate_limits, n_limit_lists
    rate_limit_t *rate_limits
    limit_list_t *limit_lists
    uint32_t n_injection_lists
    injection_list_t *injection_lists
    uint32_t n_mirror_lists
    mirror_list_t *mirror_lists
    uint32_t n_retries
    retry_t *retries
    uint32_t n_hedges
    hedge_rule_t *hedges
    uint32_t n_fallbacks
    fallback_t *fallbacks
    uint32_t n_subset_rules
    subset_rule_t *subset_rules
    void *filters                 # the worker's table, owned: snapshot_on_free says what becomes of it; NULL = none
    uint32_t max_connections      # downstream, per worker; 0 = no limit
    arena_t *arena                # owned; holds everything above
    void *live                    # registry, borrowed from the worker
    pressure_settings_t pressure  # what the process may use
    metric_labels_t metric_labels
    uint32_t n_cors_rules
    cors_rule_t *cors_rules

# Decodes and checks `n` bytes. NULL on refusal, with a sentence in `why` (NUL-terminated, at most why_cap bytes).
# `rows`/`n_rows`: the shared endpoint rows, at least one; a row out of range falls back to the last one.
# `live`: the registry made by live_new, shared by all snapshots of a worker. A refused snapshot leaves no trace in it.
# `p` is not kept.
cdef snapshot_t *snapshot_decode(const uint8_t *p, uint64_t n, endpoint_row_t *rows, uint32_t n_rows,
                                 void *live, char *why, uint32_t why_cap) noexcept nogil
cdef void snapshot_put(snapshot_t *s) noexcept nogil      # frees with the last reference
cdef inline snapshot_t *snapshot_get(snapshot_t *s) noexcept nogil:
    s.refs += 1
    return s
# Called with `filters` of a snapshot that is freed, unless that is NULL. One function for the process.
cdef void snapshot_on_free(void (*fn)(void *) noexcept nogil) noexcept nogil
# For tests: snapshots that are alive.
cdef uint32_t snapshot_live() noexcept nogil
