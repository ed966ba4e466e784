"""See route_split.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.http.msg cimport FIELD_DROP, field_t, msg_span, msg_t, msg_value
from fastmesh._core.mem.hash cimport hash_bytes
from fastmesh._core.mem.span cimport span_ieq, span_of, span_t
from fastmesh._core.route.predicate cimport cookie_value


cdef span_t said(const split_t *s, const msg_t *m) noexcept nogil:
    cdef const field_t *f
    cdef int i
    if s.cookie.len != 0:
        return cookie_value(m, s.cookie)
    for i in range(m.n_fields):
        f = &m.fields[i]
        if (f.name_len == s.header.len and not f.bits & FIELD_DROP and
                span_ieq(msg_span(m, f.name_off, f.name_len), s.header)):
            return msg_value(m, i)
    return span_of(NULL, 0)


cdef uint32_t split_pick(const split_t *s, const msg_t *m, uint64_t draw) noexcept nogil:
    cdef span_t value
    cdef uint32_t point, i
    if s.header.len != 0 or s.cookie.len != 0:
        value = said(s, m)
        if value.len != 0:
            # Without a seed: all workers, and those of other machines, come to the same.
            draw = hash_bytes(value.ptr, value.len, 0)
    point = <uint32_t>(((draw >> 32) * s.total) >> 32)
    for i in range(s.n):
        if point < s.parts[i].end:
            return i
    return s.n - 1
