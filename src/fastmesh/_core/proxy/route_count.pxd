"""Counts requests by the route that took them."""
from libc.stdint cimport uint32_t
from fastmesh._core.proxy.mux cimport stream_t


cdef inline void route_count(const stream_t *s) noexcept nogil:
    cdef uint32_t hundred
    if s.route is not NULL and s.route.counted != 0:
        hundred = s.status // 100
        s.proxy.stats.routes[s.route.counted - 1].requests[hundred if hundred < 6 else 0] += 1
