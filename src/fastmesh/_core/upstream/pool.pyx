"""See pool.pxd."""
from libc.stdint cimport uint32_t
from libc.string cimport memset
from fastmesh._core.http.body cimport body_init
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, IO_EOF, IO_FAILED, IO_FIRST, IO_SHUT_WANT, io_bulk, io_close, io_connect, io_rx, scratch_take)
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_unlink
from fastmesh._core.lb.cluster cimport cluster_live_t, endpoint_connect_failed, endpoint_connect_ok
from fastmesh._core.mem.counter cimport (
    G_CONNECT_FAILED, G_CONNECT_TIMEOUT, G_QUEUED, G_REUSE_STALE, G_UPSTREAM_CONNECTIONS, G_UPSTREAM_IDLE_CLOSED,
    G_UPSTREAM_RETIRED)
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_clear
from fastmesh._core.mem.slab cimport slab_fini, slab_give, slab_init, slab_take
from fastmesh._core.lb.endpoint cimport endpoint_addr, endpoint_use_t
from fastmesh._core.lb.use cimport endpoint_use
from fastmesh._core.net.addr cimport addr_t, addr_to_sockaddr
from fastmesh._core.net.xprt cimport xprt_open_plain, xprt_up_t
from fastmesh._core.resil.breaker cimport (
    USED_CONNECTIONS, USED_PENDING, breaker_part, breaker_refuses_connection, breaker_refuses_wait, breaker_tell)
from fastmesh._core.snapshot.live cimport live_endpoint_put
from fastmesh._core.sys.errno_sys cimport EAGAIN, ETIMEDOUT, errno
from fastmesh._core.sys.socket cimport (
    AF_UNIX, IPPROTO_TCP, MSG_DONTWAIT, MSG_PEEK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, TCP_NODELAY, sockaddr)

cdef enum:
    LOOK_MOST = 64            # connections of which an idle one is looked for


cdef void pool_init(pool_t *p, reactor_t *r, stats_t *stats, void *registry, uint64_t seed) noexcept nogil:
    memset(p, 0, sizeof(pool_t))
    p.reactor = r
    p.stats = stats
    p.registry = registry
    p.rng = seed
    slab_init(&p.slab, sizeof(up_t), 32)


cdef void pool_fini(pool_t *p) noexcept nogil:
    slab_fini(&p.slab)


# --- the idle list and the waiting line of an endpoint ------------------------------------------

cdef void _idle_push(up_t *up) noexcept nogil:
    cdef endpoint_use_t *use = up.live.use
    up.prev = NULL
    up.next = <up_t *>use.idle
    if up.next is not NULL:
        up.next.prev = up
    use.idle = up
    use.n_idle += 1
    up.pool.n_idle += 1
    up.is_idle = 1
    up.x.io.flags |= IO_FIRST


cdef void _idle_remove(up_t *up) noexcept nogil:
    cdef endpoint_use_t *use = up.live.use
    if not up.is_idle:
        return
    if up.prev is not NULL:
        up.prev.next = up.next
    else:
        use.idle = up.next
    if up.next is not NULL:
        up.next.prev = up.prev
    use.n_idle -= 1
    up.pool.n_idle -= 1
    up.is_idle = 0
    up.x.io.flags &= ~<uint32_t>IO_FIRST


cdef void _line_join(pool_t *p, pool_wait_t *w) noexcept nogil:
    # Circular, `queue` is the head: first in, first served.
    cdef endpoint_use_t *use = w.endpoint.live.use
    cdef pool_wait_t *head = <pool_wait_t *>use.queue
    if head is NULL:
        w.next = w
        w.prev = w
        use.queue = w
    else:
        w.next = head
        w.prev = head.prev
        head.prev.next = w
        head.prev = w
    use.waiting += 1
    w.is_queued = 1
    p.stats.globals[G_QUEUED] += 1
    w.pool = p
    timer_init(&w.timer, _on_late, w)
    if w.cluster.pending_timeout_ns != 0:
        timer_arm(&p.reactor.wheel, &w.timer, p.reactor.now_ns + w.cluster.pending_timeout_ns)
    _pending(p, w, 1)


cdef void _line_leave(pool_wait_t *w) noexcept nogil:
    cdef endpoint_use_t *use = w.endpoint.live.use
    if not w.is_queued:
        return
    if w.next == w:
        use.queue = NULL
    else:
        w.prev.next = w.next
        w.next.prev = w.prev
        if use.queue == w:
            use.queue = w.next
    use.waiting -= 1
    w.is_queued = 0
    timer_unlink(&w.pool.reactor.wheel, &w.timer)
    _pending(w.pool, w, -1)


cdef inline void _pending(pool_t *p, pool_wait_t *w, int by) noexcept nogil:
    w.cluster.live.pending += by
    p.stats.clusters[w.cluster.id].pending = w.cluster.live.pending
    breaker_tell(w.cluster.live, USED_PENDING, w.cluster.live.pending)


cdef void _on_late(timer_t *t, void *owner) noexcept nogil:
    cdef pool_wait_t *w = <pool_wait_t *>owner
    _line_leave(w)
    w.ops.on_ready(w, NULL, POOL_LATE, 0)


# --- closing ---------------------------------------------------------------------------------

cdef void _close(up_t *up) noexcept nogil:
    cdef endpoint_live_t *live = up.live
    cdef endpoint_use_t *use = live.use
    cdef cluster_live_t *cl = <cluster_live_t *>live.cluster_live
    cdef pool_t *p = up.pool
    cdef pool_wait_t *w
    cdef uint32_t before
    if up.closing:
        return
    up.closing = 1
    _idle_remove(up)
    up.user = NULL
    up.ops = NULL
    timer_cancel(&up.timer)
    timer_unlink(&p.reactor.wheel, &up.timer)
    use.connections -= 1
    use.row.connections = use.connections
    cl.connections -= 1
    up.row.connections = cl.connections
    breaker_tell(cl, USED_CONNECTIONS, cl.connections)
    p.stats.globals[G_UPSTREAM_CONNECTIONS] -= 1
    inbox_clear(&up.inbox)
    io_close(&up.x.io)
    # Its place is free: the first in line gets a connection of its own. One that cannot have any, for there are no
    # descriptors, has been told so: the place is the next one's.
    before = use.connections
    while use.queue is not NULL and use.connections <= before:
        w = <pool_wait_t *>use.queue
        if use.connections != 0 and _is_full(w.cluster, use):
            # This worker's part has become smaller: one of those that are left is given on.
            break
        _line_leave(w)
        _connect(p, w)


cdef inline bint _is_full(const cluster_t *c, const endpoint_use_t *use) noexcept nogil:
    """Of this worker's part of the connections to an endpoint."""
    return c.max_connections != 0 and use.connections >= breaker_part(c.live, c.max_connections)


cdef void pool_drop(up_t *up) noexcept nogil:
    _close(up)


cdef void pool_close_idle(pool_t *p, endpoint_live_t *live) noexcept nogil:
    if live.use is NULL:
        return
    while live.use.idle is not NULL:
        _close(<up_t *>live.use.idle)


cdef void pool_close_all(pool_t *p) noexcept nogil:
    cdef up_t *up = p.all
    cdef up_t *after
    p.is_draining = True
    while up is not NULL:
        after = up.all_next
        if up.waiter is not NULL:
            up.waiter.up = NULL
            up.waiter = NULL
        _close(up)
        up = after


cdef bint up_is_stale(up_t *up) noexcept nogil:
    cdef char byte = 0
    cdef ssize_t n = up.pool.reactor.engine.calls.recv(up.x.io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)
    return n >= 0 or errno != EAGAIN


# --- what the transport tells -----------------------------------------------------------------

cdef void _on_bytes(xprt_t *x, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef up_t *up = <up_t *>x
    up.row.bytes_received += n
    if up.ops is not NULL:
        up.ops.on_bytes(up, p, n, blk)
    else:
        # Nobody asked: an answer without a request would be taken for the answer to the next one.
        _close(up)


cdef void _on_eof(xprt_t *x) noexcept nogil:
    cdef up_t *up = <up_t *>x
    if up.ops is not NULL:
        up.ops.on_eof(up)
        return
    up.pool.stats.globals[G_UPSTREAM_IDLE_CLOSED] += 1
    _close(up)


cdef void _on_error(xprt_t *x, int err) noexcept nogil:
    cdef up_t *up = <up_t *>x
    if up.ops is not NULL:
        up.ops.on_error(up, err)
    elif up.is_connecting:
        _connected(up, err)
    else:
        up.pool.stats.globals[G_UPSTREAM_IDLE_CLOSED] += 1
        _close(up)


cdef void _on_drained(xprt_t *x) noexcept nogil:
    cdef up_t *up = <up_t *>x
    if up.ops is not NULL:
        up.ops.on_drained(up)


cdef void _on_ready(xprt_t *x, int events) noexcept nogil:
    cdef up_t *up = <up_t *>x
    if up.ops is not NULL:
        up.ops.on_watch(up, events)


cdef void _on_closed(xprt_t *x) noexcept nogil:
    cdef up_t *up = <up_t *>x
    cdef pool_t *p = up.pool
    if up.all_prev is not NULL:
        up.all_prev.all_next = up.all_next
    else:
        p.all = up.all_next
    if up.all_next is not NULL:
        up.all_next.all_prev = up.all_prev
    up.live.use.held -= 1
    live_endpoint_put(p.registry, up.live)
    slab_give(&p.slab, up)


cdef void _on_connect(xprt_t *x, int err) noexcept nogil:
    _connected(<up_t *>x, err)


cdef void _connected(up_t *up, int err) noexcept nogil:
    cdef pool_wait_t *w = up.waiter
    cdef pool_t *p = up.pool
    up.is_connecting = 0
    timer_cancel(&up.timer)
    up.waiter = NULL
    if w is not NULL:
        w.up = NULL
        _pending(p, w, -1)
    if err != 0:
        p.stats.globals[G_CONNECT_TIMEOUT if err == ETIMEDOUT else G_CONNECT_FAILED] += 1
        if err == ETIMEDOUT:
            up.row.connect_timeout += 1
        else:
            up.row.connect_failed += 1
        if w is not NULL:
            endpoint_connect_failed(w.cluster, w.endpoint, p.reactor.now_ns, &p.rng)
        _close(up)
        if w is not NULL:
            w.ops.on_ready(w, NULL, POOL_TIMEOUT if err == ETIMEDOUT else POOL_REFUSED, err)
        return
    up.row.connections_opened += 1
    io_rx(&up.x.io, True)
    if w is NULL:
        pool_give(up)
        return
    endpoint_connect_ok(w.endpoint)
    _begin(up, w)
    w.ops.on_ready(w, up, POOL_OK, 0)


cdef inline void _begin(up_t *up, pool_wait_t *w) noexcept nogil:
    up.uses += 1
    up.is_reused = up.uses > 1
    up.has_head = 0
    up.interims = 0
    up.tx_mark = up.x.io.tx_total
    up.user = w
    up.ops = w.ops
    body_init(&up.body, 0, 0)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef up_t *up = <up_t *>owner
    if up.is_connecting:
        _connected(up, ETIMEDOUT)
    elif up.is_idle:
        up.pool.stats.globals[G_UPSTREAM_IDLE_CLOSED] += 1
        _close(up)


cdef xprt_up_t FROM_XPRT
FROM_XPRT.on_bytes = _on_bytes
FROM_XPRT.on_eof = _on_eof
FROM_XPRT.on_error = _on_error
FROM_XPRT.on_connect = _on_connect
FROM_XPRT.on_drained = _on_drained
FROM_XPRT.on_ready = _on_ready
FROM_XPRT.on_closed = _on_closed


# --- taking and giving -------------------------------------------------------------------------

cdef void _connect(pool_t *p, pool_wait_t *w) noexcept nogil:
    cdef endpoint_live_t *live = w.endpoint.live
    cdef endpoint_use_t *use = live.use
    cdef cluster_live_t *cl = <cluster_live_t *>live.cluster_live
    cdef int flags = SOCK_STREAM | SOCK_CLOEXEC
    cdef int one = 1
    cdef int fd
    cdef addr_t at
    cdef uint8_t *to
    cdef uint32_t n
    cdef up_t *up
    if p.reactor.engine.kind == ENGINE_EPOLL:
        flags |= SOCK_NONBLOCK
    fd = p.reactor.engine.calls.socket(live.family, flags, 0)
    if fd < 0:
        w.ops.on_ready(w, NULL, POOL_FAILED, errno)
        return
    if live.family != AF_UNIX:
        p.reactor.engine.calls.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    up = <up_t *>slab_take(&p.slab)
    memset(up, 0, sizeof(up_t))
    if xprt_open_plain(p.reactor, &up.x, fd, &FROM_XPRT) != FM_OK:
        slab_give(&p.slab, up)
        w.ops.on_ready(w, NULL, POOL_FAILED, errno)
        return
    up.pool = p
    up.live = live
    live.refs += 1
    use.held += 1
    up.row = &p.stats.clusters[w.cluster.id]
    up.idle_ns = w.cluster.idle_timeout_ns
    up.max_uses = w.cluster.max_requests_per_connection
    up.max_peers = w.cluster.max_connections
    up.all_next = p.all
    if p.all is not NULL:
        p.all.all_prev = up
    p.all = up
    use.connections += 1
    use.row.connections = use.connections
    cl.connections += 1
    up.row.connections = cl.connections
    breaker_tell(cl, USED_CONNECTIONS, cl.connections)
    p.stats.globals[G_UPSTREAM_CONNECTIONS] += 1
    up.is_connecting = 1
    up.waiter = w
    w.up = up
    _pending(p, w, 1)
    timer_init(&up.timer, _on_timer, up)
    timer_arm(&p.reactor.wheel, &up.timer, p.reactor.now_ns + w.cluster.connect_timeout_ns)
    # The kernel reads the address when the operation is submitted, at the latest at the end of this turn.
    to = scratch_take(p.reactor, 144)
    to = <uint8_t *>((<size_t>to + 15) & ~<size_t>15)
    endpoint_addr(live, &at)
    n = addr_to_sockaddr(&at, to)
    io_connect(&up.x.io, <const sockaddr *>to, n)


cdef bint _make_room(pool_t *p, const cluster_t *c) noexcept nogil:
    """Closes an idle connection to another endpoint of the cluster. False when none was found."""
    cdef up_t *up = p.all
    cdef int _i
    if p.n_idle == 0:
        return False
    for _i in range(LOOK_MOST):
        if up is NULL:
            break
        if up.is_idle and up.live.cluster_live == <void *>c.live:
            _close(up)
            return True
        up = up.all_next
    return False


cdef void pool_take(pool_t *p, pool_wait_t *w, int flags) noexcept nogil:
    cdef endpoint_use_t *use = endpoint_use(w.endpoint.live)
    cdef cluster_t *c = w.cluster
    cdef up_t *up
    w.up = NULL
    w.is_queued = 0
    while use.idle is not NULL and not flags & TAKE_FRESH:
        up = <up_t *>use.idle
        if flags & TAKE_VERIFY and up_is_stale(up):
            p.stats.globals[G_REUSE_STALE] += 1
            _close(up)
            continue
        _idle_remove(up)
        timer_cancel(&up.timer)
        _begin(up, w)
        up.row.reused += 1
        w.ops.on_ready(w, up, POOL_OK, 0)
        return
    if breaker_refuses_wait(c, flags & TAKE_HIGH, p.reactor.now_ns):
        w.ops.on_ready(w, NULL, POOL_FULL, 0)
        return
    if _is_full(c, use):
        if use.idle is not NULL:
            # A fresh one was asked for: an idle one makes room.
            _close(<up_t *>use.idle)
        else:
            _line_join(p, w)
            return
    elif breaker_refuses_connection(c, p.reactor.now_ns) and not _make_room(p, c):
        if use.connections != 0:
            _line_join(p, w)
        else:
            w.ops.on_ready(w, NULL, POOL_CROWDED, 0)
        return
    _connect(p, w)


cdef void pool_cancel(pool_t *p, pool_wait_t *w, bint keep) noexcept nogil:
    cdef up_t *up = w.up
    if w.is_queued:
        _line_leave(w)
    elif up is not NULL:
        up.waiter = NULL
        w.up = NULL
        _pending(p, w, -1)
        if not keep:
            _close(up)


cdef void pool_give(up_t *up) noexcept nogil:
    cdef pool_t *p = up.pool
    cdef endpoint_live_t *live = up.live
    cdef endpoint_use_t *use = live.use
    cdef pool_wait_t *w
    up.user = NULL
    up.ops = NULL
    if (p.is_draining or up.x.io.flags & (IO_EOF | IO_FAILED | IO_SHUT_WANT) or up.inbox.len != 0 or
            live.refs <= use.held):
        # The last test: no snapshot names this endpoint any more.
        _close(up)
        return
    if up.max_uses != 0 and up.uses >= up.max_uses:
        p.stats.globals[G_UPSTREAM_RETIRED] += 1
        _close(up)
        return
    if up.max_peers != 0 and use.connections > breaker_part(<cluster_live_t *>live.cluster_live, up.max_peers):
        # There are more workers than when it was made.
        p.stats.globals[G_UPSTREAM_RETIRED] += 1
        _close(up)
        return
    io_bulk(&up.x.io, False)
    io_rx(&up.x.io, True)
    w = <pool_wait_t *>use.queue
    if w is not NULL:
        _line_leave(w)
        _begin(up, w)
        up.row.reused += 1
        w.ops.on_ready(w, up, POOL_OK, 0)
        return
    _idle_push(up)
    up.since_ns = p.reactor.now_ns
    if up.idle_ns != 0:
        timer_arm(&p.reactor.wheel, &up.timer, p.reactor.now_ns + up.idle_ns)
