"""One key, one endpoint: the next on a ring of hashes."""
from fastmesh._core.lb.cluster cimport lb_ops_t

cdef const lb_ops_t *ring_hash_ops() noexcept nogil
