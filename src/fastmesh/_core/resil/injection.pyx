"""See injection.pxd."""
from fastmesh._core.mem.rng cimport rng_below
from fastmesh._core.route.route_table cimport asker_t, route_find


cdef void injection_draw(const injection_list_t *k, const msg_t *m, span_t path, const addr_t *peer, uint64_t *rng,
                         uint64_t *delay_ns, uint16_t *status, uint32_t *bandwidth,
                         const char **details) noexcept nogil:
    cdef const injection_t *one
    cdef asker_t who
    cdef uint32_t i
    who.addr = peer
    who.draw = 0              # the share of an injection is its own
    delay_ns[0] = 0
    status[0] = 0
    bandwidth[0] = 0
    for i in range(k.n):
        one = &k.injections[i]
        if one.match is not NULL and route_find(one.match, m, path, &who) is NULL:
            continue
        if one.share < INJECTION_SHARE_ALL and rng_below(rng, INJECTION_SHARE_ALL) >= one.share:
            continue
        if one.delay_ns > delay_ns[0]:
            delay_ns[0] = one.delay_ns
        if status[0] == 0:
            status[0] = one.status
            details[0] = one.details
        if one.bandwidth != 0 and (bandwidth[0] == 0 or one.bandwidth < bandwidth[0]):
            bandwidth[0] = one.bandwidth
