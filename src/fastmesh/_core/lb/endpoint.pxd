"""An endpoint: what the snapshot says of it, and what this worker has seen of it.

`endpoint_t` belongs to a snapshot's arena and is immutable. `endpoint_live_t` belongs to the
worker, is counted, and is carried over a snapshot swap by (cluster name, address, transport).
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.net.addr cimport addr_t
from fastmesh._core.mem.counter cimport endpoint_row_t
from fastmesh._core.mem.health cimport endpoint_health_t
from fastmesh._core.mem.tally cimport endpoint_tally_t

cdef enum:
    AVOID_ALWAYS = 18446744073709551615     # avoid_until_ns of one that is ejected
    WARM_FROM_NOW = 1         # warm_since_ns: from when it is next looked at
    METADATA_MOST = 32        # pairs of a note
    # endpoint_live_t.is_down: nothing goes there, however few are left
    DOWN_UNCHECKED = 1        # it has not passed a check yet
    DOWN_FAILED = 2           # its checks fail

# The first cache line is all that a pick touches.
ctypedef struct endpoint_live_t:
    endpoint_row_t *row       # borrowed; never NULL (an overflow row stands in)
    uint64_t avoid_until_ns   # picks step around it until then
    uint64_t ewma_ns          # smoothed response time, for people
    double cost_ns            # peak-sensitive one, for lb/ewma, as it was at `cost_at_ns`
    uint64_t cost_at_ns       # 0 = never measured
    uint32_t active           # requests (or TCP connections) in flight from this worker
    uint32_t connections      # open sockets, idle ones included
    uint64_t warm_since_ns    # slow start: when it began to warm up; 0 = it is warm. See endpoint_warm
    uint32_t failures         # connect failures in a row: the exponent of the back-off
    uint32_t refs             # snapshots that name it, and `held`
    uint64_t key              # hash of cluster name and address
    void *idle                # the pool's list of idle connections (upstream/pool owns the meaning)
    uint32_t n_idle
    uint32_t waiting          # streams queued for a connection
    uint64_t answers          # heads of answers
    uint64_t answers_ns       # all that was waited for them, to the first byte
    uint32_t held             # references of connections, those included that are closing
    void *queue               # the pool's queue of waiting streams
    void *cluster_live        # cluster_live_t of lb/cluster, which lives longer
    addr_t addr               # own copy, outlives snapshots
    uint8_t is_known          # a snapshot that was taken had it
    # Of lb/ejection and resil/outlier.
    uint8_t is_out            # it is ejected, as far as this worker has looked
    uint8_t is_claimed        # the pick that has just been made is its probe
    uint32_t told             # `failures` when a failed connect was counted last
    endpoint_health_t *health # borrowed; NULL = it has no row of its own
    uint64_t health_key
    # What this worker has seen, and has not yet added to the row.
    uint32_t seen
    uint32_t seen_failed
    uint32_t seen_answered
    uint64_t seen_waited_us
    uint64_t seen_since_ns
    uint8_t is_down           # DOWN_*, as far as this worker has looked; 0 = its checks pass, or there are none
    endpoint_tally_t *tally   # this worker's word of it for the others; NULL = nobody asks
    uint32_t tally_row

# What was said of an endpoint besides, by the configuration or by who found it: for policies in Python.
ctypedef struct endpoint_note_t:
    uint32_t priority
    uint32_t n                # pairs in `words`
    span_t zone
    span_t *words             # name, value, name, value …

ctypedef struct endpoint_t:
    addr_t addr
    uint32_t weight           # 1 … 2**31
    uint32_t row              # index into the shared endpoint rows
    span_t text               # printed form, in the snapshot's arena
    endpoint_live_t *live     # counted
    const endpoint_note_t *note   # NULL = nothing was said


cdef inline void endpoint_warm(endpoint_live_t *live, uint64_t since_ns) noexcept nogil:
    """Sets warm_since_ns, for picks and for those who look on."""
    live.warm_since_ns = since_ns
    live.row.warm_since_ns = since_ns
