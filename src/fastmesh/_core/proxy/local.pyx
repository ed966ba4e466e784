"""See local.pxd."""
from libc.stdint cimport uint16_t
from libc.string cimport strlen
from fastmesh._core.io.timer cimport timer_cancel
from fastmesh._core.mem.counter cimport FLAG_UF, FLAG_UH, FLAG_UO, FLAG_URX, G_LOCAL_ANSWERS, G_NO_ENDPOINT
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.cors cimport cors_lines
from fastmesh._core.proxy.fallback cimport fallback_takes
from fastmesh._core.proxy.hedge cimport hedge_drop
from fastmesh._core.proxy.mux cimport (
    FILTER_GO, S_ANSWER_HEAD, S_LOCAL, S_LOCAL_SEEN, S_PAUSED, S_TCP, S_WAITING, S_WANT_BODY, STEP_CUT, STEP_LOCAL)
from fastmesh._core.proxy.route_acts cimport route_acts_fields
from fastmesh._core.proxy.stream cimport stream_note_sent
from fastmesh._core.resil.fallback_rule cimport STEP_STALE
from fastmesh._core.upstream.pool cimport pool_cancel, pool_drop, up_t


cdef inline void _tell(stream_t *s, int what, const char *why) noexcept nogil:
    if s.account is not NULL:
        s.proxy.watch_ops.step(s, what, why)


cdef bint _may_answer(stream_t *s, uint32_t flags, const char *details, const char *why) noexcept nogil:
    """Gives the upstream up; False where an answer has begun, which is cut instead."""
    cdef up_t *up = s.up
    s.flags |= flags
    s.details = details
    s.bits &= ~<uint32_t>S_PAUSED
    timer_cancel(&s.try_timer)
    if s.hedge is not NULL:
        hedge_drop(s)
    if up is not NULL:
        stream_note_sent(s, up)
        s.up = NULL
        pool_drop(up)
    elif s.bits & S_WAITING:
        # Filters may still think about the answer when there is a connection.
        s.bits &= ~<uint32_t>S_WAITING
        pool_cancel(&s.proxy.pool, &s.wait, not s.bits & S_TCP)
    if s.bits & (S_ANSWER_HEAD | S_TCP):
        _tell(s, STEP_CUT, why)
        s.down_ops.cut(s)
        return False
    s.proxy.stats.globals[G_LOCAL_ANSWERS] += 1
    return True


cdef span_t _for_people(const stream_t *s, const char *why) noexcept nogil:
    """The body of an answer, where the listener allows that."""
    if why is NULL or not (s.listener.is_plain_answers and s.down.is_local_peer):
        return span_of(NULL, 0)
    return span_of(<const uint8_t *>why, <uint32_t>strlen(why))


cdef void local_answer(stream_t *s, int status, uint32_t flags, const char *details, const char *why) noexcept nogil:
    if not _may_answer(s, flags, details, why):
        return
    if s.fallback is not NULL and fallback_takes(s, status, flags, details, why):
        return
    local_say(s, status, why)


cdef void local_say(stream_t *s, int status, const char *why) noexcept nogil:
    cdef span_t fields = local_overloaded() if s.fall_step != 0 and s.fall_flags & FLAG_UO else span_of(NULL, 0)
    _tell(s, STEP_LOCAL, why)
    local_give(s, status, span_of(b"text/plain; charset=utf-8", 25), fields, _for_people(s, why))


cdef void local_turn_away(stream_t *s, uint32_t flags, const char *details, span_t fields,
                           const char *why) noexcept nogil:
    if not _may_answer(s, flags, details, why):
        return
    if s.fallback is not NULL and fallback_takes(s, 503, flags, details, why):
        return
    _tell(s, STEP_LOCAL, why)
    local_give(s, 503, span_of(b"text/plain; charset=utf-8", 25), fields, _for_people(s, why))


cdef void local_no_endpoint(stream_t *s) noexcept nogil:
    cdef const char *why = b"the cluster has no endpoint"
    s.proxy.stats.globals[G_NO_ENDPOINT] += 1
    s.proxy.stats.clusters[s.cluster.id].no_endpoint += 1
    if s.n_tried != 0:
        local_answer(s, 503, FLAG_UF | FLAG_URX, b"upstream_reset_before_response_started{connection_failure}",
                      b"no endpoint of the cluster could be connected to")
        return
    if s.cluster.is_checked and s.cluster.n != 0:
        why = b"no endpoint of the cluster passes its health checks"
    elif s.cluster.whole is not NULL:
        why = b"the cluster has no endpoint in the subset that was asked for"
    local_answer(s, 503, FLAG_UH, b"no_healthy_upstream", why)


cdef void local_refuse(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                        span_t body, const char *why) noexcept nogil:
    if _may_answer(s, flags, details, why):
        _tell(s, STEP_LOCAL, why)
        local_give(s, status, content_type, span_of(NULL, 0), body)


cdef void local_refuse_with(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                            span_t fields, span_t body, const char *why) noexcept nogil:
    if _may_answer(s, flags, details, why):
        _tell(s, STEP_LOCAL, why)
        local_give(s, status, content_type, fields, body)


cdef void local_answer_with(stream_t *s, int status, uint32_t flags, const char *details, span_t content_type,
                             span_t fields, span_t body) noexcept nogil:
    if not _may_answer(s, flags, details, b"a filter has answered"):
        return
    _tell(s, STEP_LOCAL, b"a filter has answered")
    local_put(s, status, content_type, fields, body)


cdef void local_give(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    s.bits |= S_LOCAL
    # What is left of the request is nobody's, even if a filter still thinks about the answer.
    s.bits &= ~<uint32_t>S_WANT_BODY
    s.status = <uint16_t>status
    if s.run is not NULL and not s.bits & S_LOCAL_SEEN:
        s.bits |= S_LOCAL_SEEN
        if s.proxy.filters.local(s, status, content_type, fields, body) != FILTER_GO:
            return
    local_put(s, status, content_type, fields, body)


cdef void local_put(stream_t *s, int status, span_t content_type, span_t fields, span_t body) noexcept nogil:
    s.bits |= S_LOCAL | S_ANSWER_HEAD
    s.status = <uint16_t>status
    # A copy has passed them already.
    if s.route is not NULL and s.route.acts is not NULL and s.route.acts.response.n != 0 and s.degraded != STEP_STALE:
        fields = route_acts_fields(s, fields)
    if s.route is not NULL and s.route.cors != 0 and not s.is_preflight:
        fields = cors_lines(fields)
    s.down_ops.local(s, status, content_type, fields, body)
    s.down_ops.end(s, NULL)
