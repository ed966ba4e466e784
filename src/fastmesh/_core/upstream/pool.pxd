"""Connections to endpoints: made, kept for reuse, limited, waited for.

A worker's own; nothing is shared between workers. Idle connections are taken last in, first out, so that
the surplus grows old and is closed. A connection belongs to exactly one of: a user (`up.user`), the idle list of
its endpoint, or the way out (closing).
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.body cimport body_t
from fastmesh._core.io.reactor cimport reactor_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t, endpoint_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.counter cimport cluster_row_t, stats_t
from fastmesh._core.mem.inbox cimport inbox_t
from fastmesh._core.mem.slab cimport slab_t
from fastmesh._core.net.xprt cimport xprt_t

cdef enum:
    POOL_OK = 0
    POOL_REFUSED = 1          # connect failed; `err` says how
    POOL_TIMEOUT = 2          # connect took longer than the cluster allows
    POOL_FULL = 3             # the waiting line is full
    POOL_FAILED = 4           # this process is out of descriptors
    POOL_LATE = 5             # waited in line for longer than the cluster allows
    POOL_CROWDED = 6          # the cluster has no connection left, and this worker none to this endpoint

    # flags of pool_take
    TAKE_VERIFY = 1           # look at the socket before an idle connection is reused: for what must not be sent twice
    TAKE_FRESH = 2            # no idle connection at all
    TAKE_HIGH = 4             # of high priority

# How the user of a connection hears from the pool and the transport. One table for the whole worker.
ctypedef struct pool_user_ops_t:
    # The answer to pool_take, perhaps later: `up` (POOL_OK), or NULL and a reason.
    void (*on_ready)(pool_wait_t *w, up_t *up, int result, int err) noexcept nogil
    # Bytes, end, failure, room on a connection in use.
    void (*on_bytes)(up_t *up, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    void (*on_eof)(up_t *up) noexcept nogil
    void (*on_error)(up_t *up, int err) noexcept nogil
    void (*on_drained)(up_t *up) noexcept nogil
    void (*on_watch)(up_t *up, int events) noexcept nogil

# Part of who asks; in one waiting line or one connecting up_t at a time.
ctypedef struct pool_wait_t:
    const pool_user_ops_t *ops
    pool_wait_t *next
    pool_wait_t *prev
    cluster_t *cluster        # borrowed from the asker's snapshot
    endpoint_t *endpoint      # likewise
    up_t *up                  # connecting for this asker, or NULL
    pool_t *pool              # while it stands in line, and so does the timer
    timer_t timer
    uint8_t is_queued

ctypedef struct up_t:
    xprt_t x
    pool_t *pool
    endpoint_live_t *live     # one reference
    cluster_row_t *row
    const pool_user_ops_t *ops    # of the user; NULL when idle
    void *user                # stream or relay in possession; NULL when idle or connecting
    pool_wait_t *waiter       # who it is being connected for
    up_t *next                # idle list of its endpoint
    up_t *prev
    up_t *all_next
    up_t *all_prev
    timer_t timer             # connect, then idle
    inbox_t inbox
    body_t body
    uint64_t idle_ns          # how long it may stay idle
    uint64_t since_ns         # idle since
    uint64_t tx_mark          # io.tx_total when this use began
    uint32_t uses             # exchanges begun
    uint32_t max_uses         # 0 = no limit
    uint8_t is_idle
    uint8_t is_reused         # this use is not its first
    uint8_t is_connecting
    uint8_t has_head          # the answer's head has been read
    uint8_t interims          # 1xx answers in this use
    uint8_t closing
    uint32_t max_peers        # connections that its endpoint may have over all workers; 0 = no limit

ctypedef struct pool_t:
    reactor_t *reactor
    stats_t *stats
    slab_t slab               # of up_t
    void *registry            # of snapshot/live: where references to endpoints go back to
    uint64_t rng
    uint32_t n_idle
    up_t *all                 # every connection, for the end
    bint is_draining          # nothing goes back to the idle lists


cdef void pool_init(pool_t *p, reactor_t *r, stats_t *stats, void *registry, uint64_t seed) noexcept nogil
cdef void pool_fini(pool_t *p) noexcept nogil             # after every io is closed
cdef void pool_close_all(pool_t *p) noexcept nogil
# Asks for a connection to w.endpoint. The answer comes by w.ops.on_ready, perhaps before this returns.
cdef void pool_take(pool_t *p, pool_wait_t *w, int flags) noexcept nogil
# Stops waiting. `keep`: a connection that is being made for it is finished for the idle list.
cdef void pool_cancel(pool_t *p, pool_wait_t *w, bint keep) noexcept nogil
# The connection that is being made for `w` is `to`'s from now on: cluster, endpoint and all.
cdef inline void pool_hand_over(pool_wait_t *w, pool_wait_t *to) noexcept nogil:
    to.up = w.up
    to.is_queued = 0
    if w.up is not NULL:
        w.up.waiter = to
        w.up = NULL
# Gives a connection back, its exchange complete and nothing left unread.
cdef void pool_give(up_t *up) noexcept nogil
# Gives up a connection: closes it and lets the next in line have a new one.
cdef void pool_drop(up_t *up) noexcept nogil
cdef void pool_close_idle(pool_t *p, endpoint_live_t *live) noexcept nogil
# Has the peer closed an idle connection, or said something nobody asked for?
cdef bint up_is_stale(up_t *up) noexcept nogil
