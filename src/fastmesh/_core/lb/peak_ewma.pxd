"""The endpoint that is likely to answer first."""
from fastmesh._core.lb.cluster cimport lb_ops_t

# Failures count as quickly as they came.
cdef const lb_ops_t *peak_ewma_ops() noexcept nogil
# Failures count as slow: an endpoint that refuses everything at once must not look like the fastest.
cdef const lb_ops_t *failure_aware_ewma_ops() noexcept nogil
