"""Names of endpoints that clients are given and cannot make up: for sessions that stay where they began.

The name of an endpoint is the SipHash of cluster and address under the operator's secret. All workers and all
instances with that secret agree on it, it holds nothing that could be read out of it, and that of an endpoint cannot be
guessed.
"""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t

cdef enum:
    STICKY_DIGITS = 32

# Makes c.names, where settings.sticky says that there are sessions.
cdef void sticky_build(cluster_t *c) noexcept nogil
cdef void sticky_drop(cluster_t *c) noexcept nogil
# The endpoint of that name, or NULL.
cdef endpoint_t *sticky_find(const cluster_t *c, span_t name) noexcept nogil
# Writes STICKY_DIGITS bytes.
cdef void sticky_name(const cluster_t *c, const endpoint_t *e, uint8_t *to) noexcept nogil
