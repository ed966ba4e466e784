"""See attempt_mark.pxd.

The value has a fixed width, as those of deadlines have: the head is made once, and the number told when it leaves.
"""
from libc.stdint cimport uint16_t
from libc.string cimport memset
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport FIELD_DROP, FIELD_OURS, msg_value
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.emit cimport put_bytes, put_number
from fastmesh._core.proxy.wire_head cimport wire_head

cdef enum:
    NAME_LEN = 21
    DIGITS = 4
    MOST = 9999

cdef const char *NAME = b"x-envoy-attempt-count"


cdef uint16_t _number(span_t v) noexcept nogil:
    """0 for what is no number; what is too large is the largest."""
    cdef uint32_t number = 0
    cdef uint32_t i
    for i in range(v.len):
        if not c'0' <= v.ptr[i] <= c'9':
            return 0
        number = number * 10 + (v.ptr[i] - 48)
        if number > MOST:
            number = MOST
    return <uint16_t>number


cdef bint attempt_mark_take(stream_t *s, msg_t *m) noexcept nogil:
    cdef uint16_t number
    cdef int i = head_find(m, <const uint8_t *>NAME, NAME_LEN, 0)
    while i >= 0:
        if m.fields[i].bits & FIELD_OURS:
            return False
        number = _number(msg_value(m, i))
        if number > s.mark:
            s.mark = number
        m.fields[i].bits |= FIELD_DROP
        i = head_find(m, <const uint8_t *>NAME, NAME_LEN, i + 1)
    return True


cdef uint8_t *attempt_mark_put(stream_t *s, uint8_t *to) noexcept nogil:
    to = put_bytes(to, NAME, NAME_LEN)
    to = put_bytes(to, b": ", 2)
    s.mark_at = <uint32_t>(to - s.wire)
    return put_bytes(to, b"    \r\n", DIGITS + 2)


cdef void attempt_mark_tell(stream_t *s, uint32_t attempt) noexcept nogil:
    cdef uint32_t number = attempt + (s.mark - 1 if s.mark > 1 else 0)
    memset(s.wire + s.mark_at, c' ', DIGITS)
    put_number(s.wire + s.mark_at, number if number < MOST else MOST)


cdef bint attempt_mark_is_retry(stream_t *s) noexcept nogil:
    cdef const msg_t *m
    cdef int i
    if s.mark_at != 0:
        return s.mark > 1
    # Nobody has looked yet. It is done when something has failed, which is rare.
    m = wire_head(s)
    if m is NULL:
        return False
    i = head_find(m, <const uint8_t *>NAME, NAME_LEN, 0)
    return i >= 0 and _number(msg_value(m, i)) > 1
