"""See relay.pxd."""

from libc.string cimport memset
from fastmesh._core.io.reactor cimport (
    IO_FLUSHING, READY_HUP, READY_IN, READY_OUT, io_again, io_rx, io_rx_idle, io_watch)
from fastmesh._core.io.timer cimport timer_arm, timer_init, timer_unlink
from fastmesh._core.mem.block cimport BLOCK_LARGE, block_new, block_put
from fastmesh._core.mem.inbox cimport inbox_clear
from fastmesh._core.mem.slab cimport slab_give, slab_take
from fastmesh._core.sys.errno_sys cimport EAGAIN, EINTR, errno
from fastmesh._core.sys.socket cimport (
    F_GETFL, F_SETFL, MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NONBLOCK, SHUT_WR, SO_ERROR, SOL_SOCKET, close, fcntl,
    socklen_t)
from fastmesh._core.sys.splice cimport F_SETPIPE_SZ, SPLICE_F_MOVE, SPLICE_F_NONBLOCK, pipe2

cdef enum:
    COPY_MAX = 16384          # a piece that fills this is bulk
    SMALL_PIECE = 4096
    SMALL_RUN = 8             # so many small pieces in a row, and copying is the cheaper way again
    PIPE_BYTES = 262144       # more fills the cache and wins nothing
    ROUNDS = 16               # pieces moved in one go before others get their turn
    SPARE = 64
    REPORT_NS = 5000000000    # as often as Istio's proxies do

# Spare pipes, this process's own: making one costs three system calls. Always empty while here.
cdef int spare_pipes[SPARE][2]
cdef int n_spare = 0


cdef bint _pipe_take(lane_t *l) noexcept nogil:
    global n_spare
    if l.pipe[0] >= 0:
        return True
    if n_spare > 0:
        n_spare -= 1
        l.pipe[0] = spare_pipes[n_spare][0]
        l.pipe[1] = spare_pipes[n_spare][1]
        return True
    if pipe2(l.pipe, O_NONBLOCK | O_CLOEXEC) != 0:
        l.pipe[0] = -1
        return False
    # Beyond what the system allows an ordinary user this fails and the pipe keeps its 64 KiB.
    fcntl(l.pipe[1], F_SETPIPE_SZ, PIPE_BYTES)
    return True


cdef void _pipe_give(lane_t *l) noexcept nogil:
    global n_spare
    if l.pipe[0] < 0:
        return
    if l.pipe_len == 0 and n_spare < SPARE:
        spare_pipes[n_spare][0] = l.pipe[0]
        spare_pipes[n_spare][1] = l.pipe[1]
        n_spare += 1
    else:
        close(l.pipe[0])
        close(l.pipe[1])
    l.pipe[0] = -1
    l.pipe[1] = -1
    l.pipe_len = 0


cdef void pipes_close() noexcept nogil:
    global n_spare
    while n_spare > 0:
        n_spare -= 1
        close(spare_pipes[n_spare][0])
        close(spare_pipes[n_spare][1])


cdef enum:
    MOVE_WAIT = 0             # until the kernel says so
    MOVE_MORE = 1             # there may be more
    MOVE_END = 2
    MOVE_SOURCE_BROKEN = 3
    MOVE_SINK_BROKEN = 4


cdef int _send_some(lane_t *l, const uint8_t *p, uint32_t n, uint32_t *sent) noexcept nogil:
    cdef ssize_t rc
    sent[0] = 0
    while True:
        rc = l.sink.reactor.engine.calls.send(l.sink.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT)
        if rc >= 0:
            sent[0] = <uint32_t>rc
            l.moved += <uint64_t>rc
            return MOVE_MORE if sent[0] == n else MOVE_WAIT
        if errno == EINTR:
            continue
        return MOVE_WAIT if errno == EAGAIN else MOVE_SINK_BROKEN


cdef int _flush_held(lane_t *l) noexcept nogil:
    """What earlier reads left over. MOVE_MORE when nothing is left."""
    cdef uint32_t sent
    cdef int how
    cdef ssize_t rc
    if l.early is not NULL and l.early.len > 0:
        how = _send_some(l, l.early.blk.bytes + l.early.off, l.early.len, &sent)
        l.early.off += sent
        l.early.len -= sent
        if how != MOVE_MORE:
            return how
        inbox_clear(l.early)
    if l.held_len > 0:
        how = _send_some(l, l.held.bytes + l.held_off, l.held_len, &sent)
        l.held_off += sent
        l.held_len -= sent
        if how != MOVE_MORE:
            return how
    if l.held is not NULL:
        block_put(l.held)
        l.held = NULL
    while l.pipe_len > 0:
        rc = l.sink.reactor.engine.calls.splice(l.pipe[0], l.sink.fd, l.pipe_len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if rc > 0:
            l.pipe_len -= <uint32_t>rc
            l.moved += <uint64_t>rc
        elif rc < 0 and errno == EINTR:
            continue
        elif rc < 0 and errno == EAGAIN:
            return MOVE_WAIT
        else:
            return MOVE_SINK_BROKEN
    return MOVE_MORE


cdef int _copy(relay_t *r, lane_t *l) noexcept nogil:
    cdef block_t *k = block_new(&r.reactor.blocks, BLOCK_LARGE)
    cdef ssize_t n
    cdef uint32_t sent
    cdef int how = MOVE_WAIT
    while True:
        n = r.reactor.engine.calls.recv(l.source.fd, k.bytes, COPY_MAX, MSG_DONTWAIT)
        if n >= 0 or errno != EINTR:
            break
    if n == 0:
        how = MOVE_END
    elif n < 0:
        how = MOVE_WAIT if errno == EAGAIN else MOVE_SOURCE_BROKEN
    else:
        if n == COPY_MAX:
            l.is_splicing = 1
            l.small = 0
        how = _send_some(l, k.bytes, <uint32_t>n, &sent)
        if sent < n and how != MOVE_SINK_BROKEN:
            l.held = k
            l.held_off = sent
            l.held_len = <uint32_t>n - sent
            return how
    block_put(k)
    return how


cdef int _splice(lane_t *l) noexcept nogil:
    cdef ssize_t n
    if not _pipe_take(l):
        l.is_splicing = 0
        return MOVE_MORE
    while True:
        n = l.source.reactor.engine.calls.splice(l.source.fd, l.pipe[1], PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
        if n >= 0 or errno != EINTR:
            break
    if n == 0:
        return MOVE_END
    if n < 0:
        if errno == EAGAIN:
            # Nothing to do for now: the pipe goes back, an idle relay owns none.
            _pipe_give(l)
            return MOVE_WAIT
        return MOVE_SOURCE_BROKEN
    l.pipe_len = <uint32_t>n
    if n < SMALL_PIECE:
        l.small += 1
        if l.small >= SMALL_RUN:
            l.is_splicing = 0
    else:
        l.small = 0
    return _flush_held(l)


cdef int _pump(relay_t *r, lane_t *l, bint *again) noexcept nogil:
    cdef int _round, how
    if l.shut:
        return MOVE_WAIT
    for _round in range(ROUNDS):
        how = _flush_held(l)
        if how != MOVE_MORE:
            return how
        if l.eof:
            l.shut = 1
            _pipe_give(l)
            r.reactor.engine.calls.shutdown(l.sink.fd, SHUT_WR)
            return MOVE_END
        how = _splice(l) if l.is_splicing else _copy(r, l)
        if how == MOVE_END:
            l.eof = 1
            if r.ended_first == 0:
                r.ended_first = 1 if l is &r.lanes[0] else 2
            continue
        if how != MOVE_MORE:
            return how
    again[0] = True
    return MOVE_MORE


cdef bint _may_start(relay_t *r) noexcept nogil:
    cdef int i
    cdef io_t *io
    for i in range(2):
        io = r.lanes[i].source
        if io.out_head is not NULL or io.flags & IO_FLUSHING or not io_rx_idle(io):
            return False
    return True


cdef void _end(relay_t *r, int how) noexcept nogil:
    r.on_end(r.owner, r, how)


cdef void _hear(relay_t *r) noexcept nogil:
    cdef void (*tell)(void *, relay_t *) noexcept nogil
    tell = r.on_heard
    r.on_heard = NULL
    tell(r.owner, r)


cdef void relay_on_error_up(relay_t *r) noexcept nogil:
    _end(r, RELAY_BROKEN_UP)


cdef inline bint _is_broken(io_t *io) noexcept nogil:
    cdef int err = 0
    cdef socklen_t n = sizeof(int)
    return io.reactor.engine.calls.getsockopt(io.fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0 or err != 0


cdef void relay_on_ready(relay_t *r, io_t *ready, int events) noexcept nogil:
    cdef int i, how
    cdef bint again = False
    cdef io_t *io
    if not r.started:
        if not _may_start(r):
            # The first bytes of a queue, or the end of a receive that was called off: a turn or two. A client that does
            # not read its 101 is looked after by the timer.
            r.starts += 1
            if r.starts < 16:
                io_again(r.lanes[0].source)
            else:
                timer_arm(&r.reactor.wheel, &r.timer, r.reactor.now_ns + 10000000)
            return
        r.started = 1
        r.moved_seen = 0
        for i in range(2):
            io = r.lanes[i].source
            fcntl(io.fd, F_SETFL, fcntl(io.fd, F_GETFL) | O_NONBLOCK)
            io_watch(io, READY_IN | READY_OUT)
        if r.idle_ns != 0:
            timer_arm(&r.reactor.wheel, &r.timer, r.reactor.now_ns + r.idle_ns)
        if r.on_heard is not NULL:
            timer_arm(&r.reactor.wheel, &r.report, r.reactor.now_ns + REPORT_NS)
    for i in range(2):
        how = _pump(r, &r.lanes[i], &again)
        if how == MOVE_SOURCE_BROKEN or how == MOVE_SINK_BROKEN:
            if (i == 0) == (how == MOVE_SOURCE_BROKEN):
                _end(r, RELAY_BROKEN)
            else:
                _end(r, RELAY_BROKEN_UP)
            return
    if r.on_heard is not NULL and (r.lanes[1].eof or relay_has_heard(r)):
        _hear(r)
    if r.lanes[0].shut and r.lanes[1].shut:
        _end(r, RELAY_DONE)
        return
    if events & READY_HUP and _is_broken(ready):
        # Seen by no lane: one waits for room, the other has ended.
        _end(r, RELAY_BROKEN if ready == r.lanes[0].source else RELAY_BROKEN_UP)
        return
    if again:
        io_again(r.lanes[0].source)
    if r.report.next is NULL and (r.lanes[0].moved != r.lanes[0].reported or r.lanes[1].moved != r.lanes[1].reported):
        timer_arm(&r.reactor.wheel, &r.report, r.reactor.now_ns + REPORT_NS)


cdef void _on_report(timer_t *t, void *owner) noexcept nogil:
    cdef relay_t *r = <relay_t *>owner
    if r.on_heard is not NULL:
        _hear(r)
    r.on_report(r.owner, r)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef relay_t *r = <relay_t *>owner
    cdef uint64_t moved = r.lanes[0].moved + r.lanes[1].moved
    if not r.started:
        relay_on_ready(r, r.lanes[0].source, 0)
        return
    if moved != r.moved_seen:
        r.moved_seen = moved
        timer_arm(&r.reactor.wheel, t, r.reactor.now_ns + r.idle_ns)
        return
    _end(r, RELAY_IDLE)


cdef relay_t *relay_new(reactor_t *reactor, slab_t *slab, io_t *first, inbox_t *first_early, io_t *second,
                        inbox_t *second_early, uint64_t idle_ns, void *owner,
                        void (*on_report)(void *, relay_t *) noexcept nogil,
                        void (*on_end)(void *, relay_t *, int) noexcept nogil) noexcept nogil:
    cdef relay_t *r = <relay_t *>slab_take(slab)
    cdef int i
    memset(r, 0, sizeof(relay_t))
    r.reactor = reactor
    r.slab = slab
    r.idle_ns = idle_ns
    r.owner = owner
    r.on_report = on_report
    r.on_end = on_end
    for i in range(2):
        r.lanes[i].pipe[0] = -1
        r.lanes[i].pipe[1] = -1
    r.lanes[0].source = first
    r.lanes[0].sink = second
    r.lanes[0].early = first_early
    r.lanes[1].source = second
    r.lanes[1].sink = first
    r.lanes[1].early = second_early
    timer_init(&r.timer, _on_timer, r)
    timer_init(&r.report, _on_report, r)
    io_rx(first, False)
    io_rx(second, False)
    io_again(first)
    return r


cdef void relay_free(relay_t *r) noexcept nogil:
    cdef int i
    timer_unlink(&r.reactor.wheel, &r.timer)
    timer_unlink(&r.reactor.wheel, &r.report)
    for i in range(2):
        if r.lanes[i].held is not NULL:
            block_put(r.lanes[i].held)
        _pipe_give(&r.lanes[i])
    slab_give(r.slab, r)
