"""Borrowed byte ranges: a pointer and a length, passed by value.

A span never owns its bytes. It is valid only while the buffer it points into is
neither consumed nor moved; a callee that wants the bytes later copies them.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

ctypedef struct span_t:
    const uint8_t *ptr   # NULL means absent, which differs from empty
    uint32_t len


cdef inline span_t span_of(const uint8_t *ptr, uint32_t n) noexcept nogil:
    cdef span_t s
    s.ptr = ptr
    s.len = n
    return s


cdef inline bint span_eq(span_t a, span_t b) noexcept nogil:
    return a.len == b.len and (a.len == 0 or memcmp(a.ptr, b.ptr, a.len) == 0)


cdef inline uint8_t byte_lower(uint8_t c) noexcept nogil:
    return c | 0x20 if 65 <= c <= 90 else c


cdef inline bint span_ieq(span_t a, span_t b) noexcept nogil:
    """Equal but for the case of ASCII letters."""
    cdef uint32_t i
    if a.len != b.len:
        return False
    for i in range(a.len):
        if byte_lower(a.ptr[i]) != byte_lower(b.ptr[i]):
            return False
    return True
