"""Groups of endpoints in an order of preference: priorities, and the own zone before others.

The first level keeps all requests while enough of it can be used; then the next gets a part, as priorities do in Envoy.
A cluster without preferences has one level, where it has a panic threshold.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport endpoint_t

# Makes c.levels and the algorithm's state of each, in place of c.lb_state. FM_OK, or what ops.build says.
cdef int levels_build(cluster_t *c) noexcept nogil
cdef void levels_drop(cluster_t *c) noexcept nogil
# After c.given has changed.
cdef void levels_weigh(cluster_t *c) noexcept nogil
# How many can be used has changed: it is counted with the next pick.
cdef void levels_count(cluster_t *c) noexcept nogil
# After c.told has changed.
cdef void levels_tell(cluster_t *c) noexcept nogil
# An endpoint that is neither tried nor avoided, or NULL; one that is avoided where there is panic.
cdef endpoint_t *levels_pick(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                             endpoint_t **tried, uint32_t n_tried) noexcept nogil
