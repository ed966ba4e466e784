"""See hedges.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint32_t
from fastmesh._core.mem.arena cimport arena_array
from fastmesh._core.resil.budget cimport BUDGET_COST, BUDGET_RATE_MOST
from fastmesh._core.resil.hedge_rule cimport HEDGE_ATTEMPTS_MOST, HEDGE_PART_ALL, hedge_rule_t
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_bool, take_duration, take_entry, take_list, take_record, take_refuse, take_u8, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each, take_uses


cdef bint _take_rule(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef hedge_rule_t *r = &s.hedges[number]
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


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef route_t *route = NULL
    cdef uint32_t rule = 0
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route) and
            take_entry(t, b"rule", s.n_hedges, b"rules", &rule)):
        return False
    if route.hedge != 0:
        return take_refuse(t, NULL, b"this route has its rule already")
    route.hedge = rule + 1
    return True


cdef bint hedges_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_list(t, b"hedges", 10, 1 << 20, &s.n_hedges):
        return False
    s.hedges = <hedge_rule_t *>arena_array(s.arena, s.n_hedges, sizeof(hedge_rule_t))
    return take_each(t, s, b"hedges", s.n_hedges, _take_rule) and take_uses(t, s, b"hedge_uses", 4, _take_use)
