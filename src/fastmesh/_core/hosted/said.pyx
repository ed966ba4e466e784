"""See said.pxd."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import msgpack

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object s, Py_ssize_t *n) except NULL

cdef enum:
    SAID_MOST = 1 << 30

cdef object pack = msgpack.Packer(autoreset=True).pack


cdef void said_end(said_t *s) noexcept:
    if s.p != s.room:
        PyMem_Free(s.p)
    s.p = s.room


cdef int _grow(said_t *s, uint32_t n) except -1:
    cdef uint8_t *made
    cdef uint64_t size = 2 * (<uint64_t>s.size + n)
    if size > SAID_MOST:
        raise ValueError("more than can be said at once")
    made = <uint8_t *>PyMem_Realloc(NULL if s.p == s.room else s.p, size)
    if made is NULL:
        raise MemoryError
    if s.p == s.room:
        memcpy(made, s.room, s.used)
    s.p = made
    s.size = <uint32_t>size
    return 0


cdef inline int _room(said_t *s, uint32_t n) except -1:
    if n > s.size - s.used:
        _grow(s, n)
    return 0


cdef inline int _head(said_t *s, uint8_t kind, uint64_t value, uint32_t width) except -1:
    """A kind, and a number of so many bytes, the highest first."""
    cdef uint32_t i
    _room(s, 1 + width)
    s.p[s.used] = kind
    for i in range(width):
        s.p[s.used + width - i] = <uint8_t>(value >> 8 * i)
    s.used += 1 + width
    return 0


cdef int said_array(said_t *s, uint32_t n) except -1:
    if n < 16:
        return _head(s, <uint8_t>(0x90 | n), 0, 0)
    return _head(s, 0xDC, n, 2) if n < 0x10000 else _head(s, 0xDD, n, 4)


cdef int said_uint(said_t *s, uint64_t value) except -1:
    if value < 128:
        return _head(s, <uint8_t>value, 0, 0)
    if value < 0x100:
        return _head(s, 0xCC, value, 1)
    if value < 0x10000:
        return _head(s, 0xCD, value, 2)
    return _head(s, 0xCE, value, 4) if value >> 32 == 0 else _head(s, 0xCF, value, 8)


cdef int _bytes(said_t *s, const char *p, Py_ssize_t n) except -1:
    _room(s, <uint32_t>n)
    memcpy(s.p + s.used, p, n)
    s.used += <uint32_t>n
    return 0


cdef int _text(said_t *s, str value) except -1:
    cdef Py_ssize_t n = 0
    cdef const char *p = PyUnicode_AsUTF8AndSize(value, &n)
    if n > SAID_MOST:
        raise ValueError("more text than can be said at once")
    if n < 32:
        _head(s, <uint8_t>(0xA0 | n), 0, 0)
    elif n < 0x100:
        _head(s, 0xD9, n, 1)
    elif n < 0x10000:
        _head(s, 0xDA, n, 2)
    else:
        _head(s, 0xDB, n, 4)
    return _bytes(s, p, n)


cdef int _blob(said_t *s, bytes value) except -1:
    cdef Py_ssize_t n = PyBytes_GET_SIZE(value)
    if n > SAID_MOST:
        raise ValueError("more bytes than can be said at once")
    if n < 0x100:
        _head(s, 0xC4, n, 1)
    elif n < 0x10000:
        _head(s, 0xC5, n, 2)
    else:
        _head(s, 0xC6, n, 4)
    return _bytes(s, PyBytes_AS_STRING(value), n)


cdef int said_value(said_t *s, object value) except -1:
    cdef bytes packed
    if value is None:
        return _head(s, 0xC0, 0, 0)
    if type(value) is str:
        return _text(s, value)
    if type(value) is bytes:
        return _blob(s, value)
    if value is True or value is False:
        return _head(s, 0xC3 if value else 0xC2, 0, 0)
    if type(value) is int and 0 <= value < 1 << 63:
        return said_uint(s, value)
    # Few values are anything else.
    packed = pack(value)
    if PyBytes_GET_SIZE(packed) > SAID_MOST:
        raise ValueError("more than can be said at once")
    return _bytes(s, PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
