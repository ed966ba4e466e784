"""A rate limit: which requests it counts, by which key, and what a bucket of it gives.

Immutable, part of a snapshot, apart from `segment` and `buckets`, which the worker sets before the snapshot is live.
Where the counting is done is behind `limit_ops_t`: LOCAL_BUCKETS counts in the memory that all workers of this proxy
share; a limit that is kept elsewhere fills another table.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.bucket cimport draw_t
from fastmesh._core.mem.counter cimport limit_row_t
from fastmesh._core.mem.segment cimport object_t, segment_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.limit_key cimport caller_t, limit_key_t
from fastmesh._core.route.route_table cimport route_table_t

cdef enum:
    LIMITS_MAX = 8            # on the way of one request: those of a listener and a route together
    LIMIT_NAME_MAX = 100      # bytes: its buckets are found by it
    LIMIT_LOCAL = 0           # limits kept in this proxy's own memory

    # What rate_limit_ask answers.
    LIMIT_PASSED = 0
    LIMIT_REFUSED = 1
    LIMIT_SKIPPED = 2         # it does not count this request

ctypedef struct limit_ops_t:
    const char *name
    # Takes one token, or says how long until there is one. `key` is a digest of two words.
    void (*take)(const rate_limit_t *l, const uint64_t *key, draw_t *d) noexcept nogil
    void (*give_back)(const rate_limit_t *l, const uint64_t *key) noexcept nogil

ctypedef struct rate_limit_t:
    span_t name
    uint32_t row              # in stats_t.limits
    const limit_ops_t *ops
    uint64_t token_ns         # what a token is worth: the time in which it comes back
    uint64_t burst_ns         # what a full bucket is worth, a multiple of token_ns
    uint32_t keys             # buckets there may be
    limit_key_t key
    route_table_t *match      # a table of one route; NULL = every request
    uint32_t share            # of the requests that match, in parts of SHARE_ALL
    uint16_t status           # of the refusal
    uint8_t is_dry_run
    uint8_t skips_missing     # a request in which a value of the key is missing is not counted
    uint8_t is_shown          # in RateLimit headers of answers that passed
    span_t policy             # its item of RateLimit-Policy: "name";q=200;w=2
    const char *details       # for the log
    const char *why           # a sentence for people
    segment_t *segment        # borrowed from the worker; NULL until rate_limit_keep
    object_t *buckets

ctypedef struct limit_list_t:
    uint32_t n
    uint8_t needs_path        # one of them looks at the path
    const rate_limit_t **limits

# A token that was taken: to be shown, or given back.
ctypedef struct drawn_t:
    const rate_limit_t *limit
    uint64_t key[2]
    uint64_t left             # whole tokens that are still there
    uint64_t wait_ns          # until the bucket is full; of a refusal, until there is a token

# How limits of a kind (LIMIT_LOCAL) are kept; NULL = there is no such kind.
cdef const limit_ops_t *limit_ops_of(uint8_t kind) noexcept nogil
# Finds or makes its buckets. SHARED_*.
cdef int rate_limit_keep(rate_limit_t *l, segment_t *g) noexcept nogil
# Counts in `row`. `d` is filled in unless it is skipped. In a dry run, a refusal is for the caller to overlook.
cdef int rate_limit_ask(const rate_limit_t *l, const caller_t *a, limit_row_t *row, uint64_t *rng,
                        drawn_t *d) noexcept nogil
