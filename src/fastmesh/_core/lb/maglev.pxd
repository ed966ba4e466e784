"""One key, one endpoint: a table in which each endpoint has its share of the places."""
from fastmesh._core.lb.cluster cimport lb_ops_t

cdef const lb_ops_t *maglev_ops() noexcept nogil
