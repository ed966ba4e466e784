"""See use.pxd."""
from libc.string cimport memset
from fastmesh._core.mem.arena cimport MEM_IS_EXACT, heap_free, heap_new
from fastmesh._core.mem.health cimport health_endpoint, health_is_claimed
from fastmesh._core.mem.segment cimport word_get
from fastmesh._core.mem.slab cimport slab_give, slab_take
from fastmesh._core.mem.tally cimport TALLY_ENDPOINTS
from fastmesh._core.lb.cluster cimport cluster_live_t
from fastmesh._core.lb.endpoint cimport STAGE_WARM, endpoint_hash


cdef inline endpoint_row_t *_row(const endpoint_live_t *live) noexcept nogil:
    cdef const cluster_live_t *c = <const cluster_live_t *>live.cluster_live
    return &c.rows[live.row if live.row < c.n_rows else c.n_rows - 1]


cdef endpoint_use_t *use_begin(endpoint_live_t *live) noexcept nogil:
    cdef cluster_live_t *c = <cluster_live_t *>live.cluster_live
    cdef endpoint_use_t *use
    if MEM_IS_EXACT:
        use = <endpoint_use_t *>heap_new(sizeof(endpoint_use_t))
    else:
        use = <endpoint_use_t *>slab_take(c.uses)
        memset(use, 0, sizeof(endpoint_use_t))
    use.row = _row(live)
    live.use = use
    if c.is_watched:
        endpoint_claim(live)
    if c.tells_endpoints and live.row < TALLY_ENDPOINTS - 1:
        use.tally = &c.seats.seats[c.seat].endpoints[live.row]
        use.tally.requests = live.active
    return use


cdef void use_end(endpoint_live_t *live) noexcept nogil:
    cdef endpoint_use_t *use = live.use
    if use is NULL:
        return
    live.use = NULL
    if MEM_IS_EXACT:
        heap_free(use)
    else:
        slab_give((<cluster_live_t *>live.cluster_live).uses, use)


cdef endpoint_row_t *endpoint_row(const endpoint_live_t *live) noexcept nogil:
    return live.use.row if live.use is not NULL else _row(live)


cdef endpoint_health_t *endpoint_health(const endpoint_live_t *live) noexcept nogil:
    cdef const cluster_live_t *c = <const cluster_live_t *>live.cluster_live
    cdef endpoint_health_t *h
    if live.use is not NULL and live.use.health is not NULL:
        h = live.use.health
        return h if word_get(&h.key) == live.use.health_key else NULL
    if not health_is_claimed(c.shared, live.row):
        return NULL
    h = &c.shared.endpoints[live.row]
    return h if word_get(&h.key) == endpoint_hash(live, c.health_key) | 1 else NULL


cdef endpoint_health_t *endpoint_claim(endpoint_live_t *live) noexcept nogil:
    cdef cluster_live_t *c = <cluster_live_t *>live.cluster_live
    cdef uint64_t key
    cdef endpoint_health_t *h
    if not c.is_watched:
        return NULL
    key = endpoint_hash(live, c.health_key) | 1
    h = health_endpoint(c.shared, live.row, key)
    if live.use is not NULL:
        live.use.health = h
        live.use.health_key = key
    return h


cdef void endpoint_warm(endpoint_live_t *live, uint64_t since_ns) noexcept nogil:
    if since_ns > WARM_FROM_NOW:
        endpoint_use(live).warm_since_ns = since_ns
        live.stage = STAGE_SINCE
    else:
        live.stage = STAGE_FROM_NOW if since_ns == WARM_FROM_NOW else STAGE_WARM
    endpoint_row(live).warm_since_ns = since_ns
