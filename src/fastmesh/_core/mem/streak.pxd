"""Failures in a row of one endpoint, as all workers count them together."""
from fastmesh._core.mem.health cimport endpoint_health_t
from fastmesh._core.mem.segment cimport word_set


cdef inline void streaks_end(endpoint_health_t *e) noexcept nogil:
    """Nothing is written where nothing was: the line stays with all workers."""
    if e.server_errors != 0:
        word_set(&e.server_errors, 0)
    if e.gateway_errors != 0:
        word_set(&e.gateway_errors, 0)
    if e.connect_failures != 0:
        word_set(&e.connect_failures, 0)
    if e.timeouts != 0:
        word_set(&e.timeouts, 0)
