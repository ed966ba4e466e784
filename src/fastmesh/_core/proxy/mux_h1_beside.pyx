"""See mux_h1_beside.pxd."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.h1 cimport H1_AGAIN, h1_limits_t, h1_parse_response
from fastmesh._core.http.msg cimport MSG_CLOSE, MSG_FIELDS_CAP, msg_t
from fastmesh._core.io.reactor cimport IO_FLUSHING
from fastmesh._core.mem.block cimport block_put, block_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.inbox cimport inbox_add, inbox_attach, inbox_detach
from fastmesh._core.proxy.attempt cimport attempt_is_good
from fastmesh._core.proxy.hedge cimport (
    hedge_on_bad_answer, hedge_on_fault, hedge_on_pool, hedge_take_over, side_t)
from fastmesh._core.proxy.mux cimport stream_t
from fastmesh._core.upstream.pool cimport up_t

cdef enum:
    INTERIM_MAX = 16          # 1xx answers to one request

cdef h1_limits_t ANSWER_LIMITS
ANSWER_LIMITS.head_bytes = 65535
ANSWER_LIMITS.line_bytes = 65535
ANSWER_LIMITS.fields = MSG_FIELDS_CAP


cdef void _on_bytes(up_t *up, const uint8_t *p, uint32_t n, block_t *blk) noexcept nogil:
    cdef side_t *k = <side_t *>up.user
    cdef stream_t *s = k.hedge.stream
    cdef msg_t *m = &s.proxy.answer
    cdef block_t *own = NULL
    cdef uint32_t scanned = up.inbox.scanned
    cdef int rc
    if up.x.io.tx_total == up.tx_mark and not up.x.io.flags & IO_FLUSHING:
        # Nothing of the request has left: this is no answer to it.
        hedge_on_fault(k, not up.is_reused, up.is_reused)
        return
    if up.inbox.len > 0:
        if inbox_add(&up.inbox, &s.proxy.reactor.blocks, p, n) != FM_OK:
            hedge_on_fault(k, True, False)
            return
        own = inbox_detach(&up.inbox, &p, &n)
        blk = own
    while n > 0:
        rc = h1_parse_response(m, p, n, scanned, &ANSWER_LIMITS, s.method)
        scanned = 0
        if rc == H1_AGAIN:
            if own is not NULL:
                inbox_attach(&up.inbox, own, p, n)
                own = NULL
            elif inbox_add(&up.inbox, &s.proxy.reactor.blocks, p, n) != FM_OK:
                hedge_on_fault(k, True, False)
                return
            up.inbox.scanned = n
            break
        if rc < 0 or m.status == 101:
            hedge_on_fault(k, True, False)
            break
        if m.status < 200:
            up.interims += 1
            if up.interims > INTERIM_MAX:
                hedge_on_fault(k, True, False)
                break
            p += rc
            n -= <uint32_t>rc
            continue
        if m.status == 408 and m.bits & MSG_CLOSE and up.is_reused and up.interims == 0:
            # What an idle connection is told at its end.
            hedge_on_fault(k, False, True)
        elif not attempt_is_good(s, m):
            hedge_on_bad_answer(k, m)
        else:
            hedge_take_over(k)
            s.up_ops.user.on_bytes(up, p, n, blk)
        break
    if own is not NULL:
        block_put(own)


cdef inline bint _is_stale(up_t *up) noexcept nogil:
    """It closed an idle connection while the request was on its way."""
    return up.is_reused and up.inbox.len == 0 and up.interims == 0


cdef void _on_eof(up_t *up) noexcept nogil:
    hedge_on_fault(<side_t *>up.user, up.inbox.len != 0, _is_stale(up))


cdef void _on_error(up_t *up, int err) noexcept nogil:
    hedge_on_fault(<side_t *>up.user, up.inbox.len != 0, _is_stale(up))


cdef void _on_drained(up_t *up) noexcept nogil:
    pass


cdef void _on_watch(up_t *up, int events) noexcept nogil:
    pass


cdef pool_user_ops_t BESIDE
BESIDE.on_ready = hedge_on_pool
BESIDE.on_bytes = _on_bytes
BESIDE.on_eof = _on_eof
BESIDE.on_error = _on_error
BESIDE.on_drained = _on_drained
BESIDE.on_watch = _on_watch


cdef const pool_user_ops_t *mux_h1_beside_ops() noexcept nogil:
    return &BESIDE
