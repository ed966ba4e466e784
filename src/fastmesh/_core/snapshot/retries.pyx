"""See retries.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdio cimport snprintf
from fastmesh._core.mem.arena cimport arena_array, arena_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.budget cimport BUDGET_COST, BUDGET_RATE_MOST
from fastmesh._core.resil.retry cimport (
    FAULT_TIMEOUT, RETRY_ATTEMPTS_MOST, RETRY_GRPC_COUNT, RETRY_HEADERS_MAX, RETRY_STATUS_FIRST,
    RETRY_STATUS_LAST, retry_t)
from fastmesh._core.snapshot.hedges cimport hedges_decode
from fastmesh._core.snapshot.snapshot cimport PROTOCOL_TCP, listener_t
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_duration, take_enter, take_leave, take_list, take_record, take_refuse, take_token, take_u8,
    take_u32)
from fastmesh._core.snapshot.take_statuses cimport take_statuses

cdef enum:
    TEXT = 160                # room for one sentence
    U32_MAX = 0xFFFFFFFF
    FAULTS = (1 << (FAULT_TIMEOUT + 1)) - 1
    GRPC = (1 << RETRY_GRPC_COUNT) - 1


cdef bint _take_headers(take_t *t, retry_t *r, arena_t *arena) noexcept nogil:
    cdef span_t *names
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, b"headers", 2, RETRY_HEADERS_MAX, &n):
        return False
    names = <span_t *>arena_array(arena, n, sizeof(span_t))
    r.n_headers = <uint8_t>n
    r.headers = names
    take_enter(t, b"headers")
    for i in range(n):
        take_at(t, i)
        if not take_token(t, NULL, True, &names[i]):
            return False
    take_leave(t)
    return True


cdef bint _take_rule(take_t *t, retry_t *r, arena_t *arena) noexcept nogil:
    r.is_route = True
    if not (take_record(t, NULL, 12) and take_u8(t, b"attempts", RETRY_ATTEMPTS_MOST, &r.attempts)):
        return False
    if r.attempts == 0:
        return take_refuse(t, b"attempts", b"found 0, must be at least 1")
    return (take_u8(t, b"faults", FAULTS, &r.faults) and
            take_statuses(t, RETRY_STATUS_FIRST, RETRY_STATUS_LAST, r.statuses) and _take_headers(t, r, arena) and
            take_duration(t, b"backoff", &r.backoff_ns) and take_duration(t, b"backoff_max", &r.backoff_most_ns) and
            take_duration(t, b"wait", &r.wait_most_ns) and take_duration(t, b"try", &r.try_ns) and
            take_bool(t, b"non_idempotent", &r.non_idempotent) and take_bool(t, b"told", &r.is_told) and
            take_bool(t, b"of_retries", &r.of_retries) and
            take_u32(t, b"grpc", 0, GRPC, &r.grpc))


cdef bint _take_place(take_t *t, const char *name, uint32_t n, const char *noun, uint32_t *place) noexcept nogil:
    cdef char text[TEXT]
    if not take_u32(t, name, 0, U32_MAX, place):
        return False
    if place[0] >= n:
        snprintf(text, TEXT, b"found %u, but there are %u %s", place[0], n, noun)
        return take_refuse(t, name, text)
    return True


cdef bint _take_use(take_t *t, snapshot_t *s) noexcept nogil:
    cdef listener_t *l
    cdef uint32_t at = 0
    cdef uint32_t route = 0
    cdef uint32_t rule = 0
    if not (take_record(t, NULL, 3) and _take_place(t, b"listener", s.n_listeners, b"listeners", &at)):
        return False
    l = &s.listeners[at]
    if l.protocol == PROTOCOL_TCP:
        return take_refuse(t, b"listener", b"its protocol is tcp, which has no requests to try again")
    if not (_take_place(t, b"route", l.routes.n, b"routes", &route) and
            _take_place(t, b"rule", s.n_retries, b"rules", &rule)):
        return False
    if l.routes.routes[route].retry != 0:
        return take_refuse(t, NULL, b"this route has its rule already")
    l.routes.routes[route].retry = rule + 1
    return True


cdef bint _take_budget(take_t *t, snapshot_t *s) noexcept nogil:
    cdef uint32_t at = 0
    return (take_record(t, NULL, 3) and _take_place(t, b"cluster", s.n_clusters, b"clusters", &at) and
            take_u32(t, b"share", 0, BUDGET_COST, &s.clusters[at].budget_share) and
            take_u32(t, b"rate", 0, BUDGET_RATE_MOST, &s.clusters[at].budget_rate))


cdef bint retries_decode(take_t *t, snapshot_t *s) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_record(t, b"retries", 5):
        return False
    take_enter(t, b"retries")
    if not take_list(t, b"rules", 13, 1 << 20, &n):
        return False
    s.retries = <retry_t *>arena_array(s.arena, n, sizeof(retry_t))
    s.n_retries = n
    take_enter(t, b"rules")
    for i in range(n):
        take_at(t, i)
        if not _take_rule(t, &s.retries[i], s.arena):
            return False
    take_leave(t)
    if not take_list(t, b"uses", 4, 1 << 20, &n):
        return False
    take_enter(t, b"uses")
    for i in range(n):
        take_at(t, i)
        if not _take_use(t, s):
            return False
    take_leave(t)
    if not take_list(t, b"budgets", 4, 1 << 20, &n):
        return False
    take_enter(t, b"budgets")
    for i in range(n):
        take_at(t, i)
        if not _take_budget(t, s):
            return False
    take_leave(t)
    if not hedges_decode(t, s):
        return False
    take_leave(t)
    return True
