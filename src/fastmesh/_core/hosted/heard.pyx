"""See heard.pxd."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef object heard_value(heard_t *h, int depth=0):
    cdef uint8_t kind = heard_peek(h)
    cdef uint32_t n = 0
    cdef bint is_bytes = False
    cdef const uint8_t *at
    cdef list items
    cdef dict named
    if kind < 0x80 or 0xCC <= kind <= 0xCF:
        value = heard_uint(h)
    elif kind >= 0xE0:
        h.p += 1
        value = <int8_t>kind
    elif kind == HEARD_NIL or kind == HEARD_NO or kind == HEARD_YES:
        h.p += 1
        value = None if kind == HEARD_NIL else kind == HEARD_YES
    elif 0x90 <= kind < 0xA0 or kind == 0xDC or kind == 0xDD:
        n = heard_array(h)
        if depth >= HEARD_DEPTH_MOST or n > <uint64_t>(h.end - h.p):
            raise ValueError("arrays in each other without end, or one that is cut")
        items = []
        for _ in range(n):
            items.append(heard_value(h, depth + 1))
        value = items
    elif 0x80 <= kind < 0x90 or kind == 0xDE or kind == 0xDF:
        value = named = {}
        for _ in range(_pairs(h, kind)):
            if depth >= HEARD_DEPTH_MOST:
                raise ValueError("maps in each other without end")
            key = heard_value(h, depth + 1)
            named[key] = heard_value(h, depth + 1)
    elif kind == 0xCA or kind == 0xCB or 0xD0 <= kind <= 0xD3:
        value = _number(h, kind)
    else:
        at = heard_text(h, &n, &is_bytes)
        if at is NULL:
            raise ValueError(f"a value of kind {kind:#x}, or one that is cut")
        if is_bytes:
            value = PyBytes_FromStringAndSize(<const char *>at, n)
        else:
            value = PyUnicode_DecodeUTF8(<const char *>at, n, NULL)
    if h.is_wrong:
        raise ValueError(f"a value of kind {kind:#x} that is cut")
    return value


cdef uint32_t _pairs(heard_t *h, uint8_t kind) noexcept:
    cdef uint32_t width = 2 if kind == 0xDE else 4
    cdef uint32_t n
    if kind < 0x90:
        h.p += 1
        return kind & 15
    if h.end - h.p <= width:
        h.is_wrong = True
        return 0
    n = <uint32_t>heard_big(h.p + 1, width)
    h.p += 1 + width
    return n


cdef object _number(heard_t *h, uint8_t kind):
    cdef uint32_t width = 4 if kind == 0xCA else 8 if kind == 0xCB else 1 << (kind - 0xD0)
    cdef uint64_t bits
    cdef uint32_t low
    cdef float single
    cdef double number
    if h.end - h.p <= width:
        h.is_wrong = True
        return None
    bits = heard_big(h.p + 1, width)
    h.p += 1 + width
    if kind == 0xCA:
        low = <uint32_t>bits
        memcpy(&single, &low, 4)
        return single
    if kind == 0xCB:
        memcpy(&number, &bits, 8)
        return number
    if width == 1:
        return <int8_t>bits
    if width == 2:
        return <int16_t>bits
    return <int32_t>bits if width == 4 else <int64_t>bits
