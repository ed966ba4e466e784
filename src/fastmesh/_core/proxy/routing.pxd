"""From a request's head to its route: what rules are compared with, and what is too unclear to be compared."""
from fastmesh._core.http.msg cimport msg_t
from fastmesh._core.proxy.mux cimport stream_t

cdef void routing_begin(stream_t *s, msg_t *m) noexcept nogil
# Behind the listener's filters.
cdef void routing_go_on(stream_t *s, msg_t *m) noexcept nogil
