"""See cors_rules.pxd. The layout is written down in fastmesh/snapshot/wire.py."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from fastmesh._core.mem.arena cimport arena_array
from fastmesh._core.route.cors_rule cimport (
    CORS_LIST_MAX, CORS_ORIGIN_LEN, CORS_ORIGINS_MAX, ORIGIN_BELOW, ORIGIN_PATTERN, cors_origin_t, cors_rule_t)
from fastmesh._core.route.route_table cimport route_t
from fastmesh._core.snapshot.route_place cimport take_listener_place
from fastmesh._core.snapshot.snapshot cimport listener_t
from fastmesh._core.snapshot.take cimport (
    take_at, take_bool, take_enter, take_entry, take_index, take_leave, take_list, take_record, take_refuse, take_text,
    take_u8, take_u32)
from fastmesh._core.snapshot.take_each cimport take_each, take_uses
from fastmesh._core.snapshot.take_route cimport pattern_at

cdef enum:
    DAY_S = 86400


cdef bint _take_origin(take_t *t, const snapshot_t *s, cors_origin_t *o) noexcept nogil:
    cdef int64_t place = -1
    if not (take_record(t, NULL, 4) and take_u8(t, b"kind", ORIGIN_PATTERN, &o.kind) and
            take_text(t, b"text", 0 if o.kind == ORIGIN_PATTERN else 1, CORS_ORIGIN_LEN, &o.text) and
            take_text(t, b"domain", 2 if o.kind == ORIGIN_BELOW else 0, CORS_ORIGIN_LEN, &o.domain) and
            take_index(t, b"pattern", &place)):
        return False
    if o.kind != ORIGIN_PATTERN:
        return place < 0 or take_refuse(t, b"pattern", b"must be -1, as the origin is none")
    return pattern_at(t, b"pattern", s.patterns, s.n_patterns, place, &o.pattern)


cdef bint _take_rule(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef cors_rule_t *r = &s.cors_rules[number]
    cdef uint8_t is_any = 0
    cdef uint8_t has_credentials = 0
    cdef uint8_t allows_private = 0
    cdef uint32_t i
    if not (take_record(t, NULL, 8) and take_bool(t, b"any", &is_any) and
            take_list(t, b"origins", 5, CORS_ORIGINS_MAX, &r.n)):
        return False
    r.is_any = is_any
    r.origins = <cors_origin_t *>arena_array(s.arena, r.n, sizeof(cors_origin_t))
    take_enter(t, b"origins")
    for i in range(r.n):
        take_at(t, i)
        if not _take_origin(t, s, &r.origins[i]):
            return False
    take_leave(t)
    if not (take_text(t, b"methods", 0, CORS_LIST_MAX, &r.methods) and
            take_text(t, b"headers", 0, CORS_LIST_MAX, &r.headers) and
            take_text(t, b"expose", 0, CORS_LIST_MAX, &r.expose) and
            take_u32(t, b"max_age", 0, DAY_S, &r.max_age_s) and take_bool(t, b"credentials", &has_credentials) and
            take_bool(t, b"private_network", &allows_private)):
        return False
    if is_any and has_credentials:
        return take_refuse(t, b"credentials", b"must not be, as any origin may read")
    r.has_credentials = has_credentials
    r.allows_private = allows_private
    r.any_method = r.methods.len == 1 and r.methods.ptr[0] == c'*'
    r.any_header = r.headers.len == 1 and r.headers.ptr[0] == c'*'
    return True


cdef bint _take_use(take_t *t, snapshot_t *s, uint32_t number) noexcept nogil:
    cdef listener_t *l = NULL
    cdef route_t *route
    cdef uint32_t place = 0
    cdef uint32_t rule = 0
    if not (take_record(t, NULL, 3) and take_listener_place(t, s, &l) and
            take_entry(t, b"route", l.routes.n, b"routes", &place) and
            take_entry(t, b"rule", s.n_cors_rules, b"rules", &rule)):
        return False
    route = &l.routes.routes[place]
    if route.cors != 0:
        return take_refuse(t, NULL, b"this route has its rule already")
    route.cors = rule + 1
    l.has_cors = 1
    return True


cdef bint cors_decode(take_t *t, snapshot_t *s) noexcept nogil:
    if not take_record(t, b"cors", 2):
        return False
    take_enter(t, b"cors")
    if not take_list(t, b"rules", 8, 1 << 20, &s.n_cors_rules):
        return False
    s.cors_rules = <cors_rule_t *>arena_array(s.arena, s.n_cors_rules, sizeof(cors_rule_t))
    if not (take_each(t, s, b"rules", s.n_cors_rules, _take_rule) and take_uses(t, s, b"uses", 4, _take_use)):
        return False
    take_leave(t)
    return True
