"""Turns in order, weighted and interleaved.

Equal weights walk the list; unequal ones follow the schedule of lb/edf. Both begin at a
place that the first pick draws, so that workers and fresh snapshots are not in step.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport heap_free, heap_new
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.lb.cluster cimport cluster_t, endpoint_is_usable, weights_are_equal
from fastmesh._core.lb.edf cimport edf_free, edf_new, edf_pick, edf_t, edf_weigh

ctypedef struct rotation_t:
    edf_t *edf                # NULL when all weights are equal
    uint32_t next
    uint32_t is_started


cdef int build(cluster_t *c) noexcept nogil:
    cdef rotation_t *r = <rotation_t *>heap_new(sizeof(rotation_t))
    if not weights_are_equal(c):
        r.edf = edf_new(c, 1)
    c.lb_state = r
    return FM_OK


cdef void weigh(cluster_t *c) noexcept nogil:
    cdef rotation_t *r = <rotation_t *>c.lb_state
    if weights_are_equal(c):
        edf_free(r.edf)
        r.edf = NULL
    elif r.edf is NULL:
        r.edf = edf_new(c, 1)
    else:
        edf_weigh(r.edf, c)


cdef void drop(cluster_t *c) noexcept nogil:
    cdef rotation_t *r = <rotation_t *>c.lb_state
    edf_free(r.edf)
    heap_free(r)
    c.lb_state = NULL


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef rotation_t *r = <rotation_t *>c.lb_state
    cdef endpoint_t *e
    cdef uint32_t left = c.n
    if c.n == 0:
        return NULL
    if r.edf is not NULL:
        return edf_pick(r.edf, c, False, now_ns, rng, tried, n_tried)
    if not r.is_started:
        r.next = rng_below(rng, c.n)
        r.is_started = 1
    while left > 0:
        left -= 1
        e = &c.endpoints[r.next]
        r.next = r.next + 1 if r.next + 1 < c.n else 0
        if endpoint_is_usable(e, now_ns, tried, n_tried):
            return e
    return NULL


cdef lb_ops_t ops
ops.name = b"round_robin"
ops.build = build
ops.pick = pick
ops.weigh = weigh
ops.drop = drop


cdef const lb_ops_t *round_robin_ops() noexcept nogil:
    return &ops
