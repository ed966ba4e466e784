"""What an endpoint has once a worker has used it: made with the first request, from the cluster's slab."""
from libc.stdint cimport uint64_t
from fastmesh._core.mem.counter cimport endpoint_row_t
from fastmesh._core.mem.health cimport endpoint_health_t
from fastmesh._core.lb.endpoint cimport (
    STAGE_FROM_NOW, STAGE_SINCE, WARM_FROM_NOW, endpoint_live_t, endpoint_use_t)

cdef endpoint_use_t *use_begin(endpoint_live_t *live) noexcept nogil     # there must be none yet
cdef void use_end(endpoint_live_t *live) noexcept nogil                  # legal when there is none
# Its counters; never NULL. Those of one that was never used may be a hole, of which a look makes a page.
cdef endpoint_row_t *endpoint_row(const endpoint_live_t *live) noexcept nogil
# Its row in what workers share of the health of endpoints; NULL: there is none, or nobody has had it, or it is
# another's meanwhile.
cdef endpoint_health_t *endpoint_health(const endpoint_live_t *live) noexcept nogil
# The same as its own from now on; NULL: its cluster is not watched, or there are more endpoints than rows.
cdef endpoint_health_t *endpoint_claim(endpoint_live_t *live) noexcept nogil
# Slow start: it warms up from `since_ns` on, or WARM_FROM_NOW; 0: it is warm. For picks, and for those who look on.
cdef void endpoint_warm(endpoint_live_t *live, uint64_t since_ns) noexcept nogil


cdef inline endpoint_use_t *endpoint_use(endpoint_live_t *live) noexcept nogil:
    return live.use if live.use is not NULL else use_begin(live)


cdef inline uint64_t endpoint_warm_since(const endpoint_live_t *live) noexcept nogil:
    """As it was given to endpoint_warm."""
    if live.stage == STAGE_SINCE:
        return live.use.warm_since_ns
    return WARM_FROM_NOW if live.stage == STAGE_FROM_NOW else 0
