"""One exchange, from the request's head to the last byte of the answer: the state machine that knows both sides.

Events come from the muxes; every path ends in `stream_end`, exactly once, which counts, logs and frees.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.io.reactor cimport IO_FLUSHING
from fastmesh._core.lb.ejection cimport ejection_release
from fastmesh._core.mem.block cimport block_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport down_ops_t, down_t, proxy_t, stream_t
from fastmesh._core.resil.breaker cimport breaker_tell_endpoint
from fastmesh._core.upstream.pool cimport up_t

cdef stream_t *stream_new(down_t *d, const down_ops_t *ops) noexcept nogil
# The head comes by routing.pxd.
# --- from the client's side ----------------------------------------------------------------------
cdef void stream_on_request_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
cdef void stream_on_request_end(stream_t *s, msg_t *trailers) noexcept nogil
# The client is gone, or broke the protocol in the middle of its request. Frees the stream.
cdef void stream_on_client_gone(stream_t *s) noexcept nogil
cdef void stream_on_client_drained(stream_t *s) noexcept nogil
# Opaque bytes from the start: picks and connects.
cdef void stream_on_tcp(stream_t *s) noexcept nogil
# --- from the upstream's side; the answer's head, and what goes wrong, come by attempt.pxd -------------
cdef void stream_on_interim(stream_t *s, msg_t *m) noexcept nogil
# FILTER_GO; FILTER_HELD: nothing more is to be read before up_ops.resume; FILTER_OVER: the connection is no longer this
# stream's, and the stream may be gone.
cdef int stream_on_answer_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
cdef void stream_on_answer_end(stream_t *s, msg_t *trailers) noexcept nogil
cdef void stream_on_upstream_drained(stream_t *s) noexcept nogil
# --- an attempt, for attempt.pyx; `s` may be gone afterwards -------------------------------------------
cdef void stream_try(stream_t *s) noexcept nogil              # asks filters first, unless it is the first attempt
cdef void stream_send(stream_t *s) noexcept nogil             # s.up is there
cdef void stream_overflow(stream_t *s, int over) noexcept nogil   # a limit of the cluster is reached: OVER_*
# --- the end; own answers come by local.pxd ---------------------------------------------------------------------
cdef void stream_end(stream_t *s) noexcept nogil
# --- what filters go on with, each from where they were asked --------------------------------------
cdef void stream_go(stream_t *s, msg_t *m, span_t path) noexcept nogil
# True when enough is queued.
cdef bint stream_put_request_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
cdef void stream_put_request_end(stream_t *s, msg_t *trailers) noexcept nogil
cdef void stream_connect(stream_t *s) noexcept nogil
cdef void stream_put_answer_head(stream_t *s, msg_t *m) noexcept nogil
cdef bint stream_put_answer_body(stream_t *s, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil
cdef void stream_put_answer_end(stream_t *s, msg_t *trailers) noexcept nogil
# Nobody wants the rest of its answer.
cdef void stream_leave_upstream(stream_t *s) noexcept nogil
# A request of a filter's own: `s` has its cluster, its time-out and its head (in wire) already, and a body in replay.
cdef void stream_on_call(stream_t *s) noexcept nogil
cdef uint8_t *stream_wire_room(stream_t *s, uint32_t n) noexcept nogil


# Before a connection is dropped: whether anything of the request has left by it.
cdef inline void stream_note_sent(stream_t *s, const up_t *up) noexcept nogil:
    if up.x.io.tx_total != up.tx_mark or up.x.io.flags & IO_FLUSHING:
        s.was_sent = 1


cdef inline void stream_leave_endpoint(stream_t *s) noexcept nogil:
    if s.endpoint is not NULL:
        if s.is_probe:
            s.is_probe = 0
            ejection_release(s.cluster, s.endpoint)
        s.endpoint.live.active -= 1
        s.endpoint.live.use.row.active = s.endpoint.live.active
        breaker_tell_endpoint(s.endpoint.live)
