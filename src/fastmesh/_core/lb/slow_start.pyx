"""Endpoints that are new or have come back get their share little by little.

Whatever the algorithm: a pick of an endpoint that is still warming up stands with the probability that its time has
come to, else another is picked. So its share is that part of what the algorithm would give it, and no schedule or table
has to change. Of the keys of an endpoint the same part comes to it, and each comes once: which ones follows from the
key.
"""
from libc.math cimport pow
from libc.string cimport memcpy
from fastmesh._core.mem.hash cimport hash_mix
from fastmesh._core.mem.rng cimport rng_next
from fastmesh._core.lb.affinity cimport affinity_hash
from fastmesh._core.lb.cluster cimport algorithm_pick
from fastmesh._core.lb.endpoint cimport STAGE_FROM_NOW, WARM_FROM_NOW, endpoint_live_t
from fastmesh._core.lb.use cimport endpoint_warm

cdef enum:
    TRIES = 3                 # further picks, before the first one stands after all
    ASIDE_MAX = 16


cdef bint is_admitted(const cluster_t *c, const endpoint_t *e, const uint64_t *key, uint64_t now_ns,
                      uint64_t *rng) noexcept nogil:
    cdef endpoint_live_t *live = e.live
    cdef uint64_t window = c.settings.slow_start_ns if c.settings.slow_start_ns != 0 else c.outlier.ramp_ns
    cdef uint64_t draw, since
    cdef double part
    if live.stage < STAGE_FROM_NOW:
        return True
    if live.stage == STAGE_FROM_NOW:
        # The window begins with the first request that it might have had.
        endpoint_warm(live, now_ns if now_ns > WARM_FROM_NOW else WARM_FROM_NOW + 1)
    elif now_ns < live.use.warm_since_ns and live.use.warm_since_ns - now_ns > window:
        # The clock has been set back: it begins anew.
        endpoint_warm(live, now_ns if now_ns > WARM_FROM_NOW else WARM_FROM_NOW + 1)
    since = live.use.warm_since_ns
    if now_ns > since and now_ns - since >= window:
        endpoint_warm(live, 0)
        return True
    part = 0
    if now_ns > since:
        part = <double>(now_ns - since) / <double>window
    if c.settings.slow_exponent != 1:
        part = pow(part, c.settings.slow_exponent)
    if part < c.settings.slow_least:
        part = c.settings.slow_least
    draw = hash_mix(key[0], affinity_hash(e)) if key is not NULL else rng_next(rng)
    return <double>(draw >> 11) * 1.1102230246251565e-16 < part


cdef endpoint_t *slow_start_pick(cluster_t *c, const uint64_t *key, uint64_t now_ns, uint64_t *rng,
                                 endpoint_t **tried, uint32_t n_tried) noexcept nogil:
    cdef endpoint_t *aside[ASIDE_MAX]
    cdef endpoint_t *first = algorithm_pick(c, key, now_ns, rng, tried, n_tried)
    cdef endpoint_t *e
    cdef uint32_t i
    if first is NULL or is_admitted(c, first, key, now_ns, rng) or n_tried + TRIES > ASIDE_MAX:
        return first
    if n_tried != 0:
        memcpy(aside, tried, n_tried * sizeof(endpoint_t *))
    e = first
    for i in range(TRIES):
        aside[n_tried + i] = e
        e = algorithm_pick(c, key, now_ns, rng, aside, n_tried + i + 1)
        if e is NULL:
            break
        if is_admitted(c, e, key, now_ns, rng):
            return e
    # Nobody is warm: then all are equal.
    return first
