"""See hedges.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.mem.arena cimport arena_array
from fastmesh._core.resil.budget cimport BUDGET_COST, BUDGET_RATE_MOST
from fastmesh._core.resil.hedge_rule cimport HEDGE_ATTEMPTS_MOST, HEDGE_PART_ALL, hedge_rule_t
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_duration, take_enter, take_leave, take_list, take_record, take_refuse, take_u8, take_u32)

cdef enum:
    TEXT = 160                # room for one sentence
    U32_MAX = 0xFFFFFFFF


cdef bint _take_rule(take_t *t, hedge_rule_t *r) noexcept nogil:
    if not (take_record(t, NULL, 9) and take_u8(t, b"attempts", HEDGE_ATTEMPTS_MOST, &r.attempts)):
        return False
    if r.attempts < 2:
        return take_refuse(t, b"attempts", b"must be at least 2")
    if not (take_duration(t, b"delay", &r.delay_ns) and take_duration(t, b"least", &r.least_ns) and
            take_u32(t, b"part", 0, HEDGE_PART_ALL, &r.part) and take_u32(t, b"share", 0, BUDGET_COST, &r.share) and
            take_u32(t, b"rate", 0, BUDGET_RATE_MOST, &r.rate) and
            take_bool(t, b"on_try_timeout", &r.on_try_timeout) and
            take_bool(t, b"non_idempotent", &r.non_idempotent) and take_bool(t, b"told", &r.is_told)):
        return False
    if (r.delay_ns != 0) + (r.part != 0) + r.on_try_timeout != 1:
        return take_refuse(t, NULL, b"must have one of delay, part and on_try_timeout")
    return True


cdef bint _take_use(take_t *t, snapshot_t *s) noexcept nogil:
    cdef char text[TEXT]
    cdef route_t *route = NULL
    cdef uint32_t rule = 0
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route) and
            take_u32(t, b"rule", 0, U32_MAX, &rule)):
        return False
    if rule >= s.n_hedges:
        snprintf(text, TEXT, b"found %u, but there are %u rules", rule, s.n_hedges)
        return take_refuse(t, b"rule", text)
    if route.hedge != 0:
        return take_refuse(t, NULL, b"this route has its rule already")
    route.hedge = rule + 1
    return True


cdef bint hedges_decode(take_t *t, snapshot_t *s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"hedges", 10, 1 << 20, &n):
        return False
    s.hedges = <hedge_rule_t *>arena_array(s.arena, n, sizeof(hedge_rule_t))
    s.n_hedges = n
    take_enter(t, b"hedges")
    for i in range(n):
        take_at(t, i)
        if not _take_rule(t, &s.hedges[i]):
            return False
    take_leave(t)
    if not take_list(t, b"hedge_uses", 4, 1 << 20, &n):
        return False
    take_enter(t, b"hedge_uses")
    for i in range(n):
        take_at(t, i)
        if not _take_use(t, s):
            return False
    take_leave(t)
    return True
