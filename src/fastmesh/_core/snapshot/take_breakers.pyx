"""See take_breakers.pxd."""
from libc.stdint cimport uint32_t, uint64_t
from fastmesh._core.mem.arena cimport arena_alloc
from fastmesh._core.resil.adaptive cimport adaptive_t
from fastmesh._core.resil.admission cimport admission_t
from fastmesh._core.snapshot.take cimport take_enter, take_leave, take_record, take_refuse, take_u32
from fastmesh._core.snapshot.take_statuses cimport take_statuses
from fastmesh._core.snapshot.unpack cimport unpack_nil

cdef enum:
    U32_MAX = 4294967295
    MILLION = 1000000


cdef inline uint32_t _less(uint32_t limit, uint32_t reserve) noexcept nogil:
    """What is left of a limit; at least 1, and no limit stays none."""
    cdef uint64_t kept = <uint64_t>limit * reserve // MILLION
    if limit == U32_MAX:
        return limit
    return <uint32_t>(limit - kept) if kept < limit else 1


cdef bint _take_adaptive(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil:
    cdef adaptive_t *a
    cdef uint32_t tolerance = 0
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"adaptive", 4):
        return False
    a = <adaptive_t *>arena_alloc(arena, sizeof(adaptive_t))
    take_enter(t, b"adaptive")
    if not (take_u32(t, b"least", 1, U32_MAX, &a.least) and take_u32(t, b"most", 1, U32_MAX, &a.most) and
            take_u32(t, b"first", 1, U32_MAX, &a.first) and
            take_u32(t, b"tolerance", 1000, 100000, &tolerance)):
        return False
    if a.least > a.first or a.first > a.most:
        return take_refuse(t, b"first", b"must be between least and most")
    a.tolerance = tolerance / 1e3
    c.adaptive = a
    take_leave(t)
    return True


cdef bint _take_admission(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil:
    cdef admission_t *a
    cdef uint32_t wanted = 0
    cdef uint32_t most = 0
    cdef uint32_t aggression = 0
    if unpack_nil(&t.u):
        return True
    if not take_record(t, b"admission", 5):
        return False
    a = <admission_t *>arena_alloc(arena, sizeof(admission_t))
    take_enter(t, b"admission")
    if not (take_u32(t, b"wanted", 10000, MILLION, &wanted) and take_u32(t, b"most", 0, MILLION, &most) and
            take_u32(t, b"aggression", 100, 100000, &aggression) and take_u32(t, b"least", 1, U32_MAX, &a.least) and
            take_statuses(t, b"failures", 400, 599, a.failures)):
        return False
    a.wanted = wanted / 1e6
    a.most = most / 1e6
    a.aggression = aggression / 1e3
    c.admission = a
    take_leave(t)
    return True


cdef bint take_breakers(take_t *t, arena_t *arena, cluster_t *c) noexcept nogil:
    cdef uint32_t reserve = 0
    if not take_record(t, b"breakers", 6):
        return False
    take_enter(t, b"breakers")
    if not (take_u32(t, b"max_cluster_connections", 0, U32_MAX, &c.max_cluster_connections) and
            take_u32(t, b"max_retries", 0, U32_MAX, &c.max_retries) and
            take_u32(t, b"max_endpoint_requests", 0, U32_MAX, &c.max_endpoint_requests) and
            take_u32(t, b"reserve", 0, MILLION, &reserve) and _take_adaptive(t, arena, c) and
            _take_admission(t, arena, c)):
        return False
    if c.max_requests == 0:
        c.max_requests = U32_MAX
    if c.max_pending == 0:
        c.max_pending = 1
    c.plain_requests = _less(c.max_requests, reserve)
    c.plain_pending = _less(c.max_pending, reserve)
    take_leave(t)
    return True
