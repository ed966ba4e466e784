"""The io_uring engine: one issuer, deferred task work, multishot receive and accept, one enter per turn.

Sends are submitted with MSG_DONTWAIT | MSG_WAITALL and report only failure. They run inside the very enter that
submits them, so when that enter's events are worked off, a send that said nothing has been copied whole
into the socket: that is when its memory is given back. One send per connection and turn, so that a short one cannot
be overtaken by the next.

Events carry the io's address and a tag in the low bits. An io is given back only when no operation in the
kernel carries it (`inflight`).
"""
from fastmesh._core.sys.errno_sys cimport EAGAIN, ECANCELED, EINTR, ENOBUFS, EPIPE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.counter cimport G_ACCEPT_FAILED, G_BUFFERS_EXHAUSTED, G_SENDS_SHORT
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.io cimport reactor as io_reactor
from fastmesh._core.io.reactor cimport (
    ENGINE_URING, IO_BULK, IO_CLOSE_SENT, IO_CLOSING, IO_CONNECTING, IO_END, IO_EOF, IO_FAILED, IO_FIRM, IO_FLUSHING,
    IO_HANGUP, IO_HANGUP_POLL, IO_LISTEN, IO_POLLING, IO_RX_ARMED, IO_RX_BULK, IO_RX_CANCEL, IO_RX_WANT, IO_SHUT_WANT,
    IO_TX_POLL, IO_TX_WAIT, IO_WATCH, READY_HUP, READY_IN, READY_OUT, engine_t, io_after_send, io_drop_queue,
    io_failed, io_gone, io_keep, io_look_for_end, io_mark_dirty, io_sent, io_t, io_take_dirty, reactor_t, scratch_reset,
    scratch_take, slice_t)
from fastmesh._core.sys.clock_sys cimport clock_monotonic_ns
from fastmesh._core.sys.socket cimport (
    AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SOCK_CLOEXEC,
    SOCK_STREAM, close, iovec, msghdr, sockaddr, socketpair, socklen_t)
from fastmesh._core.sys.uring cimport (
    IORING_ACCEPT_MULTISHOT, IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER, IORING_CQE_F_MORE, IORING_OP_ACCEPT,
    IORING_OP_ASYNC_CANCEL, IORING_OP_CLOSE, IORING_OP_CONNECT, IORING_OP_POLL_ADD, IORING_OP_RECV, IORING_OP_SEND,
    IORING_OP_SENDMSG, IORING_POLL_ADD_MULTI, IORING_RECV_MULTISHOT, IOSQE_BUFFER_SELECT, IOSQE_CQE_SKIP_SUCCESS,
    fm_bufs, fm_bufs_close, fm_bufs_open, fm_bufs_publish, fm_bufs_put, fm_cq_advance, fm_cq_at, fm_cq_overflow,
    fm_cq_ready, fm_ring, fm_ring_close, fm_ring_enter, fm_ring_open, fm_ring_sqe, io_uring_cqe, io_uring_sqe)

cdef enum:
    TAG_RX = 1
    TAG_TX = 2
    TAG_ROOM = 3              # waiting for room in the send buffer
    TAG_CONNECT = 4
    TAG_ACCEPT = 5
    TAG_READY = 6
    TAG_CANCEL = 7            # a cancel of a receive or an accept
    TAG_HANGUP = 8            # a poll for the end of a connection that is not received from
    TAG_MASK = 15             # io_open sees to it that these bits of an address are free
    SQ_ENTRIES = 1024
    CQ_ENTRIES = 4096
    SMALL_BUFS = 1024         # places in the ring of small blocks
    SMALL_START = 64          # filled at first; doubled whenever they run out
    LARGE_BUFS = 16
    LARGE_START = 8
    GROUP_SMALL = 0
    GROUP_LARGE = 1
    IOVS = 64
    TX_SILENT = 0x40000000    # no CQE: all was sent

ctypedef struct uring_state_t:
    fm_ring ring
    fm_bufs small
    fm_bufs large
    block_t *small_at[SMALL_BUFS]
    block_t *large_at[LARGE_BUFS]
    uint32_t n_small
    uint32_t n_large
    bint put_small            # places filled since the last publish
    bint put_large
    io_t *flushed             # ios whose send is in the kernel this turn
    bint settle_soon          # somebody waits for a send of this turn to be done: no waiting for events


cdef void _grow(reactor_t *r, uring_state_t *u, bint large, uint32_t to) noexcept nogil:
    cdef block_t *k
    if large:
        while u.n_large < to and u.n_large < LARGE_BUFS:
            k = block_new(&r.blocks, BLOCK_LARGE)
            k.bid = <uint16_t>u.n_large
            u.large_at[u.n_large] = k
            fm_bufs_put(&u.large, k.bytes, BLOCK_LARGE, k.bid)
            u.n_large += 1
        fm_bufs_publish(&u.large)
        return
    while u.n_small < to and u.n_small < SMALL_BUFS:
        k = block_new(&r.blocks, BLOCK_SMALL)
        k.bid = <uint16_t>u.n_small
        u.small_at[u.n_small] = k
        fm_bufs_put(&u.small, k.bytes, BLOCK_SMALL, k.bid)
        u.n_small += 1
    fm_bufs_publish(&u.small)


cdef int _open(reactor_t *r) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>raw_zeroed(sizeof(uring_state_t))
    cdef int rc
    rc = fm_ring_open(&u.ring, SQ_ENTRIES, CQ_ENTRIES)
    if rc == 0:
        rc = fm_bufs_open(&u.ring, &u.small, SMALL_BUFS, GROUP_SMALL)
        if rc == 0:
            rc = fm_bufs_open(&u.ring, &u.large, LARGE_BUFS, GROUP_LARGE)
        if rc != 0:
            fm_bufs_close(&u.small)
            fm_ring_close(&u.ring)
    if rc != 0:
        raw_give(u)
        return rc
    r.state = u
    _grow(r, u, False, SMALL_START)
    return FM_OK


cdef void _close(reactor_t *r) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>r.state
    cdef uint32_t i
    cdef io_t *io
    # The ring goes first: afterwards nothing writes into the blocks.
    fm_ring_close(&u.ring)
    while u.flushed is not NULL:
        io = u.flushed
        u.flushed = io.flush_next
        io.flags &= ~<uint32_t>IO_FLUSHING
        io_drop_queue(io)
    fm_bufs_close(&u.small)
    fm_bufs_close(&u.large)
    for i in range(u.n_small):
        block_put(u.small_at[i])
    for i in range(u.n_large):
        block_put(u.large_at[i])
    raw_give(u)
    r.state = NULL


cdef io_uring_sqe *_sqe(reactor_t *r) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>r.state
    cdef io_uring_sqe *s = fm_ring_sqe(&u.ring)
    while s is NULL:
        # Full: hand over what is there. With SUBMIT_ALL the kernel takes every entry.
        fm_ring_enter(&u.ring, 0, 0)
        s = fm_ring_sqe(&u.ring)
    return s


cdef inline void _cancel(reactor_t *r, io_t *io, int tag) noexcept nogil:
    cdef io_uring_sqe *s = _sqe(r)
    s.opcode = IORING_OP_ASYNC_CANCEL
    s.fd = -1
    s.addr = <uint64_t><size_t>io | <uint64_t>tag
    # A multishot operation that is just being run again is not found: then it is tried once more.
    s.user_data = <uint64_t><size_t>io | TAG_CANCEL
    io.inflight += 1


cdef int _add(reactor_t *r, io_t *io) noexcept nogil:
    return FM_OK


cdef void _arm_rx(reactor_t *r, io_t *io) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>r.state
    cdef io_uring_sqe *s = _sqe(r)
    s.opcode = IORING_OP_RECV
    s.fd = io.fd
    s.flags = IOSQE_BUFFER_SELECT
    s.user_data = <uint64_t><size_t>io | TAG_RX
    io.flags |= IO_RX_ARMED
    io.inflight += 1
    if io.flags & IO_BULK:
        if u.n_large == 0:
            _grow(r, u, True, LARGE_START)
        io.flags |= IO_RX_BULK
        s.len = BLOCK_LARGE
        s.buf_group = GROUP_LARGE
    else:
        s.ioprio = IORING_RECV_MULTISHOT
        s.buf_group = GROUP_SMALL


cdef void _poll_hangup(reactor_t *r, io_t *io, bint has_ended) noexcept nogil:
    cdef io_uring_sqe *s = _sqe(r)
    s.opcode = IORING_OP_POLL_ADD
    s.fd = io.fd
    # POLLERR and POLLHUP are always told. Once the peer has ended, its end would be told of without end.
    s.poll32_events = POLLRDHUP if io.flags & IO_END and not has_ended else 0
    s.user_data = <uint64_t><size_t>io | TAG_HANGUP
    io.flags |= IO_HANGUP_POLL
    io.inflight += 1


cdef void _rx(reactor_t *r, io_t *io) noexcept nogil:
    cdef bint bulk, armed_bulk
    if (io.flags & (IO_HANGUP | IO_HANGUP_POLL | IO_RX_WANT | IO_CLOSING | IO_FAILED)) == IO_HANGUP:
        # Once for the life of the connection: while it receives, a reset shows there.
        _poll_hangup(r, io, False)
    if io.flags & IO_RX_ARMED:
        if io.flags & IO_RX_CANCEL:
            return      # decided anew when it has ended
        bulk = (io.flags & IO_BULK) != 0
        armed_bulk = (io.flags & IO_RX_BULK) != 0
        if not io.flags & IO_RX_WANT or bulk != armed_bulk:
            io.flags |= IO_RX_CANCEL
            _cancel(r, io, TAG_RX)
        return
    if (io.flags & (IO_RX_WANT | IO_CLOSING | IO_EOF | IO_CONNECTING | IO_FAILED)) == IO_RX_WANT:
        _arm_rx(r, io)


cdef void _arm_accept(reactor_t *r, io_t *io) noexcept nogil:
    cdef io_uring_sqe *s = _sqe(r)
    s.opcode = IORING_OP_ACCEPT
    s.fd = io.fd
    s.ioprio = IORING_ACCEPT_MULTISHOT
    s.accept_flags = SOCK_CLOEXEC
    s.user_data = <uint64_t><size_t>io | TAG_ACCEPT
    io.flags |= IO_RX_ARMED
    io.inflight += 1


cdef void _listen(reactor_t *r, io_t *io, bint on) noexcept nogil:
    if on:
        io.flags |= IO_RX_WANT
        if not io.flags & IO_RX_ARMED:
            _arm_accept(r, io)
    else:
        io.flags &= ~<uint32_t>IO_RX_WANT
        if io.flags & IO_RX_ARMED and not io.flags & IO_RX_CANCEL:
            io.flags |= IO_RX_CANCEL
            _cancel(r, io, TAG_ACCEPT)


cdef void _connect(reactor_t *r, io_t *io, const sockaddr *to, socklen_t n) noexcept nogil:
    cdef io_uring_sqe *s = _sqe(r)
    s.opcode = IORING_OP_CONNECT
    s.fd = io.fd
    s.addr = <uint64_t><size_t>to
    s.off = n
    s.user_data = <uint64_t><size_t>io | TAG_CONNECT
    io.inflight += 1


cdef void _watch(reactor_t *r, io_t *io) noexcept nogil:
    cdef io_uring_sqe *s
    if io.flags & IO_POLLING:
        return
    s = _sqe(r)
    s.opcode = IORING_OP_POLL_ADD
    s.fd = io.fd
    s.len = IORING_POLL_ADD_MULTI
    s.poll32_events = POLLIN | POLLOUT | POLLRDHUP if io.watch_events & READY_OUT else POLLIN | POLLRDHUP
    s.user_data = <uint64_t><size_t>io | TAG_READY
    io.flags |= IO_POLLING
    io.inflight += 1


cdef void _maybe_gone(reactor_t *r, io_t *io) noexcept nogil:
    cdef io_uring_sqe *s
    if io.flags & IO_CLOSING and io.inflight == 0 and not io.flags & IO_FLUSHING:
        if io.fd >= 0:
            # In the batch instead of by a system call of its own; nobody else knows this descriptor.
            s = _sqe(r)
            s.opcode = IORING_OP_CLOSE
            s.fd = io.fd
            s.flags = IOSQE_CQE_SKIP_SUCCESS
            s.user_data = 0
            io.fd = -1
        io_gone(io)


cdef void _drop(reactor_t *r, io_t *io) noexcept nogil:
    if io.flags & IO_RX_ARMED and not io.flags & IO_RX_CANCEL:
        io.flags |= IO_RX_CANCEL
        _cancel(r, io, TAG_ACCEPT if io.flags & IO_LISTEN else TAG_RX)
    if io.flags & IO_TX_POLL:
        _cancel(r, io, TAG_ROOM)
    if io.flags & IO_CONNECTING:
        _cancel(r, io, TAG_CONNECT)
    if io.flags & IO_POLLING:
        _cancel(r, io, TAG_READY)
    if io.flags & IO_HANGUP_POLL:
        _cancel(r, io, TAG_HANGUP)
    _maybe_gone(r, io)


cdef void _wait_room(reactor_t *r, io_t *io) noexcept nogil:
    cdef io_uring_sqe *s
    io.flags |= IO_TX_WAIT
    if io.flags & IO_TX_POLL:
        return
    s = _sqe(r)
    s.opcode = IORING_OP_POLL_ADD
    s.fd = io.fd
    s.poll32_events = POLLOUT
    s.user_data = <uint64_t><size_t>io | TAG_ROOM
    io.flags |= IO_TX_POLL
    io.inflight += 1


cdef inline void _submit_send(reactor_t *r, uring_state_t *u, io_t *io) noexcept nogil:
    cdef io_uring_sqe *q
    cdef slice_t *s = io.out_head
    cdef iovec *iov
    cdef msghdr *m
    cdef uint32_t n = 0
    q = _sqe(r)
    q.fd = io.fd
    q.flags = IOSQE_CQE_SKIP_SUCCESS
    q.msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL
    q.user_data = <uint64_t><size_t>io | TAG_TX
    io.tx_part = 0
    if s.next is NULL:
        q.opcode = IORING_OP_SEND
        q.addr = <uint64_t><size_t>s.ptr
        q.len = s.len
        io.tx_bytes = s.len
    else:
        m = <msghdr *>scratch_take(r, sizeof(msghdr) + IOVS * sizeof(iovec) + 16)
        m = <msghdr *>((<size_t>m + 15) & ~<size_t>15)
        memset(m, 0, sizeof(msghdr))
        iov = <iovec *>(m + 1)
        io.tx_bytes = 0
        while s is not NULL and n < IOVS:
            iov[n].iov_base = <void *>s.ptr
            iov[n].iov_len = s.len
            io.tx_bytes += s.len
            n += 1
            s = s.next
        io.tx_part = s is not NULL
        m.msg_iov = iov
        m.msg_iovlen = n
        q.opcode = IORING_OP_SENDMSG
        q.addr = <uint64_t><size_t>m
        q.len = 1
    io.tx_result = TX_SILENT
    if io.out_over or io.tx_part or io.flags & (IO_CLOSE_SENT | IO_SHUT_WANT):
        u.settle_soon = True
    io.flags |= IO_FLUSHING
    io.flush_next = u.flushed
    u.flushed = io


cdef void _flush(reactor_t *r) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>r.state
    cdef io_t *io
    while True:
        io = io_take_dirty(r)
        if io is NULL:
            break
        if io.flags & (IO_CLOSING | IO_FAILED) or io.out_head is NULL:
            continue
        if io.flags & (IO_TX_WAIT | IO_CONNECTING):
            io_keep(io)
            continue
        _submit_send(r, u, io)


cdef void _settle(reactor_t *r, uring_state_t *u) noexcept nogil:
    """What became of this turn's sends: all their failures have been seen by now."""
    cdef io_t *io = u.flushed
    cdef io_t *after
    u.flushed = NULL
    while io is not NULL:
        after = io.flush_next
        io.flags &= ~<uint32_t>IO_FLUSHING
        if io.flags & IO_CLOSING:
            io_drop_queue(io)
            _maybe_gone(r, io)
        elif io.flags & IO_FAILED:
            pass
        elif io.tx_result == TX_SILENT:
            io_sent(io, io.tx_bytes)
            if io.out_head is not NULL:
                if io.tx_part:
                    io_keep(io)
                io_mark_dirty(io)
            io_after_send(io)
        elif io.flags & IO_FIRM and (io.tx_result >= 0 or io.tx_result == -EAGAIN):
            io_failed(io, EPIPE)
        elif io.tx_result >= 0 or io.tx_result == -EAGAIN:
            r.stats.globals[G_SENDS_SHORT] += 1
            if io.tx_result > 0:
                io_sent(io, <uint32_t>io.tx_result)
            io_keep(io)
            _wait_room(r, io)
            io_after_send(io)
        else:
            io_failed(io, -io.tx_result)
        io.flags &= ~<uint32_t>IO_FIRM
        io = after


cdef inline void _on_rx(reactor_t *r, uring_state_t *u, io_t *io, int32_t res, uint32_t flags) noexcept nogil:
    cdef block_t *k = NULL
    cdef uint16_t bid = 0
    cdef bint large = (io.flags & IO_RX_BULK) != 0
    if not flags & IORING_CQE_F_MORE:
        io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL | IO_RX_BULK)
        io.inflight -= 1
    if flags & IORING_CQE_F_BUFFER:
        bid = <uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT)
        k = u.large_at[bid] if large else u.small_at[bid]
    if res > 0:
        if not io.flags & IO_CLOSING:
            io.on.on_bytes(io, k.bytes, <uint32_t>res, k)
    elif res == 0:
        if not io.flags & (IO_CLOSING | IO_EOF):
            io.flags |= IO_EOF
            io.flags &= ~<uint32_t>IO_RX_WANT
            io.on.on_eof(io)
    elif res == -ENOBUFS:
        r.stats.globals[G_BUFFERS_EXHAUSTED] += 1
        if large:
            _grow(r, u, True, u.n_large * 2)
        else:
            _grow(r, u, False, u.n_small * 2)
    elif res != -ECANCELED and res != -EINTR:
        io_failed(io, -res)
    if k is not NULL:
        if k.refs > 1:
            # Somebody keeps it: another block takes its place in the ring.
            k.bid = 0xFFFF
            block_put(k)
            k = block_new(&r.blocks, BLOCK_LARGE if large else BLOCK_SMALL)
            k.bid = bid
            if large:
                u.large_at[bid] = k
            else:
                u.small_at[bid] = k
        if large:
            fm_bufs_put(&u.large, k.bytes, BLOCK_LARGE, bid)
            u.put_large = True
        else:
            fm_bufs_put(&u.small, k.bytes, BLOCK_SMALL, bid)
            u.put_small = True
    if io.flags & IO_CLOSING:
        _maybe_gone(r, io)
    elif not io.flags & IO_RX_ARMED:
        _rx(r, io)


cdef void _on_accept(reactor_t *r, io_t *io, int32_t res, uint32_t flags) noexcept nogil:
    if not flags & IORING_CQE_F_MORE:
        io.flags &= ~<uint32_t>(IO_RX_ARMED | IO_RX_CANCEL)
        io.inflight -= 1
    if res >= 0:
        if io.flags & IO_CLOSING:
            close(res)
        else:
            io.on.on_accept(io, res)
    elif res != -ECANCELED and res != -EINTR and not io.flags & IO_CLOSING:
        r.stats.globals[G_ACCEPT_FAILED] += 1
        # The owner resumes after a while: trying on would only burn the core.
        io.flags &= ~<uint32_t>IO_RX_WANT
        io.on.on_accept(io, res)
    if io.flags & IO_CLOSING:
        _maybe_gone(r, io)
    elif io.flags & IO_RX_WANT and not io.flags & IO_RX_ARMED:
        _arm_accept(r, io)


cdef void _on_ready(reactor_t *r, io_t *io, int32_t res, uint32_t flags) noexcept nogil:
    cdef int ready = 0
    if not flags & IORING_CQE_F_MORE:
        io.flags &= ~<uint32_t>IO_POLLING
        io.inflight -= 1
    if res > 0 and not io.flags & IO_CLOSING:
        if res & (POLLIN | POLLRDHUP):
            ready |= READY_IN
        if res & POLLOUT:
            ready |= READY_OUT
        if res & (POLLERR | POLLHUP):
            ready |= READY_IN | READY_OUT | READY_HUP
        io.on.on_ready(io, ready)
    if io.flags & IO_CLOSING:
        _maybe_gone(r, io)
    elif io.flags & IO_WATCH and not io.flags & IO_POLLING and res > 0:
        _watch(r, io)


cdef void _on_cancel(reactor_t *r, io_t *io, int32_t res) noexcept nogil:
    io.inflight -= 1
    if res < 0 and (io.flags & (IO_RX_ARMED | IO_RX_CANCEL)) == (IO_RX_ARMED | IO_RX_CANCEL):
        io.flags &= ~<uint32_t>IO_RX_CANCEL
        if io.flags & IO_CLOSING or io.flags & IO_LISTEN:
            if io.flags & IO_CLOSING or not io.flags & IO_RX_WANT:
                io.flags |= IO_RX_CANCEL
                _cancel(r, io, TAG_ACCEPT if io.flags & IO_LISTEN else TAG_RX)
        else:
            _rx(r, io)
    if io.flags & IO_CLOSING:
        _maybe_gone(r, io)


cdef void _on_hangup(reactor_t *r, io_t *io, int32_t res) noexcept nogil:
    io.inflight -= 1
    io.flags &= ~<uint32_t>IO_HANGUP_POLL
    if io.flags & IO_CLOSING:
        _maybe_gone(r, io)
        return
    # Asking takes the error from the socket: only where no receive is to tell of it.
    if res <= 0 or (not io.flags & IO_RX_ARMED and io_look_for_end(io, (res & POLLHUP) != 0)):
        return
    if not res & (POLLERR | POLLHUP) and not io.flags & (IO_CLOSING | IO_FAILED):
        # An end of one side that says nothing, or comes after the owner has begun to receive.
        _poll_hangup(r, io, True)


cdef void _on_rest(reactor_t *r, io_t *io, int tag, int32_t res, uint32_t flags) noexcept nogil:
    if tag == TAG_TX:
        io.tx_result = res
    elif tag == TAG_ROOM:
        io.inflight -= 1
        io.flags &= ~<uint32_t>(IO_TX_POLL | IO_TX_WAIT)
        if io.flags & IO_CLOSING:
            _maybe_gone(r, io)
        elif io.out_head is not NULL:
            io_mark_dirty(io)
    elif tag == TAG_CONNECT:
        io.inflight -= 1
        io.flags &= ~<uint32_t>IO_CONNECTING
        if io.flags & IO_CLOSING:
            _maybe_gone(r, io)
        else:
            io.on.on_connect(io, -res if res < 0 else 0)
            if not io.flags & IO_CLOSING:
                _rx(r, io)
                if io.out_head is not NULL:
                    io_mark_dirty(io)
    elif tag == TAG_ACCEPT:
        _on_accept(r, io, res, flags)
    elif tag == TAG_READY:
        _on_ready(r, io, res, flags)
    elif tag == TAG_CANCEL:
        _on_cancel(r, io, res)
    elif tag == TAG_HANGUP:
        _on_hangup(r, io, res)


cdef void _events(reactor_t *r, uring_state_t *u) noexcept nogil:
    cdef uint32_t i, n
    cdef io_uring_cqe *c
    cdef uint64_t user
    cdef int tag
    n = fm_cq_ready(&u.ring)
    for i in range(n):
        c = fm_cq_at(&u.ring, i)
        user = c.user_data
        if user == 0:
            continue
        tag = <int>(user & TAG_MASK)
        if tag == TAG_RX:
            _on_rx(r, u, <io_t *><size_t>(user & ~<uint64_t>TAG_MASK), c.res, c.flags)
        else:
            _on_rest(r, <io_t *><size_t>(user & ~<uint64_t>TAG_MASK), tag, c.res, c.flags)
    fm_cq_advance(&u.ring, n)


cdef void _turn(reactor_t *r, uint64_t wait_ns) noexcept nogil:
    cdef uring_state_t *u = <uring_state_t *>r.state
    cdef uint32_t before = r.cur
    cdef int rounds = 0
    _flush(r)
    if u.put_small:
        fm_bufs_publish(&u.small)
        u.put_small = False
    if u.put_large:
        fm_bufs_publish(&u.large)
        u.put_large = False
    # A send that is done says nothing: who waits for that would wait for the next event besides.
    fm_ring_enter(&u.ring, 1, 0 if u.settle_soon else wait_ns)
    u.settle_soon = False
    r.now_ns = clock_monotonic_ns()
    r.cur ^= 1
    _events(r, u)
    # Events that did not fit wait in the kernel; a failed send may be among them.
    while fm_cq_overflow(&u.ring) and rounds < 64:
        fm_ring_enter(&u.ring, 0, 0)
        _events(r, u)
        rounds += 1
    _settle(r, u)
    scratch_reset(&r.scratch[before])


cdef int uring_probe(char *why, uint32_t n) noexcept nogil:
    """FM_OK when this kernel does all that the engine relies on, else -errno.

    Asks for the one thing that no feature bit tells: that a send which cannot be done whole says so in the enter
    that submits it, and one that can stays silent.
    """
    cdef fm_ring ring
    cdef fm_bufs bufs
    cdef int pair[2]
    cdef int rc, i
    cdef io_uring_sqe *s
    cdef uint8_t *big
    cdef int seen = 0
    cdef int res = 0
    memset(&bufs, 0, sizeof(bufs))
    rc = fm_ring_open(&ring, 8, 16)
    if rc != 0:
        return rc
    rc = fm_bufs_open(&ring, &bufs, 8, GROUP_SMALL)
    if rc != 0:
        fm_ring_close(&ring)
        return rc
    if socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0:
        rc = -ENOBUFS
    else:
        big = <uint8_t *>raw_zeroed(4 << 20)
        for i in range(2):
            s = fm_ring_sqe(&ring)
            s.opcode = IORING_OP_SEND
            s.fd = pair[i]
            s.addr = <uint64_t><size_t>big
            s.len = 1 if i == 0 else 4 << 20
            s.flags = IOSQE_CQE_SKIP_SUCCESS
            s.msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL
            s.user_data = 1 + i
        # And a receive that several messages answer.
        fm_bufs_put(&bufs, big, 4096, 0)
        fm_bufs_publish(&bufs)
        s = fm_ring_sqe(&ring)
        s.opcode = IORING_OP_RECV
        s.fd = pair[1]
        s.flags = IOSQE_BUFFER_SELECT
        s.ioprio = IORING_RECV_MULTISHOT
        s.buf_group = GROUP_SMALL
        s.user_data = 3
        rc = fm_ring_enter(&ring, 0, 0)
        if rc == 0:
            for i in range(<int>fm_cq_ready(&ring)):
                if fm_cq_at(&ring, i).user_data == 1:
                    seen |= 8
                elif fm_cq_at(&ring, i).user_data == 2:
                    seen |= 1
                    res = fm_cq_at(&ring, i).res
                elif fm_cq_at(&ring, i).user_data == 3 and fm_cq_at(&ring, i).flags & IORING_CQE_F_MORE:
                    seen |= 2
            if seen != 3 or not (0 < res < (4 << 20)):
                rc = -EAGAIN
        close(pair[0])
        close(pair[1])
        raw_give(big)
    fm_ring_close(&ring)
    fm_bufs_close(&bufs)
    return rc


def probe():
    """None when io_uring can be used here, else why not."""
    import os
    cdef int rc = uring_probe(NULL, 0)
    if rc == FM_OK:
        return None
    if rc == -EAGAIN:
        return "this kernel does not report short sends the way the engine needs"
    return os.strerror(-rc)


cdef uint64_t _now() noexcept nogil:
    return clock_monotonic_ns()


cdef engine_t URING
URING.name = b"io_uring"
URING.kind = ENGINE_URING
URING.open = _open
URING.close = _close
URING.add = _add
URING.rx = _rx
URING.listen = _listen
URING.connect = _connect
URING.watch = _watch
URING.drop = _drop
URING.turn = _turn
URING.now = _now
URING.calls = io_reactor.kernel_calls
io_reactor.engine_uring = &URING
