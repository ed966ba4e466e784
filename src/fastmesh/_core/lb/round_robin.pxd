"""Turns in order, weighted and interleaved."""
from fastmesh._core.lb.cluster cimport lb_ops_t

cdef const lb_ops_t *round_robin_ops() noexcept nogil
