"""What a request is told apart by from others, for balancers that send equal ones to the same endpoint."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.proxy.mux cimport stream_t

# Sets s.key and s.has_key from the first of the cluster's keys that the request has. Where there is none, and one is a
# cookie that may be made, makes it: s.told. `m` NULL: opaque bytes, which have only a source.
cdef void request_key_find(stream_t *s, const msg_t *m) noexcept nogil
# Sets s.wanted, where the request names an endpoint of its cluster.
cdef void request_key_stick(stream_t *s, const msg_t *m) noexcept nogil
# The endpoint s.wanted, or NULL when it is not to be used.
cdef endpoint_t *request_key_home(stream_t *s) noexcept nogil
# The lines by which the answer tells of s.told and of the session's endpoint, and how long they may become.
cdef uint32_t request_key_room(const stream_t *s) noexcept nogil
cdef uint8_t *request_key_tell(const stream_t *s, uint8_t *to) noexcept nogil
# The value of a cookie or query parameter, the first of that name; absent (NULL) when there is none or it is empty.
cdef span_t cookie_value(const msg_t *m, span_t name) noexcept nogil
cdef span_t query_value(span_t query, span_t name) noexcept nogil
