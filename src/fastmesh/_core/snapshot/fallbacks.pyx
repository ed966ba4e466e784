"""See fallbacks.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from fastmesh._core.mem.arena cimport arena_array, arena_t
from fastmesh._core.mem.span cimport span_t
from fastmesh._core.resil.fallback_rule cimport (
    ESCAPE_HTML, FALLBACK_KEYS_MAX, FALLBACK_STATUS_FIRST, FALLBACK_STATUS_LAST, FALLBACK_STEPS_MAX, IGNORE_VARY,
    REASON_STATUS, STEP_CLUSTER, STEP_RESPONSE, STEP_STALE, STEP_USE, fallback_t, step_t)
from fastmesh._core.route.route_table cimport ROUTE_HOST_MAX, route_t
from fastmesh._core.snapshot.route_place cimport take_route_place
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_duration, take_enter, take_entry, take_leave, take_list, take_record, take_refuse,
    take_text, take_tokens, take_u8, take_u32, take_uint)
from fastmesh._core.snapshot.take_acts cimport take_edits, take_pieces
from fastmesh._core.snapshot.take_each cimport take_each, take_uses
from fastmesh._core.snapshot.take_statuses cimport take_statuses

cdef enum:
    U32_MAX = 0xFFFFFFFF
    PATH_MAX = 8192
    BODY_MAX = 65536
    HEAD_MAX = 65535
    NAME_MAX = 255
    ENTRIES_MAX = 100000

cdef uint64_t BYTES_MAX = 1 << 40


cdef bint _take_path(take_t *t, const char *name, bint ends_in_slash, span_t *path) noexcept nogil:
    if not take_text(t, name, 0, PATH_MAX, path):
        return False
    if path.len != 0 and path.ptr[0] != c'/':
        return take_refuse(t, name, b"must begin with \"/\"")
    if not ends_in_slash and path.len != 0 and path.ptr[path.len - 1] == c'/':
        return take_refuse(t, name, b"must not end with \"/\"")
    return True


cdef bint _take_cluster(take_t *t, snapshot_t *s, step_t *step) noexcept nogil:
    return (take_record(t, b"cluster", 8) and
            take_entry(t, b"cluster", s.n_clusters, b"clusters", &step.cluster) and
            take_bool(t, b"non_idempotent", &step.non_idempotent) and take_duration(t, b"timeout", &step.timeout_ns) and
            take_text(t, b"host", 0, ROUTE_HOST_MAX, &step.host) and _take_path(t, b"path", True, &step.path) and
            _take_path(t, b"cut", False, &step.cut) and _take_prefix(t, step) and
            take_edits(t, s.arena, b"request_edits", &step.request))


cdef bint _take_prefix(take_t *t, step_t *step) noexcept nogil:
    """Empty: none; else one that begins with a slash, of which "/" alone stands for nothing."""
    if not take_text(t, b"prefix", 0, PATH_MAX, &step.put):
        return False
    if step.put.len == 0:
        return True
    if step.put.ptr[0] != c'/':
        return take_refuse(t, b"prefix", b"must begin with \"/\"")
    step.has_prefix = True
    if step.put.ptr[step.put.len - 1] == c'/':
        step.put.len -= 1
    return True


cdef bint _take_keys(take_t *t, step_t *step, arena_t *arena) noexcept nogil:
    cdef uint32_t n = 0
    if not take_list(t, b"keys", 2, FALLBACK_KEYS_MAX, &n):
        return False
    step.keys = <span_t *>arena_array(arena, n, sizeof(span_t))
    step.n_keys = <uint8_t>n
    return take_tokens(t, b"keys", n, step.keys)


cdef bint _take_stale(take_t *t, snapshot_t *s, step_t *step) noexcept nogil:
    return (take_record(t, b"stale", 7) and take_text(t, b"store", 1, HEAD_MAX, &step.store) and
            take_duration(t, b"max_age", &step.max_age_ns) and take_u32(t, b"max_body", 0, U32_MAX, &step.max_body) and
            take_uint(t, b"max_bytes", 1, BYTES_MAX, &step.max_bytes) and
            take_u32(t, b"max_entries", 1, ENTRIES_MAX, &step.max_entries) and _take_keys(t, step, s.arena) and
            take_u8(t, b"ignores", 2 * IGNORE_VARY - 1, &step.ignores))


cdef bint _take_response(take_t *t, snapshot_t *s, step_t *step) noexcept nogil:
    cdef uint32_t status = 0
    if not (take_record(t, b"response", 5) and take_u32(t, b"status", 200, 599, &status) and
            take_text(t, b"content_type", 0, HEAD_MAX, &step.content_type) and
            take_u8(t, b"escape", ESCAPE_HTML, &step.escape) and
            take_edits(t, s.arena, b"headers", &step.headers) and
            take_pieces(t, s.arena, b"body", BODY_MAX, True, &step.pieces, &step.n_pieces)):
        return False
    step.status = <uint16_t>status
    return True


cdef bint _take_policy(take_t *t, snapshot_t *s, step_t *step) noexcept nogil:
    return (take_record(t, b"use", 3) and take_entry(t, b"slot", s.n_rules, b"rules", &step.slot) and
            take_text(t, b"name", 1, NAME_MAX, &step.name) and take_bool(t, b"before_filters", &step.before_filters))


cdef bint _take_step(take_t *t, snapshot_t *s, fallback_t *f, step_t *step) noexcept nogil:
    cdef uint32_t reasons = 0
    if not (take_record(t, NULL, 4) and take_u8(t, b"kind", STEP_USE, &step.kind) and
            take_u32(t, b"reasons", 0, (1 << REASON_STATUS) - 1, &reasons) and
            take_statuses(t, b"statuses", FALLBACK_STATUS_FIRST, FALLBACK_STATUS_LAST, step.statuses)):
        return False
    step.reasons = <uint16_t>reasons
    if step.kind == STEP_CLUSTER:
        f.has_cluster = True
        if not _take_cluster(t, s, step):
            return False
        f.non_idempotent = f.non_idempotent or step.non_idempotent
        return True
    if step.kind == STEP_RESPONSE:
        return _take_response(t, s, step)
    if step.kind == STEP_USE:
        return _take_policy(t, s, step)
    if step.kind != STEP_STALE:
        return take_refuse(t, b"kind", b"must be at least 1")
    if f.stale is not NULL:
        return take_refuse(t, b"kind", b"there is a step with copies already")
    f.stale = step
    return _take_stale(t, s, step)


cdef bint _take_chain(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef fallback_t *f = &s.fallbacks[number]
    cdef uint32_t n = 0
    cdef uint32_t i
    if not take_list(t, NULL, 5, FALLBACK_STEPS_MAX, &n):
        return False
    if n == 0:
        return take_refuse(t, NULL, b"must have a step")
    f.steps = <step_t *>arena_array(s.arena, n, sizeof(step_t))
    f.n = <uint8_t>n
    take_enter(t, b"steps")
    for i in range(n):
        take_at(t, i)
        if not _take_step(t, s, f, &f.steps[i]):
            return False
    take_leave(t)
    return True


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef route_t *route = NULL
    cdef uint32_t chain = 0
    if not (take_record(t, NULL, 3) and take_route_place(t, s, &route) and
            take_entry(t, b"chain", s.n_fallbacks, b"chains", &chain)):
        return False
    if route.fallback != 0:
        return take_refuse(t, NULL, b"this route has its fallback already")
    route.fallback = chain + 1
    return True


cdef bint fallbacks_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"fallbacks", 2):
        return False
    take_enter(t, b"fallbacks")
    if not take_list(t, b"chains", 6, 1 << 20, &s.n_fallbacks):
        return False
    s.fallbacks = <fallback_t *>arena_array(s.arena, s.n_fallbacks, sizeof(fallback_t))
    if not (take_each(t, s, b"chains", s.n_fallbacks, _take_chain) and take_uses(t, s, b"uses", 4, _take_use)):
        return False
    take_leave(t)
    return True
