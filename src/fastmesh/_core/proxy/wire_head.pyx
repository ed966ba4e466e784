"""See wire_head.pxd."""
from fastmesh._core.http.h1 cimport h1_limits_t, h1_parse_request
from fastmesh._core.http.msg cimport MSG_FIELDS_ROOM
from fastmesh._core.mem.span cimport span_of

# What was encoded here is no larger than what was let in.
cdef h1_limits_t ANY
ANY.head_bytes = 65535
ANY.line_bytes = 65535
ANY.fields = MSG_FIELDS_ROOM


cdef msg_t *wire_head_of(const stream_t *s, span_t head) noexcept nogil:
    cdef msg_t *m = &s.proxy.logged
    return m if head.len != 0 and h1_parse_request(m, head.ptr, head.len, 0, &ANY) > 0 else NULL


cdef msg_t *wire_head(const stream_t *s) noexcept nogil:
    return wire_head_of(s, span_of(s.wire, s.wire_len))
