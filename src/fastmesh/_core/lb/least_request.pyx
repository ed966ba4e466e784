"""The endpoint with the fewest requests in flight, nearly.

Equal weights: two distinct endpoints are drawn at random and the less loaded one wins. This
bounds the worst queue almost as well as looking at every endpoint, at a cost that does not
grow with the cluster (Mitzenmacher, 2001). Up to SCAN_MAX endpoints all are looked at, which
costs no more: with three, two draws miss the idle one every third time.

Unequal weights: the schedule of lb/edf with a turn every (active + 1) / weight, as Envoy does.
Comparing two random draws by (active + 1) / weight instead would send everything to the
heavier one while the cluster is idle, and a canary of weight 5 in 100 would never be asked.
The price, here as there: with many requests in flight and equal response times, shares follow
the square root of the weights, as active is in proportion to the share.

Load is what this worker alone has in flight: workers share nothing, so no cache line is
written by two cores.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.lb.endpoint cimport endpoint_t
from fastmesh._core.lb.cluster cimport cluster_t, endpoint_is_usable, weights_are_equal
from fastmesh._core.lb.edf cimport edf_free, edf_new, edf_pick, edf_t, edf_weigh

cdef enum:
    SCAN_MAX = 4
    ACTIVE_MAX = 4096         # requests in flight by which a turn is put off, at most
    DRAWS = 8                 # to find two that are usable, before all are looked at


cdef int build(cluster_t *c) noexcept nogil:
    c.lb_state = NULL if weights_are_equal(c) else edf_new(c, ACTIVE_MAX)
    return FM_OK


cdef void weigh(cluster_t *c) noexcept nogil:
    if c.lb_state is NULL or weights_are_equal(c):
        drop(c)
        build(c)
    else:
        edf_weigh(<edf_t *>c.lb_state, c)


cdef void drop(cluster_t *c) noexcept nogil:
    edf_free(<edf_t *>c.lb_state)
    c.lb_state = NULL


cdef endpoint_t *scan(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    """The least loaded usable endpoint; equals are drawn evenly."""
    cdef endpoint_t *found = NULL
    cdef endpoint_t *e
    cdef uint32_t equals = 0
    cdef uint32_t i
    for i in range(c.n):
        e = &c.endpoints[i]
        if not endpoint_is_usable(e, now_ns, tried, n_tried):
            continue
        if found is NULL or e.live.active < found.live.active:
            found = e
            equals = 1
        elif e.live.active == found.live.active:
            equals += 1
            if rng_below(rng, equals) == 0:
                found = e
    return found


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef endpoint_t *e
    cdef endpoint_t *found = NULL
    cdef uint32_t left = DRAWS
    cdef uint32_t at
    if c.lb_state is not NULL:
        return edf_pick(<edf_t *>c.lb_state, c, True, now_ns, rng, tried, n_tried)
    if c.n <= SCAN_MAX:
        return scan(c, now_ns, rng, tried, n_tried)
    at = rng_below(rng, c.n)
    while left > 0:
        left -= 1
        e = &c.endpoints[at]
        if e is not found and endpoint_is_usable(e, now_ns, tried, n_tried):
            if found is not NULL:
                # Equals go to the one drawn first: both draws are even, so that is fair.
                return e if e.live.active < found.live.active else found
            found = e
        # One of the others: a step of 1 to n - 1, so that neighbouring draws differ.
        at += 1 + rng_below(rng, c.n - 1)
        if at >= c.n:
            at -= c.n
    return found if found is not NULL else scan(c, now_ns, rng, tried, n_tried)


cdef lb_ops_t ops
ops.name = b"least_request"
ops.build = build
ops.pick = pick
ops.weigh = weigh
ops.drop = drop


cdef const lb_ops_t *least_request_ops() noexcept nogil:
    return &ops
