"""See pacing.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.raw cimport raw_give, raw_zeroed
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport S_UP_PAUSED, TAP_RESPONSE_BODY, down_ops_t
from fastmesh._core.proxy.pace cimport pace_begin, pace_body, pace_drop, pace_end, pace_on_drained, pace_t, pace_turn

ctypedef struct pace_down_t:
    const down_ops_t *ops     # of who gets the answer
    pace_t pace


cdef inline pace_down_t *_of(const stream_t *s) noexcept nogil:
    return <pace_down_t *>s.pace


cdef void pacing_begin(stream_t *s, uint32_t rate) noexcept nogil:
    cdef pace_down_t *k = <pace_down_t *>raw_zeroed(sizeof(pace_down_t))
    k.ops = s.down_ops
    k.pace.body = k.ops.body
    k.pace.end = k.ops.end
    pace_begin(&k.pace, s, rate, _on_timer)
    s.pace = k
    s.down_ops = &PACED


cdef void pacing_drop(stream_t *s) noexcept nogil:
    cdef pace_down_t *k = _of(s)
    s.pace = NULL
    s.down_ops = k.ops
    pace_drop(&k.pace)
    raw_give(k)


cdef uint32_t pacing_held(const stream_t *s) noexcept nogil:
    return _of(s).pace.kept.len


cdef bint pacing_on_drained(stream_t *s) noexcept nogil:
    return pace_on_drained(&_of(s).pace)


cdef void _on_timer(timer_t *t, void *owner) noexcept nogil:
    cdef stream_t *s = <stream_t *>owner
    if pace_turn(&_of(s).pace):
        _read_on(s)


cdef void _read_on(stream_t *s) noexcept nogil:
    if s.taps & TAP_RESPONSE_BODY:
        s.proxy.filters.answer_room(s)
    elif s.bits & S_UP_PAUSED and s.up is not NULL:
        s.bits &= ~<uint32_t>S_UP_PAUSED
        s.up_ops.read(s, True)


# --- the table in place of the client's -----------------------------------------------------------------------------

cdef void _interim(stream_t *s, msg_t *m) noexcept nogil:
    _of(s).ops.interim(s, m)


cdef void _head(stream_t *s, msg_t *m, int framing) noexcept nogil:
    _of(s).ops.head(s, m, framing)


cdef void _local(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    _of(s).ops.local(s, status, content_type, fields, body)


cdef bint _body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    return pace_body(&_of(s).pace, p, n, blk)


cdef void _end(stream_t *s, msg_t *trailers) noexcept nogil:
    pace_end(&_of(s).pace, trailers)


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
