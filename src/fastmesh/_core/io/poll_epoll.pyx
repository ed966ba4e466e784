"""The epoll engine: edge triggered, one registration per connection, one send per flush.

The receive block is shared: a message that is passed on at once never leaves the same hot memory. Who wants
to keep received bytes takes a reference, and the engine goes on with another block.
"""
from fastmesh._core.sys.errno_sys cimport EAGAIN, ECONNABORTED, EINPROGRESS, EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.block cimport BLOCK_LARGE, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport G_ACCEPT_FAILED, G_SENDS_SHORT
from fastmesh._core.mem.fault cimport FM_ESYS, FM_OK
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    ENGINE_EPOLL, IO_CLOSING, IO_CONNECTING, IO_END, IO_EOF, IO_FIRST, IO_IN_READY, IO_LISTEN, IO_RX_HUP_SEEN,
    IO_RX_READY, IO_RX_WANT, IO_TX_BROKEN, IO_TX_WAIT, IO_WATCH, READY_HUP, READY_IN, READY_OUT, engine_t,
    io_after_send, io_again, io_failed, io_gone, io_keep, io_look_for_end, io_read_later, io_send_failed, io_sent, io_t,
    io_take_dirty, reactor_t, scratch_reset, slice_t)
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns
from fastmesh._core.sys.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP,
    epoll_create1, epoll_ctl, epoll_event, epoll_wait)
from fastmesh._core.sys.socket cimport (
    MSG_NOSIGNAL, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, accept4, close, connect, getsockopt, iovec,
    msghdr, recv, send, sendmsg, sockaddr, socklen_t)

cdef enum:
    EVENTS = 256
    ACCEPTS = 64              # connections taken before others get their turn
    READS = 8                 # full blocks read from one connection before others get their turn
    IOVS = 64

ctypedef struct epoll_state_t:
    int ep
    block_t *rx               # where the next receive goes
    io_t *ready               # readable, but their turn was over or they were paused
    epoll_event events[EVENTS]


cdef int _open(reactor_t *r) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>raw_zeroed(sizeof(epoll_state_t))
    e.ep = epoll_create1(EPOLL_CLOEXEC)
    if e.ep < 0:
        raw_give(e)
        return -errno
    r.state = e
    return FM_OK


cdef void _close(reactor_t *r) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    if e.rx is not NULL:
        block_put(e.rx)
    close(e.ep)
    raw_give(e)
    r.state = NULL


cdef int _add(reactor_t *r, io_t *io) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    cdef epoll_event ev
    ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
    ev.data.ptr = io
    if epoll_ctl(e.ep, EPOLL_CTL_ADD, io.fd, &ev) != 0:
        return FM_ESYS
    return FM_OK


cdef inline void _later(reactor_t *r, io_t *io) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    io_read_later(io, &e.ready)


cdef void _rx(reactor_t *r, io_t *io) noexcept nogil:
    # An edge that nobody read is not told again: the io goes on the list to be read.
    if io.flags & IO_RX_WANT and io.flags & IO_RX_READY:
        _later(r, io)


cdef void _listen(reactor_t *r, io_t *io, bint on) noexcept nogil:
    if on:
        io.flags |= IO_RX_WANT | IO_RX_READY
        _later(r, io)
    else:
        io.flags &= ~<uint32_t>IO_RX_WANT


cdef void _connect(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept nogil:
    cdef int err = 0
    while connect(io.fd, to, n) != 0:
        err = errno
        if err != EINTR:
            break
    if err != EINPROGRESS:
        # Decided at once (Unix sockets, loopback). The owner hears of it in the next turn, as always.
        io.err = err
        io.flags |= IO_RX_READY
        _later(r, io)


cdef void _watch(reactor_t *r, io_t *io) noexcept nogil:
    # All edges are registered from the start; the first readiness is assumed.
    io_again(io)


cdef void _drop(reactor_t *r, io_t *io) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    cdef epoll_event none
    # close() takes the fd out of the epoll set, but not a socket that other processes hold too: its events would
    # go on arriving for memory that is gone. A stale event of this batch meets IO_CLOSING.
    if io.flags & (IO_LISTEN | IO_WATCH):
        epoll_ctl(e.ep, EPOLL_CTL_DEL, io.fd, &none)
    close(io.fd)
    io.fd = -1
    if not io.flags & IO_IN_READY:
        io_gone(io)


cdef void _send(reactor_t *r, io_t *io) noexcept nogil:
    cdef iovec iov[IOVS]
    cdef msghdr m
    cdef slice_t *s
    cdef uint32_t n, total
    cdef ssize_t rc
    while io.out_head is not NULL:
        s = io.out_head
        if s.next is NULL:
            total = s.len
            rc = send(io.fd, s.ptr, s.len, MSG_NOSIGNAL)
        else:
            n = 0
            total = 0
            while s is not NULL and n < IOVS:
                iov[n].iov_base = <void *>s.ptr
                iov[n].iov_len = s.len
                total += s.len
                n += 1
                s = s.next
            m.msg_name = NULL
            m.msg_namelen = 0
            m.msg_iov = iov
            m.msg_iovlen = n
            m.msg_control = NULL
            m.msg_controllen = 0
            m.msg_flags = 0
            rc = sendmsg(io.fd, &m, MSG_NOSIGNAL)
        if rc < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                break
            if io_send_failed(io, errno):
                _later(r, io)
            return
        io_sent(io, <uint32_t>rc)
        if <uint32_t>rc < total:
            break
    if io.out_head is not NULL:
        r.stats.globals[G_SENDS_SHORT] += 1
        io.flags |= IO_TX_WAIT
        io_keep(io)
    io_after_send(io)


cdef void _flush(reactor_t *r) noexcept nogil:
    cdef io_t *io
    # on_drained may queue more on others: the list grows at its end, until nobody has anything to say.
    while True:
        io = io_take_dirty(r)
        if io is NULL:
            break
        if io.flags & IO_CLOSING:
            continue
        if io.flags & (IO_TX_WAIT | IO_CONNECTING):
            io_keep(io)
            continue
        _send(r, io)
    scratch_reset(&r.scratch[0])


cdef void _read(reactor_t *r, io_t *io) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    cdef ssize_t n
    cdef int turns = 0
    cdef block_t *k
    while (io.flags & (IO_RX_WANT | IO_CLOSING | IO_WATCH)) == IO_RX_WANT:
        if turns == READS:
            io.flags |= IO_RX_READY
            _later(r, io)
            return
        turns += 1
        if e.rx is NULL:
            e.rx = block_new(&r.blocks, BLOCK_LARGE)
        k = e.rx
        n = recv(io.fd, k.bytes, BLOCK_LARGE, 0)
        if n < 0:
            if errno == EINTR:
                continue
            io.flags &= ~<uint32_t>IO_RX_READY
            if errno != EAGAIN:
                io_failed(io, errno)
            elif io.flags & IO_TX_BROKEN:
                io_failed(io, io.err)
            return
        if n == 0 and io.flags & IO_TX_BROKEN:
            io_failed(io, io.err)
            return
        if n == 0:
            io.flags |= IO_EOF
            io.flags &= ~<uint32_t>(IO_RX_READY | IO_RX_WANT)
            io.on.on_eof(io)
            return
        io.on.on_bytes(io, k.bytes, <uint32_t>n, k)
        _flush(r)
        if k.refs > 1:
            # Somebody keeps them: the next bytes go elsewhere.
            block_put(k)
            e.rx = NULL
        if n < BLOCK_LARGE and not io.flags & IO_IN_READY:
            if not io.flags & IO_RX_HUP_SEEN:
                io.flags &= ~<uint32_t>IO_RX_READY
                return


cdef inline void _hangup(reactor_t *r, io_t *io, bint has_gone) noexcept nogil:
    """An end was told of, and the reading that would show it has not begun, or has been paused before it came to it."""
    if io_look_for_end(io, has_gone):
        _flush(r)


cdef void _accept(reactor_t *r, io_t *io) noexcept nogil:
    cdef int _round, fd
    for _round in range(ACCEPTS):
        if not io.flags & IO_RX_WANT or io.flags & IO_CLOSING:
            return
        fd = accept4(io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno == EAGAIN:
                io.flags &= ~<uint32_t>IO_RX_READY
                return
            r.stats.globals[G_ACCEPT_FAILED] += 1
            # Descriptors or memory ran out: trying on would only burn the core. The owner resumes after a while.
            io.flags &= ~<uint32_t>IO_RX_WANT
            io.flags |= IO_RX_READY
            io.on.on_accept(io, -errno)
            return
        io.on.on_accept(io, fd)
        _flush(r)
    _later(r, io)


cdef void _event(reactor_t *r, io_t *io, uint32_t events) noexcept nogil:
    cdef int err = 0
    cdef socklen_t n = sizeof(int)
    cdef int ready = 0
    if io.flags & IO_CLOSING:
        return
    if io.flags & IO_LISTEN:
        io.flags |= IO_RX_READY
        _accept(r, io)
        return
    if io.flags & IO_CONNECTING:
        if not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            return
        if getsockopt(io.fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0:
            err = errno
        io.flags &= ~<uint32_t>IO_CONNECTING
        io.on.on_connect(io, err)
        _flush(r)
        if io.flags & IO_CLOSING:
            return
    if io.flags & IO_WATCH:
        if events & (EPOLLIN | EPOLLRDHUP):
            ready |= READY_IN
        if events & EPOLLOUT:
            ready |= READY_OUT
        if events & (EPOLLERR | EPOLLHUP):
            ready |= READY_HUP | READY_IN | READY_OUT
        if ready & (io.watch_events | READY_HUP):
            io.on.on_ready(io, ready)
            _flush(r)
        return
    if events & EPOLLOUT and io.flags & IO_TX_WAIT:
        io.flags &= ~<uint32_t>IO_TX_WAIT
        _send(r, io)
        _flush(r)
        if io.flags & IO_CLOSING:
            return
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        io.flags |= IO_RX_READY
        if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            # The end of the stream stands behind these bytes and makes no edge of its own: read until it shows.
            io.flags |= IO_RX_HUP_SEEN
        if io.flags & IO_RX_WANT:
            _read(r, io)
            _flush(r)
        if events & (EPOLLERR | EPOLLHUP) or (events & EPOLLRDHUP and io.flags & IO_END):
            _hangup(r, io, (events & EPOLLHUP) != 0)


cdef void _turn(reactor_t *r, uint64_t wait_ns) noexcept nogil:
    cdef epoll_state_t *e = <epoll_state_t *>r.state
    cdef int i, n, ms
    cdef io_t *io
    cdef io_t *again
    _flush(r)
    if e.ready is not NULL or r.gone is not NULL:
        ms = 0
    else:
        ms = <int>((wait_ns + 999999) // 1000000)
    n = epoll_wait(e.ep, e.events, EVENTS, ms)
    r.now_ns = clock_monotonic_ns()
    if n > 1:
        # An idle connection to an endpoint that has ended or said something must be known as such before a request of
        # this batch is sent on it: what it said before cannot be told from an answer afterwards.
        for i in range(n):
            io = <io_t *>e.events[i].data.ptr
            if io.flags & IO_FIRST:
                _event(r, io, e.events[i].events)
                e.events[i].events = 0
    for i in range(n):
        if e.events[i].events != 0:
            _event(r, <io_t *>e.events[i].data.ptr, e.events[i].events)
    # Only those that were waiting before this pass: a busy sender does not starve the rest.
    again = e.ready
    e.ready = NULL
    while again is not NULL:
        io = again
        again = io.ready_next
        io.flags &= ~<uint32_t>IO_IN_READY
        if io.flags & IO_CLOSING:
            io_gone(io)
            continue
        if io.flags & IO_LISTEN:
            _accept(r, io)
        elif io.flags & IO_CONNECTING:
            io.flags &= ~<uint32_t>(IO_CONNECTING | IO_RX_READY)
            io.on.on_connect(io, io.err)
        elif io.flags & IO_RX_WANT:
            _read(r, io)
        _flush(r)
        if io.flags & IO_RX_HUP_SEEN:
            _hangup(r, io, False)


cdef uint64_t _now() noexcept nogil:
    return clock_monotonic_ns()


cdef engine_t EPOLL
EPOLL.name = b"epoll"
EPOLL.kind = ENGINE_EPOLL
EPOLL.open = _open
EPOLL.close = _close
EPOLL.add = _add
EPOLL.rx = _rx
EPOLL.listen = _listen
EPOLL.connect = _connect
EPOLL.watch = _watch
EPOLL.drop = _drop
EPOLL.turn = _turn
EPOLL.now = _now
EPOLL.calls = io_reactor.kernel_calls
io_reactor.engine_epoll = &EPOLL
