"""See pacing.pxd."""
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_arm, timer_init, timer_t, timer_unlink
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put, block_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_clear, inbox_t
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport S_UP_PAUSED, TAP_RESPONSE_BODY, down_ops_t

cdef enum:
    SECOND = 1000000000
    PIECES = 20               # a second

ctypedef struct pace_t:
    const down_ops_t *ops     # of who gets the answer
    timer_t timer
    uint64_t rate
    uint64_t free_ns          # when the next byte may go
    inbox_t kept
    bint is_full              # the client has not taken what it was given
    bint is_ended


cdef inline pace_t *_of(const stream_t *s) noexcept nogil:
    return <pace_t *>s.pace


cdef void pacing_begin(stream_t *s, uint32_t rate) noexcept nogil:
    cdef pace_t *k = <pace_t *>raw_zeroed(sizeof(pace_t))
    k.ops = s.down_ops
    k.rate = rate
    timer_init(&k.timer, _on_timer, s)
    s.pace = k
    s.down_ops = &PACED


cdef void pacing_drop(stream_t *s) noexcept nogil:
    cdef pace_t *k = _of(s)
    s.pace = NULL
    s.down_ops = k.ops
    if k.timer.next is not NULL:
        timer_unlink(&s.proxy.reactor.wheel, &k.timer)
    inbox_clear(&k.kept)
    raw_give(k)


cdef uint32_t pacing_held(const stream_t *s) noexcept nogil:
    return _of(s).kept.len


cdef bint _give(stream_t *s, pace_t *k, const uint8_t *p, uint32_t n) noexcept nogil:
    """A copy: what is kept moves when more comes to it."""
    cdef block_t *blk = block_new(&s.proxy.reactor.blocks,
                                  BLOCK_SMALL if n <= BLOCK_SMALL else (BLOCK_LARGE if n <= BLOCK_LARGE else n))
    cdef bint is_full
    memcpy(blk.bytes, p, n)
    is_full = k.ops.body(s, blk.bytes, n, blk)
    block_put(blk)
    return is_full


cdef void _go_on(stream_t *s, pace_t *k) noexcept nogil:
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
        # A timer that was late, by what it was late, is made up for; a pause of the upstream's is not.
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
    cdef pace_t *k = _of(s)
    if k.kept.len == 0 and k.is_ended:
        k.ops.end(s, NULL)
        return
    _go_on(s, k)
    if k.kept.len == 0 and not k.is_ended and not k.is_full:
        _read_on(s)


cdef void _read_on(stream_t *s) noexcept nogil:
    if s.taps & TAP_RESPONSE_BODY:
        s.proxy.filters.answer_room(s)
    elif s.bits & S_UP_PAUSED and s.up is not NULL:
        s.bits &= ~<uint32_t>S_UP_PAUSED
        s.up_ops.read(s, True)


cdef bint pacing_on_drained(stream_t *s) noexcept nogil:
    cdef pace_t *k = _of(s)
    k.is_full = False
    if k.kept.len == 0:
        return False
    _go_on(s, k)
    return k.kept.len != 0 or k.is_full or k.is_ended


# --- the table in place of the client's -----------------------------------------------------------------------------

cdef void _interim(stream_t *s, msg_t *m) noexcept nogil:
    _of(s).ops.interim(s, m)


cdef void _head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    _of(s).ops.head(s, m, framing)


cdef void _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    _of(s).ops.local(s, status, content_type, fields, body)


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef pace_t *k = _of(s)
    cdef bint is_first = k.kept.len == 0
    if inbox_add(&k.kept, &s.proxy.reactor.blocks, p, n) != FM_OK:
        # More than is kept: a filter has made it out of little. Rather too fast than lost.
        _flush(s, k)
        return k.ops.body(s, p, n, blk)
    if is_first:
        _go_on(s, k)
    return k.kept.len != 0 or k.is_full


cdef void _flush(stream_t *s, pace_t *k) noexcept nogil:
    if k.kept.len != 0:
        _give(s, k, k.kept.blk.bytes + k.kept.off, k.kept.len)
        inbox_clear(&k.kept)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    cdef pace_t *k = _of(s)
    if trailers is not NULL and trailers.n_fields != 0:
        # They are not kept: what is left goes at once, with them.
        _flush(s, k)
    elif k.kept.len != 0 or k.free_ns > s.proxy.reactor.now_ns:
        k.is_ended = True
        if k.timer.next is NULL or k.timer.deadline_ns == 0:
            timer_arm(&s.proxy.reactor.wheel, &k.timer, k.free_ns)
        return
    k.ops.end(s, trailers)


cdef void _cut(stream_t *s) noexcept nogil:
    _of(s).ops.cut(s)


cdef void _read(stream_t *s) noexcept nogil:
    _of(s).ops.read(s)


cdef void _tunnel(stream_t *s) noexcept nogil:
    _of(s).ops.tunnel(s)


cdef down_ops_t PACED
PACED.name = b"paced"
PACED.interim = _interim
PACED.head = _head
PACED.local = _local
PACED.body = _body
PACED.end = _end
PACED.cut = _cut
PACED.read = _read
PACED.tunnel = _tunnel
