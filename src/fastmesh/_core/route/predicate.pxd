"""What one header, query parameter or cookie of a request must say.

A request may say the same thing twice, and whoever is asked behind the proxy may read it in another way. A predicate
holds when it holds in one reading; when it does not in another, it is torn.
"""
from libc.stdint cimport int64_t, uint8_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.route.pattern cimport pattern_t

cdef enum value_kind_t:
    VALUE_EXACT = 0
    VALUE_PREFIX = 1
    VALUE_SUFFIX = 2
    VALUE_CONTAINS = 3
    VALUE_PRESENT = 4         # any value
    VALUE_RANGE = 5           # a whole number of at most 18 digits, from low to high
    VALUE_PATTERN = 6

ctypedef struct predicate_t:
    span_t name               # of a header: lower case
    span_t text               # case matters
    uint8_t kind
    uint8_t invert            # what the rest does not take; also a request that has none
    uint8_t id                # header_id_t when a header's name has one, else 0
    const pattern_t *pattern
    int64_t low
    int64_t high

# The value of the first cookie of the name, absent when there is none.
cdef span_t cookie_value(const msg_t *m, span_t name) noexcept nogil
cdef bint value_takes(const predicate_t *v, span_t value) noexcept nogil
cdef bint header_holds(const predicate_t *v, const msg_t *m) noexcept nogil
cdef bint header_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil
cdef bint query_holds(const predicate_t *v, const msg_t *m) noexcept nogil
cdef bint query_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil
cdef bint cookie_holds(const predicate_t *v, const msg_t *m) noexcept nogil
cdef bint cookie_is_torn(const predicate_t *v, const msg_t *m) noexcept nogil
