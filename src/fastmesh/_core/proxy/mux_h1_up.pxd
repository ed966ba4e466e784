"""HTTP/1.1 towards the upstream: requests out, answers in."""
from fastmesh._core.proxy.mux cimport up_ops_t

cdef const up_ops_t *mux_h1_up_ops() noexcept nogil
