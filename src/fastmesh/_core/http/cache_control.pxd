"""Cache-Control (RFC 9111 section 5.2, RFC 5861): what may be done with an answer, as far as one hop asks.

What is broken is read as the more careful of what it could mean.
"""
from libc.stdint cimport int64_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t

cdef enum:
    CACHE_NO_STORE = 1
    CACHE_PRIVATE = 2         # also where it names fields
    CACHE_NO_CACHE = 4        # likewise
    CACHE_PUBLIC = 8
    CACHE_REVALIDATE = 16     # must-revalidate, proxy-revalidate, and what s-maxage says besides
    CACHE_SHARED = 32         # an answer to a request with Authorization may be kept all the same (section 3.5)
    CACHE_SECONDS_MOST = 0x7FFFFFFF     # what is longer counts as this (section 1.2.2)

ctypedef struct cache_control_t:
    uint32_t bits
    int64_t lifetime_s        # s-maxage, else max-age; -1 = not said
    int64_t if_error_s        # stale-if-error; -1 = not said

# All fields of the name, as one list.
cdef void cache_control_of(const msg_t *m, cache_control_t *c) noexcept nogil
# One field's value alone.
cdef void cache_control_read(span_t value, cache_control_t *c) noexcept nogil
# A number of seconds; 0 for what is none, CACHE_SECONDS_MOST for what is larger.
cdef int64_t cache_seconds(span_t v) noexcept nogil
