"""See reactor.pxd. What both engines share: queues, scratch memory, the ends of connections."""
from libc.stdlib cimport abort
from libc.string cimport memcpy, memset
from fastmesh._core.mem.block cimport (
    BLOCK_LARGE, BLOCK_SMALL, block_get, block_new, block_put, blocks_fini, blocks_init)
from fastmesh._core.mem.counter cimport G_BLOCKS, G_TURNS
from fastmesh._core.mem.fault cimport FM_ESYS, FM_OK
from fastmesh._core.mem.slab cimport slab_fini, slab_give, slab_init, slab_take
from fastmesh._core.io.timer cimport wheel_init, wheel_run, wheel_wait
from fastmesh._core.mem.raw cimport raw_give, raw_take, raw_zeroed
from fastmesh._core.sys.errno_sys cimport ECONNRESET, EPIPE
from fastmesh._core.sys.socket cimport (
    MSG_DONTWAIT, MSG_PEEK, SHUT_WR, SIOCOUTQ, SO_ERROR, SO_LINGER, SOL_SOCKET, accept4, close, getpeername, getsockopt,
    ioctl, recv, send, setsockopt, shutdown, sockaddr, sockaddr_storage, socket, socklen_t)
from fastmesh._core.sys.splice cimport splice

cdef extern from *:
    """
    struct fm_linger { int on; int seconds; };
    """
    struct fm_linger:
        int on
        int seconds

# Set by the engines' modules when they are imported (they stand above this one).
engine_uring = NULL
engine_epoll = NULL


cdef int _accept(int fd, int flags) noexcept nogil:
    return accept4(fd, NULL, NULL, flags)


cdef int _peer(int fd, sockaddr_storage *to, socklen_t *n) noexcept nogil:
    return getpeername(fd, <sockaddr *>to, n)


cdef ssize_t _splice(int fd_in, int fd_out, size_t n, unsigned int flags) noexcept nogil:
    return splice(fd_in, NULL, fd_out, NULL, n, flags)


cdef int _unsent(int fd) noexcept nogil:
    cdef int n = 0
    return n if ioctl(fd, SIOCOUTQ, &n) == 0 else 0


cdef socket_calls_t KERNEL
KERNEL.socket = socket
KERNEL.accept = _accept
KERNEL.peer = _peer
KERNEL.setsockopt = setsockopt
KERNEL.getsockopt = getsockopt
KERNEL.recv = recv
KERNEL.send = send
KERNEL.splice = _splice
KERNEL.unsent = _unsent
KERNEL.shutdown = shutdown
KERNEL.close = close
kernel_calls = &KERNEL


cdef reactor_t *reactor_new(const engine_t *engine, stats_t *stats, int *err) noexcept nogil:
    cdef reactor_t *r = <reactor_t *>raw_zeroed(sizeof(reactor_t))
    cdef int rc
    r.engine = engine
    r.stats = stats
    r.now_ns = engine.now()
    wheel_init(&r.wheel, r.now_ns)
    blocks_init(&r.blocks)
    slab_init(&r.slices, sizeof(slice_t), 128)
    rc = engine.open(r)
    if rc != FM_OK:
        err[0] = -rc
        slab_fini(&r.slices)
        blocks_fini(&r.blocks)
        raw_give(r)
        return NULL
    return r


cdef void _undirty(reactor_t *r) noexcept nogil:
    """Takes what is gone out of the list of queues to flush."""
    cdef io_t *io = r.dirty
    cdef io_t *after
    r.dirty = NULL
    r.dirty_tail = NULL
    while io is not NULL:
        after = io.dirty_next
        io.flags &= ~<uint32_t>IO_DIRTY
        if not io.flags & IO_GONE:
            io_mark_dirty(io)
        io = after


cdef void _reap(reactor_t *r) noexcept nogil:
    cdef io_t *io
    while r.gone is not NULL:
        io = r.gone
        if io.flags & IO_DIRTY:
            # Something was queued on it in the turn in which it went.
            _undirty(r)
        r.gone = io.gone_next
        r.n_open -= 1
        io.on.on_closed(io)


cdef void reactor_free(reactor_t *r) noexcept nogil:
    cdef uint32_t i, k
    if r is NULL:
        return
    _reap(r)
    r.engine.close(r)
    _reap(r)
    for k in range(2):
        for i in range(r.scratch[k].n):
            raw_give(r.scratch[k].chunks[i])
    slab_fini(&r.slices)
    blocks_fini(&r.blocks)
    raw_give(r)


cdef void _run_soon(reactor_t *r) noexcept nogil:
    # What comes meanwhile waits for the next turn: two that wake each other must not keep everybody else waiting.
    cdef soon_t *k = r.soon
    cdef soon_t *after
    r.soon = NULL
    while k is not NULL:
        after = k.next
        k.is_due = 0
        k.run(k)
        k = after


cdef void reactor_turn(reactor_t *r, uint64_t most_ns) noexcept nogil:
    cdef uint64_t wait = 0
    cdef io_t *again
    cdef io_t *io
    if r.gone is NULL and r.again is NULL and r.soon is NULL:
        # The time of the last batch is early by what its work took: a wait longer by that much, no clock read.
        wait = wheel_wait(&r.wheel, r.now_ns, most_ns)
    r.engine.turn(r, wait)
    again = r.again
    r.again = NULL
    while again is not NULL:
        io = again
        again = io.again_next
        io.flags &= ~<uint32_t>IO_AGAIN
        if io.flags & IO_CLOSING:
            io.reactor.engine.drop(r, io)
        else:
            io.on.on_ready(io, READY_IN | READY_OUT)
    wheel_run(&r.wheel, r.now_ns)
    if r.soon is not NULL:
        _run_soon(r)
    _reap(r)
    r.stats.globals[G_TURNS] += 1
    r.stats.globals[G_BLOCKS] = r.blocks.live
    r.stats.header.heartbeat_ns = r.now_ns


# --- life of an io ---------------------------------------------------------------------------

cdef int io_open(reactor_t *r, io_t *io, int fd, const io_ops_t *on) noexcept nogil:
    if <size_t>io & 15:
        abort()         # the io_uring engine puts tags there
    memset(io, 0, sizeof(io_t))
    io.fd = fd
    io.on = on
    io.reactor = r
    io.out_mark = 65536
    if r.engine.add(r, io) != FM_OK:
        r.engine.calls.close(fd)
        io.fd = -1
        return FM_ESYS
    r.n_open += 1
    return FM_OK


cdef void io_connect(io_t *io, const sockaddr *to, socklen_t n) noexcept nogil:
    io.flags |= IO_CONNECTING
    io.reactor.engine.connect(io.reactor, io, to, n)


cdef void io_rx(io_t *io, bint on) noexcept nogil:
    if on:
        if io.flags & (IO_RX_WANT | IO_CLOSING | IO_EOF):
            return
        io.flags |= IO_RX_WANT
    else:
        if not io.flags & IO_RX_WANT:
            return
        io.flags &= ~<uint32_t>IO_RX_WANT
    io.reactor.engine.rx(io.reactor, io)


cdef void io_hangup(io_t *io) noexcept nogil:
    io.flags |= IO_HANGUP
    io.reactor.engine.rx(io.reactor, io)


cdef void io_await_end(io_t *io) noexcept nogil:
    io.flags |= IO_HANGUP | IO_END
    io.reactor.engine.rx(io.reactor, io)


cdef void io_await_begin(io_t *io) noexcept nogil:
    io.flags &= ~<uint32_t>IO_END


cdef bint io_look_for_end(io_t *io, bint has_gone) noexcept nogil:
    cdef const socket_calls_t *calls = io.reactor.engine.calls
    cdef socklen_t n = sizeof(int)
    cdef int err = 0
    cdef uint8_t byte = 0
    if (io.flags & (IO_HANGUP | IO_RX_WANT | IO_CLOSING | IO_WATCH)) != IO_HANGUP:
        return False
    if calls.getsockopt(io.fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0:
        err = 0
    if err == 0 and io.flags & IO_END and (
            has_gone or calls.recv(io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0):
        err = ECONNRESET
    if err != 0:
        io_failed(io, err)
    return err != 0


cdef void io_bulk(io_t *io, bint on) noexcept nogil:
    if on == ((io.flags & IO_BULK) != 0) or io.flags & (IO_CLOSING | IO_EOF):
        return
    io.flags ^= IO_BULK
    io.reactor.engine.rx(io.reactor, io)


cdef void io_listen(io_t *io, bint on) noexcept nogil:
    io.flags |= IO_LISTEN
    io.reactor.engine.listen(io.reactor, io, on)


cdef void io_watch(io_t *io, int events) noexcept nogil:
    io.watch_events = <uint8_t>events
    io.flags |= IO_WATCH
    io.reactor.engine.watch(io.reactor, io)


cdef void io_again(io_t *io) noexcept nogil:
    if not io.flags & (IO_AGAIN | IO_CLOSING):
        io.flags |= IO_AGAIN
        io.again_next = io.reactor.again
        io.reactor.again = io


cdef bint io_rx_idle(io_t *io) noexcept nogil:
    return not io.flags & IO_RX_ARMED


cdef void io_close(io_t *io) noexcept nogil:
    if io.flags & IO_CLOSING:
        return
    io.flags |= IO_CLOSING
    io.flags &= ~<uint32_t>(IO_RX_WANT)
    if not io.flags & IO_FLUSHING:
        io_drop_queue(io)
    if not io.flags & IO_AGAIN:
        io.reactor.engine.drop(io.reactor, io)


cdef void io_reset(io_t *io) noexcept nogil:
    cdef fm_linger now
    if io.flags & IO_CLOSING:
        return
    now.on = 1
    now.seconds = 0
    io.reactor.engine.calls.setsockopt(io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now))
    io_close(io)


cdef void io_close_sent(io_t *io) noexcept nogil:
    if io.flags & IO_CLOSING:
        return
    io.flags |= IO_CLOSE_SENT
    if io.out_head is NULL:
        io_close(io)


cdef void io_shut(io_t *io) noexcept nogil:
    if io.flags & (IO_CLOSING | IO_SHUT_DONE):
        return
    io.flags |= IO_SHUT_WANT
    if io.out_head is NULL:
        io.flags |= IO_SHUT_DONE
        io.reactor.engine.calls.shutdown(io.fd, SHUT_WR)


cdef void io_gone(io_t *io) noexcept nogil:
    if io.flags & IO_GONE:
        return
    io.flags |= IO_GONE
    io_drop_queue(io)
    io.gone_next = io.reactor.gone
    io.reactor.gone = io


# --- sending ---------------------------------------------------------------------------------

cdef uint8_t *scratch_take(reactor_t *r, uint32_t n) noexcept nogil:
    cdef scratch_t *s = &r.scratch[r.cur]
    cdef uint8_t *p
    if n > SCRATCH_CHUNK:
        abort()
    if s.n == 0 or s.used + n > SCRATCH_CHUNK:
        if s.n != 0:
            s.at += 1
        if s.at == s.n:
            # 512 chunks are 48 MiB in one turn: the bound on connections keeps far below it.
            if s.n == 512:
                abort()
            s.chunks[s.n] = <uint8_t *>raw_take(SCRATCH_CHUNK)
            s.n += 1
        s.used = 0
    p = s.chunks[s.at] + s.used
    s.used += n
    return p


cdef void scratch_reset(scratch_t *s) noexcept nogil:
    while s.n > SCRATCH_KEEP:
        s.n -= 1
        raw_give(s.chunks[s.n])
    s.at = 0
    s.used = 0


cdef void io_put_slice(io_t *io, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef slice_t *s
    if io.flags & (IO_CLOSING | IO_FAILED | IO_TX_BROKEN) or n == 0:
        return
    s = <slice_t *>slab_take(&io.reactor.slices)
    s.next = NULL
    s.ptr = p
    s.len = n
    s.blk = block_get(blk) if blk is not NULL else NULL
    if io.out_tail is NULL:
        io.out_head = s
    else:
        io.out_tail.next = s
    io.out_tail = s
    io.out_bytes += n
    io_mark_dirty(io)


cdef uint64_t io_taken(io_t *io) noexcept nogil:
    return io.tx_total - <uint64_t>io.reactor.engine.calls.unsent(io.fd)


cdef void io_sent(io_t *io, uint32_t n) noexcept nogil:
    cdef slice_t *s
    io.out_bytes -= n
    io.tx_total += n
    while n > 0:
        s = io.out_head
        if s.len > n:
            s.ptr += n
            s.len -= n
            return
        n -= s.len
        io.out_head = s.next
        if s.blk is not NULL:
            block_put(s.blk)
        slab_give(&io.reactor.slices, s)
    if io.out_head is NULL:
        io.out_tail = NULL


cdef void io_drop_queue(io_t *io) noexcept nogil:
    cdef slice_t *s
    while io.out_head is not NULL:
        s = io.out_head
        io.out_head = s.next
        if s.blk is not NULL:
            block_put(s.blk)
        slab_give(&io.reactor.slices, s)
    io.out_tail = NULL
    io.out_bytes = 0


cdef void io_keep(io_t *io) noexcept nogil:
    """Makes every slice of the queue outlive the turn, and lets none hold a block much larger than itself."""
    cdef slice_t *s
    cdef slice_t *into = NULL
    cdef slice_t *before = NULL
    cdef block_t *k
    cdef uint32_t take
    s = io.out_head
    while s is not NULL:
        if s.blk is not NULL and (s.len >= s.blk.cap >> 2 or s.blk.refs == 1 and s == into):
            before = s
            s = s.next
            continue
        if into is not NULL and into == before and into.ptr + into.len + s.len <= into.blk.bytes + into.blk.cap:
            # Joins the block that the piece before it was copied into.
            memcpy(<uint8_t *>into.ptr + into.len, s.ptr, s.len)
            into.len += s.len
            before.next = s.next
            if io.out_tail == s:
                io.out_tail = before
            if s.blk is not NULL:
                block_put(s.blk)
            slab_give(&io.reactor.slices, s)
            s = before.next
            continue
        if s.len <= BLOCK_LARGE:
            k = block_new(&io.reactor.blocks, BLOCK_SMALL if s.len <= BLOCK_SMALL else BLOCK_LARGE)
            memcpy(k.bytes, s.ptr, s.len)
            if s.blk is not NULL:
                block_put(s.blk)
            s.ptr = k.bytes
            s.blk = k
            into = s
            before = s
            s = s.next
        else:
            # A piece larger than a block: cut. Both parts lie in the same memory, and each holds it.
            take = s.len - BLOCK_LARGE
            into = <slice_t *>slab_take(&io.reactor.slices)
            into.next = s.next
            into.ptr = s.ptr + BLOCK_LARGE
            into.len = take
            into.blk = block_get(s.blk) if s.blk is not NULL else NULL
            s.next = into
            s.len = BLOCK_LARGE
            if io.out_tail == s:
                io.out_tail = into
            into = NULL


cdef void io_after_send(io_t *io) noexcept nogil:
    if io.flags & IO_CLOSING:
        return
    if io.out_head is NULL:
        if io.flags & IO_CLOSE_SENT:
            io_close(io)
            return
        if (io.flags & (IO_SHUT_WANT | IO_SHUT_DONE)) == IO_SHUT_WANT:
            io.flags |= IO_SHUT_DONE
            io.reactor.engine.calls.shutdown(io.fd, SHUT_WR)
    if io.out_over and io.out_bytes <= io.out_mark >> 1:
        io.out_over = 0
        io.on.on_drained(io)


cdef void io_failed(io_t *io, int err) noexcept nogil:
    if io.flags & (IO_CLOSING | IO_FAILED):
        return
    io.flags |= IO_FAILED
    io_drop_queue(io)
    io.err = err
    if io.flags & IO_CLOSE_SENT:
        io_close(io)
        return
    io.on.on_error(io, err)


cdef bint io_send_failed(io_t *io, int err) noexcept nogil:
    if (err == EPIPE or err == ECONNRESET) and (io.flags & (IO_RX_WANT | IO_CLOSE_SENT)) == IO_RX_WANT:
        # The peer reads no more; what it said before that may be an answer that explains it.
        io.err = err
        io.flags |= IO_TX_BROKEN | IO_RX_READY | IO_RX_HUP_SEEN
        io_drop_queue(io)
        return True
    io_failed(io, err)
    return False
