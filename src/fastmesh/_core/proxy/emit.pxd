"""Writing head lines: cursors over memory that was reserved large enough."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.mem.span cimport span_t


cdef inline uint8_t *put_bytes(uint8_t *to, const char *p, uint32_t n) noexcept nogil:
    memcpy(to, p, n)
    return to + n


cdef inline uint8_t *put_span(uint8_t *to, span_t s) noexcept nogil:
    if s.len != 0:
        memcpy(to, s.ptr, s.len)
    return to + s.len


cdef inline uint8_t *put_number(uint8_t *to, uint64_t v) noexcept nogil:
    cdef uint8_t digits[20]
    cdef uint32_t n = 0
    while True:
        digits[n] = <uint8_t>(48 + v % 10)
        n += 1
        v //= 10
        if v == 0:
            break
    while n > 0:
        n -= 1
        to[0] = digits[n]
        to += 1
    return to


cdef inline uint8_t *put_hex(uint8_t *to, uint64_t v, uint32_t digits) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t d
    for i in range(digits):
        d = <uint8_t>((v >> (4 * (digits - 1 - i))) & 15)
        to[i] = 48 + d if d < 10 else 87 + d
    return to + digits


cdef inline uint8_t *put_request_id(uint8_t *to, uint64_t *rng) noexcept nogil:
    # A version 4 UUID (RFC 9562), as Envoy makes them.
    cdef uint64_t a = rng_next(rng)
    cdef uint64_t b = rng_next(rng)
    to = put_hex(to, a >> 32, 8)
    to[0] = 45
    to = put_hex(to + 1, (a >> 16) & 0xFFFF, 4)
    to[0] = 45
    to = put_hex(to + 1, 0x4000 | (a & 0x0FFF), 4)
    to[0] = 45
    to = put_hex(to + 1, 0x8000 | ((b >> 48) & 0x3FFF), 4)
    to[0] = 45
    return put_hex(to + 1, b & <uint64_t>0xFFFFFFFFFFFF, 12)
