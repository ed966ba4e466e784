"""See outcome.pxd."""
from fastmesh._core.http.retry_after cimport retry_after_of
from fastmesh._core.io.reactor cimport reactor_clock
from fastmesh._core.lb.cluster cimport OUTCOME_ANSWERED, OUTCOME_FAILED, OUTCOME_LEFT, cluster_whole
from fastmesh._core.mem.counter cimport FLAG_UT
from fastmesh._core.proxy.mux cimport S_REQUEST_DONE
from fastmesh._core.proxy.relay cimport RELAY_BROKEN, RELAY_BROKEN_UP, relay_has_heard
from fastmesh._core.resil.outlier cimport (
    SEEN_CONNECT, SEEN_ERROR, SEEN_GATEWAY, SEEN_GOOD, SEEN_TIMEOUT, outlier_observe)

cdef enum:
    SECOND = 1000000000


cdef inline void _heard(stream_t *s, uint64_t took_ns, int outcome, uint64_t wait_ns, uint64_t now_ns) noexcept nogil:
    if s.is_unheard and s.cluster.ops.observe is not NULL:
        s.cluster.ops.observe(s.cluster, s.endpoint, took_ns, outcome, wait_ns, now_ns)
    s.is_unheard = 0


cdef inline void _judged(stream_t *s, int seen, uint64_t took_ns, uint64_t now_ns) noexcept nogil:
    if s.cluster.outlier.is_on:
        outlier_observe(cluster_whole(s.cluster), s.endpoint, seen, took_ns, now_ns, &s.proxy.rng, s.is_probe)
        s.is_probe = 0


cdef void outcome_of_answer(stream_t *s, const msg_t *m, uint64_t took_ns) noexcept nogil:
    cdef uint64_t wait_s = 0
    cdef int outcome = OUTCOME_ANSWERED
    cdef int seen = SEEN_GOOD
    if m.status >= 500 or m.status == 429:
        outcome = OUTCOME_FAILED
        wait_s = retry_after_of(m)
    if 502 <= m.status <= 504:
        seen = SEEN_GATEWAY
    elif m.status >= 500:
        seen = SEEN_ERROR
    _heard(s, took_ns, outcome, wait_s * SECOND, s.first_ns)
    _judged(s, seen, took_ns, s.first_ns)


cdef inline uint64_t waited(const stream_t *s, uint64_t now_ns) noexcept nogil:
    return now_ns - s.sent_ns if now_ns > s.sent_ns else 0


cdef void outcome_of_fault(stream_t *s, int seen) noexcept nogil:
    cdef uint64_t now_ns = reactor_clock(s.proxy.reactor)
    _heard(s, waited(s, now_ns), OUTCOME_FAILED, 0, now_ns)
    _judged(s, seen, 0, now_ns)


cdef void outcome_of_connect(stream_t *s) noexcept nogil:
    _judged(s, SEEN_CONNECT, 0, s.proxy.reactor.now_ns)


cdef void outcome_of_tunnel(stream_t *s, const relay_t *r, int how) noexcept nogil:
    cdef bint is_broken = how == RELAY_BROKEN_UP
    cdef int seen = SEEN_GOOD
    if not relay_has_heard(r):
        if how == RELAY_BROKEN or (r.ended_first == 1 and r.lanes[0].moved == 0 and (is_broken or r.lanes[1].eof)):
            # It has left; or it came, said nothing and went.
            return
        # An end without a word is what is seen of a reset that comes before the client's first bytes.
        if is_broken or r.ended_first == 2:
            seen = SEEN_GATEWAY
            s.endpoint.live.use.row.failures += 1
    _judged(s, seen, 0, s.proxy.reactor.now_ns)


cdef void outcome_of_cancel(stream_t *s, uint64_t now_ns) noexcept nogil:
    _heard(s, waited(s, now_ns), OUTCOME_LEFT, 0, now_ns)


cdef void outcome_of_silence(stream_t *s, uint64_t now_ns) noexcept nogil:
    cdef bint is_late = (s.flags & FLAG_UT) != 0
    # While the client still sends, it is the client who takes the time.
    if is_late or s.bits & S_REQUEST_DONE:
        _heard(s, waited(s, now_ns), OUTCOME_FAILED if is_late else OUTCOME_LEFT, 0, now_ns)
    s.is_unheard = 0
    # A client that leaves says nothing about the endpoint: nobody is to eject one by leaving.
    # Nor by giving it no time.
    if is_late and s.bits & S_REQUEST_DONE and (s.deadline_ns == 0 or now_ns < s.deadline_ns):
        _judged(s, SEEN_TIMEOUT, 0, now_ns)
