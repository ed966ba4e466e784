"""The pick of an endpoint, and the avoidance of those that could not be connected to."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from fastmesh._core.mem.arena cimport heap_array, heap_free
from fastmesh._core.mem.fault cimport FM_EPROTO
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.ejection cimport ejection_look
from fastmesh._core.lb.endpoint cimport WARM_FROM_NOW, endpoint_t, endpoint_use_t
from fastmesh._core.lb.least_request cimport least_request_ops
from fastmesh._core.lb.levels cimport levels_build, levels_drop, levels_pick, levels_tell, levels_weigh
from fastmesh._core.lb.maglev cimport maglev_ops
from fastmesh._core.lb.peak_ewma cimport failure_aware_ewma_ops, peak_ewma_ops
from fastmesh._core.lb.ring_hash cimport ring_hash_ops
from fastmesh._core.lb.round_robin cimport round_robin_ops
from fastmesh._core.lb.slow_start cimport slow_start_pick
from fastmesh._core.lb.sticky cimport sticky_build, sticky_drop
from fastmesh._core.lb.use cimport endpoint_row, endpoint_use, endpoint_warm
from fastmesh._core.lb.weighted_random cimport weighted_random_ops

cdef enum:
    SHOWN = 1000000           # endpoint_row_t.weight_given, of a weight of 1


cdef int cluster_build(cluster_t *c) noexcept nogil:
    cdef const lb_ops_t *ops
    if c.lb == LB_ROUND_ROBIN:
        ops = round_robin_ops()
    elif c.lb == LB_RANDOM:
        ops = weighted_random_ops()
    elif c.lb == LB_LEAST_REQUEST:
        ops = least_request_ops()
    elif c.lb == LB_PEAK_EWMA:
        ops = peak_ewma_ops()
    elif c.lb == LB_FAILURE_AWARE_EWMA:
        ops = failure_aware_ewma_ops()
    elif c.lb == LB_RING_HASH:
        ops = ring_hash_ops()
    elif c.lb == LB_MAGLEV:
        ops = maglev_ops()
    else:
        return FM_EPROTO
    c.ops = ops
    sticky_build(c)
    if c.settings.n_levels != 0 or c.settings.panic != 0:
        return levels_build(c)
    return ops.build(c)


cdef void cluster_drop(cluster_t *c) noexcept nogil:
    sticky_drop(c)
    if c.levels is not NULL:
        levels_drop(c)
    elif c.ops is not NULL:
        c.ops.drop(c)
    c.ops = NULL
    heap_free(c.given)
    c.given = NULL


cdef void cluster_tell(cluster_t *c, balance_row_t *row) noexcept nogil:
    c.told = row
    if c.levels is not NULL:
        levels_tell(c)


cdef void show_weights(const cluster_t *c) noexcept nogil:
    """For those who look on: the weights that were given, with the sum that the configured ones have."""
    cdef double configured = 0
    cdef double given = 0
    cdef double scale
    cdef uint32_t i
    if c.given is NULL:
        for i in range(c.n):
            endpoint_row(c.endpoints[i].live).weight_given = 0
        return
    for i in range(c.n):
        configured += c.endpoints[i].weight
        given += c.given[i]
    scale = configured / given * SHOWN
    for i in range(c.n):
        endpoint_row(c.endpoints[i].live).weight_given = 1 + <uint64_t>(c.given[i] * scale + 0.5)


cdef bint cluster_weigh(cluster_t *c, const uint32_t *weights) noexcept nogil:
    cdef size_t size = <size_t>c.n * sizeof(uint32_t)
    cdef uint32_t i = 0
    if weights is not NULL:
        while i < c.n and weights[i] == 0:
            i += 1
    if weights is NULL or i == c.n:
        if c.given is NULL:
            return False
        heap_free(c.given)
        c.given = NULL
    elif c.given is not NULL:
        if memcmp(c.given, weights, size) == 0:
            # A snapshot that was refused may have taken them out of sight.
            show_weights(c)
            return False
        memcpy(c.given, weights, size)
    else:
        c.given = <uint32_t *>heap_array(c.n, sizeof(uint32_t))
        memcpy(c.given, weights, size)
    show_weights(c)
    if c.levels is not NULL:
        levels_weigh(c)
    else:
        c.ops.weigh(c)
    return True


cdef endpoint_t *soonest(cluster_t *c, endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    """The untried endpoint whose avoidance ends first, of those whose checks do not say that it is dead."""
    cdef endpoint_t *e
    cdef endpoint_t *found = NULL
    cdef uint32_t i
    for i in range(c.n):
        e = &c.endpoints[i]
        if (not e.live.is_down and (found is NULL or e.live.avoid_until_ns < found.live.avoid_until_ns) and
                cluster_weight(c, i) != 0 and
                endpoint_is_usable(e, <uint64_t>-1, tried, n_tried)):
            found = e
    return found


cdef inline endpoint_t *choose(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                               endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef endpoint_t *e = ejection_look(c, now_ns, tried, n_tried)
    if e is not NULL:
        return e
    if c.n == 1 and n_tried == 0 and not c.endpoints.live.is_down:
        # Avoided or not, it is the only one.
        return c.endpoints
    if c.levels is not NULL:
        e = levels_pick(c, key, now_ns, rng, tried, n_tried)
    elif cluster_is_warming(c, now_ns):
        e = slow_start_pick(c, key, now_ns, rng, tried, n_tried)
    else:
        e = algorithm_pick(c, key, now_ns, rng, tried, n_tried)
    return e if e is not NULL else soonest(c, tried, n_tried)


cdef endpoint_t *cluster_pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                              endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    return choose(c, NULL, now_ns, rng, tried, n_tried)


cdef endpoint_t *cluster_pick_key(cluster_t *c, uint64_t key, uint64_t now_ns, uint64_t *rng,
                                  endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    return choose(c, &key, now_ns, rng, tried, n_tried)


cdef void endpoint_connect_failed(cluster_t *c, endpoint_t *e, uint64_t now_ns, uint64_t *rng) noexcept nogil:
    cdef endpoint_live_t *live = e.live
    cdef endpoint_use_t *use = endpoint_use(live)
    cdef uint64_t pause = c.avoid_base_ns
    cdef uint32_t doublings
    use.row.connect_failures += 1
    use.row.failures += 1
    if live.is_out or live.is_down:
        return
    # Connects that were under way together fail together: that is one piece of news, not one per request.
    if use.failures != 0 and live.avoid_until_ns > now_ns:
        return
    doublings = use.failures
    if use.failures < 64:
        use.failures += 1
    while doublings > 0 and pause < c.avoid_max_ns:
        pause *= 2
        doublings -= 1
    if pause > c.avoid_max_ns:
        pause = c.avoid_max_ns
    # 80 % to 120 %: clients that saw the same failure do not come back in step.
    pause = pause // 5 * 4 + ((pause // 5 * 2) >> 16) * (rng_next(rng) >> 48)
    live.avoid_until_ns = now_ns + pause
    use.row.avoid_until_ns = live.avoid_until_ns


cdef void endpoint_connect_ok(endpoint_t *e) noexcept nogil:
    cdef endpoint_use_t *use = e.live.use
    if use is NULL:
        return
    use.told = 0
    if use.failures != 0 and (e.live.is_out or e.live.is_down):
        use.failures = 0
    elif use.failures != 0:
        use.failures = 0
        e.live.avoid_until_ns = 0
        # Who was gone has most likely just started.
        endpoint_warm(e.live, WARM_FROM_NOW)
        use.row.avoid_until_ns = 0
