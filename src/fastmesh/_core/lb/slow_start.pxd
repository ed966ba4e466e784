"""Endpoints that are new or have come back get their share little by little."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t

# As the cluster's algorithm picks, with slow_start_ns in its settings. `key`: NULL = none.
cdef endpoint_t *slow_start_pick(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                                 endpoint_t **tried, uint32_t n_tried) noexcept nogil
