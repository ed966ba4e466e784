"""Writing msgpack, each value in its shortest form. There is room: the caller has counted."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.mem.span cimport span_t


# Each gives back where the next value goes.
cdef inline uint8_t *put_uint(uint8_t *p, uint64_t v) noexcept nogil:
    cdef uint32_t size
    cdef uint32_t i
    if v < 0x80:
        p[0] = <uint8_t>v
        return p + 1
    size = 1 if v <= 0xFF else 2 if v <= 0xFFFF else 4 if v >> 32 == 0 else 8
    p[0] = 0xCC if size == 1 else 0xCD if size == 2 else 0xCE if size == 4 else 0xCF
    for i in range(size):
        p[1 + i] = <uint8_t>(v >> (8 * (size - 1 - i)))
    return p + 1 + size


cdef inline uint8_t *put_bytes(uint8_t *p, span_t s, bint as_text) noexcept nogil:
    if as_text and s.len < 32:
        p[0] = <uint8_t>(0xA0 | s.len)
        p += 1
    elif s.len <= 0xFF:
        p[0] = 0xD9 if as_text else 0xC4
        p[1] = <uint8_t>s.len
        p += 2
    else:
        p[0] = 0xDA if as_text else 0xC5
        p[1] = <uint8_t>(s.len >> 8)
        p[2] = <uint8_t>s.len
        p += 3
    memcpy(p, s.ptr, s.len)
    return p + s.len


cdef inline uint8_t *put_array(uint8_t *p, uint32_t n) noexcept nogil:
    if n < 16:
        p[0] = <uint8_t>(0x90 | n)
        return p + 1
    if n <= 0xFFFF:
        p[0] = 0xDC
        p[1] = <uint8_t>(n >> 8)
        p[2] = <uint8_t>n
        return p + 3
    p[0] = 0xDD
    p[1] = <uint8_t>(n >> 24)
    p[2] = <uint8_t>(n >> 16)
    p[3] = <uint8_t>(n >> 8)
    p[4] = <uint8_t>n
    return p + 5
