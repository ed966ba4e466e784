"""Which pages of other origins may read the answers of a route, as the Fetch standard has it ("CORS protocol").

Immutable, part of a snapshot. An origin is compared byte for byte: browsers write scheme and host in lower case.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp
from fastmesh._core.mem.span cimport span_eq, span_of, span_t
from fastmesh._core.route.pattern cimport pattern_t, pattern_takes

cdef enum:
    CORS_ORIGINS_MAX = 256    # of one rule
    CORS_ORIGIN_LEN = 1024    # a longer one is nobody's
    CORS_LIST_MAX = 16384     # bytes of a list of names

    ORIGIN_EXACT = 0
    ORIGIN_BELOW = 1          # every host below a domain
    ORIGIN_PATTERN = 2

ctypedef struct cors_origin_t:
    uint8_t kind
    span_t text               # the whole of it; of ORIGIN_BELOW, what stands before the host
    span_t domain             # of ORIGIN_BELOW: from its dot on, with the port
    const pattern_t *pattern

ctypedef struct cors_rule_t:
    bint is_any               # whoever asks may read, without credentials
    bint has_credentials      # cookies and passwords may be sent along
    bint any_method           # the lists are what is asked for
    bint any_header
    bint allows_private       # pages of the open network may ask what is in a private one
    uint32_t max_age_s
    uint32_t n
    cors_origin_t *origins
    # As they are written out.
    span_t methods
    span_t headers
    span_t expose


cdef inline bint cors_is_host(span_t s) noexcept nogil:
    """Labels of a host: no port, no user, no path."""
    cdef uint32_t i
    cdef uint8_t c
    for i in range(s.len):
        c = s.ptr[i]
        if not (c'a' <= c <= c'z' or c'0' <= c <= c'9' or c == c'-' or c == c'.' or c == c'_'):
            return False
    return s.len != 0 and s.ptr[0] != c'.'


cdef inline const cors_origin_t *cors_find(const cors_rule_t *r, span_t origin) noexcept nogil:
    """Who it is among those of the rule, or NULL."""
    cdef const cors_origin_t *o
    cdef uint32_t i
    if origin.len == 0 or origin.len > CORS_ORIGIN_LEN:
        return NULL
    for i in range(r.n):
        o = &r.origins[i]
        if o.kind == ORIGIN_EXACT:
            if span_eq(o.text, origin):
                return o
        elif o.kind == ORIGIN_PATTERN:
            if pattern_takes(o.pattern, origin):
                return o
        elif (origin.len > o.text.len + o.domain.len and memcmp(origin.ptr, o.text.ptr, o.text.len) == 0 and
                memcmp(origin.ptr + origin.len - o.domain.len, o.domain.ptr, o.domain.len) == 0 and
                cors_is_host(span_of(origin.ptr + o.text.len, origin.len - o.text.len - o.domain.len))):
            return o
    return NULL
