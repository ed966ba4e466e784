"""See down.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.io.reactor cimport io_close, io_close_sent, io_reset, io_taken
from fastmesh._core.io.timer cimport timer_arm, timer_unlink
from fastmesh._core.mem.counter cimport G_DOWNSTREAM_CONNECTIONS, G_IDLE_EVICTED
from fastmesh._core.mem.inbox cimport inbox_clear
from fastmesh._core.mem.slab cimport slab_give
from fastmesh._core.proxy.mux cimport DOWN_CLOSING, DOWN_IDLE
from fastmesh._core.snapshot.snapshot cimport snapshot_get, snapshot_put

cdef enum:
    LOOK_LEAST_NS = 10000000
    EVICT_LOOK = 64           # connections looked at for one newcomer: a flood must not become a search
    EVICT_LEAST_NS = 1000000000   # a request may be on its way to who has just been answered, or has just come


cdef inline void _leave(down_t *d) noexcept nogil:
    """Whoever waits in on_connection hears of it at once: when the worker ends, the closed callback comes too late."""
    if d.run is not NULL:
        d.proxy.filters.left(d)


cdef void _let_go(down_t *d) noexcept nogil:
    d.gone = 1
    _leave(d)
    timer_unlink(&d.proxy.reactor.wheel, &d.timer)
    inbox_clear(&d.inbox)


cdef void down_close(down_t *d) noexcept nogil:
    if not d.gone:
        _let_go(d)
        io_close(&d.x.io)


cdef void down_reset(down_t *d) noexcept nogil:
    if not d.gone:
        _let_go(d)
        io_reset(&d.x.io)


cdef void down_close_sent(down_t *d) noexcept nogil:
    d.phase = DOWN_CLOSING
    if d.x.io.out_head is NULL:
        down_close(d)
        return
    down_wait(d)
    io_close_sent(&d.x.io)


cdef inline void _look_again(down_t *d) noexcept nogil:
    cdef uint64_t linger = d.listener.linger_ns
    timer_arm(&d.proxy.reactor.wheel, &d.timer,
              d.proxy.reactor.now_ns + (linger if linger > LOOK_LEAST_NS else LOOK_LEAST_NS))


cdef void down_wait(down_t *d) noexcept nogil:
    d.tx_seen = d.x.io.tx_total
    d.idle_since_ns = d.proxy.reactor.now_ns
    _look_again(d)


cdef bint down_is_moving(down_t *d) noexcept nogil:
    cdef uint64_t now = d.proxy.reactor.now_ns
    cdef uint64_t taken = io_taken(&d.x.io)
    if taken != d.tx_seen:
        d.tx_seen = taken
        d.idle_since_ns = now
    elif d.x.io.out_head is NULL or 0 < d.listener.body_timeout_ns <= now - d.idle_since_ns:
        return False
    _look_again(d)
    return True


cdef bint down_evict(proxy_t *p, const door_t *door) noexcept nogil:
    # A list in the order of idleness would be touched twice for every request. Looking on from where the last
    # search ended comes to everybody in turn.
    cdef down_t *d = p.evict_next
    cdef down_t *found = NULL
    cdef uint32_t n = p.n_downs
    cdef uint32_t _i
    if n > EVICT_LOOK:
        n = EVICT_LOOK
    for _i in range(n):
        if d is NULL:
            d = p.downs
        if (d.phase == DOWN_IDLE and not d.gone and d.inbox.len == 0 and d.x.io.out_head is NULL and
                (door is NULL or d.door is door) and (found is NULL or d.idle_since_ns < found.idle_since_ns)):
            found = d
        d = d.next
    p.evict_next = d
    if found is NULL or p.reactor.now_ns - found.idle_since_ns < EVICT_LEAST_NS:
        return False
    p.stats.globals[G_IDLE_EVICTED] += 1
    down_close(found)
    return True


cdef void down_refresh(down_t *d) noexcept nogil:
    cdef proxy_t *p = d.proxy
    # A door that is leaving has the listener of an old snapshot, which lives only as long as the door does.
    if d.snap is p.snap or d.door is NULL or d.door.listener is NULL or d.door.is_leaving:
        return
    snapshot_put(d.snap)
    d.snap = snapshot_get(p.snap)
    d.listener = d.door.listener


cdef void down_on_closed(xprt_t *x) noexcept nogil:
    cdef down_t *d = <down_t *>x
    cdef proxy_t *p = d.proxy
    timer_unlink(&p.reactor.wheel, &d.timer)
    inbox_clear(&d.inbox)
    _leave(d)
    if p.evict_next is d:
        p.evict_next = d.next
    if d.prev is not NULL:
        d.prev.next = d.next
    else:
        p.downs = d.next
    if d.next is not NULL:
        d.next.prev = d.prev
    p.n_downs -= 1
    d.row.active -= 1
    if d.door is not NULL:
        d.door.active -= 1
    p.stats.globals[G_DOWNSTREAM_CONNECTIONS] = p.n_downs
    snapshot_put(d.snap)
    slab_give(&p.downs_slab, d)
