"""See retries.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint8_t, uint32_t
from fastmesh._core.mem.arena cimport arena_array, arena_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.budget cimport BUDGET_COST, BUDGET_RATE_MOST
from fastmesh._core.resil.retry cimport (
    FAULT_TIMEOUT, RETRY_ATTEMPTS_MOST, RETRY_GRPC_COUNT, RETRY_HEADERS_MAX, RETRY_STATUS_FIRST,
    RETRY_STATUS_LAST, retry_t)
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.hedges cimport hedges_decode
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_bool, take_duration, take_enter, take_entry, take_leave, take_list, take_record, take_refuse, take_tokens,
    take_u8, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each, take_uses
from fastmesh._core.snapshot.take_statuses cimport take_statuses

cdef enum:
    FAULTS = (1 << (FAULT_TIMEOUT + 1)) - 1
    GRPC = (1 << RETRY_GRPC_COUNT) - 1


cdef bint _take_headers(take_t *t, retry_t *r, arena_t *arena) noexcept nogil:
    cdef span_t *names
    cdef uint32_t n = 0
    if not take_list(t, b"headers", 2, RETRY_HEADERS_MAX, &n):
        return False
    names = <span_t *>arena_array(arena, n, sizeof(span_t))
    r.n_headers = <uint8_t>n
    r.headers = names
    return take_tokens(t, b"headers", n, names)


cdef bint _take_rule(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef retry_t *r = &s.retries[number]
    r.is_route = True
    if not (take_record(t, NULL, 12) and take_u8(t, b"attempts", RETRY_ATTEMPTS_MOST, &r.attempts)):
        return False
    if r.attempts == 0:
        return take_refuse(t, b"attempts", b"found 0, must be at least 1")
    return (take_u8(t, b"faults", FAULTS, &r.faults) and
            take_statuses(t, b"statuses", RETRY_STATUS_FIRST, RETRY_STATUS_LAST, r.statuses) and
            _take_headers(t, r, s.arena) and
            take_duration(t, b"backoff", &r.backoff_ns) and take_duration(t, b"backoff_max", &r.backoff_most_ns) and
            take_duration(t, b"wait", &r.wait_most_ns) and take_duration(t, b"try", &r.try_ns) and
            take_bool(t, b"non_idempotent", &r.non_idempotent) and take_bool(t, b"told", &r.is_told) and
            take_bool(t, b"of_retries", &r.of_retries) and
            take_u32(t, b"grpc", 0, GRPC, &r.grpc))


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef route_t *route = NULL
    cdef uint32_t rule = 0
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route) and
            take_entry(t, b"rule", s.n_retries, b"rules", &rule)):
        return False
    if route.retry != 0:
        return take_refuse(t, NULL, b"this route has its rule already")
    route.retry = rule + 1
    return True


cdef bint _take_budget(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef uint32_t at = 0
    return (take_record(t, NULL, 3) and take_entry(t, b"cluster", s.n_clusters, b"clusters", &at) and
            take_u32(t, b"share", 0, BUDGET_COST, &s.clusters[at].budget_share) and
            take_u32(t, b"rate", 0, BUDGET_RATE_MOST, &s.clusters[at].budget_rate))


cdef bint retries_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"retries", 5):
        return False
    take_enter(t, b"retries")
    if not take_list(t, b"rules", 13, 1 << 20, &s.n_retries):
        return False
    s.retries = <retry_t *>arena_array(s.arena, s.n_retries, sizeof(retry_t))
    if not (take_each(t, s, b"rules", s.n_retries, _take_rule) and take_uses(t, s, b"uses", 4, _take_use) and
            take_uses(t, s, b"budgets", 4, _take_budget) and hedges_decode(t, s)):
        return False
    take_leave(t)
    return True
