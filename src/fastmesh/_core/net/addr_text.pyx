"""The address forms that endpoints are mostly written in, read without Python."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, strlen
from fastmesh._core.net.addr cimport addr_t

cdef extern from "<sys/socket.h>" nogil:
    enum: AF_INET
    enum: AF_INET6

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *dst)
    const char *inet_ntop(int family, const void *src, char *dst, uint32_t size)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text) nogil

cdef enum:
    TEXT_MOST = 64            # "[", 39 of an address, or 45 with IPv4 behind it, "]:65535"
    # msgpack
    PAIR = 0x92
    SHORT_TEXT = 0xA0
    SHORT_MOST = 31
    TEXT_8 = 0xD9
    HEAD_MOST = 3             # bytes before the text
    WEIGHT_MOST = 127         # that a byte says


cdef int take_number(const uint8_t **at, const uint8_t *end, int digits, int most) noexcept nogil:
    """A decimal number without leading zeros, which `at` is moved behind; -1 for anything else."""
    cdef const uint8_t *p = at[0]
    cdef int found = 0
    while p < end and p - at[0] < digits and 48 <= p[0] <= 57:
        found = 10 * found + p[0] - 48
        p += 1
    if p == at[0] or (at[0][0] == 48 and p - at[0] > 1) or found > most:
        return -1
    at[0] = p
    return found


cdef bint take_port(addr_t *a, const uint8_t *p, const uint8_t *end) noexcept nogil:
    cdef int port
    if p == end or p[0] != 58:
        return False
    p += 1
    port = take_number(&p, end, 5, 65535)
    if port <= 0 or p != end:
        return False
    a.port = <unsigned short>port
    return True


cdef bint plain_6(addr_t *a, const uint8_t *text, uint32_t n) noexcept nogil:
    cdef char given[TEXT_MOST]
    cdef char shortest[TEXT_MOST]
    cdef uint32_t close = n
    while close > 0 and text[close - 1] != 93:
        close -= 1
    if close < 3 or n > TEXT_MOST:
        return False
    memcpy(given, text + 1, close - 2)
    given[close - 2] = 0
    if inet_pton(AF_INET6, given, a.ip) != 1 or inet_ntop(AF_INET6, a.ip, shortest, TEXT_MOST) is NULL:
        return False
    if strlen(shortest) != close - 2 or memcmp(shortest, given, close - 2) != 0:
        return False
    a.family = AF_INET6
    a.len = 16
    return take_port(a, text + close, text + n)


cdef bint addr_plain(addr_t *a, const uint8_t *text, uint32_t n) noexcept nogil:
    cdef const uint8_t *p = text
    cdef const uint8_t *end = text + n
    cdef int part
    cdef uint32_t i
    if n != 0 and text[0] == 91:
        return plain_6(a, text, n)
    for i in range(4):
        if i != 0:
            if p == end or p[0] != 46:
                return False
            p += 1
        part = take_number(&p, end, 3, 255)
        if part < 0:
            return False
        a.ip[i] = <uint8_t>part
    a.family = AF_INET
    a.len = 4
    return take_port(a, p, end)


def told(str text, Py_ssize_t weight=1):
    """What `Member.told` packs of an endpoint that is this address and weight and no more; None when it must be looked
    at."""
    cdef addr_t a
    cdef Py_ssize_t n = 0
    cdef const char *p
    cdef char *dst
    if not PyUnicode_IS_COMPACT_ASCII(text) or not 0 < len(text) <= TEXT_MOST or not 1 <= weight <= WEIGHT_MOST:
        return None
    p = PyUnicode_AsUTF8AndSize(text, &n)
    if not addr_plain(&a, <const uint8_t *>p, <uint32_t>n):
        return None
    packed = PyBytes_FromStringAndSize(NULL, n + (HEAD_MOST if n <= SHORT_MOST else HEAD_MOST + 1))
    dst = PyBytes_AS_STRING(packed)
    dst[0] = <char>PAIR
    if n <= SHORT_MOST:
        dst[1] = <char>(SHORT_TEXT | n)
        dst += 2
    else:
        dst[1] = <char>TEXT_8
        dst[2] = <char>n
        dst += 3
    memcpy(dst, p, n)
    dst[n] = <char>weight
    return packed
