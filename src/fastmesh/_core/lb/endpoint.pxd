"""An endpoint: what the snapshot says of it, and what this worker has seen of it.

`endpoint_t` belongs to a snapshot's arena and is immutable. `endpoint_live_t` belongs to the worker, is counted, and is
carried over a snapshot swap by (cluster name, address, transport). There may be a hundred thousand, of which a worker
asks a few: what only those need is in `endpoint_use_t`, which lb/use makes with the first request.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from fastmesh._core.mem.counter cimport endpoint_row_t
from fastmesh._core.mem.hash cimport hash_bytes, hash_mix
from fastmesh._core.mem.health cimport endpoint_health_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.mem.tally cimport endpoint_tally_t
from fastmesh._core.net.addr cimport addr_t

cdef enum:
    AVOID_ALWAYS = 18446744073709551615     # avoid_until_ns of one that is ejected
    WARM_FROM_NOW = 1         # endpoint_warm: from when it is next looked at
    METADATA_MOST = 32        # pairs of a note
    # endpoint_live_t.is_down: nothing goes there, however few are left
    DOWN_UNCHECKED = 1        # it has not passed a check yet
    DOWN_FAILED = 2           # its checks fail
    # endpoint_live_t.stage
    STAGE_NEW = 0             # no snapshot that was taken had it
    STAGE_WARM = 1
    STAGE_FROM_NOW = 2        # slow start begins when it is next looked at
    STAGE_SINCE = 3           # it has begun: at endpoint_use_t.warm_since_ns
    PLACE_BYTES = 8           # of an address that is kept in `place` itself

# Of one that was used.
ctypedef struct endpoint_use_t:
    endpoint_row_t *row       # borrowed; never NULL (an overflow row stands in)
    void *idle                # the pool's list of idle connections (upstream/pool owns the meaning)
    void *queue               # the pool's queue of waiting streams
    uint32_t n_idle
    uint32_t waiting          # streams queued for a connection
    uint32_t connections      # open sockets, idle ones included
    uint32_t held             # references of connections, those included that are closing
    uint64_t ewma_ns          # smoothed response time, for people
    uint64_t answers          # heads of answers
    uint64_t answers_ns       # all that was waited for them, to the first byte
    endpoint_tally_t *tally   # this worker's word of it for the others; NULL = nobody asks
    endpoint_health_t *health # borrowed; NULL = it has no row of its own
    uint64_t health_key
    uint64_t warm_since_ns    # see endpoint_live_t.stage
    # What this worker has seen, and has not yet added to the row of its health.
    uint64_t seen_waited_us
    uint64_t seen_since_ns
    uint16_t seen
    uint16_t seen_failed
    uint16_t seen_answered
    uint8_t failures          # connect failures in a row: the exponent of the back-off
    uint8_t told              # `failures` when a failed connect was counted last

# One cache line, which is all that a pick touches.
ctypedef struct endpoint_live_t:
    uint64_t avoid_until_ns   # picks step around it until then
    uint64_t cost_at_ns       # 0 = never measured
    float cost_ns             # peak-sensitive response time, for lb/ewma, as it was at `cost_at_ns`
    uint32_t active           # requests (or TCP connections) in flight from this worker
    endpoint_use_t *use       # owned; NULL = it was never used
    void *cluster_live        # cluster_live_t of lb/cluster, which lives longer
    # The address, which outlives snapshots: see endpoint_ip.
    uint64_t place            # its bytes in network order; more than PLACE_BYTES are owned, and this points to them
    uint16_t port
    uint8_t family
    uint8_t len
    uint32_t row              # number of its rows in shared memory
    uint32_t refs             # snapshots that name it, and `held`
    uint8_t stage             # STAGE_*
    # Of lb/ejection and resil/outlier.
    uint8_t is_out            # it is ejected, as far as this worker has looked
    uint8_t is_claimed        # the pick that has just been made is its probe
    uint8_t is_down           # DOWN_*, as far as this worker has looked; 0 = its checks pass, or there are none

# What was said of an endpoint besides, by the configuration or by who found it: for policies in Python.
ctypedef struct endpoint_note_t:
    uint32_t priority
    uint32_t n                # pairs in `words`
    span_t zone
    span_t *words             # name, value, name, value …

ctypedef struct endpoint_t:
    endpoint_live_t *live     # counted; has the address
    span_t text               # printed form, in the snapshot's arena
    uint32_t weight           # 1 … 2**31
    uint32_t row              # number of its rows in shared memory


cdef inline const uint8_t *endpoint_ip(const endpoint_live_t *live) noexcept nogil:
    """`len` bytes: an IP address in network order, or a Unix path."""
    return <const uint8_t *>&live.place if live.len <= PLACE_BYTES else <const uint8_t *>live.place


cdef inline uint64_t endpoint_hash(const endpoint_live_t *live, uint64_t seed) noexcept nogil:
    """As addr_hash does it."""
    return hash_bytes(endpoint_ip(live), live.len, hash_mix(seed, (<uint64_t>live.family << 16) | live.port))


cdef inline bint endpoint_is_at(const endpoint_live_t *live, const addr_t *a) noexcept nogil:
    return (live.family == a.family and live.port == a.port and live.len == a.len and
            memcmp(endpoint_ip(live), a.ip, a.len) == 0)


cdef inline void endpoint_addr(const endpoint_live_t *live, addr_t *a) noexcept nogil:
    a.family = live.family
    a.port = live.port
    a.len = live.len
    memcpy(a.ip, endpoint_ip(live), live.len)
