"""A pull reader of msgpack: the caller says what must come next."""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.fault cimport FM_OK


cdef inline uint64_t load(const uint8_t *p, uint32_t n) noexcept nogil:
    """A big-endian number of n bytes."""
    cdef uint64_t v = 0
    cdef uint32_t i
    for i in range(n):
        v = (v << 8) | p[i]
    return v


cdef int unpack_array(unpack_t *u, uint32_t *n) noexcept nogil:
    cdef uint64_t left = <uint64_t>(u.end - u.p)
    cdef uint32_t head = 1
    cdef uint64_t count
    cdef uint8_t b
    if left == 0:
        return UNPACK_TRUNCATED
    b = u.p[0]
    if b & 0xF0 == 0x90:
        count = b & 0x0F
    elif b == 0xDC or b == 0xDD:
        head = 3 if b == 0xDC else 5
        if left < head:
            return UNPACK_TRUNCATED
        count = load(u.p + 1, head - 1)
    else:
        return UNPACK_KIND
    # Every value takes a byte at least.
    if count > left - head:
        return UNPACK_TRUNCATED
    u.p += head
    n[0] = <uint32_t>count
    return FM_OK


cdef int unpack_uint(unpack_t *u, uint64_t *v) noexcept nogil:
    cdef uint64_t left = <uint64_t>(u.end - u.p)
    cdef uint32_t size
    cdef uint8_t b
    if left == 0:
        return UNPACK_TRUNCATED
    b = u.p[0]
    if b < 0x80:
        u.p += 1
        v[0] = b
        return FM_OK
    if b < 0xCC or b > 0xCF:
        return UNPACK_KIND
    size = <uint32_t>1 << (b - 0xCC)
    if left < 1 + size:
        return UNPACK_TRUNCATED
    v[0] = load(u.p + 1, size)
    u.p += 1 + size
    return FM_OK


cdef int unpack_int(unpack_t *u, int64_t *v) noexcept nogil:
    cdef uint64_t left = <uint64_t>(u.end - u.p)
    cdef uint64_t raw = 0
    cdef uint32_t size
    cdef uint8_t b
    cdef int code
    if left == 0:
        return UNPACK_TRUNCATED
    b = u.p[0]
    if b >= 0xE0:
        v[0] = <int8_t>b
        u.p += 1
        return FM_OK
    if 0xD0 <= b <= 0xD3:
        size = <uint32_t>1 << (b - 0xD0)
        if left < 1 + size:
            return UNPACK_TRUNCATED
        raw = load(u.p + 1, size)
        if size == 1:
            v[0] = <int8_t>raw
        elif size == 2:
            v[0] = <int16_t>raw
        elif size == 4:
            v[0] = <int32_t>raw
        else:
            v[0] = <int64_t>raw
        u.p += 1 + size
        return FM_OK
    code = unpack_uint(u, &raw)
    if code != FM_OK:
        return code
    v[0] = <int64_t>raw if raw < <uint64_t>1 << 63 else <int64_t>((<uint64_t>1 << 63) - 1)
    return FM_OK


cdef int unpack_bool(unpack_t *u, uint8_t *v) noexcept nogil:
    if u.p == u.end:
        return UNPACK_TRUNCATED
    if u.p[0] != 0xC2 and u.p[0] != 0xC3:
        return UNPACK_KIND
    v[0] = u.p[0] & 1
    u.p += 1
    return FM_OK


cdef int unpack_bytes(unpack_t *u, span_t *s) noexcept nogil:
    cdef uint64_t left = <uint64_t>(u.end - u.p)
    cdef uint64_t size
    cdef uint32_t head = 1
    cdef uint8_t b
    if left == 0:
        return UNPACK_TRUNCATED
    b = u.p[0]
    if b & 0xE0 == 0xA0:
        size = b & 0x1F
    else:
        if 0xD9 <= b <= 0xDB:
            head = 1 + (<uint32_t>1 << (b - 0xD9))
        elif 0xC4 <= b <= 0xC6:
            head = 1 + (<uint32_t>1 << (b - 0xC4))
        else:
            return UNPACK_KIND
        if left < head:
            return UNPACK_TRUNCATED
        size = load(u.p + 1, head - 1)
    if size > left - head:
        return UNPACK_TRUNCATED
    s.ptr = u.p + head
    s.len = <uint32_t>size
    u.p += head + size
    return FM_OK


cdef bint unpack_nil(unpack_t *u) noexcept nogil:
    if u.p < u.end and u.p[0] == 0xC0:
        u.p += 1
        return True
    return False


cdef const char *unpack_kind(const unpack_t *u) noexcept nogil:
    cdef uint8_t b
    if u.p == u.end:
        return b"the end"
    b = u.p[0]
    if b < 0x80 or 0xCC <= b <= 0xCF:
        return b"a number"
    if b >= 0xE0 or 0xD0 <= b <= 0xD3:
        return b"a signed number"
    if b & 0xF0 == 0x80 or b == 0xDE or b == 0xDF:
        return b"a map"
    if b & 0xF0 == 0x90 or b == 0xDC or b == 0xDD:
        return b"an array"
    if b & 0xE0 == 0xA0 or 0xD9 <= b <= 0xDB:
        return b"a string"
    if 0xC4 <= b <= 0xC6:
        return b"bytes"
    if b == 0xC0:
        return b"nil"
    if b == 0xC2 or b == 0xC3:
        return b"a boolean"
    if b == 0xCA or b == 0xCB:
        return b"a floating-point number"
    return b"an unknown type"
