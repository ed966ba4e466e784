"""An endpoint that may have one more request."""
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.proxy.mux cimport stream_t

# `e`, which was picked, when it has room by `max_endpoint_requests` of its cluster; else another. NULL: none was found.
cdef endpoint_t *room_find(stream_t *s, endpoint_t *e) noexcept nogil
