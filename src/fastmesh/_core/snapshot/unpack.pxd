"""A pull reader of msgpack: the caller says what must come next.

Nothing is allocated, nothing recurses, no byte outside [p, end) is read. A count is refused
when the rest of the bytes could not hold that many values. Strings are msgpack str or bin.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    UNPACK_TRUNCATED = -20
    UNPACK_KIND = -21         # something else came: see unpack_kind

ctypedef struct unpack_t:
    const uint8_t *p
    const uint8_t *end


# Each returns FM_OK and moves on, or UNPACK_* and stays where it was.
cdef int unpack_array(unpack_t *u, uint32_t *n) noexcept nogil
cdef int unpack_uint(unpack_t *u, uint64_t *v) noexcept nogil
# For values of at most 2**63 - 1.
cdef int unpack_int(unpack_t *u, int64_t *v) noexcept nogil
cdef int unpack_bool(unpack_t *u, uint8_t *v) noexcept nogil
cdef int unpack_bytes(unpack_t *u, span_t *s) noexcept nogil
# True and moves on when nil comes next.
cdef bint unpack_nil(unpack_t *u) noexcept nogil
# What comes next, in words: "a map", "nil", …; static storage.
cdef const char *unpack_kind(const unpack_t *u) noexcept nogil
