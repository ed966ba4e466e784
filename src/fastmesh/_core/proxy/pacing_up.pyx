"""See pacing_up.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.proxy.mux cimport (
    S_CHUNK_UP, S_REQUEST_DONE, S_TUNNEL, S_UP_ENDED, S_WANT_BODY, TAP_REQUEST_BODY, up_ops_t)
from fastmesh._core.proxy.pace cimport (
    pace_begin, pace_body, pace_clear, pace_drop, pace_end, pace_on_drained, pace_t, pace_turn)

ctypedef struct pace_up_t:
    up_ops_t paced            # the upstream's table, but for what is done here
    const up_ops_t *ops       # the upstream's own
    pace_t pace


cdef inline pace_up_t *_of(const stream_t *s) noexcept nogil:
    return <pace_up_t *>s.pace_up


cdef void pacing_up_begin(stream_t *s, uint32_t rate) noexcept nogil:
    cdef pace_up_t *k = <pace_up_t *>raw_zeroed(sizeof(pace_up_t))
    k.ops = s.up_ops
    k.paced = s.up_ops[0]
    k.paced.head = _head
    k.paced.body = _body
    k.paced.end = _end
    k.pace.body = k.ops.body
    k.pace.end = k.ops.end
    pace_begin(&k.pace, s, rate, _on_timer)
    s.pace_up = k
    s.up_ops = &k.paced


cdef void pacing_up_drop(stream_t *s) noexcept nogil:
    cdef pace_up_t *k = _of(s)
    s.pace_up = NULL
    s.up_ops = k.ops
    pace_drop(&k.pace)
    raw_give(k)


cdef bint pacing_up_is_behind(const stream_t *s) noexcept nogil:
    cdef const pace_t *k = &_of(s).pace
    return k.kept.len != 0 or (k.is_ended and s.bits & S_CHUNK_UP != 0)


cdef uint32_t pacing_up_held(const stream_t *s) noexcept nogil:
    return _of(s).pace.kept.len


cdef bint pacing_up_on_drained(stream_t *s) noexcept nogil:
    return pace_on_drained(&_of(s).pace)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    # An attempt that has ended has no upstream, and the next one begins with the head.
    if s.up is not NULL and pace_turn(&_of(s).pace):
        _read_on(s)


cdef void _read_on(stream_t *s) noexcept nogil:
    """As when a queue to the upstream has gone."""
    if s.taps & TAP_REQUEST_BODY and not s.bits & (S_UP_ENDED | S_TUNNEL):
        s.proxy.filters.request_room(s)
    elif not s.bits & (S_REQUEST_DONE | S_WANT_BODY | S_TUNNEL):
        s.bits |= S_WANT_BODY
        s.down_ops.read(s)


# --- in place of the upstream's own ---------------------------------------------------------------------------------

cdef void _head(stream_t *s) noexcept nogil:
    """A new attempt: what was kept for the one before is given once more."""
    cdef pace_up_t *k = _of(s)
    pace_clear(&k.pace)
    k.ops.head(s)


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    return pace_body(&_of(s).pace, p, n, blk)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    pace_end(&_of(s).pace, trailers)
