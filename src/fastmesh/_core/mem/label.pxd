"""Labels of an exchange as filters leave them for compiled code: length, name, length, value … (1, n, 2, n bytes)."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_eq, span_of, span_t


cdef inline const uint8_t *label_next(const uint8_t *p, span_t *name, span_t *value) noexcept nogil:
    name[0] = span_of(p + 1, p[0])
    p += 1 + p[0]
    value[0] = span_of(p + 2, p[0] | <uint32_t>p[1] << 8)
    return p + 2 + value.len


cdef inline span_t label_find(const uint8_t *p, uint32_t n, span_t wanted) noexcept nogil:
    """Absent when there is none of that name."""
    cdef const uint8_t *end = p + n
    cdef span_t name, value
    while p is not NULL and p < end:
        p = label_next(p, &name, &value)
        if span_eq(name, wanted):
            return value
    return span_of(NULL, 0)
