"""See pacing_up.pxd."""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_t, timer_unlink
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_clear, inbox_t
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.proxy.mux cimport (
    S_CHUNK_UP, S_REQUEST_DONE, S_TUNNEL, S_UP_ENDED, S_WANT_BODY, TAP_REQUEST_BODY, up_ops_t)

cdef enum:
    SECOND = 1000000000
    PIECES = 20               # a second

ctypedef struct pace_up_t:
    up_ops_t paced            # the upstream's table, but for what is done here
    const up_ops_t *ops       # the upstream's own
    timer_t timer
    uint64_t rate
    uint64_t free_ns          # when the next byte may go
    inbox_t kept
    bint is_full              # the upstream has not taken what it was given
    bint is_ended


cdef inline pace_up_t *_of(const stream_t *s) noexcept nogil:
    return <pace_up_t *>s.pace_up


cdef void pacing_up_begin(stream_t *s, uint32_t rate) noexcept nogil:
    cdef pace_up_t *k = <pace_up_t *>raw_zeroed(sizeof(pace_up_t))
    k.ops = s.up_ops
    k.paced = s.up_ops[0]
    k.paced.head = _head
    k.paced.body = _body
    k.paced.end = _end
    k.rate = rate
    timer_init(&k.timer, _on_timer, s)
    s.pace_up = k
    s.up_ops = &k.paced


cdef void pacing_up_drop(stream_t *s) noexcept nogil:
    cdef pace_up_t *k = _of(s)
    s.pace_up = NULL
    s.up_ops = k.ops
    if k.timer.next is not NULL:
        timer_unlink(&s.proxy.reactor.wheel, &k.timer)
    inbox_clear(&k.kept)
    raw_give(k)


cdef bint pacing_up_is_behind(const stream_t *s) noexcept nogil:
    return _of(s).kept.len != 0 or (_of(s).is_ended and s.bits & S_CHUNK_UP != 0)


cdef uint32_t pacing_up_held(const stream_t *s) noexcept nogil:
    return _of(s).kept.len


cdef bint _give(stream_t *s, pace_up_t *k, const uint8_t *p, uint32_t n) noexcept nogil:
    """A copy: what is kept moves when more comes to it."""
    cdef block_t *blk = block_new(&s.proxy.reactor.blocks,
                                  BLOCK_SMALL if n <= BLOCK_SMALL else (BLOCK_LARGE if n <= BLOCK_LARGE else n))
    cdef bint is_full
    memcpy(blk.bytes, p, n)
    is_full = k.ops.body(s, blk.bytes, n, blk)
    block_put(blk)
    return is_full


cdef void _go_on(stream_t *s, pace_up_t *k) noexcept nogil:
    """Gives what may go by now, and says when to come back."""
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef uint64_t piece = k.rate // PIECES
    cdef uint32_t n
    if piece == 0:
        piece = 1
    if k.kept.len == 0 or k.is_full:
        return
    if k.free_ns <= now:
        n = k.kept.len if k.kept.len < piece else <uint32_t>piece
        # A timer that was late, by what it was late, is made up for; a pause of the client's is not.
        if k.free_ns + SECOND // PIECES < now:
            k.free_ns = now
        k.free_ns += <uint64_t>n * SECOND // k.rate
        k.is_full = _give(s, k, k.kept.blk.bytes + k.kept.off, n)
        k.kept.off += n
        k.kept.len -= n
        if k.kept.len == 0:
            inbox_clear(&k.kept)
    if k.kept.len != 0 or k.is_ended:
        timer_arm(&s.proxy.reactor.wheel, &k.timer, k.free_ns if k.free_ns > now else now)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    cdef pace_up_t *k = _of(s)
    if s.up is NULL:
        # The attempt has ended, and the next one begins with the head.
        return
    if k.kept.len == 0 and k.is_ended:
        k.is_ended = False
        k.ops.end(s, NULL)
        return
    _go_on(s, k)
    if k.kept.len == 0 and not k.is_ended and not k.is_full:
        _read_on(s)


cdef void _read_on(stream_t *s) noexcept nogil:
    """As when a queue to the upstream has gone."""
    if s.taps & TAP_REQUEST_BODY and not s.bits & (S_UP_ENDED | S_TUNNEL):
        s.proxy.filters.request_room(s)
    elif not s.bits & (S_REQUEST_DONE | S_WANT_BODY | S_TUNNEL):
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)


cdef bint pacing_up_on_drained(stream_t *s) noexcept nogil:
    cdef pace_up_t *k = _of(s)
    k.is_full = False
    if k.kept.len == 0:
        return k.is_ended
    _go_on(s, k)
    return k.kept.len != 0 or k.is_full or k.is_ended


# --- in place of the upstream's own ---------------------------------------------------------------------------------

cdef void _head(stream_t *s) noexcept nogil:
    """A new attempt: what was kept for the one before is given once more."""
    cdef pace_up_t *k = _of(s)
    inbox_clear(&k.kept)
    k.is_full = False
    k.is_ended = False
    k.free_ns = 0
    if k.timer.next is not NULL:
        timer_cancel(&k.timer)
    k.ops.head(s)


cdef void _flush(stream_t *s, pace_up_t *k) noexcept nogil:
    if k.kept.len != 0:
        _give(s, k, k.kept.blk.bytes + k.kept.off, k.kept.len)
        inbox_clear(&k.kept)


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef pace_up_t *k = _of(s)
    cdef bint is_first = k.kept.len == 0
    if inbox_add(&k.kept, &s.proxy.reactor.blocks, p, n) != FM_OK:
        # More than is kept: a filter has made it out of little. Rather too fast than lost.
        _flush(s, k)
        return k.ops.body(s, p, n, blk)
    if is_first:
        _go_on(s, k)
    return k.kept.len != 0 or k.is_full


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef pace_up_t *k = _of(s)
    if trailers is not NULL and trailers.n_fields != 0:
        # They are not kept: what is left goes at once, with them.
        _flush(s, k)
    elif k.kept.len != 0 or k.free_ns > s.proxy.reactor.now_ns:
        k.is_ended = True
        if k.timer.next is NULL or k.timer.deadline_ns == 0:
            timer_arm(&s.proxy.reactor.wheel, &k.timer, k.free_ns)
        return
    k.ops.end(s, trailers)
