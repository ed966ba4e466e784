"""A random endpoint, in proportion to weights."""
from fastmesh._core.lb.cluster cimport lb_ops_t

cdef const lb_ops_t *weighted_random_ops() noexcept nogil
