"""See degraded.pxd."""
from libc.stdint cimport uint32_t
from libc.string cimport strlen
from fastmesh._core.mem.counter cimport FLAG_FB
from fastmesh._core.mem.span cimport span_of
from fastmesh._core.proxy.emit cimport put_bytes, put_number, put_span
from fastmesh._core.resil.fallback_rule cimport REASON_STATUS, STEP_CLUSTER, STEP_STALE, STEP_USE

cdef extern from *:
    """
    static const char *const fm_step_names[] = {"", "cluster", "stale", "response", "use"};
    static const char *const fm_reason_names[] = {"no-endpoint", "overflow", "connect-failure", "reset",
        "protocol-error", "timeout", "overload", "rate-limit", "deadline"};
    """
    const char *const fm_step_names[5]
    const char *const fm_reason_names[9]

cdef enum:
    NAME_MAX = 255


cdef inline uint8_t *_put(uint8_t *to, const char *text) noexcept nogil:
    return put_bytes(to, text, <uint32_t>strlen(text))


cdef span_t degraded_text(const stream_t *s, char *room) noexcept nogil:
    cdef uint8_t *to = <uint8_t *>room
    cdef span_t name
    if s.degraded == 0:
        return span_of(NULL, 0)
    to = _put(to, fm_step_names[s.degraded])
    to = put_bytes(to, b"; reason=", 9)
    if s.fall_reason == REASON_STATUS:
        to = put_number(to, s.fall_code)
    else:
        to = _put(to, fm_reason_names[s.fall_reason])
    if s.degraded == STEP_STALE:
        to = put_bytes(to, b"; age=", 6)
        to = put_number(to, s.degraded_age_s)
    elif s.degraded == STEP_CLUSTER or s.degraded == STEP_USE:
        name = s.cluster.name if s.degraded == STEP_CLUSTER else s.fallback.steps[s.fall_step - 1].name
        name.len = name.len if name.len < NAME_MAX else NAME_MAX
        to = put_bytes(to, b"; name=", 7)
        to = put_span(to, name)
    return span_of(<uint8_t *>room, <uint32_t>(to - <uint8_t *>room))


cdef uint8_t *degraded_put(const stream_t *s, uint8_t *to) noexcept nogil:
    cdef char room[DEGRADED_TEXT]
    to = put_bytes(to, b"x-fastmesh-degraded: ", 21)
    to = put_span(to, degraded_text(s, room))
    return put_bytes(to, b"\r\n", 2)


cdef void degraded_count(stream_t *s) noexcept nogil:
    s.flags |= FLAG_FB
    s.proxy.stats.fallbacks[s.fall_cluster].answered[s.degraded - 1][s.fall_reason] += 1
