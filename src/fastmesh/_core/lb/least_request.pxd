"""The endpoint with the fewest requests in flight, nearly."""
from fastmesh._core.lb.cluster cimport lb_ops_t

cdef const lb_ops_t *least_request_ops() noexcept nogil
