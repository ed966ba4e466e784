"""The endpoint that is likely to answer first.

Of two endpoints drawn by weight, the one with the lower cost: (response time + MARGIN) x (requests in flight, in
proportion to its weight, + 1). The response time is that of lb/ewma. Up to SCAN_MAX endpoints of equal weight all are
looked at.

MARGIN keeps the sum from being about nothing: times that differ by less do not outweigh requests in flight, and of
endpoints whose times have all faded, during a quiet night, the idlest is taken and not the one that faded most.

An endpoint that was never measured costs nothing while nothing is in flight to it, so it is measured soon, and
`initial` afterwards, so that it is measured by one request and not by all.

Load and times are what this worker alone has seen, as in lb/least_request.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport heap_free, heap_new
from fastmesh._core.mem.fault cimport FM_OK
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.lb.cluster cimport (
    OUTCOME_ANSWERED, OUTCOME_FAILED, cluster_t, cluster_weight, endpoint_is_usable, weights_are_equal)
from fastmesh._core.lb.endpoint cimport endpoint_live_t, endpoint_t
from fastmesh._core.lb.ewma cimport ewma_add, ewma_now, ewma_peak, ewma_rate
from fastmesh._core.lb.weighted_random cimport weighted_random_ops

cdef enum:
    SCAN_MAX = 4
    DRAWS = 8                 # to find two that are usable, before all are looked at
    MARGIN_NS = 100000

ctypedef struct peaks_t:
    double rate               # of fading
    double initial_ns
    double mean               # of weights; 0 = all are equal
    cluster_t drawn           # the same endpoints and weights, for weighted_random; it owns what that builds


cdef int build(cluster_t *c) noexcept nogil:
    cdef peaks_t *p = <peaks_t *>heap_new(sizeof(peaks_t))
    cdef uint64_t total = 0
    cdef uint32_t i
    p.rate = ewma_rate(c.settings.decay_ns)
    p.initial_ns = <double>c.settings.initial_ns
    if not weights_are_equal(c):
        for i in range(c.n):
            total += cluster_weight(c, i)
        p.mean = <double>total / c.n
        p.drawn.endpoints = c.endpoints
        p.drawn.given = c.given
        p.drawn.n = c.n
        p.drawn.ops = weighted_random_ops()
        p.drawn.ops.build(&p.drawn)
    c.lb_state = p
    return FM_OK


cdef void drop(cluster_t *c) noexcept nogil:
    cdef peaks_t *p = <peaks_t *>c.lb_state
    if p.mean != 0:
        p.drawn.ops.drop(&p.drawn)
    heap_free(p)
    c.lb_state = NULL


cdef void weigh(cluster_t *c) noexcept nogil:
    # What was learned of endpoints is theirs, and stays.
    drop(c)
    build(c)


cdef inline double cost_of(const peaks_t *p, const endpoint_t *e, uint64_t now_ns) noexcept nogil:
    cdef const endpoint_live_t *live = e.live
    cdef double load = <double>live.active
    if p.mean != 0:
        # What was drawn has a weight.
        load *= p.mean / cluster_weight(&p.drawn, <uint32_t>(e - p.drawn.endpoints))
    if live.cost_at_ns == 0:
        return (p.initial_ns + MARGIN_NS) * (load + 1) if live.active != 0 else 0
    return (ewma_now(live, now_ns, p.rate) + MARGIN_NS) * (load + 1)


cdef endpoint_t *scan(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    """The cheapest usable endpoint; equals are drawn evenly."""
    cdef const peaks_t *p = <const peaks_t *>c.lb_state
    cdef endpoint_t *found = NULL
    cdef double least = 0
    cdef double cost
    cdef uint32_t equals = 0
    cdef uint32_t i
    for i in range(c.n):
        if not endpoint_is_usable(&c.endpoints[i], now_ns, tried, n_tried):
            continue
        cost = cost_of(p, &c.endpoints[i], now_ns)
        if found is NULL or cost < least:
            found = &c.endpoints[i]
            least = cost
            equals = 1
        elif cost == least:
            equals += 1
            if rng_below(rng, equals) == 0:
                found = &c.endpoints[i]
    return found


cdef endpoint_t *pick_weighted(peaks_t *p, uint64_t now_ns, uint64_t *rng,
                               endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    # Two draws that need not differ: however cheap or dear, an endpoint's share stays between w*w and 2*w - w*w of the
    # requests, where w is its share of the weights. Two that must differ would leave two endpoints no weights at all.
    cdef endpoint_t *found = p.drawn.ops.pick(&p.drawn, now_ns, rng, tried, n_tried)
    cdef endpoint_t *e
    if found is NULL:
        return NULL
    e = p.drawn.ops.pick(&p.drawn, now_ns, rng, tried, n_tried)
    # Equals go to the one drawn first: draws are by weight, so that is what they share by.
    return e if e is not found and cost_of(p, e, now_ns) < cost_of(p, found, now_ns) else found


cdef endpoint_t *pick(cluster_t *c, uint64_t now_ns, uint64_t *rng,
                      endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef peaks_t *p = <peaks_t *>c.lb_state
    cdef endpoint_t *e
    cdef endpoint_t *found = NULL
    cdef uint32_t left = DRAWS
    cdef uint32_t at
    if p.mean != 0:
        return pick_weighted(p, now_ns, rng, tried, n_tried)
    if c.n <= SCAN_MAX:
        return scan(c, now_ns, rng, tried, n_tried)
    at = rng_below(rng, c.n)
    while left > 0:
        left -= 1
        e = &c.endpoints[at]
        if e is not found and endpoint_is_usable(e, now_ns, tried, n_tried):
            if found is not NULL:
                return e if cost_of(p, e, now_ns) < cost_of(p, found, now_ns) else found
            found = e
        # One of the others: a step of 1 to n - 1, so that neighbouring draws differ.
        at += 1 + rng_below(rng, c.n - 1)
        if at >= c.n:
            at -= c.n
    return found if found is not NULL else scan(c, now_ns, rng, tried, n_tried)


cdef void observe(const cluster_t *c, endpoint_t *e, uint64_t took_ns, int outcome, uint64_t wait_ns,
                  uint64_t now_ns) noexcept nogil:
    cdef double rate = ewma_rate(c.settings.decay_ns)
    if outcome == OUTCOME_ANSWERED or (outcome == OUTCOME_FAILED and took_ns != 0):
        ewma_add(e.live, <double>took_ns, now_ns, rate)
    else:
        ewma_peak(e.live, <double>took_ns, now_ns, rate)


cdef void observe_failures(const cluster_t *c, endpoint_t *e, uint64_t took_ns, int outcome, uint64_t wait_ns,
                           uint64_t now_ns) noexcept nogil:
    cdef uint64_t counts = c.settings.penalty_ns
    if outcome != OUTCOME_FAILED:
        observe(c, e, took_ns, outcome, wait_ns, now_ns)
        return
    if wait_ns != 0:
        counts = wait_ns if wait_ns < c.settings.wait_max_ns else c.settings.wait_max_ns
    if counts < took_ns:
        counts = took_ns
    ewma_peak(e.live, <double>counts, now_ns, ewma_rate(c.settings.decay_ns))


cdef lb_ops_t peak_ewma
peak_ewma.name = b"peak_ewma"
peak_ewma.build = build
peak_ewma.pick = pick
peak_ewma.weigh = weigh
peak_ewma.drop = drop
peak_ewma.observe = observe

cdef lb_ops_t failure_aware_ewma
failure_aware_ewma.name = b"failure_aware_ewma"
failure_aware_ewma.build = build
failure_aware_ewma.pick = pick
failure_aware_ewma.weigh = weigh
failure_aware_ewma.drop = drop
failure_aware_ewma.observe = observe_failures


cdef const lb_ops_t *peak_ewma_ops() noexcept nogil:
    return &peak_ewma


cdef const lb_ops_t *failure_aware_ewma_ops() noexcept nogil:
    return &failure_aware_ewma
