"""A random endpoint, in proportion to weights.

Unequal weights use the alias method (Walker 1977; Vose 1991): one slot and one threshold per
pick, whatever the number of endpoints. Thresholds are whole numbers below the sum of the
weights, so proportions are exact.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport heap_array, heap_free, heap_new
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.hash cimport fm_mul_high
from fastmesh._core.mem.rng cimport rng_below, rng_next
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.lb.cluster cimport cluster_t, cluster_weight, endpoint_is_usable, lb_ops_t, weights_are_equal

cdef enum:
    DRAWS = 8                 # before all are looked at

ctypedef struct alias_t:
    uint64_t keep             # of `total`: this slot itself; above: its alias
    uint32_t alias

ctypedef struct aliases_t:
    uint64_t total            # of weights
    alias_t *slots            # one for each endpoint, owned


cdef int build(cluster_t *c) noexcept nogil:
    cdef aliases_t *table
    cdef alias_t *t
    cdef uint32_t *order      # slots below the mean from the front, the others from the back
    cdef uint64_t total = 0
    cdef uint32_t i, small, large
    cdef uint32_t n_small = 0
    cdef uint32_t n_large = 0
    c.lb_state = NULL
    if weights_are_equal(c):
        return FM_OK
    t = <alias_t *>heap_array(c.n, sizeof(alias_t))
    order = <uint32_t *>heap_array(c.n, sizeof(uint32_t))
    for i in range(c.n):
        total += cluster_weight(c, i)
    for i in range(c.n):
        # Times n, so that the mean is `total`: below 2**31 * 2**32.
        t[i].keep = <uint64_t>cluster_weight(c, i) * c.n
        t[i].alias = i
        if t[i].keep < total:
            order[n_small] = i
            n_small += 1
        else:
            n_large += 1
            order[c.n - n_large] = i
    while n_small > 0 and n_large > 0:
        n_small -= 1
        small = order[n_small]
        large = order[c.n - n_large]
        t[small].alias = large
        t[large].keep -= total - t[small].keep
        if t[large].keep < total:
            # The place that `small` left is free, as n_small + n_large < n.
            n_large -= 1
            order[n_small] = large
            n_small += 1
    # Whole numbers leave no rest: what is still listed keeps exactly `total`.
    heap_free(order)
    table = <aliases_t *>heap_new(sizeof(aliases_t))
    table.total = total
    table.slots = t
    c.lb_state = table
    return FM_OK


cdef void weigh(cluster_t *c) noexcept nogil:
    drop(c)
    build(c)


cdef void drop(cluster_t *c) noexcept nogil:
    cdef aliases_t *table = <aliases_t *>c.lb_state
    if table is not NULL:
        heap_free(table.slots)
    heap_free(table)
    c.lb_state = NULL


cdef inline endpoint_t *draw(cluster_t *c, uint64_t *rng) noexcept nogil:
    cdef const aliases_t *table = <const aliases_t *>c.lb_state
    cdef const alias_t *t
    cdef uint32_t i = rng_below(rng, c.n)
    cdef uint32_t is_kept
    if table is NULL:
        return &c.endpoints[i]
    t = &table.slots[i]
    # Without a jump, which would be guessed wrong every other time.
    is_kept = -<uint32_t>(fm_mul_high(rng_next(rng), table.total) < t.keep)
    return &c.endpoints[t.alias ^ ((t.alias ^ i) & is_kept)]


cdef endpoint_t *scan(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    # One pass: each usable endpoint replaces the choice with probability weight / (weights so far).
    cdef uint64_t total = 0
    cdef uint32_t i, weight
    cdef endpoint_t *found = NULL
    for i in range(c.n):
        weight = cluster_weight(c, i)
        if weight != 0 and endpoint_is_usable(&c.endpoints[i], now_ns, tried, n_tried):
            total += weight
            if fm_mul_high(rng_next(rng), total) < weight:
                found = &c.endpoints[i]
    return found


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef endpoint_t *e
    cdef uint32_t left = DRAWS
    if c.n == 0:
        return NULL
    while left > 0:
        left -= 1
        e = draw(c, rng)
        if endpoint_is_usable(e, now_ns, tried, n_tried):
            return e
    return scan(c, now_ns, rng, tried, n_tried)


cdef lb_ops_t ops
ops.name = b"random"
ops.build = build
ops.pick = pick
ops.weigh = weigh
ops.drop = drop


cdef const lb_ops_t *weighted_random_ops() noexcept nogil:
    return &ops
