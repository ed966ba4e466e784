"""How a worker goes by what all of them know: ejected endpoints are avoided, and one request asks if they are well;
those that do not pass control's checks are down, and nobody asks.

A pick looks at one shared word, which counts changes; only when it is another are the endpoints looked at. So an
ejection by one worker holds for the next pick of every other.
"""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.segment cimport word_get
from fastmesh._core.lb.cluster cimport cluster_t
from fastmesh._core.lb.endpoint cimport AVOID_ALWAYS, endpoint_live_t, endpoint_t

cdef enum:
    PROBE_NS = 30000000000    # after so long without an outcome a probe is given up: whoever made it may be dead

# Called with an endpoint whose checks fail from now on, where the cluster's `closes_idle` says so.
cdef void ejection_on_down(void (*fn)(endpoint_live_t *) noexcept nogil) noexcept nogil
# Takes over what the shared rows say.
cdef void ejection_sync(cluster_t *c, uint64_t now_ns) noexcept nogil
# An endpoint whose time is over and that nobody is asking, for this one request; `live.is_claimed` is set. Or NULL.
cdef endpoint_t *ejection_claim(cluster_t *c, uint64_t now_ns, endpoint_t **tried, uint32_t n_tried) noexcept nogil
# The probe ends without an outcome.
cdef void ejection_release(cluster_t *c, endpoint_t *e) noexcept nogil
# Of a cluster that is not watched or not checked any more: whoever is out or down comes back.
cdef void ejection_forget(cluster_t *c) noexcept nogil


cdef inline bint ejection_waits(const cluster_t *c, uint64_t at_ns, uint64_t now_ns) noexcept nogil:
    """That time has not come. One that is further away than any can be was written by a clock that has been set back
    since, and has come. An ejection lasts for `most` and as much again of jitter."""
    return at_ns > now_ns and at_ns - now_ns <= 2 * c.outlier.most_ns + PROBE_NS


cdef inline endpoint_t *ejection_look(cluster_t *c, uint64_t now_ns, endpoint_t **tried,
                                      uint32_t n_tried) noexcept nogil:
    if not c.is_watched:
        return NULL
    if word_get(&c.health.epoch) != c.epoch:
        ejection_sync(c, now_ns)
    if c.n_out == 0 or (now_ns < c.probe_at_ns and (c.probe_at_ns == AVOID_ALWAYS or
                                                    ejection_waits(c, c.probe_at_ns, now_ns))):
        return NULL
    return ejection_claim(c, now_ns, tried, n_tried)
