"""Preflights (Fetch, "CORS-preflight request"): an OPTIONS that asks about another request, and is matched as that."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr
from fastmesh._core.http.edit cimport head_find
from fastmesh._core.http.msg cimport msg_t, msg_value
from fastmesh._core.http.token cimport METHOD_OPTIONS
from fastmesh._core.mem.span cimport span_of, span_t
from fastmesh._core.route.route_table cimport method_id

cdef enum:
    ASKED_METHOD_MAX = 256    # bytes of a method that is asked about

ctypedef struct own_method_t:
    uint8_t method
    uint16_t off, len


cdef inline bint asked_is_list(span_t v) noexcept nogil:
    """Of names: what may be given back as it came."""
    cdef uint32_t i
    cdef uint8_t c
    for i in range(v.len):
        c = v.ptr[i]
        if not (c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c == c' ' or
                memchr(b",!#$%&'*+-.^_`|~", c, 16) is not NULL):
            return False
    return True


cdef inline span_t asked_origin(const msg_t *m) noexcept nogil:
    """Whose page it is; absent where nothing is said, or more than one thing."""
    cdef int at = head_find(m, <const uint8_t *>b"origin", 6, 0)
    if at < 0 or head_find(m, <const uint8_t *>b"origin", 6, at + 1) >= 0:
        return span_of(NULL, 0)
    return msg_value(m, at)


cdef inline span_t asked_method(const msg_t *m) noexcept nogil:
    """Of the request that it asks about; absent where it is no preflight."""
    cdef int at
    if m.method != METHOD_OPTIONS or asked_origin(m).ptr is NULL:
        return span_of(NULL, 0)
    at = head_find(m, <const uint8_t *>b"access-control-request-method", 29, 0)
    if at < 0 or not 0 < m.fields[at].value_len <= ASKED_METHOD_MAX or not asked_is_list(msg_value(m, at)):
        return span_of(NULL, 0)
    return msg_value(m, at)


cdef inline bint asked_begin(msg_t *m, own_method_t *own) noexcept nogil:
    """It has the method that it asks about, until `asked_end`. False: it is no preflight."""
    cdef span_t method = asked_method(m)
    if method.ptr is NULL:
        return False
    own.method = m.method
    own.off = m.method_off
    own.len = m.method_len
    m.method = <uint8_t>method_id(method)
    m.method_off = <uint16_t>(method.ptr - m.base)
    m.method_len = <uint16_t>method.len
    return True


cdef inline void asked_end(msg_t *m, const own_method_t *own) noexcept nogil:
    m.method = own.method
    m.method_off = own.off
    m.method_len = own.len
