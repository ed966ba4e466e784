"""See room.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from fastmesh._core.lb.cluster cimport cluster_pick, cluster_weight, endpoint_is_usable
from fastmesh._core.lb.ejection cimport ejection_release
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.proxy.mux cimport TRIED_MAX
from fastmesh._core.resil.breaker cimport breaker_refuses_endpoint

cdef enum:
    LOOK_MOST = 256           # endpoints of which one with room is looked for


cdef void _pass_by(stream_t *s, endpoint_t *e) noexcept nogil:
    if e.live.is_claimed:
        e.live.is_claimed = 0
        ejection_release(s.cluster, e)


cdef endpoint_t *room_find(stream_t *s, endpoint_t *e) noexcept nogil:
    cdef endpoint_t *tried[TRIED_MAX]
    cdef uint64_t now = s.proxy.reactor.now_ns
    cdef uint32_t n = s.n_tried
    cdef uint32_t i, at
    memcpy(<void *>tried, <void *>s.tried, n * sizeof(endpoint_t *))
    while e is not NULL and n < TRIED_MAX:
        if not breaker_refuses_endpoint(s.cluster, e.live):
            return e
        _pass_by(s, e)
        tried[n] = e
        n += 1
        e = cluster_pick(s.cluster, now, &s.proxy.rng, tried, n)
    if e is not NULL:
        _pass_by(s, e)
    # Where most are full, eight picks may all have met such.
    at = rng_below(&s.proxy.rng, s.cluster.n)
    for i in range(s.cluster.n if s.cluster.n < LOOK_MOST else LOOK_MOST):
        e = &s.cluster.endpoints[(at + i) % s.cluster.n]
        if (endpoint_is_usable(e, now, s.tried, s.n_tried) and cluster_weight(s.cluster, (at + i) % s.cluster.n) != 0
                and not breaker_refuses_endpoint(s.cluster, e.live)):
            return e
    return NULL
