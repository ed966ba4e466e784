"""See counted.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.counter cimport STATS_ROUTES
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport take_at, take_enter, take_leave, take_list, take_record, take_refuse, take_u32


cdef bint _take_one(take_t *t, snapshot_t *s) noexcept nogil:
    cdef route_t *route = NULL
    cdef uint32_t row = 0
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route) and
            take_u32(t, b"row", 0, STATS_ROUTES - 1, &row)):
        return False
    if route.counted != 0:
        return take_refuse(t, NULL, b"this route has its row already")
    route.counted = row + 1
    return True


cdef bint counted_decode(take_t *t, snapshot_t *s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"counted", 4, 1 << 20, &n):
        return False
    take_enter(t, b"counted")
    for i in range(n):
        take_at(t, i)
        if not _take_one(t, s):
            return False
    take_leave(t)
    return True
