"""Limits of a cluster over all workers: how many requests, connections, waiting ones and further attempts there may be.

What others have in use is added up at most once a turn of the loop while there is room, and each time it matters when
there is little: in the last quarter below a limit. Workers that ask in the same instant may each get the last place,
so that a limit can be exceeded by one for each worker but one.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_live_t, cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_live_t
from fastmesh._core.mem.tally cimport (
    TALLY_ENDPOINTS, USED_CONNECTIONS, USED_PENDING, USED_REQUESTS, USED_RETRIES, seats_t, tally_endpoint_others,
    tally_others)

# Which limit a request met; the names are in breaker.pyx, and cluster_row_t.overflowed counts them in this order.
cdef enum:
    OVER_REQUESTS
    OVER_PENDING
    OVER_CONNECTIONS
    OVER_RETRIES
    OVER_ENDPOINT
    OVER_TIME                     # pending_timeout
    OVER_ADAPTIVE
    OVER_ADMISSION
    OVER_COUNT

    NEAR = 5                      # of a limit so little is left: one part in so many


# How much was in use when one more was asked for.
cdef void breaker_note(cluster_live_t *live, int which, uint64_t used, uint32_t limit, uint64_t now_ns) noexcept nogil


cdef inline bint breaker_is_full(cluster_live_t *live, int which, uint32_t own, uint32_t limit,
                                 uint64_t now_ns) noexcept nogil:
    """Of USED_*: `own` is what this worker has. `limit`: not 0."""
    cdef uint64_t used = own
    if live.seats is NULL or limit == <uint32_t>-1:
        return own >= limit
    if own < limit:
        if live.others_ns != now_ns or own + <uint64_t>live.others[which] >= limit - limit // 4:
            tally_others(live.seats, live.seat, live.row, live.others)
            live.others_ns = now_ns
        used += live.others[which]
    if used >= live.tally.most[which] or used >= limit - limit // NEAR:
        breaker_note(live, which, used, limit, now_ns)
    return used >= limit


cdef inline bint breaker_refuses_request(cluster_t *c, bint is_high, uint64_t now_ns) noexcept nogil:
    return breaker_is_full(c.live, USED_REQUESTS, c.live.active, c.max_requests if is_high else c.plain_requests,
                           now_ns)


cdef inline bint breaker_refuses_wait(cluster_t *c, bint is_high, uint64_t now_ns) noexcept nogil:
    return breaker_is_full(c.live, USED_PENDING, c.live.pending, c.max_pending if is_high else c.plain_pending, now_ns)


cdef inline bint breaker_refuses_retry(cluster_t *c, uint64_t now_ns) noexcept nogil:
    return c.max_retries != 0 and breaker_is_full(c.live, USED_RETRIES, c.live.retrying, c.max_retries, now_ns)


cdef inline bint breaker_refuses_connection(cluster_t *c, uint64_t now_ns) noexcept nogil:
    return c.max_cluster_connections != 0 and breaker_is_full(c.live, USED_CONNECTIONS, c.live.connections,
                                                              c.max_cluster_connections, now_ns)


cdef inline bint breaker_refuses_endpoint(const cluster_t *c, const endpoint_live_t *e) noexcept nogil:
    """It has as many requests as `max_endpoint_requests` allows."""
    cdef const cluster_live_t *live = c.live
    if c.max_endpoint_requests == 0:
        return False
    if e.active >= c.max_endpoint_requests:
        return True
    return (live.tells_endpoints and e.row < TALLY_ENDPOINTS - 1 and
            e.active + <uint64_t>tally_endpoint_others(live.seats, live.seat, e.row) >= c.max_endpoint_requests)


# --- what this worker has, told to the others ---

cdef inline void breaker_tell(cluster_live_t *live, int which, uint32_t own) noexcept nogil:
    if live.tally is not NULL:
        live.tally.used[which] = own


cdef inline void breaker_tell_endpoint(endpoint_live_t *e) noexcept nogil:
    """Of one that has been used."""
    if e.use.tally is not NULL:
        e.use.tally.requests = e.active


# This worker's part of what all may have together: at least 1.
cdef uint32_t breaker_part(const cluster_live_t *live, uint32_t limit) noexcept nogil
# The cluster's line in the shared pages, from now on. `seats`: NULL = there are none.
cdef void breaker_join(cluster_t *c, seats_t *seats, int seat, uint64_t version) noexcept nogil
# Unless the snapshot of that version has it, too.
cdef void breaker_leave(cluster_t *c, uint64_t version) noexcept nogil
# For the access log, static, and a sentence for people.
cdef const char *breaker_details(int over) noexcept nogil
cdef const char *breaker_why(int over) noexcept nogil
