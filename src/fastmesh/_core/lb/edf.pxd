"""Weighted turns: an earliest-deadline-first schedule over the endpoints of a cluster.

Each endpoint comes up every 1/weight of virtual time, so that turns interleave instead of
bursting: weights 3 and 1 give a a b a, not a a a b. First deadlines are spread by the golden
ratio, which also spaces the light endpoints between the turns of a heavy one.

Endpoints that are avoided leave the heap and wait in its tail, so that an outage costs a pick
nothing; one of them is looked at per pick, which finds those whose avoidance has ended.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.lb.endpoint cimport endpoint_t, endpoint_live_t
from fastmesh._core.lb.cluster cimport cluster_t

ctypedef struct turn_t:
    uint64_t deadline
    uint32_t slot             # index into the endpoints

ctypedef struct edf_t:
    void *block               # owned; turns point into it
    turn_t *turns             # [0, n_heap) a 4-ary heap, [n_heap, n) parked; room for every endpoint
    uint64_t *strides         # by slot: virtual time between two turns; 0 = its weight is 0, it has no turn
    uint32_t n                # endpoints that have turns
    uint32_t n_heap
    uint32_t cursor           # which parked one is looked at next
    uint32_t is_started       # the first pick sets the phase, from its rng
    uint64_t unit             # virtual time of one turn at weight 1
    uint64_t now              # deadline of the turn taken last


# `active_max`: a turn may be stretched by 1 + the requests in flight, up to this factor; 1 = never.
cdef edf_t *edf_new(const cluster_t *c, uint32_t active_max) noexcept nogil
cdef void edf_free(edf_t *q) noexcept nogil
# The weights are others now. Who was next stays next where that is fair: what is left until a turn is stretched or
# shrunk as its stride is.
cdef void edf_weigh(edf_t *q, const cluster_t *c) noexcept nogil
# The usable endpoint with the earliest deadline, or NULL. Its next turn is set to one stride later, times
# (live.active + 1) when `by_load`.
cdef endpoint_t *edf_pick(edf_t *q, cluster_t *c, bint by_load, uint64_t now_ns, uint64_t *rng,
                          endpoint_t **tried, uint32_t n_tried) noexcept nogil
