"""See listener.pxd."""
from libc.stdint cimport uint8_t
from libc.string cimport memset
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, IO_RX_ARMED, io_again, io_await_begin, io_close, io_listen, io_open, io_ops_t, io_t)
from fastmesh._core.io.timer cimport timer_arm, timer_init, timer_t, timer_unlink
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.counter cimport G_ACCEPTED, G_ACCEPT_FAILED, G_DOWNSTREAM_CONNECTIONS, G_SHED_CONNECTIONS
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.slab cimport slab_give, slab_take
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.net.addr cimport addr_from_sockaddr, addr_in_cidr, addr_print_ip
from fastmesh._core.net.xprt cimport xprt_open_plain
from fastmesh._core.proxy.down cimport down_evict
from fastmesh._core.proxy.mux cimport FILTER_GO, down_t
from fastmesh._core.proxy.mux_h1_down cimport mux_h1_down_events, mux_h1_down_start
from fastmesh._core.proxy.mux_tcp cimport mux_tcp_events, mux_tcp_start
from fastmesh._core.snapshot.snapshot cimport PROTOCOL_TCP, listener_t, snapshot_get, snapshot_put
from fastmesh._core.sys.errno_sys cimport EINTR, ECONNABORTED, errno
from fastmesh._core.sys.socket cimport (
    AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, O_CLOEXEC, O_RDONLY, SOCK_CLOEXEC, SOCK_NONBLOCK, TCP_NODELAY, close,
    open, sockaddr_storage, socklen_t)

cdef enum:
    PAUSE_NS = 20000000       # after the descriptors ran out
    EVICT_BATCH = 16          # idle connections closed at a time when they have run out
    SHED_BATCH = 64           # connections turned away at a time while they are out

# Kept open for the day when there are no descriptors: it is closed to accept, and so to turn away, the waiting.
cdef int spare = -1


cdef door_t *door_new(proxy_t *p, uint32_t id, int fd) noexcept nogil:
    global spare
    cdef door_t *k = <door_t *>raw_zeroed(sizeof(door_t))
    if spare < 0:
        spare = open(b"/dev/null", O_RDONLY | O_CLOEXEC)
    if io_open(p.reactor, &k.io, fd, &EVENTS) != FM_OK:
        raw_give(k)
        return NULL
    k.proxy = p
    k.id = id
    k.row = &p.stats.listeners[id if id < 1024 else 1023]
    k.row.active = 0
    timer_init(&k.resume, _on_resume, k)
    k.next = p.doors
    p.doors = k
    return k


cdef door_t *door_find(proxy_t *p, uint32_t id) noexcept nogil:
    cdef door_t *k = p.doors
    while k is not NULL and (k.id != id or k.is_leaving):
        k = k.next
    return k


cdef void door_open(door_t *k) noexcept nogil:
    if not k.is_on and not k.is_leaving:
        k.is_on = 1
        io_listen(&k.io, True)


cdef void door_leave(door_t *k) noexcept nogil:
    if k.is_leaving:
        return
    k.is_leaving = 1
    k.is_on = 0
    timer_unlink(&k.proxy.reactor.wheel, &k.resume)
    io_listen(&k.io, False)
    io_again(&k.io)


cdef void _on_ready(io_t *io, int events) noexcept nogil:
    """Leaving: when the kernel accepts no more by itself, the rest of the backlog is taken by hand."""
    cdef door_t *k = <door_t *>io
    cdef int _round, fd
    if not k.is_leaving:
        return
    if io.flags & IO_RX_ARMED:
        io_again(io)
        return
    for _round in range(4096):
        fd = k.proxy.reactor.engine.calls.accept(io.fd, _accept_flags(k))
        if fd >= 0:
            _on_accept(io, fd)
        elif errno != EINTR and errno != ECONNABORTED:
            break
    io_close(io)


cdef inline int _accept_flags(door_t *k) noexcept nogil:
    # The listening socket is non-blocking; io_uring wants its connections blocking, and waits itself.
    return SOCK_CLOEXEC | SOCK_NONBLOCK if k.proxy.reactor.engine.kind == ENGINE_EPOLL else SOCK_CLOEXEC


cdef void _on_resume(timer_t *t, void *owner) noexcept nogil:
    global spare
    cdef door_t *k = <door_t *>owner
    cdef int _round, fd
    cdef int found = open(b"/dev/null", O_RDONLY | O_CLOEXEC)
    if not k.is_on:
        if found >= 0:
            close(found)
        return
    if found >= 0:
        # There are descriptors again: whoever waits is served.
        if spare < 0:
            spare = found
        else:
            close(found)
    elif spare >= 0:
        # Whoever waits is told at once instead of being left hanging.
        close(spare)
        for _round in range(SHED_BATCH):
            fd = k.proxy.reactor.engine.calls.accept(k.io.fd, SOCK_CLOEXEC)
            if fd < 0:
                break
            k.proxy.stats.globals[G_SHED_CONNECTIONS] += 1
            k.row.shed += 1
            k.proxy.reactor.engine.calls.close(fd)
        spare = open(b"/dev/null", O_RDONLY | O_CLOEXEC)
    io_listen(&k.io, True)


cdef bint _trusts(const listener_t *l, down_t *d) noexcept nogil:
    cdef uint32_t i
    for i in range(l.n_trusted):
        if addr_in_cidr(&d.addr, l.trusted[i].family, l.trusted[i].bits, l.trusted[i].ip):
            return True
    return False


cdef void _on_accept(io_t *io, int fd) noexcept nogil:
    cdef door_t *k = <door_t *>io
    cdef proxy_t *p = k.proxy
    cdef const listener_t *l = k.listener
    cdef sockaddr_storage peer
    cdef socklen_t n = sizeof(peer)
    cdef int one = 1
    cdef int evicted = 0
    cdef down_t *d
    if fd < 0:
        # Room for those who wait, by the time that accepting begins again.
        while evicted < EVICT_BATCH and down_evict(p, NULL):
            evicted += 1
        timer_arm(&p.reactor.wheel, &k.resume, p.reactor.now_ns + PAUSE_NS)
        return
    p.stats.globals[G_ACCEPTED] += 1
    k.row.accepted += 1
    if (l is NULL or (p.max_downs != 0 and p.n_downs >= p.max_downs and not down_evict(p, NULL)) or
            (l.max_connections != 0 and k.active >= l.max_connections and not down_evict(p, k))):
        p.stats.globals[G_SHED_CONNECTIONS] += 1
        k.row.shed += 1
        p.reactor.engine.calls.close(fd)
        return
    d = <down_t *>slab_take(&p.downs_slab)
    memset(d, 0, sizeof(down_t))
    if xprt_open_plain(p.reactor, &d.x, fd,
                       mux_tcp_events() if l.protocol == PROTOCOL_TCP else mux_h1_down_events()) != FM_OK:
        slab_give(&p.downs_slab, d)
        p.stats.globals[G_ACCEPT_FAILED] += 1
        return
    if p.reactor.engine.calls.peer(fd, &peer, &n) != 0 or addr_from_sockaddr(&d.addr, &peer, n) != FM_OK:
        d.addr.family = 0
    if d.addr.family != AF_UNIX:
        p.reactor.engine.calls.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    d.proxy = p
    d.door = k
    d.listener = l
    d.snap = snapshot_get(k.snap if k.snap is not NULL else p.snap)
    d.row = k.row
    p.next_id += 1
    d.id = p.next_id
    d.peer_len = <uint8_t>addr_print_ip(&d.addr, d.peer)
    d.is_trusted = _trusts(l, d)
    d.is_local_peer = (d.addr.family == AF_UNIX or (d.addr.family == AF_INET and d.addr.ip[0] == 127) or
                       (d.addr.family == AF_INET6 and _is_loopback6(d.addr.ip)))
    d.next = p.downs
    if p.downs is not NULL:
        p.downs.prev = d
    p.downs = d
    p.n_downs += 1
    k.active += 1
    k.row.active += 1
    p.stats.globals[G_DOWNSTREAM_CONNECTIONS] = p.n_downs
    timer_init(&d.timer, _on_unstarted, d)
    if l.chain >= 0 and p.filters is not NULL and p.filters.accept(d) != FILTER_GO:
        return
    door_admit(d)


cdef void _on_unstarted(timer_t *t, void *owner) noexcept nogil:
    pass


cdef void door_admit(down_t *d) noexcept nogil:
    io_await_begin(&d.x.io)
    if d.listener.protocol == PROTOCOL_TCP:
        mux_tcp_start(d)
    else:
        mux_h1_down_start(d)


cdef bint _is_loopback6(const uint8_t *ip) noexcept nogil:
    cdef int i
    for i in range(15):
        if ip[i] != 0:
            return False
    return ip[15] == 1


cdef void _on_closed(io_t *io) noexcept nogil:
    cdef door_t *k = <door_t *>io
    cdef proxy_t *p = k.proxy
    cdef door_t **at = &p.doors
    cdef down_t *d = p.downs
    while d is not NULL:
        # Its connections live on with the snapshot they have.
        if d.door is k:
            d.door = NULL
        d = d.next
    while at[0] is not k:
        at = &at[0].next
    at[0] = k.next
    if k.snap is not NULL:
        snapshot_put(k.snap)
    raw_give(k)


cdef void _on_bytes(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    pass


cdef void _on_nothing(io_t *io) noexcept nogil:
    pass


cdef void _on_number(io_t *io, int number) noexcept nogil:
    pass


cdef io_ops_t EVENTS
EVENTS.on_bytes = _on_bytes
EVENTS.on_eof = _on_nothing
EVENTS.on_error = _on_number
EVENTS.on_connect = _on_number
EVENTS.on_drained = _on_nothing
EVENTS.on_accept = _on_accept
EVENTS.on_ready = _on_ready
EVENTS.on_closed = _on_closed
