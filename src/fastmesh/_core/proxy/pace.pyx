"""See pace.pxd."""
from libc.string cimport memcpy
from fastmesh._core.io.timer cimport timer_arm, timer_cancel, timer_init, timer_unlink
from fastmesh._core.mem.block cimport BLOCK_LARGE, BLOCK_SMALL, block_new, block_put
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_clear

cdef enum:
    SECOND = 1000000000
    PIECES = 20               # a second


cdef void pace_begin(pace_t *k, stream_t *s, uint32_t rate,
                     void (*fire)(timer_t *, void *) noexcept nogil) noexcept nogil:
    k.s = s
    k.rate = rate
    timer_init(&k.timer, fire, s)


cdef void pace_drop(pace_t *k) noexcept nogil:
    if k.timer.next is not NULL:
        timer_unlink(&k.s.proxy.reactor.wheel, &k.timer)
    inbox_clear(&k.kept)


cdef void pace_clear(pace_t *k) noexcept nogil:
    inbox_clear(&k.kept)
    k.is_full = False
    k.is_ended = False
    k.free_ns = 0
    if k.timer.next is not NULL:
        timer_cancel(&k.timer)


cdef bint _give(pace_t *k, uint32_t n) noexcept nogil:
    """A copy: what is kept moves when more comes to it."""
    cdef block_t *blk = block_new(&k.s.proxy.reactor.blocks,
                                  BLOCK_SMALL if n <= BLOCK_SMALL else (BLOCK_LARGE if n <= BLOCK_LARGE else n))
    cdef bint is_full
    memcpy(blk.bytes, k.kept.blk.bytes + k.kept.off, n)
    is_full = k.body(k.s, blk.bytes, n, blk)
    block_put(blk)
    return is_full


cdef void _flush(pace_t *k) noexcept nogil:
    if k.kept.len != 0:
        _give(k, k.kept.len)
        inbox_clear(&k.kept)


cdef void _go_on(pace_t *k) noexcept nogil:
    """Gives what may go by now, and says when to come back."""
    cdef uint64_t now = k.s.proxy.reactor.now_ns
    cdef uint64_t piece = k.rate // PIECES
    cdef uint32_t n
    if piece == 0:
        piece = 1
    if k.kept.len == 0 or k.is_full:
        return
    if k.free_ns <= now:
        n = k.kept.len if k.kept.len < piece else <uint32_t>piece
        # A timer that was late, by what it was late, is made up for; a pause of who sends the bytes is not.
        if k.free_ns + SECOND // PIECES < now:
            k.free_ns = now
        k.free_ns += <uint64_t>n * SECOND // k.rate
        k.is_full = _give(k, n)
        k.kept.off += n
        k.kept.len -= n
        if k.kept.len == 0:
            inbox_clear(&k.kept)
    if k.kept.len != 0 or k.is_ended:
        timer_arm(&k.s.proxy.reactor.wheel, &k.timer, k.free_ns if k.free_ns > now else now)


cdef bint pace_turn(pace_t *k) noexcept nogil:
    if k.kept.len == 0 and k.is_ended:
        k.is_ended = False
        k.end(k.s, NULL)
        return False
    _go_on(k)
    return k.kept.len == 0 and not k.is_ended and not k.is_full


cdef bint pace_on_drained(pace_t *k) noexcept nogil:
    k.is_full = False
    _go_on(k)
    return k.kept.len != 0 or k.is_full or k.is_ended


cdef bint pace_body(pace_t *k, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef bint is_first = k.kept.len == 0
    if inbox_add(&k.kept, &k.s.proxy.reactor.blocks, p, n) != FM_OK:
        # More than is kept: a filter has made it out of little. Rather too fast than lost.
        _flush(k)
        return k.body(k.s, p, n, blk)
    if is_first:
        _go_on(k)
    return k.kept.len != 0 or k.is_full


cdef void pace_end(pace_t *k, msg_t *trailers) noexcept nogil:
    if trailers is not NULL and trailers.n_fields != 0:
        # They are not kept: what is left goes at once, with them.
        _flush(k)
    elif k.kept.len != 0 or k.free_ns > k.s.proxy.reactor.now_ns:
        k.is_ended = True
        if k.timer.next is NULL or k.timer.deadline_ns == 0:
            timer_arm(&k.s.proxy.reactor.wheel, &k.timer, k.free_ns)
        return
    k.end(k.s, trailers)
