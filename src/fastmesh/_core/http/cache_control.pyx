"""See cache_control.pxd."""
from libc.stdint cimport uint8_t
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_value
from fastmesh._core.mem.span cimport span_ieq, span_of

cdef const uint8_t *FIELD = b"cache-control"
cdef enum:
    FIELD_LEN = 13


cdef inline bint _is_space(uint8_t c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef inline span_t _trimmed(const uint8_t *p, const uint8_t *end) noexcept nogil:
    while p < end and _is_space(p[0]):
        p += 1
    while end > p and _is_space((end - 1)[0]):
        end -= 1
    return span_of(p, <uint32_t>(end - p))


cdef int64_t cache_seconds(span_t v) noexcept nogil:
    cdef int64_t number = 0
    cdef uint32_t i
    if v.len >= 2 and v.ptr[0] == c'"' and v.ptr[v.len - 1] == c'"':
        v = span_of(v.ptr + 1, v.len - 2)
    for i in range(v.len):
        if not c'0' <= v.ptr[i] <= c'9':
            return 0
        if number < CACHE_SECONDS_MOST:
            number = number * 10 + (v.ptr[i] - 48)
    return number if number < CACHE_SECONDS_MOST else CACHE_SECONDS_MOST


cdef inline bint _is(span_t name, const char *lower, uint32_t n) noexcept nogil:
    return span_ieq(name, span_of(<const uint8_t *>lower, n))


cdef inline int64_t _smaller(int64_t old, int64_t fresh) noexcept nogil:
    return fresh if old < 0 or fresh < old else old


cdef void _directive(span_t name, span_t value, cache_control_t *c, int64_t *max_age, int64_t *shared) noexcept nogil:
    if _is(name, b"no-store", 8):
        c.bits |= CACHE_NO_STORE
    elif _is(name, b"private", 7):
        c.bits |= CACHE_PRIVATE
    elif _is(name, b"no-cache", 8):
        c.bits |= CACHE_NO_CACHE
    elif _is(name, b"public", 6):
        c.bits |= CACHE_PUBLIC | CACHE_SHARED
    elif _is(name, b"must-revalidate", 15):
        c.bits |= CACHE_REVALIDATE | CACHE_SHARED
    elif _is(name, b"proxy-revalidate", 16):
        c.bits |= CACHE_REVALIDATE
    elif _is(name, b"s-maxage", 8):
        c.bits |= CACHE_REVALIDATE | CACHE_SHARED
        shared[0] = _smaller(shared[0], cache_seconds(value))
    elif _is(name, b"max-age", 7):
        max_age[0] = _smaller(max_age[0], cache_seconds(value))
    elif _is(name, b"stale-if-error", 14):
        c.if_error_s = _smaller(c.if_error_s, cache_seconds(value))


cdef void _read(span_t value, cache_control_t *c, int64_t *max_age, int64_t *shared) noexcept nogil:
    cdef const uint8_t *p = value.ptr
    cdef const uint8_t *end = value.ptr + value.len
    cdef const uint8_t *start
    cdef const uint8_t *equals
    cdef bint is_quoted
    while p < end:
        start = p
        equals = NULL
        is_quoted = False
        while p < end and (is_quoted or p[0] != c','):
            if is_quoted and p[0] == c'\\' and p + 1 < end:
                p += 1
            elif p[0] == c'"':
                is_quoted = not is_quoted
            elif p[0] == c'=' and equals is NULL and not is_quoted:
                equals = p
            p += 1
        if is_quoted:
            # Nobody knows what else stands in a text without an end.
            c.bits |= CACHE_NO_STORE
        if equals is NULL:
            _directive(_trimmed(start, p), span_of(NULL, 0), c, max_age, shared)
        else:
            _directive(_trimmed(start, equals), _trimmed(equals + 1, p), c, max_age, shared)
        p += 1


cdef inline void _begin(cache_control_t *c) noexcept nogil:
    c.bits = 0
    c.lifetime_s = -1
    c.if_error_s = -1


cdef void cache_control_read(span_t value, cache_control_t *c) noexcept nogil:
    cdef int64_t max_age = -1
    cdef int64_t shared = -1
    _begin(c)
    _read(value, c, &max_age, &shared)
    c.lifetime_s = shared if shared >= 0 else max_age


cdef void cache_control_of(const msg_t *m, cache_control_t *c) noexcept nogil:
    cdef int64_t max_age = -1
    cdef int64_t shared = -1
    cdef int i = head_find(m, FIELD, FIELD_LEN, 0)
    _begin(c)
    while i >= 0:
        _read(msg_value(m, i), c, &max_age, &shared)
        i = head_find(m, FIELD, FIELD_LEN, i + 1)
    c.lifetime_s = shared if shared >= 0 else max_age
