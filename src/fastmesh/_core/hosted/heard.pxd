"""What a worker has said to a filter host: msgpack, read where it lies.

Nothing is copied and no object is made of what nobody looks at. Extension types are none of the protocol.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    HEARD_NIL = 0xC0
    HEARD_NO = 0xC2
    HEARD_YES = 0xC3
    HEARD_DEPTH_MOST = 16     # of arrays and maps in each other


cdef struct heard_t:
    const uint8_t *p          # what is read next
    const uint8_t *end
    bint is_wrong             # something else stood there, or nothing


cdef inline uint64_t heard_big(const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t i
    for i in range(n):
        value = value << 8 | p[i]
    return value


cdef inline int64_t heard_size(const uint8_t *p, uint64_t n) noexcept nogil:
    """Bytes of the value that begins at p: 0 when there are not enough of them, -1 when it is none."""
    cdef uint64_t at = 0
    cdef uint64_t left = 1    # values that are to come
    cdef uint64_t count
    cdef uint32_t width
    cdef uint8_t kind
    while left:
        if at >= n:
            return 0
        kind = p[at]
        at += 1
        left -= 1
        if kind < 0x80 or kind >= 0xE0 or kind == HEARD_NIL or kind == HEARD_NO or kind == HEARD_YES:
            continue
        if kind < 0x90:
            left += 2 * (kind & 15)
        elif kind < 0xA0:
            left += kind & 15
        elif kind < 0xC0:
            at += kind & 31
        elif kind >= 0xD9 or 0xC4 <= kind <= 0xC6:
            # Of a length that stands before it: text, bytes, arrays, maps.
            if kind <= 0xC6:
                width = 1 << (kind - 0xC4)
            elif kind <= 0xDB:
                width = 1 << (kind - 0xD9)
            else:
                width = 4 if kind & 1 else 2
            if at + width > n:
                return 0
            count = heard_big(p + at, width)
            at += width
            if kind < 0xDC:
                at += count
            else:
                left += 2 * count if kind >= 0xDE else count
        elif kind == 0xCA:
            at += 4
        elif kind == 0xCB:
            at += 8
        elif 0xCC <= kind <= 0xCF:
            at += 1 << (kind - 0xCC)
        elif 0xD0 <= kind <= 0xD3:
            at += 1 << (kind - 0xD0)
        else:
            return -1
    return <int64_t>at if at <= n else 0


cdef inline uint8_t heard_peek(const heard_t *h) noexcept nogil:
    """The kind of what is next; 0xC1, which there is not, at the end."""
    return h.p[0] if h.p < h.end else 0xC1


cdef inline bint heard_is_nil(heard_t *h) noexcept nogil:
    """Whether nil is next, which is read then."""
    if heard_peek(h) != HEARD_NIL:
        return False
    h.p += 1
    return True


cdef inline void heard_skip(heard_t *h) noexcept nogil:
    cdef int64_t size = heard_size(h.p, <uint64_t>(h.end - h.p))
    if size <= 0:
        h.is_wrong = True
        h.p = h.end
    else:
        h.p += size


cdef inline uint64_t heard_uint(heard_t *h) noexcept nogil:
    cdef uint8_t kind = heard_peek(h)
    cdef uint32_t width
    cdef uint64_t value
    if kind < 0x80:
        h.p += 1
        return kind
    if 0xCC <= kind <= 0xCF:
        width = 1 << (kind - 0xCC)
        if h.end - h.p > width:
            value = heard_big(h.p + 1, width)
            h.p += 1 + width
            return value
    h.is_wrong = True
    return 0


cdef inline uint32_t heard_array(heard_t *h) noexcept nogil:
    """How many values an array has that begins here."""
    cdef uint8_t kind = heard_peek(h)
    cdef uint32_t width
    cdef uint32_t n
    if 0x90 <= kind < 0xA0:
        h.p += 1
        return kind & 15
    if kind == 0xDC or kind == 0xDD:
        width = 2 if kind == 0xDC else 4
        if h.end - h.p > width:
            n = <uint32_t>heard_big(h.p + 1, width)
            h.p += 1 + width
            return n
    h.is_wrong = True
    return 0


cdef inline const uint8_t *heard_text(heard_t *h, uint32_t *n, bint *is_bytes) noexcept nogil:
    """Text or bytes; NULL when something else stands there."""
    cdef uint8_t kind = heard_peek(h)
    cdef uint32_t width = 0
    cdef const uint8_t *at
    is_bytes[0] = False
    if 0xA0 <= kind < 0xC0:
        n[0] = kind & 31
    elif 0xD9 <= kind <= 0xDB or 0xC4 <= kind <= 0xC6:
        is_bytes[0] = kind <= 0xC6
        width = 1 << (kind - (0xC4 if kind <= 0xC6 else 0xD9))
        if h.end - h.p <= width:
            h.is_wrong = True
            return NULL
        n[0] = <uint32_t>heard_big(h.p + 1, width)
    else:
        h.is_wrong = True
        return NULL
    at = h.p + 1 + width
    if <uint64_t>(h.end - at) < n[0]:
        h.is_wrong = True
        return NULL
    h.p = at + n[0]
    return at


# What is next, as an object. Raises ValueError when it is none that the protocol has.
cdef object heard_value(heard_t *h, int depth=*)
