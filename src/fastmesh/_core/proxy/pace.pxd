"""Bytes of a body that go on no faster than so many a second: what has come too early is kept.

Pieces of a twentieth of a second follow each other by a timer. Whose bytes they are and where they go is the owner's
(proxy/pacing, proxy/pacing_up): it puts itself before a codec's table, and gives what comes to a pace.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.timer cimport timer_t
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.inbox cimport inbox_t
from fastmesh._core.proxy.mux cimport stream_t

ctypedef struct pace_t:
    stream_t *s
    # Of the codec that the bytes go to; as in down_ops_t and up_ops_t.
    bint (*body)(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
    void (*end)(stream_t *s, msg_t *trailers) noexcept nogil
    timer_t timer
    uint64_t rate             # bytes a second
    uint64_t free_ns          # when the next byte may go
    inbox_t kept
    bint is_full              # the codec has not taken what it was given
    bint is_ended


# k: zeroed, but for `body` and `end`. `fire` is told of the stream, and calls pace_turn.
cdef void pace_begin(pace_t *k, stream_t *s, uint32_t rate,
                     void (*fire)(timer_t *, void *) noexcept nogil) noexcept nogil
cdef void pace_drop(pace_t *k) noexcept nogil
# What is kept is nobody's any more.
cdef void pace_clear(pace_t *k) noexcept nogil
# The timer has fired. True: there is room for more. Once all has gone and nothing follows, the codec's end is called:
# the stream may be freed then.
cdef bint pace_turn(pace_t *k) noexcept nogil
# As the codec's own. True also while something is kept.
cdef bint pace_body(pace_t *k, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
cdef void pace_end(pace_t *k, msg_t *trailers) noexcept nogil
# The codec takes more. True: what is kept comes first, or nothing follows.
cdef bint pace_on_drained(pace_t *k) noexcept nogil
