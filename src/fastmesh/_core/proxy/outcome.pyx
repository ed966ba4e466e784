"""See outcome.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.http.retry_after cimport retry_after_seconds
from fastmesh._core.http.token cimport HEADER_DATE
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.lb.cluster cimport OUTCOME_ANSWERED, OUTCOME_FAILED, OUTCOME_LEFT
from fastmesh._core.mem.counter cimport FLAG_UT
from fastmesh._core.proxy.mux cimport S_REQUEST_DONE

cdef enum:
    SECOND = 1000000000


cdef void outcome_of_answer(stream_t *s, const msg_t *m, uint64_t took_ns) noexcept nogil:
    cdef uint64_t wait_s = 0
    cdef int outcome = OUTCOME_ANSWERED
    if m.status >= 500 or m.status == 429:
        outcome = OUTCOME_FAILED
        wait_s = retry_after_seconds(msg_value(m, head_find(m, <const uint8_t *>b"retry-after", 11, 0)),
                                     msg_value(m, m.at[HEADER_DATE]))
    s.is_unheard = 0
    s.cluster.ops.observe(s.cluster, s.endpoint, took_ns, outcome, wait_s * SECOND, s.first_ns)


cdef inline uint64_t waited(const stream_t *s, uint64_t now_ns) noexcept nogil:
    return now_ns - s.sent_ns if now_ns > s.sent_ns else 0


cdef void outcome_of_fault(stream_t *s) noexcept nogil:
    cdef uint64_t now_ns = reactor_clock(s.proxy.reactor)
    s.is_unheard = 0
    s.cluster.ops.observe(s.cluster, s.endpoint, waited(s, now_ns), OUTCOME_FAILED, 0, now_ns)


cdef void outcome_of_silence(stream_t *s, uint64_t now_ns) noexcept nogil:
    cdef bint is_late = (s.flags & FLAG_UT) != 0
    s.is_unheard = 0
    # While the client still sends, it is the client who takes the time.
    if is_late or s.bits & S_REQUEST_DONE:
        s.cluster.ops.observe(s.cluster, s.endpoint, waited(s, now_ns), OUTCOME_FAILED if is_late else OUTCOME_LEFT,
                              0, now_ns)
