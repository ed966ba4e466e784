"""See breaker.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.tally cimport TALLY_CLUSTERS, TALLY_ENDPOINTS, seat_rank, tally_t
from fastmesh._core.lb.endpoint cimport endpoint_use_t

cdef enum:
    SECOND = 1000000000

# In the order of OVER_*.
LIMITS = ("max_requests", "max_pending", "max_cluster_connections", "max_retries", "max_endpoint_requests",
          "pending_timeout", "adaptive", "admission")


cdef uint32_t breaker_part(const cluster_live_t *live, uint32_t limit) noexcept nogil:
    cdef uint32_t rank = 0
    cdef uint32_t n, part
    if live.seats is NULL:
        return limit
    n = seat_rank(live.seats, live.seat, &rank)
    part = limit // n + (1 if rank < limit % n else 0)
    return part if part != 0 else 1


cdef void breaker_note(cluster_live_t *live, int which, uint64_t used, uint32_t limit, uint64_t now_ns) noexcept nogil:
    cdef tally_t *t = live.tally
    cdef uint32_t with_it = <uint32_t>(used + 1) if used < limit else limit
    cdef uint32_t now_s = <uint32_t>(now_ns // SECOND)
    if with_it > t.most[which]:
        t.most[which] = with_it
    if with_it > limit - limit // NEAR or used >= limit:
        if t.near_s[which] != now_s:
            t.near_s[which] = now_s
            live.seats.near[live.seat] += 1


cdef void breaker_join(cluster_t *c, seats_t *seats, int seat, uint64_t version) noexcept nogil:
    cdef cluster_live_t *live = c.live
    cdef endpoint_live_t *e
    cdef uint32_t i
    # The last row stands for all that have none of their own.
    if seats is NULL or seat < 0 or c.id >= TALLY_CLUSTERS - 1:
        return
    live.seats = seats
    live.seat = seat
    live.row = c.id
    live.joined = version
    if live.tally is NULL:
        # What another cluster of this row has left.
        memset(seats.seats[seat].clusters[c.id].most, 0, sizeof(live.tally.most))
        memset(seats.seats[seat].clusters[c.id].near_s, 0, sizeof(live.tally.near_s))
    live.tally = &seats.seats[seat].clusters[c.id]
    live.others_ns = 0
    live.tally.used[USED_REQUESTS] = live.active
    live.tally.used[USED_PENDING] = live.pending
    live.tally.used[USED_CONNECTIONS] = live.connections
    live.tally.used[USED_RETRIES] = live.retrying
    live.tells_endpoints = c.max_endpoint_requests != 0
    if c.max_endpoint_requests == 0:
        return
    for i in range(c.n):
        e = c.endpoints[i].live
        # Those that come into use later find their place then.
        if e.use is not NULL and c.endpoints[i].row < TALLY_ENDPOINTS - 1:
            e.use.tally = &seats.seats[seat].endpoints[c.endpoints[i].row]
            e.use.tally.requests = e.active


cdef void breaker_leave(cluster_t *c, uint64_t version) noexcept nogil:
    cdef cluster_live_t *live = c.live
    cdef endpoint_use_t *use
    cdef uint32_t i
    if live.joined == version:
        return
    if c.max_endpoint_requests != 0:
        for i in range(c.n):
            use = c.endpoints[i].live.use
            if use is not NULL and use.tally is not NULL:
                use.tally.requests = 0
                use.tally = NULL
    if live.tally is not NULL:
        live.tally.used[USED_REQUESTS] = 0
        live.tally.used[USED_PENDING] = 0
        live.tally.used[USED_CONNECTIONS] = 0
        live.tally.used[USED_RETRIES] = 0
        live.tally = NULL
        live.seats = NULL
        live.tells_endpoints = 0


cdef const char *breaker_details(int over) noexcept nogil:
    if over == OVER_REQUESTS:
        return b"overflow{max_requests}"
    if over == OVER_PENDING:
        return b"overflow{max_pending}"
    if over == OVER_CONNECTIONS:
        return b"overflow{max_cluster_connections}"
    if over == OVER_ENDPOINT:
        return b"overflow{max_endpoint_requests}"
    if over == OVER_TIME:
        return b"pending_timeout"
    if over == OVER_ADAPTIVE:
        return b"overflow{adaptive}"
    return b"overflow{admission}"


cdef const char *breaker_why(int over) noexcept nogil:
    if over == OVER_REQUESTS:
        return b"the cluster has as many requests in flight as its max_requests allows"
    if over == OVER_PENDING:
        return b"as many requests wait for a connection as max_pending of the cluster allows"
    if over == OVER_CONNECTIONS:
        return b"the cluster has as many connections as its max_cluster_connections allows"
    if over == OVER_ENDPOINT:
        return b"every endpoint has as many requests in flight as max_endpoint_requests of the cluster allows"
    if over == OVER_TIME:
        return b"no connection to the endpoint came free within pending_timeout"
    if over == OVER_ADAPTIVE:
        return b"the cluster has as many requests in flight as it can answer in good time"
    return b"too many requests of the cluster fail"
